//! `lanyard` and platforms: `serve --dev --platform`, `session login --platform`, `config check --probe`.

use lanyard_tests::support::micetro::{ALICE, FakeMicetro};

use super::Home;

#[test]
fn somebody_tries_a_platform_on_a_server_that_was_just_made() {
    let (home, micetro) = (Home::new(), FakeMicetro::start());
    let _server = home.serve_dev_with(&["--platform", &format!("ipam={}", micetro.url())]);
    let password = format!("{}\n", ALICE.1);
    let line = "session login --platform ipam --username alice --unique-name desk --password-stdin --save";
    let login = home.run_with(line, &[("LANYARD_DATA_DIR", "lanyard-data")], &password);
    assert_eq!(login.code, Some(0), "{}", login.stderr);
    assert!(!login.stdout.contains(ALICE.1) && !login.stdout.contains("lyu1_"), "{}", login.stdout);

    let session = home.json("session get");
    for (field, value) in [
        ("platform", "ipam"),
        ("auth_type", "PLATFORM"),
        ("micetro_url", &micetro.url()),
        ("authentication_url", &micetro.url()),
        ("authentication_host", "127.0.0.1"),
        ("authentication_version", "26.1.0"),
        ("unique_name", "desk"),
    ] {
        assert_eq!(session[field], value, "{field}");
    }
    assert_eq!(session["is_replication_user"], false);
    assert_eq!(session["groups"], serde_json::json!(["all", "operations"]));
    assert!(session.get("session_auth").is_none(), "what is secret is not shown");
    let shown = home.run("session get").stdout;
    assert!(shown.contains("micetro url") && shown.contains("all, operations"), "{shown}");
    assert_eq!(home.json("session list --on-platform ipam")["sessions"].as_array().map(Vec::len), Some(1));

    let wrong = home.run_with(&format!("{line} --json"), &[], "not it\n");
    assert_eq!((wrong.code, wrong.error()["reason"].as_str()), (Some(3), Some("LOGIN_FAILED")));
    home.log_in("super_user");
    let standalone = home.json("session get");
    assert_eq!((&standalone["platform"], &standalone["authentication_host"]), (&"".into(), &serde_json::Value::Null));
    assert_eq!(home.json("session revoke-all --on-platform ipam")["revoked_count"], 1);
}

#[test]
fn a_configuration_is_checked_and_its_platforms_are_asked_whether_they_are_there() {
    let (home, mut micetro) = (Home::new(), FakeMicetro::start());
    let section = format!("[platforms.ipam]\nkind = 'micetro'\nurl = '{}'\nmax_attempts = 1\n", micetro.url());
    std::fs::write(home.path("lanyard.toml"), &section).expect("the folder can be written to");
    let check = "config check --config lanyard.toml";
    assert_eq!(home.json(check)["valid"], true);
    assert!(micetro.seen().is_empty(), "nobody asked for it");
    let probed = home.json(&format!("{check} --probe"));
    let ipam = &probed["platforms"][0];
    assert_eq!((&ipam["platform"], &ipam["reachable"]), (&"ipam".into(), &true.into()));
    assert_eq!(ipam["version"], "26.1.0");
    assert!(micetro.seen().iter().all(|seen| seen.authorization().is_none()));
    micetro.goes_down(0);
    let away = home.run(&format!("{check} --probe"));
    assert_eq!(away.code, Some(6), "{}", away.stderr);
    assert!(away.stdout.contains("is good.") && away.stdout.contains("cannot be reached"), "{}", away.stdout);

    for (keys, said) in [
        ("url = 'https://h'\nca_file = 'none.pem'", "platforms.ipam.ca_file: none.pem"),
        ("url = 'http://ipam.example.org'", "platforms.ipam.url: must begin with https://"),
    ] {
        std::fs::write(home.path("lanyard.toml"), format!("[platforms.ipam]\nkind = 'micetro'\n{keys}\n"))
            .expect("a file");
        let bad = home.run(check);
        assert_eq!(bad.code, Some(78));
        assert!(bad.stderr.contains(said), "{}", bad.stderr);
    }
}
