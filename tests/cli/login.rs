//! `lanyard session login` with an external credential.

use lanyard_tests::support::external::sign;

use super::Home;

const SHARED: &str = "a shared secret of issuer and Lanyard, 32 bytes or more";

fn token(number: u32) -> String {
    let claims = serde_json::json!({
        "iss": "https://issuer.example", "sub": "demo@issuer", "aud": "crm", "exp": 4_102_444_800_i64,
        "jti": number.to_string(),
    });
    sign(&claims, SHARED.as_bytes())
}

#[test]
fn a_token_logs_its_user_in_from_a_file_the_environment_or_standard_input() {
    let home = Home::new();
    let _server = home.serve_dev();
    home.log_in("super_user");
    let line =
        "definition create idp --jwt demo@issuer --issuer https://issuer.example --audience crm --algorithm HS256";
    let made = home.run_with(&format!("{line} --json"), &[("LANYARD_SECRET", SHARED)], "");
    assert_eq!(made.code, Some(0), "{}", made.stderr);
    let auth_id = made.json()["auth_id"].clone();
    home.json("link create demo idp");

    std::fs::write(home.path("token.jwt"), format!("{}\n", token(1))).expect("the folder can be written to");
    let login = home.json("session login --jwt --secret-file token.jwt");
    let shown = &login["session"];
    assert_eq!((&shown["auth_type"], &shown["auth_id"]), (&"JWT".into(), &auth_id));
    assert_eq!((&shown["username"], &shown["auth_principal"]), (&"demo".into(), &"demo@issuer".into()));
    for (environment, stdin, line) in [
        (&[("LANYARD_JWT", token(1))][..], String::new(), "session login --jwt --json"),
        (&[], format!("{}\n", token(1)), "session login --jwt --password-stdin --json"),
    ] {
        let environment: Vec<_> = environment.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let again = home.run_with(line, &environment, &stdin);
        assert_eq!(again.code, Some(0), "{}", again.stderr);
        assert_eq!(again.json()["ust"], login["ust"], "the live session of that token");
    }
    std::fs::write(home.path("token.jwt"), token(2)).expect("the folder can be written to");
    let other = home.json("session login --jwt --secret-file token.jwt --save");
    assert_eq!(other["ust"], serde_json::Value::Null, "what is saved is not shown");
    let own = home.json("session get");
    assert_eq!((&own["session_id"], &own["auth_id"]), (&other["session"]["session_id"], &auth_id));
    let told = home.run("session get").stdout;
    assert!(told.contains("demo@issuer"), "{told}");

    home.log_in("super_user");
    let ended = home.json(&format!("session revoke-all --of-definition {auth_id}"));
    assert_eq!(ended["revoked_count"], 2);
    let own = home.json("session get");
    assert_eq!((&own["auth_id"], &own["auth_principal"]), (&serde_json::Value::Null, &"".into()), "a password");
}

#[test]
fn who_logs_in_says_with_what_and_a_token_that_is_not_good_is_refused() {
    let home = Home::new();
    let _server = home.serve_dev();
    for line in [
        "session login",
        "session login --jwt --basic-auth machine",
        "session login --username demo --jwt",
        "session login --basic-auth machine --totp 123456",
        "session login --username demo --secret-file secret",
        "session login --jwt",
    ] {
        assert_eq!(home.run(line).code, Some(2), "{line}");
    }
    let refused = home.run_with("session login --jwt --json", &[("LANYARD_JWT", &token(1))], "");
    assert_eq!((refused.code, &refused.error()["reason"]), (Some(3), &"LOGIN_FAILED".into()));
}
