//! Username and secret of a definition: which is right, what a wrong one costs, how it is rotated.

use std::time::Duration;

use lanyard_client::v1::RotateDefinitionSecretRequest;
use lanyard_client::{Error, ErrorReason, Login, Subject, prost_types};
use lanyard_server::config::Config;
use lanyard_tests::both_databases;
use lanyard_tests::support::answers::{MOMENT, Refused, events_of, just_before};
use lanyard_tests::support::external::{Defined, Kinds, secret_of};
use lanyard_tests::support::principal::secret;
use lanyard_tests::support::server::{Database, TestServer};

both_databases!(
    the_secret_before_works_until_the_overlap_is_over,
    an_unknown_username_costs_what_a_wrong_secret_costs,
    a_username_is_taken_as_it_is_written,
    a_secret_is_hashed_anew_when_hashing_became_dearer,
    a_definition_and_a_user_of_the_same_name_do_not_share_their_failures,
    each_definition_has_failures_of_its_own,
);

const OVERLAP: Duration = Duration::from_mins(10);

fn patient(config: &mut Config) {
    (config.throttle.free_failures, config.throttle.address_free_failures) = (10_000, 10_000);
}

async fn log_in(server: &TestServer, username: &str, secret: &str) -> Result<Login, Error> {
    server.client().log_in_basic_auth(username, &secret.into()).await
}

async fn is_refused(server: &TestServer, username: &str, secret: &str, reason: &str) {
    assert_eq!(log_in(server, username, secret).await.reason(), ErrorReason::LoginFailed, "{reason}");
    assert_eq!(events_of(server, "session.create").await[0].reason, reason);
}

async fn rotate(root: &Subject, defined: &Defined, to: &str, overlap: Duration) {
    let request = RotateDefinitionSecretRequest {
        auth_id: defined.auth_id,
        secret: Some(secret(to)),
        overlap: Some(prost_types::Duration::try_from(overlap).unwrap()),
        ..RotateDefinitionSecretRequest::default()
    };
    root.rotate_definition_secret(request).await.unwrap();
}

async fn linked(server: &TestServer, name: &str) -> Defined {
    Defined::linked(&server.as_root().await, Kinds::BasicAuth, name, &server.alice.user_id).await
}

fn first(name: &str) -> String {
    use lanyard_client::secrecy::ExposeSecret;
    secret_of(name).expose_secret().to_owned()
}

async fn the_secret_before_works_until_the_overlap_is_over(database: Database) {
    let server = TestServer::start_with(database, patient).await;
    let (root, defined) = (server.as_root().await, linked(&server, "crm").await);
    rotate(&root, &defined, "the second secret", OVERLAP).await;
    for good in [&first("crm"), "the second secret"] {
        log_in(&server, "crm", good).await.unwrap();
    }
    rotate(&root, &defined, "the third secret", OVERLAP).await;
    is_refused(&server, "crm", &first("crm"), "wrong_secret").await;
    server.clock.advance(just_before(OVERLAP));
    for good in ["the second secret", "the third secret"] {
        log_in(&server, "crm", good).await.unwrap();
    }
    server.clock.advance(MOMENT);
    is_refused(&server, "crm", "the second secret", "wrong_secret").await;
    log_in(&server, "crm", "the third secret").await.unwrap();
    let root = server.as_root().await;
    rotate(&root, &defined, "the fourth secret", Duration::ZERO).await;
    is_refused(&server, "crm", "the third secret", "wrong_secret").await;
    log_in(&server, "crm", "the fourth secret").await.unwrap();
}

async fn an_unknown_username_costs_what_a_wrong_secret_costs(database: Database) {
    let server = TestServer::start_with(database, patient).await;
    let (root, rotated) = (server.as_root().await, linked(&server, "rotated").await);
    linked(&server, "crm").await;
    rotate(&root, &rotated, "the second secret", OVERLAP).await;
    let off = linked(&server, "off").await;
    lanyard_tests::support::external::turn_definition(&root, off.auth_id, false).await;
    let mut costs = Vec::new();
    for (username, reason) in [
        ("crm", "wrong_secret"),
        ("rotated", "wrong_secret"),
        ("off", "wrong_secret"),
        ("nobody", "unknown_definition"),
        ("", "unknown_definition"),
        ("no\0body", "unknown_definition"),
    ] {
        let before = server.app().hashing_metrics().computed.count();
        is_refused(&server, username, "not the right secret", reason).await;
        costs.push(server.app().hashing_metrics().computed.count() - before);
    }
    assert_eq!(costs, [2; 6]);
    // What nobody can have is not hashed, whoever is named.
    let before = server.app().hashing_metrics().computed.count();
    for username in ["crm", "nobody"] {
        is_refused(&server, username, &"x".repeat(1025), "secret_too_long").await;
    }
    assert_eq!(server.app().hashing_metrics().computed.count(), before);
    is_refused(&server, "off", &first("off"), "definition_inactive").await;
}

async fn a_username_is_taken_as_it_is_written(database: Database) {
    let server = TestServer::start_with(database, patient).await;
    linked(&server, "Crm").await;
    for other in ["crm", "CRM", "Crm ", " Crm", "Crm%", "Cr_"] {
        is_refused(&server, other, &first("Crm"), "unknown_definition").await;
    }
    log_in(&server, "Crm", &first("Crm")).await.unwrap();
}

async fn a_secret_is_hashed_anew_when_hashing_became_dearer(database: Database) {
    let mut server = TestServer::start_with(database, patient).await;
    let defined = linked(&server, "crm").await;
    let stored = async |server: &TestServer| {
        let auth_id = defined.auth_id;
        let row = server.within(move |app| async move { app.store().definition(auth_id).await }).await;
        let row = row.unwrap().unwrap();
        (String::from_utf8(row.material).unwrap(), row.version)
    };
    let (before, version) = stored(&server).await;
    server.config.password.iterations = 3;
    server.restart().await;
    is_refused(&server, "crm", "not the right secret", "wrong_secret").await;
    assert_eq!(stored(&server).await.0, before);
    log_in(&server, "crm", &first("crm")).await.unwrap();
    let (after, same_version) = stored(&server).await;
    assert!(before.contains("t=1,") && after.contains("t=3,"), "{before} {after}");
    assert_eq!(version, same_version, "the definition is the same");
    log_in(&server, "crm", &first("crm")).await.unwrap();
    assert_eq!(stored(&server).await.0, after);
}

async fn a_definition_and_a_user_of_the_same_name_do_not_share_their_failures(database: Database) {
    let server = TestServer::start(database).await;
    linked(&server, "alice").await;
    let elsewhere = server.client().with_client_info(lanyard_tests::support::answers::at("", "192.0.2.1"));
    let free = server.config.throttle.free_failures;
    for _ in 0..free {
        let failed = elsewhere.log_in_basic_auth("alice", &"not the right secret".into()).await;
        assert_eq!(failed.reason(), ErrorReason::LoginFailed);
    }
    let throttled = elsewhere.log_in_basic_auth("alice", &secret_of("alice")).await;
    assert_eq!(throttled.reason(), ErrorReason::LoginThrottled);
    elsewhere.log_in("alice", &server.alice.password).await.expect("the user is not the definition");
}

async fn each_definition_has_failures_of_its_own(database: Database) {
    let server = TestServer::start(database).await;
    for name in ["crm", "erp"] {
        linked(&server, name).await;
    }
    let free = server.config.throttle.free_failures;
    for _ in 0..free {
        is_refused(&server, "crm", "not the right secret", "wrong_secret").await;
    }
    let refusal = log_in(&server, "crm", &first("crm")).await.refusal();
    assert_eq!(refusal.reason, ErrorReason::LoginThrottled);
    log_in(&server, "erp", &first("erp")).await.unwrap();
    server.clock.advance(refusal.retry_after.expect("a wait"));
    log_in(&server, "crm", &first("crm")).await.unwrap();
    is_refused(&server, "crm", "not the right secret", "wrong_secret").await;
}
