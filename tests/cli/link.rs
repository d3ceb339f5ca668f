//! `lanyard link`.

use serde_json::Value;

use super::Home;

fn links(home: &Home, line: &str) -> Vec<Value> {
    home.json(line)["links"].as_array().expect("a list").clone()
}

#[test]
fn a_super_user_defines_links_lists_turns_off_and_unlinks() {
    let home = Home::new();
    let _server = home.serve_dev();
    home.log_in("super_user");
    let define = "definition create nightly --basic-auth nightly.jobs --password-stdin --json";
    let made = home.run_with(define, &[], "a secret of twelve or more\n");
    assert_eq!(made.code, Some(0), "{}", made.stderr);
    let auth_id = made.json()["auth_id"].as_i64().expect("a number");

    let link = home.json("link create demo basic_auth:nightly.jobs --inactive");
    assert_eq!((&link["auth_id"], &link["is_active"]), (&auth_id.into(), &false.into()));
    for key in ["user_id", "auth_type", "auth_username", "creation_time", "auth_source", "auth_principal"] {
        assert!(link[key].as_str().is_some_and(|text| !text.is_empty()), "{key}: {link}");
    }
    assert_eq!((&link["has_ext_principal"], &link["is_internal"]), (&false.into(), &false.into()));
    let listed = links(&home, "link list --user demo --app CRM --remote-addr 127.0.0.1");
    assert_eq!((listed.len(), &listed[1]), (2, &link));
    let table = home.run("link list --user demo --limit 1");
    assert!(table.stdout.starts_with("LINK ID ") && table.stdout.contains("reporting"), "{}", table.stdout);
    assert!(table.stderr.contains("there are more"), "{}", table.stderr);

    let id = link["link_id"].as_str().expect("an ID");
    let on = home.json(&format!("link update {id} --active true --etag 1"));
    assert_eq!((&on["link"]["is_active"], &on["revoked_count"]), (&true.into(), &0.into()));
    let stale = home.run(&format!("link delete {id} --etag 1 --json"));
    assert_eq!(stale.error()["reason"], "ETAG_MISMATCH");

    let login = "session login --basic-auth nightly.jobs --json";
    let login = home.run_with(login, &[("LANYARD_SECRET", "a secret of twelve or more")], "");
    assert_eq!(login.json()["session"]["auth_type"], "BASIC_AUTH", "{}", login.stderr);
    let off = home.run(&format!("link update {id} --active false"));
    assert!(off.stdout.contains("Sessions ended: 1."), "{}", off.stdout);

    let found = home.json(&format!("link lookup {auth_id} basic_auth:reporting jwt:nobody"));
    let users = found["users"].as_array().expect("a list");
    assert_eq!((&users[0]["link_id"], &users[0]["is_active"]), (&id.into(), &false.into()));
    assert_eq!((&users[1]["user_id"], &users[2]["user_id"]), (&link["user_id"], &Value::Null));
    let gone = home.run(&format!("link delete {id}"));
    assert_eq!((gone.code, gone.stdout.trim()), (Some(0), "The link is gone. Sessions ended: 0."));
    assert_eq!(links(&home, "link list --user demo").len(), 1);
    assert_eq!(home.json("link create demo nightly")["auth_id"], auth_id);
}

#[test]
fn a_user_links_an_account_to_themself_where_the_app_allows_it() {
    let home = Home::new();
    let server = home.serve_dev();
    home.log_in("super_user");
    let made = home.run_with("definition create own --basic-auth my.own --password-stdin", &[], "my own long secret\n");
    assert_eq!(made.code, Some(0), "{}", made.stderr);
    home.log_in("demo_user");
    let secret = [("LANYARD_SECRET", "my own long secret")];
    let refused = home.run_with("link create-own --basic-auth my.own --json", &secret, "");
    assert_eq!((refused.code, &refused.error()["reason"]), (Some(4), &"SUPER_USER_REQUIRED".into()));
    drop(server);

    let config = "[apps.CRM]\nself_service_links = true\n";
    std::fs::write(home.path("lanyard.toml"), config).expect("the folder can be written to");
    let _server = home.serve_dev_with(&["--config", "lanyard.toml"]);
    home.log_in("demo_user");
    let wrong = home.run_with("link create-own --basic-auth my.own --app CRM --json", &[("LANYARD_SECRET", "x")], "");
    assert_eq!(wrong.error()["reason"], "LOGIN_FAILED");
    let linked = home.run_with("link create-own --basic-auth my.own --app CRM --json", &secret, "");
    assert_eq!(linked.code, Some(0), "{}", linked.stderr);
    assert_eq!(links(&home, "link list"), [links(&home, "link list")[0].clone(), linked.json()]);
    let by_file = home.path("secret.txt");
    std::fs::write(&by_file, "my own long secret\n").expect("the folder can be written to");
    let again = home.run("link create-own --basic-auth my.own --app CRM --secret-file secret.txt --json");
    assert_eq!(again.error()["reason"], "LINK_UNAVAILABLE");
}
