//! Proof that the fake Micetro is faithful: the vendor's own client for Python gets on with it.

use lanyard_tests::support::micetro::{ALICE, BOB, CAROL, FakeMicetro, ZOE};
use lanyard_tests::support::vendor::vendor;
use serde_json::json;

#[test]
fn the_vendors_client_logs_in_to_the_fake_reads_and_writes() {
    let micetro = FakeMicetro::start();
    let said = vendor(&["login", &micetro.url(), ALICE.0], ALICE.1);
    assert_eq!(said["login"]["returned"].as_str().map(|token| token.starts_with("Basic ")), Some(true), "{said}");
    assert_eq!((&said["is_authenticated"], &said["micetro_url"]), (&json!(true), &json!(micetro.url())));
    assert_eq!(said["micetro_version"]["returned"], "26.1.0");
    let servers = &said["dns_servers"]["returned"]["result"];
    assert_eq!((&servers["totalResults"], &servers["dnsServers"][1]["name"]), (&json!(3), &json!("ns2.example.net.")));
    assert_eq!(said["user"]["returned"]["result"]["user"]["name"], ALICE.0);
    // The path in the example of the vendor's documentation does not exist.
    assert_eq!(
        (&said["servers"]["raised"], &said["servers"]["code"]),
        (&json!("MicetroV2ErrorResponse"), &json!(16544))
    );
    let write = &said["write"]["returned"];
    assert_eq!(
        (&write["made"]["result"]["ref"], &write["comment"]),
        (&json!("dnsRecords/15"), &json!("by the vendor"))
    );
    assert_eq!(write["gone"]["code"], 2049, "{said}");
    // It asks for what the facts say that it asks for.
    let probe = &micetro.seen()[0];
    assert_eq!((probe.method.as_str(), probe.target().as_str()), ("GET", "/addressSpaces?limit=1"));
}

#[test]
fn the_vendors_client_tells_a_wrong_password_from_a_user_who_may_not_see_anything() {
    let micetro = FakeMicetro::start();
    let said = vendor(&["login", &micetro.url(), BOB.0], "wrong");
    assert_eq!((&said["login"]["code"], &said["is_authenticated"]), (&json!(16394), &json!(false)), "{said}");
    // It takes any other refusal of its probe for success.
    let said = vendor(&["login", &micetro.url(), CAROL.0], CAROL.1);
    assert_eq!((&said["is_authenticated"], &said["dns_servers"]["code"]), (&json!(true), &json!(1028)), "{said}");
    let said = vendor(&["login", &micetro.url(), ZOE.0], ZOE.1);
    assert_eq!(said["user"]["returned"]["result"]["user"]["name"], ZOE.0, "{said}");
}
