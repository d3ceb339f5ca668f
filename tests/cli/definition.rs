//! `lanyard definition`, from making one to logging in with it and removing it.

use lanyard_tests::support::signing::{Signer, jwk_set};
use serde_json::Value;

use super::{Home, Said};

const SECRET: [(&str, &str); 1] = [("LANYARD_SECRET", "the secret of the account")];

/// With what stands in a text as one word.
fn run(home: &Home, line: &str, words: &[&str], environment: &[(&str, &str)]) -> Said {
    let mut command = home.command(line);
    command.args(words).envs(environment.iter().copied());
    super::said(&mut command, "")
}

fn done(home: &Home, line: &str, words: &[&str], environment: &[(&str, &str)]) -> Value {
    let said = run(home, &format!("--json {line}"), words, environment);
    assert_eq!(said.code, Some(0), "{line}: {}", said.stderr);
    said.json()
}

#[test]
fn a_definition_is_made_listed_shown_linked_rotated_turned_off_and_removed() {
    let home = Home::new();
    let _server = home.serve_dev();
    home.log_in("super_user");
    let made = done(&home, "definition create --basic-auth tour-1", &["of the tour"], &SECRET);
    let auth_id = made["auth_id"].as_i64().expect("a number").to_string();
    assert_eq!((&made["auth_type"], &made["is_active"]), (&"basic_auth".into(), &true.into()));
    assert!(!made.to_string().contains(SECRET[0].1), "{made}");
    assert_eq!(done(&home, "definition show", &["of the tour"], &[]), made);
    assert_eq!(done(&home, "definition show", &[&auth_id], &[]), made);
    let listed = done(&home, "definition list --type basic_auth --name", &["of the tour"], &[]);
    assert_eq!(listed["definitions"], Value::Array(vec![made]));
    let table = home.run("definition list").stdout;
    assert!(table.starts_with("AUTH ID ") && table.contains("of the tour"), "{table}");

    done(&home, "link create demo", &[&auth_id], &[]);
    done(&home, "session login --basic-auth tour-1", &[], &SECRET);
    let new = [("LANYARD_SECRET", "another secret of the account")];
    let rotated = done(&home, "definition rotate --overlap 1h", &[&auth_id], &new);
    assert!(rotated["definition"]["overlap_time"].is_string() && rotated["revoked_count"] == 0, "{rotated}");
    for secret in [&SECRET, &new] {
        done(&home, "session login --basic-auth tour-1", &[], secret);
    }
    let off = done(&home, "definition update --active false", &[&auth_id], &[]);
    assert_eq!((&off["definition"]["is_active"], &off["revoked_count"]), (&false.into(), &1.into()));
    assert_eq!(run(&home, "session login --basic-auth tour-1", &[], &new).code, Some(3));
    assert_eq!(run(&home, "definition delete --etag 1", &[&auth_id], &[]).code, Some(1));
    done(&home, "definition delete", &["of the tour"], &[]);
    for words in [auth_id.as_str(), "of the tour"] {
        assert_eq!(run(&home, "definition show", &[words], &[]).code, Some(5), "{words}");
    }
}

#[test]
fn keys_come_from_a_file_and_secrets_never_from_an_argument() {
    let home = Home::new();
    let _server = home.serve_dev();
    home.log_in("super_user");
    let signer = Signer::p256();
    std::fs::write(home.path("keys.pem"), signer.pem()).unwrap();
    std::fs::write(home.path("secret"), "the secret of the account\n").unwrap();
    let jwt = "definition create idp --jwt alice --issuer https://issuer.example --audience crm --algorithm ES256";
    let made = home.json(&format!("{jwt} --public-keys keys.pem --clock-skew 30s"));
    assert_eq!(made["public_keys"], jwk_set(&[signer.jwk("")]));
    assert_eq!((&made["clock_skew"], &made["algorithms"]), (&"30s".into(), &serde_json::json!(["ES256"])));
    let changed = home.json("definition update idp --audience erp --algorithm ES256");
    assert_eq!(changed["definition"]["audience"], "erp");
    home.json("definition rotate idp --jwks-url https://issuer.example/keys");
    assert_eq!(home.json("definition show idp")["jwks_url"], "https://issuer.example/keys");
    home.json("definition create account --basic-auth account --inactive --internal --secret-file secret");
    assert_eq!(home.json("definition show account")["is_active"], false);

    let missing = home.run("definition create other --basic-auth other --secret-file none");
    assert_eq!(missing.code, Some(78), "{}", missing.stderr);
    assert_eq!(home.run("definition create other --basic-auth other").code, Some(2), "nobody is there to be asked");
    let refused = home.run(
        "definition create other --jwt bob --issuer i --audience a --algorithm RS256 --public-keys keys.pem --json",
    );
    assert_eq!((refused.code, &refused.error()["reason"]), (Some(1), &"INVALID_FIELD".into()));
}
