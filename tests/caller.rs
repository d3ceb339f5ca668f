//! Calling services: how they prove themselves, what they may do, in which apps, for whom, how much at once.

use std::time::Duration;

use lanyard_client::secrecy::{ExposeSecret, SecretString};
use lanyard_client::v1::{
    DeleteDefinitionRequest, DeleteLinkedAuthRequest, GetPlatformAuthRequest, ListAttributesRequest,
    ListAuditEventsRequest, ListDefinitionsRequest, ListLinkedAuthRequest, ListSessionsRequest, ListUsersRequest,
    LookupLinkedAuthRequest, VerifySessionRequest,
};
use lanyard_client::{Client, Code, Error, ErrorReason, Ust};
use lanyard_server::app::caller::{CallerToCreate, operator};
use lanyard_server::model::caller::{Apps, Flags, Grant, Grants};
use lanyard_tests::both_databases;
use lanyard_tests::support::answers::{MOMENT, Refused, at, events_of, is_active, just_before};
use lanyard_tests::support::eventually;
use lanyard_tests::support::server::{Database, TestServer, all_powerful};
use tokio::task::JoinSet;

both_databases!(
    only_a_key_that_is_known_proves_a_caller,
    a_key_expires_to_the_microsecond,
    a_revoked_caller_is_out_at_once,
    a_rotated_key_works_beside_its_successor_for_the_overlap,
    a_caller_that_another_process_made_is_known_at_once,
    a_grant_opens_its_methods_and_no_other,
    a_caller_names_only_its_apps,
    a_caller_without_the_flag_does_not_act_for_super_users,
    a_caller_with_too_many_calls_under_way_is_told_when_to_come_again,
    changes_of_callers_are_in_the_audit_trail,
    a_key_does_not_stand_in_the_database,
);

async fn ask(client: &Client) -> Result<(), Error> {
    client.verify(&Ust::from("junk")).await.map(drop)
}

async fn only_a_key_that_is_known_proves_a_caller(database: Database) {
    let server = TestServer::start(database).await;
    let other = TestServer::start(Database::Sqlite).await;
    let damaged = server.key.expose_secret().chars().rev().collect::<String>();
    let ust = server.log_in(&server.alice).await.ust;
    ask(&server.client()).await.unwrap();
    for key in [other.key.expose_secret(), &damaged, "", "lyk1_", ust.expose()] {
        let refusal = ask(&server.client_of(&key.into())).await.refusal();
        assert_eq!((refusal.reason, refusal.code), (ErrorReason::CallerUnauthenticated, Code::Unauthenticated));
    }
    assert_eq!(ask(&server.client_without_key()).await.reason(), ErrorReason::CallerUnauthenticated);
}

async fn a_key_expires_to_the_microsecond(database: Database) {
    let server = TestServer::start(database).await;
    let lifetime = Duration::from_hours(1);
    let key = server.caller(CallerToCreate { key_lifetime: Some(lifetime), ..all_powerful("short") }).await;
    server.clock.advance(just_before(lifetime));
    ask(&server.client_of(&key)).await.unwrap();
    server.clock.advance(MOMENT);
    assert_eq!(ask(&server.client_of(&key)).await.reason(), ErrorReason::CallerUnauthenticated);
}

async fn a_revoked_caller_is_out_at_once(database: Database) {
    let server = TestServer::start(database).await;
    let key = server.caller(all_powerful("gone")).await;
    let client = server.client_of(&key);
    ask(&client).await.unwrap();
    let context = operator(&server.config, server.clock.now());
    server.within(|app| async move { app.revoke_caller(&context, "gone").await }).await.unwrap();
    assert_eq!(ask(&client).await.reason(), ErrorReason::CallerUnauthenticated);
    ask(&server.client()).await.unwrap();
}

async fn rotate(server: &TestServer, name: &'static str, overlap: Duration) -> SecretString {
    let context = operator(&server.config, server.clock.now());
    let lifetime = Duration::from_hours(24);
    let rotated = server.within(move |app| async move { app.rotate_caller(&context, name, lifetime, overlap).await });
    rotated.await.unwrap().expose().into()
}

async fn a_rotated_key_works_beside_its_successor_for_the_overlap(database: Database) {
    let server = TestServer::start(database).await;
    let old = server.caller(all_powerful("rotating")).await;
    let new = rotate(&server, "rotating", Duration::from_mins(10)).await;
    server.clock.advance(just_before(Duration::from_mins(10)));
    for key in [&old, &new] {
        ask(&server.client_of(key)).await.unwrap();
    }
    server.clock.advance(MOMENT);
    assert_eq!(ask(&server.client_of(&old)).await.reason(), ErrorReason::CallerUnauthenticated);
    ask(&server.client_of(&new)).await.unwrap();
    let newest = rotate(&server, "rotating", Duration::ZERO).await;
    assert_eq!(ask(&server.client_of(&new)).await.reason(), ErrorReason::CallerUnauthenticated);
    ask(&server.client_of(&newest)).await.unwrap();
}

async fn a_caller_that_another_process_made_is_known_at_once(database: Database) {
    let server = TestServer::start(database).await;
    // The command line opens the same database beside the server.
    let mut beside = server.config.clone();
    beside.cache.mode = lanyard_server::config::CacheMode::Off;
    let clock = server.clock.clone();
    let made = server.within(move |app| async move {
        use lanyard_server::{app::App, crypto::Keyring, serve::open_store};
        drop(app);
        let keyring = std::sync::Arc::new(Keyring::load(&beside.keys.file).unwrap());
        let store = open_store(&beside, std::sync::Arc::clone(&keyring), clock.clone()).await.unwrap();
        let other = App::new(&beside, store, keyring, clock.clone()).await.unwrap();
        let context = operator(&beside, clock.now());
        let (_, key) = other.create_caller(&context, all_powerful("from-beside")).await.unwrap();
        let key: SecretString = key.unwrap().expose().into();
        (other, context, key)
    });
    let (other, context, key) = made.await;
    ask(&server.client_of(&key)).await.unwrap();
    server.within(|_| async move { other.revoke_caller(&context, "from-beside").await }).await.unwrap();
    let client = server.client_of(&key);
    eventually("the revocation is seen", async || ask(&client).await.is_err()).await;
}

/// Calls a method that each grant opens, as far as its door.
async fn knock(client: &Client, grant: Grant) -> ErrorReason {
    let subject = client.on_behalf_of(&Ust::from("junk"));
    let refusal = match grant {
        Grant::SessionCreate => client.log_in("nobody", &"x".into()).await.map(drop),
        Grant::SessionVerify => client.call(VerifySessionRequest::default()).await.map(drop),
        Grant::SessionRead => subject.call(ListSessionsRequest::default()).await.map(drop),
        Grant::SessionWrite => subject.log_out().await.map(drop),
        Grant::UserRead => subject.call(ListUsersRequest::default()).await.map(drop),
        Grant::UserWrite => subject.lock_user("usr_00000000000070008000000000000000").await.map(drop),
        Grant::UserSelf => subject.current_user().await.map(drop),
        Grant::AttributeRead => subject.call(ListAttributesRequest::default()).await.map(drop),
        Grant::AttributeWrite => subject.delete_attributes(None, vec!["x".into()]).await.map(drop),
        Grant::AuditRead => subject.call(ListAuditEventsRequest::default()).await.map(drop),
        Grant::DefinitionRead => subject.call(ListDefinitionsRequest::default()).await.map(drop),
        Grant::DefinitionWrite => subject.call(DeleteDefinitionRequest::default()).await.map(drop),
        Grant::LinkRead => subject.call(ListLinkedAuthRequest::default()).await.map(drop),
        Grant::LinkWrite => subject.call(DeleteLinkedAuthRequest::default()).await.map(drop),
        Grant::LinkLookup => client.call(LookupLinkedAuthRequest::default()).await.map(drop),
        Grant::PlatformAuth => subject.call(GetPlatformAuthRequest::default()).await.map(drop),
    };
    refusal.err().map_or(ErrorReason::Unspecified, |error| error.reason)
}

async fn a_grant_opens_its_methods_and_no_other(database: Database) {
    let server = TestServer::start(database).await;
    for &grant in Grant::ALL {
        let name = format!("only-{}", grant.name());
        let key = server.caller(CallerToCreate { grants: Grants::NONE.with(grant), ..all_powerful(&name) }).await;
        let client = server.client_of(&key);
        for &other in Grant::ALL {
            let forbidden = knock(&client, other).await == ErrorReason::CallerForbidden;
            assert_eq!(forbidden, grant != other, "{grant} {other}");
        }
    }
    let key = server.caller(CallerToCreate { grants: Grants::NONE, ..all_powerful("nothing") }).await;
    let refusal = ask(&server.client_of(&key)).await.refusal();
    assert_eq!((refusal.reason, refusal.code), (ErrorReason::CallerForbidden, Code::PermissionDenied));
}

async fn a_caller_names_only_its_apps(database: Database) {
    let server = TestServer::start(database).await;
    let apps = Apps::Only(vec!["CRM".into()]);
    let key = server.caller(CallerToCreate { apps, ..all_powerful("crm") }).await;
    let client = server.client_of(&key);
    let crm = client.with_client_info(at("CRM", ""));
    let ust = crm.log_in("alice", &server.alice.password).await.unwrap().ust;
    assert!(is_active(&crm, &ust).await);
    // Whether an app is there is not told to who may not name it.
    for app in ["default", "", "no-such-app"] {
        let elsewhere = client.with_client_info(at(app, ""));
        assert_eq!(ask(&elsewhere).await.reason(), ErrorReason::CallerForbidden, "{app}");
        let acting = elsewhere.on_behalf_of(&ust).current_user().await;
        assert_eq!(acting.reason(), ErrorReason::CallerForbidden);
        let login = elsewhere.log_in("alice", &server.alice.password).await;
        assert_eq!(login.reason(), ErrorReason::CallerForbidden);
    }
}

async fn a_caller_without_the_flag_does_not_act_for_super_users(database: Database) {
    let server = TestServer::start(database).await;
    let flags = Flags { may_relay_super_users: false, ..all_powerful("").flags };
    let key = server.caller(CallerToCreate { flags, ..all_powerful("modest") }).await;
    let client = server.client_of(&key);
    let (root, alice) = (server.log_in(&server.root).await.ust, server.log_in(&server.alice).await.ust);
    assert!(is_active(&client, &root).await, "to ask is allowed");
    let as_root = client.on_behalf_of(&root);
    let refusals = [
        as_root.current_user().await.refusal(),
        as_root.log_out().await.refusal(),
        as_root.renew().await.refusal(),
        as_root.rotate().await.refusal(),
        as_root.call(ListUsersRequest::default()).await.refusal(),
        as_root.change_password(&server.root.password, &"another-password".into()).await.refusal(),
    ];
    for refusal in refusals {
        assert_eq!((refusal.reason, refusal.code), (ErrorReason::CallerForbidden, Code::PermissionDenied));
    }
    assert!(is_active(&server.client(), &root).await);
    client.on_behalf_of(&alice).rotate().await.unwrap();
}

async fn a_caller_with_too_many_calls_under_way_is_told_when_to_come_again(database: Database) {
    // Hashing that takes long, so that logins are under way together.
    let slow = |config: &mut lanyard_server::config::Config| config.password.iterations = 20_000;
    let server = TestServer::start_with(database, slow).await;
    let key = server.caller(CallerToCreate { max_in_flight: Some(2), ..all_powerful("limited") }).await;
    let mut logins = JoinSet::new();
    for _ in 0..12 {
        let client = server.client_of(&key);
        logins.spawn(async move { client.log_in("nobody", &"a-password".into()).await.map(drop).refusal() });
    }
    let refusals = logins.join_all().await;
    let limited: Vec<_> = refusals.iter().filter(|refusal| refusal.reason == ErrorReason::CallerLimited).collect();
    assert!(!limited.is_empty() && limited.len() <= 10, "{}", limited.len());
    for refusal in &refusals {
        match refusal.reason {
            ErrorReason::CallerLimited => {
                assert_eq!(refusal.code, Code::ResourceExhausted);
                assert!(refusal.retry_after.is_some_and(|wait| !wait.is_zero()));
            }
            other => assert_eq!(other, ErrorReason::LoginFailed),
        }
    }
    let client = server.client_of(&key);
    ask(&client).await.unwrap();
    let again = client.log_in("nobody", &"a-password".into()).await;
    assert_eq!(again.reason(), ErrorReason::LoginFailed, "all places were given back");
}

async fn changes_of_callers_are_in_the_audit_trail(database: Database) {
    let server = TestServer::start(database).await;
    server.caller(all_powerful("somebody")).await;
    rotate(&server, "somebody", Duration::ZERO).await;
    let context = operator(&server.config, server.clock.now());
    server.within(|app| async move { app.revoke_caller(&context, "somebody").await }).await.unwrap();
    for operation in ["caller.create", "caller.rotate", "caller.revoke"] {
        let event = &events_of(&server, operation).await[0];
        assert_eq!(event.caller, "operator");
        assert!(event.detail.contains(r#""caller":"somebody""#), "{}", event.detail);
    }
    server.verify_audit().await;
}

async fn a_key_does_not_stand_in_the_database(database: Database) {
    let server = TestServer::start(database).await;
    let known = server.within(|app| async move { app.list_callers().await.unwrap() }).await;
    assert_eq!(known.len(), 1);
    let random_part = &server.key.expose_secret()["lyk1_".len()..];
    assert!(!format!("{known:?}").contains(random_part));
    for file in ["lanyard.db", "lanyard.db-wal", "keys.json"] {
        let bytes = std::fs::read(server.folder().join(file)).unwrap_or_default();
        assert!(!bytes.windows(20).any(|window| window == &random_part.as_bytes()[..20]), "{file}");
    }
}
