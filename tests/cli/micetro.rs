//! `lanyard micetro`, and the login that it takes.

use lanyard_tests::support::micetro::{ALICE, FakeMicetro};
use serde_json::json;

use super::Home;

fn logged_in(home: &Home) {
    let line = format!("session login --platform micetro --username {} --password-stdin --save --json", ALICE.0);
    let said = home.run_with(&line, &[], &format!("{}\n", ALICE.1));
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    assert_eq!(said.json()["session"]["platform"], "micetro");
}

#[test]
fn micetro_is_called_through_a_session_from_the_command_line() {
    let (home, micetro) = (Home::new(), FakeMicetro::start());
    let _server = home.serve_dev_with(&["--platform", &format!("micetro={}", micetro.url())]);
    logged_in(&home);
    micetro.forget_seen();

    let servers = home.json("micetro get /dnsServers --param limit=2 -p filter=name=^ns --correlation-id order-4711");
    assert_eq!(servers["result"]["dnsServers"][1]["name"], "ns2.example.net.");
    let seen = micetro.seen();
    assert_eq!(seen[0].target(), "/dnsServers?limit=2&filter=name%3D%5Ens");
    assert_eq!(seen[0].header("x-correlation-id"), Some("order-4711"));
    assert_eq!(home.json("micetro get /users/. --unwrap")["user"]["name"], ALICE.0);
    let version = home.run("micetro version");
    assert_eq!((version.code, version.stdout.trim()), (Some(0), "26.1.0"));

    let record = json!({ "dnsRecord": { "name": "cli", "type": "A", "data": "192.0.2.7" } }).to_string();
    let made = home.run_with("micetro post /dnsZones/1/dnsRecords --body-file -", &[], &record);
    assert_eq!((made.code, made.json()), (Some(0), json!({ "result": { "ref": "dnsRecords/15" } })), "{}", made.stderr);
    let changed = home.run("micetro put /dnsRecords/15 --body {\"properties\":{\"comment\":\"changed\"}}");
    assert_eq!((changed.code, changed.stdout.trim()), (Some(0), "Micetro answered 204."), "{}", changed.stderr);
    assert_eq!(home.json("micetro get /dnsRecords/15")["result"]["dnsRecord"]["comment"], "changed");
    assert_eq!(home.json("micetro delete /dnsRecords/15")["status"], 204);
}

#[test]
fn what_micetro_refuses_is_said_with_its_code_and_exits_as_such() {
    let (home, micetro) = (Home::new(), FakeMicetro::start());
    let _server = home.serve_dev_with(&["--platform", &format!("micetro={}", micetro.url())]);
    logged_in(&home);
    for (line, exit, code) in [
        ("micetro get /dnsRecords/99", 5, json!(2049)),
        ("micetro get /micetro", 4, json!(1028)),
        ("micetro patch /dnsRecords/1 --body {}", 5, json!(16544)),
        ("micetro get /../json", 1, json!(null)),
    ] {
        let said = home.run(&format!("{line} --json"));
        assert_eq!((said.code, &said.error()["micetro_code"]), (Some(exit), &code), "{line}: {}", said.stderr);
        assert!(said.stdout.is_empty());
    }
    let people = home.run("micetro get /dnsRecords/99");
    assert!(
        people.stderr.contains("Object not found") && people.stderr.contains("micetro code: 2049"),
        "{}",
        people.stderr
    );
    assert_eq!(home.run("micetro get /dnsRecords/99 --expect 400").code, Some(0));

    micetro.end_sessions();
    let over = home.run("micetro get /dnsServers --json");
    assert_eq!((over.code, &over.error()["reason"]), (Some(3), &json!("SESSION_INVALID")), "{}", over.stderr);
    home.log_in("demo");
    let standalone = home.run("micetro get /dnsServers --json");
    assert_eq!((standalone.code, &standalone.error()["reason"]), (Some(1), &json!("PLATFORM_SESSION_REQUIRED")));
}
