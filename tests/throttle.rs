//! Failed logins: too many make wait, nobody is locked out for ever, others are not hurt.

use std::time::Duration;

use lanyard_client::{Client, Code, ErrorReason};
use lanyard_tests::support::answers::{MOMENT, Refused, at, events_of, just_before};
use lanyard_tests::support::server::{Database, TestServer};
use lanyard_tests::{any_database, both_databases};

both_databases!(
    after_the_free_failures_each_one_more_doubles_the_wait,
    the_right_password_waits_too_and_then_ends_the_waiting,
    who_logged_in_from_a_network_before_is_not_hurt_there,
    wrong_passwords_in_open_sessions_count_too,
);
any_database!(
    the_wait_has_an_end_and_is_forgotten_in_the_end,
    a_name_that_nobody_has_is_throttled_as_one_that_somebody_has,
    a_name_is_one_name_in_upper_and_lower_case,
    many_names_from_one_network_are_throttled_together,
);

/// A client whose user is where nobody logged in from before.
fn from(server: &TestServer, address: &str) -> Client {
    server.client().with_client_info(at("", address))
}

async fn fail(client: &Client, name: &str, times: u32) {
    for _ in 0..times {
        assert_eq!(client.log_in(name, &"wrong-password".into()).await.reason(), ErrorReason::LoginFailed);
    }
}

/// How long the server asks to wait.
async fn wait(client: &Client, name: &str) -> Duration {
    let refusal = client.log_in(name, &"wrong-password".into()).await.refusal();
    assert_eq!((refusal.reason, refusal.code), (ErrorReason::LoginThrottled, Code::ResourceExhausted), "{refusal}");
    refusal.retry_after.expect("a wait")
}

async fn after_the_free_failures_each_one_more_doubles_the_wait(database: Database) {
    let server = TestServer::start(database).await;
    let client = from(&server, "192.0.2.1");
    fail(&client, "alice", server.config.throttle.free_failures).await;
    for seconds in [1, 2, 4, 8, 16] {
        assert_eq!(wait(&client, "alice").await, Duration::from_secs(seconds));
        server.clock.advance(just_before(Duration::from_secs(seconds)));
        assert_eq!(wait(&client, "alice").await, MOMENT, "asking does not make it longer");
        server.clock.advance(MOMENT);
        fail(&client, "alice", 1).await;
    }
    let events = events_of(&server, "session.create").await;
    let throttled: Vec<_> = events.iter().filter(|event| event.reason == "throttled").collect();
    assert_eq!(throttled.len(), 1, "they are counted, or anybody could fill the disk");
    assert!(throttled[0].detail.contains("\"count\":10,"), "{}", throttled[0].detail);
    assert_eq!(events.iter().filter(|event| event.reason == "wrong_password").count(), 10);
    server.verify_audit().await;
}

async fn the_right_password_waits_too_and_then_ends_the_waiting(database: Database) {
    let server = TestServer::start(database).await;
    let client = from(&server, "192.0.2.1");
    fail(&client, "alice", server.config.throttle.free_failures).await;
    let before = server.app().hashing_metrics().computed.count();
    let throttled = client.log_in("alice", &server.alice.password).await;
    assert_eq!(throttled.reason(), ErrorReason::LoginThrottled);
    assert_eq!(server.app().hashing_metrics().computed.count(), before, "who has to wait costs nothing");
    server.clock.advance(server.config.throttle.base_delay);
    client.log_in("alice", &server.alice.password).await.unwrap();
    fail(&from(&server, "198.51.100.1"), "alice", server.config.throttle.free_failures).await;
}

async fn who_logged_in_from_a_network_before_is_not_hurt_there(database: Database) {
    let server = TestServer::start(database).await;
    let (home, elsewhere) = (from(&server, "192.0.2.1"), from(&server, "198.51.100.1"));
    home.log_in("alice", &server.alice.password).await.unwrap();
    fail(&elsewhere, "alice", server.config.throttle.free_failures).await;
    wait(&elsewhere, "alice").await;
    home.log_in("alice", &server.alice.password).await.unwrap();
    fail(&elsewhere, "alice", server.config.throttle.free_failures).await;
    from(&server, "192.0.2.200").log_in("alice", &server.alice.password).await.unwrap();
}

async fn wrong_passwords_in_open_sessions_count_too(database: Database) {
    let server = TestServer::start(database).await;
    let ust = server.log_in(&server.alice).await.ust;
    let thief = from(&server, "198.51.100.1").on_behalf_of(&ust);
    let wrong = "wrong-password".into();
    for _ in 0..server.config.throttle.free_failures {
        assert_eq!(thief.change_password(&wrong, &"another-one".into()).await.reason(), ErrorReason::LoginFailed);
    }
    let refusals = [
        thief.change_password(&server.alice.password, &"another-one".into()).await.refusal(),
        thief.enroll_totp(&server.alice.password).await.refusal(),
        thief.disable_totp(&server.alice.password).await.refusal(),
    ];
    for refusal in refusals {
        assert_eq!(refusal.reason, ErrorReason::LoginThrottled);
    }
}

async fn the_wait_has_an_end_and_is_forgotten_in_the_end(database: Database) {
    let server = TestServer::start(database).await;
    let client = from(&server, "192.0.2.1");
    let throttle = &server.config.throttle;
    fail(&client, "alice", throttle.free_failures).await;
    loop {
        let asked = wait(&client, "alice").await;
        assert!(asked <= throttle.max_delay);
        server.clock.advance(asked);
        fail(&client, "alice", 1).await;
        if asked == throttle.max_delay {
            break;
        }
    }
    assert_eq!(wait(&client, "alice").await, throttle.max_delay);
    server.clock.advance(throttle.max_delay * 4 + MOMENT);
    fail(&client, "alice", throttle.free_failures).await;
}

async fn a_name_that_nobody_has_is_throttled_as_one_that_somebody_has(database: Database) {
    let server = TestServer::start(database).await;
    let client = from(&server, "192.0.2.1");
    for name in ["alice", "nobody", ""] {
        fail(&client, name, server.config.throttle.free_failures).await;
        assert_eq!(wait(&client, name).await, Duration::from_secs(1), "{name}");
    }
}

async fn a_name_is_one_name_in_upper_and_lower_case(database: Database) {
    let server = TestServer::start(database).await;
    let client = from(&server, "192.0.2.1");
    let spellings = ["alice", "Alice", "ALICE", "aLICE", "alicE"];
    for spelling in spellings.iter().cycle().take(server.config.throttle.free_failures as usize) {
        fail(&client, spelling, 1).await;
    }
    wait(&client, "AlIcE").await;
}

async fn many_names_from_one_network_are_throttled_together(database: Database) {
    let server = TestServer::start_with(database, |config| config.throttle.address_free_failures = 8).await;
    server.log_in(&server.alice).await;
    for number in 0..8 {
        fail(&from(&server, &format!("192.0.2.{number}")), &format!("user-{number}"), 1).await;
    }
    assert_eq!(wait(&from(&server, "192.0.2.99"), "user-99").await, Duration::from_secs(1));
    fail(&from(&server, "192.0.3.1"), "user-99", 1).await;
    server.log_in(&server.alice).await;
}
