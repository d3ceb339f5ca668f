//! The audit trail: what is written down, how it is found, that it is whole.

use std::time::Duration;

use lanyard_client::prost_types::{FieldMask, Timestamp};
use lanyard_client::v1::attribute_owner::Owner;
use lanyard_client::v1::definition_ref::Definition;
use lanyard_client::v1::{
    AttributeToSet, AuditEvent, AuditOutcome, CreateUserRequest, ListAttributesRequest, ListAuditEventsRequest,
    ListSessionsRequest, ListUsersRequest, UpdateUserRequest, User,
};
use lanyard_client::{ErrorReason, Subject};
use lanyard_server::config::AuditReads;
use lanyard_server::model::audit::AuditFilter;
use lanyard_tests::both_databases;
use lanyard_tests::support::answers::{Refused, at, events, events_of};
use lanyard_tests::support::server::{Database, TestServer};
use tokio::task::JoinSet;

both_databases!(
    each_operation_writes_one_event_that_says_who_did_what_to_whom,
    a_refused_attempt_on_others_is_written_down_with_its_reason,
    events_are_listed_newest_first_page_by_page_each_once,
    events_are_found_by_each_filter,
    the_trail_is_read_by_super_users_only,
    all_reads_are_written_down,
    reads_of_what_is_anothers_or_none_are_written_down_where_the_configuration_says_so,
    a_trail_written_by_many_at_once_is_whole,
    a_trail_goes_on_after_a_restart,
    reads_are_in_the_trail_of_a_server_that_stopped_after_them,
    no_event_holds_a_secret,
);

async fn count(server: &TestServer) -> usize {
    events(server, AuditFilter::default()).await.len()
}

/// The one event that was written since there were `before`.
async fn the_one_since(server: &TestServer, before: usize) -> lanyard_server::model::audit::StoredAuditEvent {
    let mut all = events(server, AuditFilter::default()).await;
    let new: Vec<_> = all.iter().map(|event| (event.operation.clone(), event.reason.clone())).collect();
    assert_eq!(all.len() - before, 1, "{new:?}");
    all.sort_by_key(|event| (event.position.chain_number, event.position.sequence));
    all.sort_by_key(|event| event.time);
    all.pop().unwrap()
}

async fn each_operation_writes_one_event_that_says_who_did_what_to_whom(database: Database) {
    let server = TestServer::start(database).await;
    let client = server.client().with_client_info(at("CRM", "192.0.2.7:99"));
    let login = client.log_in("root", &server.root.password).await.unwrap();
    let root = client.on_behalf_of(&login.ust);
    let (alice, acting) = (server.alice.user_id.clone(), login.session.session_id.clone());
    let user = || Some(User { user_id: alice.clone(), display_name: "A".into(), ..User::default() });
    let mask = || Some(FieldMask { paths: vec!["display_name".into()] });
    let update = UpdateUserRequest { user: user(), update_mask: mask(), ..UpdateUserRequest::default() };
    let new = User { username: "carol".into(), ..User::default() };
    let create = CreateUserRequest { user: Some(new), ..CreateUserRequest::default() };
    let set = vec![AttributeToSet { name: "a".into(), ..AttributeToSet::default() }];
    let of_alice = || Some(Owner::UserId(alice.clone()));
    let everyone = lanyard_client::v1::revoke_sessions_request::Target::UserId(alice.clone());
    let password = "a-better-password".into();

    macro_rules! writes {
        ($operation:literal, $target:expr, $session:expr, $call:expr) => {{
            server.clock.advance(Duration::from_secs(1));
            let before = count(&server).await;
            $call.await.unwrap();
            let event = the_one_since(&server, before).await;
            assert_eq!((event.operation.as_str(), event.reason.as_str()), ($operation, ""));
            assert_eq!(event.caller, "tests", $operation);
            assert_eq!(event.subject.map(|id| id.to_string()), Some(server.root.user_id.clone()), $operation);
            assert_eq!(event.target.map(|id| id.to_string()), $target, $operation);
            assert_eq!(event.session.map(|id| id.to_string()), Some($session), $operation);
            assert_eq!((event.app.as_str(), event.remote_addr.as_str()), ("CRM", "192.0.2.7"), $operation);
            assert_eq!(event.time, server.clock.now(), $operation);
            assert!(!event.correlation_id.is_empty(), $operation);
            assert!(event.detail.is_empty() || event.detail.starts_with('{'), $operation);
            event
        }};
    }
    let (target, own) = (|| Some(alice.clone()), || Some(server.root.user_id.clone()));
    let session = || acting.clone();
    writes!("user.update", target(), session(), root.update_user(update));
    writes!("user.lock", target(), session(), root.lock_user(&alice));
    writes!("user.unlock", target(), session(), root.unlock_user(&alice));
    writes!("user.reject", target(), session(), root.reject_user(&alice));
    writes!("user.approve", target(), session(), root.approve_user(&alice));
    writes!("user.set_password", target(), session(), root.set_password(&alice, &password, false));
    writes!("user.get", target(), session(), root.get_user(&alice));
    writes!("user.list", None, session(), root.call(ListUsersRequest::default()));
    writes!("attribute.set", target(), session(), root.set_attributes(of_alice(), set));
    writes!("attribute.delete", target(), session(), root.delete_attributes(of_alice(), vec!["a".into()]));
    writes!("session.revoke_many", target(), session(), root.revoke_sessions(Some(everyone), false));
    writes!("session.renew", None, session(), root.renew());
    writes!("session.renew", None, session(), root.rotate());
    writes!("user.enroll_totp", own(), session(), root.enroll_totp(&server.root.password));
    writes!("user.disable_totp", own(), session(), root.disable_totp(&server.root.password));
    let change = root.change_password(&server.root.password, &password);
    writes!("user.change_password", own(), session(), change);
    server.clock.advance(Duration::from_secs(1));
    let before = count(&server).await;
    let carol = root.create_user(create).await.unwrap();
    let event = the_one_since(&server, before).await;
    assert_eq!((event.operation.as_str(), event.target.unwrap().to_string()), ("user.create", carol.user_id.clone()));
    writes!("user.delete", Some(carol.user_id.clone()), session(), root.delete_user(&carol.user_id));
    writes!("session.revoke", own(), session(), root.log_out());
    server.clock.advance(Duration::from_secs(1));
    let before = count(&server).await;
    let login = client.log_in("root", &password).await.unwrap();
    let event = the_one_since(&server, before).await;
    assert_eq!(event.operation, "session.create");
    assert_eq!(event.subject.unwrap().to_string(), server.root.user_id);
    assert_eq!(event.session.unwrap().to_string(), login.session.session_id);
    server.verify_audit().await;
}

async fn a_refused_attempt_on_others_is_written_down_with_its_reason(database: Database) {
    let server = TestServer::start(database).await;
    let alice = server.as_alice().await;
    let before = count(&server).await;
    assert_eq!(alice.delete_user(&server.root.user_id).await.reason(), ErrorReason::SuperUserRequired);
    let event = the_one_since(&server, before).await;
    assert_eq!((event.operation.as_str(), event.reason.as_str()), ("user.delete", "super_user_required"));
    assert_eq!(event.subject.unwrap().to_string(), server.alice.user_id);
    assert_eq!(event.target.unwrap().to_string(), server.root.user_id);
    assert_eq!(event.outcome, lanyard_server::model::audit::Outcome::Refused);
}

async fn list(root: &Subject, request: ListAuditEventsRequest) -> Vec<AuditEvent> {
    root.call(request).await.unwrap().events
}

fn place(event: &AuditEvent) -> (String, u64) {
    (event.chain_id.clone(), event.sequence)
}

async fn events_are_listed_newest_first_page_by_page_each_once(database: Database) {
    let server = TestServer::start_with(database, |config| config.audit.reads = AuditReads::None).await;
    let (root, alice) = (server.as_root().await, server.as_alice().await);
    // Many of them in the same moment.
    for moment in 0..13 {
        server.clock.advance(Duration::from_millis(moment % 2));
        for _ in 0..5 {
            assert_eq!(alice.delete_user(&server.root.user_id).await.reason(), ErrorReason::SuperUserRequired);
        }
    }
    let all = list(&root, ListAuditEventsRequest { page_size: 200, ..ListAuditEventsRequest::default() }).await;
    assert!(all.len() > 65, "{}", all.len());
    let times: Vec<_> = all.iter().map(|event| event.time.map(|time| (time.seconds, time.nanos))).collect();
    assert!(times.is_sorted_by(|newer, older| newer >= older));
    for page_size in [0, 1, 7] {
        let mut pages =
            root.list_audit_events(ListAuditEventsRequest { page_size, ..ListAuditEventsRequest::default() });
        let mut found = Vec::new();
        while let Some(page) = pages.next_page().await.unwrap() {
            assert!(page.len() <= if page_size == 0 { 50 } else { usize::try_from(page_size).unwrap() });
            found.extend(page);
        }
        assert_eq!(found.iter().map(place).collect::<Vec<_>>(), all.iter().map(place).collect::<Vec<_>>());
    }
}

async fn events_are_found_by_each_filter(database: Database) {
    let server = TestServer::start_with(database, |config| config.audit.reads = AuditReads::None).await;
    let login = server.log_in(&server.alice).await;
    server.clock.advance(Duration::from_secs(10));
    let (seconds, _) = server.clock.now().to_unix();
    let root = server.as_root().await;
    root.lock_user(&server.alice.user_id).await.unwrap();
    server.clock.advance(Duration::from_secs(10));
    let wrong = server.client().with_correlation_id("find-me".parse().unwrap());
    wrong.log_in("alice", &"wrong-password".into()).await.reason();

    let all = ListAuditEventsRequest::default;
    let at = |seconds| Some(Timestamp { seconds, nanos: 0 });
    let of_alice = || server.alice.user_id.clone();
    for (request, expected) in [
        (ListAuditEventsRequest { correlation_id: "find-me".into(), ..all() }, vec!["session.create"]),
        (ListAuditEventsRequest { correlation_id: "find".into(), ..all() }, vec![]),
        (
            ListAuditEventsRequest { user_id: of_alice(), ..all() },
            vec!["session.create", "user.lock", "session.create", "user.create"],
        ),
        (ListAuditEventsRequest { session_id: login.session.session_id, ..all() }, vec!["session.create"]),
        (ListAuditEventsRequest { operation: "user.lock".into(), ..all() }, vec!["user.lock"]),
        (ListAuditEventsRequest { operation: "user".into(), ..all() }, vec![]),
        (
            ListAuditEventsRequest { operation: "user.".into(), ..all() },
            vec!["user.lock", "user.create", "user.create"],
        ),
        (ListAuditEventsRequest { operation: "%.".into(), ..all() }, vec![]),
        (ListAuditEventsRequest { outcome: AuditOutcome::Refused.into(), ..all() }, vec!["session.create"]),
        (
            ListAuditEventsRequest { outcome: AuditOutcome::Ok.into(), operation: "session.".into(), ..all() },
            vec!["session.create", "session.create"],
        ),
        (
            ListAuditEventsRequest { caller: "operator".into(), ..all() },
            vec!["user.create", "user.create", "caller.create"],
        ),
        (ListAuditEventsRequest { start_time: at(seconds + 10), ..all() }, vec!["session.create"]),
        (
            ListAuditEventsRequest { start_time: at(seconds), end_time: at(seconds + 10), ..all() },
            vec!["user.lock", "session.create"],
        ),
        (ListAuditEventsRequest { start_time: at(seconds + 11), ..all() }, vec![]),
    ] {
        let shown = format!("{request:?}");
        let found = list(&root, request).await;
        let mut found: Vec<_> = found.iter().map(|event| event.operation.as_str()).collect();
        // Events of the same moment may be in chains of their own.
        found.sort_unstable();
        let mut expected = expected;
        expected.sort_unstable();
        assert_eq!(found, expected, "{shown}");
    }
    assert_eq!(root.call(ListAuditEventsRequest { outcome: 9, ..all() }).await.bad_field(), "outcome");
    let odd = Some(Timestamp { seconds: i64::MAX, nanos: 0 });
    assert_eq!(root.call(ListAuditEventsRequest { end_time: odd, ..all() }).await.bad_field(), "end_time");
}

async fn the_trail_is_read_by_super_users_only(database: Database) {
    let server = TestServer::start(database).await;
    let own = ListAuditEventsRequest { user_id: server.alice.user_id.clone(), ..ListAuditEventsRequest::default() };
    assert_eq!(server.as_alice().await.call(own).await.reason(), ErrorReason::SuperUserRequired);
    let event =
        &events(&server, AuditFilter { operation: Some("audit.list".into()), ..AuditFilter::default() }).await[0];
    assert_eq!(event.reason, "super_user_required");
}

/// Reads of somebody else and reads of oneself.
async fn read(server: &TestServer) {
    let login = server.log_in(&server.alice).await;
    let (alice, root) = (server.on_behalf_of(&login.ust), server.as_root().await);
    alice.current_user().await.unwrap();
    alice.current_session().await.unwrap();
    alice.call(ListSessionsRequest::default()).await.unwrap();
    alice.call(ListAttributesRequest::default()).await.unwrap();
    alice.get_linked_auth_list(None).await.unwrap();
    root.get_session(&login.session.session_id).await.unwrap();
    root.call(ListSessionsRequest { user_id: server.alice.user_id.clone(), ..Default::default() }).await.unwrap();
    root.get_user(&server.alice.user_id).await.unwrap();
    root.get_linked_auth_list(Some(&server.alice.user_id)).await.unwrap();
    server.client().lookup_linked_auth([Definition::AuthId(1)]).await.unwrap();
    root.call(ListAuditEventsRequest::default()).await.unwrap();
}

/// The operations of the reads that were written down, with whether they were of oneself.
async fn written(server: &TestServer) -> Vec<(String, bool)> {
    let all = events(server, AuditFilter::default()).await;
    let is_read = |operation: &str| matches!(operation.split_once('.'), Some((_, "get" | "list" | "lookup")));
    let reads = all.into_iter().filter(|event| is_read(&event.operation));
    let mut reads: Vec<_> = reads.map(|event| (event.operation, event.subject == event.target)).collect();
    reads.sort_unstable();
    reads
}

fn expected(reads: &[(&str, bool)]) -> Vec<(String, bool)> {
    let mut reads: Vec<_> = reads.iter().map(|(operation, own)| ((*operation).to_owned(), *own)).collect();
    reads.sort_unstable();
    reads
}

const OTHERS: [(&str, bool); 6] = [
    ("session.get", false),
    ("session.list", false),
    ("user.get", false),
    ("link.list", false),
    ("audit.list", false),
    // Of nobody by nobody: it has neither subject nor target.
    ("link.lookup", true),
];
const OWN: [(&str, bool); 5] =
    [("user.get", true), ("session.get", true), ("session.list", true), ("attribute.list", true), ("link.list", true)];

async fn all_reads_are_written_down(database: Database) {
    let server = TestServer::start(database).await;
    read(&server).await;
    assert_eq!(written(&server).await, expected(&[&OTHERS[..], &OWN[..]].concat()));
}

async fn reads_of_what_is_anothers_or_none_are_written_down_where_the_configuration_says_so(database: Database) {
    for (reads, all) in [(AuditReads::Others, &OTHERS[..]), (AuditReads::None, &[])] {
        let server = TestServer::start_with(database, |config| config.audit.reads = reads).await;
        read(&server).await;
        assert_eq!(written(&server).await, expected(all), "{reads:?}");
    }
}

async fn a_trail_written_by_many_at_once_is_whole(database: Database) {
    let server = TestServer::start(database).await;
    let before = server.verify_audit().await;
    let mut writing = JoinSet::new();
    for number in 0..30 {
        let (client, password) = (server.client(), server.alice.password.clone());
        writing.spawn(async move {
            if number % 3 == 0 {
                let name = format!("nobody-{number}");
                client.log_in(&name, &"wrong-password".into()).await.map(drop).unwrap_err();
            } else {
                client.log_in("alice", &password).await.map(drop).unwrap();
            }
        });
    }
    writing.join_all().await;
    assert_eq!(server.verify_audit().await, before + 30);
}

async fn a_trail_goes_on_after_a_restart(database: Database) {
    let mut server = TestServer::start(database).await;
    server.as_alice().await;
    let before = server.verify_audit().await;
    server.restart().await;
    server.as_alice().await;
    assert_eq!(server.verify_audit().await, before + 1);
}

async fn reads_are_in_the_trail_of_a_server_that_stopped_after_them(database: Database) {
    let mut server = TestServer::start(database).await;
    let alice = server.as_alice().await;
    for _ in 0..50 {
        alice.get_linked_auth_list(None).await.unwrap();
    }
    server.restart().await;
    assert_eq!(events_of(&server, "link.list").await.len(), 50);
    server.verify_audit().await;
}

async fn no_event_holds_a_secret(database: Database) {
    let server = TestServer::start(database).await;
    let login = server.log_in(&server.alice).await;
    let alice = server.on_behalf_of(&login.ust);
    let new = "a-better-password".into();
    let secret = alice.enroll_totp(&server.alice.password).await.unwrap().secret;
    let set = AttributeToSet { name: "a".into(), value: "attribute-value".into(), ..AttributeToSet::default() };
    alice.set_attributes(None, vec![set]).await.unwrap();
    let rotated = alice.rotate().await.unwrap().ust.unwrap();
    alice.change_password(&server.alice.password, &new).await.unwrap();
    server.client().log_in("a-name-typed-by-mistake", &"x-password".into()).await.reason();
    let shown = format!("{:?}", events(&server, AuditFilter::default()).await);
    assert!(shown.contains("user.change_password") && shown.contains("attribute.set"));
    let secrets = ["alice-password", "a-better-password", "x-password", "attribute-value", "a-name-typed-by-mistake"];
    for secret in secrets.into_iter().chain([secret.as_str(), login.ust.expose(), rotated.expose()]) {
        assert!(!shown.contains(secret), "{secret}");
    }
}
