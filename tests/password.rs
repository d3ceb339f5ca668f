//! Passwords: what a good one is, when it must be changed, what changes with it.

use std::time::Duration;

use futures::future::join_all;
use lanyard_client::prost_types::{FieldMask, Timestamp};
use lanyard_client::v1::create_session_request::Credential;
use lanyard_client::v1::{CreateUserRequest, PasswordCredential, UpdateUserRequest, User, WarningKind};
use lanyard_client::{Error, ErrorReason, Login, RevokeReason};
use lanyard_server::clock::Time;
use lanyard_server::model::session::AuthType;
use lanyard_server::telemetry::metrics::login::LoginOutcome;
use lanyard_tests::both_databases;
use lanyard_tests::support::answers::{MOMENT, Refused, events_of, just_before, revoked, stored_user, why_inactive};
use lanyard_tests::support::server::{Database, Person, TestServer};

both_databases!(
    a_password_that_breaks_a_rule_is_refused_wherever_it_is_set,
    a_password_is_taken_exactly_as_it_comes,
    a_password_is_changed_with_the_old_one_only,
    a_password_that_expired_is_changed_at_the_login,
    a_new_password_at_a_login_counts_only_if_the_login_is_good,
    a_new_password_at_a_login_ends_all_other_sessions,
    a_password_that_expires_soon_is_warned_of,
    a_password_that_is_set_counts_from_then_on,
    a_password_is_hashed_anew_when_hashing_costs_more,
    logins_for_which_hashing_has_no_room_are_refused_at_once_and_counted,
    zato_19_must_change_is_one_word_that_is_accepted_and_obeyed,
);

async fn log_in(server: &TestServer, person: &Person, password: &str, new_password: &str) -> Result<Login, Error> {
    let credential = PasswordCredential {
        username: person.username.clone(),
        password: password.into(),
        new_password: new_password.into(),
        ..PasswordCredential::default()
    };
    server.client().create_session(Credential::Password(credential)).await
}

fn timestamp(time: Time) -> Timestamp {
    let (seconds, nanos) = time.to_unix();
    Timestamp { seconds, nanos: i32::try_from(nanos).unwrap() }
}

async fn a_password_that_breaks_a_rule_is_refused_wherever_it_is_set(database: Database) {
    let server = TestServer::start(database).await;
    let (alice, root) = (server.as_alice().await, server.as_root().await);
    let short_in_characters = "äöüäöüä";
    for bad in ["1234567", short_in_characters, "ALICE", &"x".repeat(1025)] {
        let refusal = alice.change_password(&server.alice.password, &bad.into()).await.refusal();
        assert_eq!(refusal.reason, ErrorReason::PasswordRefused, "{refusal}");
        assert_eq!(refusal.field_violations[0].field, "new_password");
        let refusal = root.set_password(&server.alice.user_id, &bad.into(), false).await.refusal();
        assert_eq!(refusal.reason, ErrorReason::PasswordRefused);
        let refusal = log_in(&server, &server.alice, "alice-password", bad).await.refusal();
        assert_eq!(refusal.reason, ErrorReason::PasswordRefused);
        assert_eq!(refusal.field_violations[0].field, "password.new_password");
        let user = Some(User { username: "aLiCe".into(), ..User::default() });
        let request = CreateUserRequest { user, password: bad.into(), ..CreateUserRequest::default() };
        let refusal = root.create_user(request).await.refusal();
        assert_eq!(refusal.reason, ErrorReason::PasswordRefused);
        assert_eq!(refusal.field_violations[0].field, "password");
        assert!(!refusal.to_string().contains(bad), "it is not repeated");
    }
    let same = alice.change_password(&server.alice.password, &server.alice.password).await;
    assert_eq!(same.reason(), ErrorReason::PasswordRefused);
    root.set_password(&server.alice.user_id, &"x".repeat(1024).into(), false).await.unwrap();
}

async fn a_password_is_taken_exactly_as_it_comes(database: Database) {
    let server = TestServer::start_with(database, |config| config.throttle.free_failures = 50).await;
    let root = server.as_root().await;
    for password in [" spaces around ", "Ünïcödé 💥💥", "line\nbreak\0and nul", "12345678"] {
        root.set_password(&server.alice.user_id, &password.into(), false).await.unwrap();
        log_in(&server, &server.alice, password, "").await.unwrap();
        for other in [password.trim(), &password.to_uppercase(), &format!("{password} ")] {
            if other != password {
                let refused = log_in(&server, &server.alice, other, "").await;
                assert_eq!(refused.reason(), ErrorReason::LoginFailed, "{other:?}");
            }
        }
    }
}

async fn a_password_is_changed_with_the_old_one_only(database: Database) {
    let server = TestServer::start(database).await;
    let alice = server.as_alice().await;
    let new = "a-better-password".into();
    let refused = alice.change_password(&"not-my-password".into(), &new).await;
    assert_eq!(refused.reason(), ErrorReason::LoginFailed);
    assert_eq!(events_of(&server, "user.change_password").await[0].reason, "wrong_password");
    log_in(&server, &server.alice, "alice-password", "").await.unwrap();
    alice.change_password(&server.alice.password, &new).await.unwrap();
    assert_eq!(log_in(&server, &server.alice, "alice-password", "").await.reason(), ErrorReason::LoginFailed);
    log_in(&server, &server.alice, "a-better-password", "").await.unwrap();
    server.verify_audit().await;
}

async fn a_password_that_expired_is_changed_at_the_login(database: Database) {
    let max_age = Duration::from_hours(24 * 30);
    let server = TestServer::start_with(database, |config| config.password.max_age = Some(max_age)).await;
    server.clock.advance(just_before(max_age));
    log_in(&server, &server.alice, "alice-password", "").await.unwrap();
    server.clock.advance(MOMENT);
    let refused = log_in(&server, &server.alice, "alice-password", "").await;
    assert_eq!(refused.reason(), ErrorReason::PasswordChangeRequired);
    let wrong = log_in(&server, &server.alice, "wrong-password", "").await;
    assert_eq!(wrong.reason(), ErrorReason::LoginFailed, "told to who knows the password only");
    let same = log_in(&server, &server.alice, "alice-password", "alice-password").await;
    assert_eq!(same.reason(), ErrorReason::PasswordRefused);
    let login = log_in(&server, &server.alice, "alice-password", "a-better-password").await.unwrap();
    let user = server.on_behalf_of(&login.ust).current_user().await.unwrap();
    assert_eq!(user.password_expire_time, Some(timestamp(server.clock.now() + max_age)));
    log_in(&server, &server.alice, "a-better-password", "").await.unwrap();
    assert_eq!(log_in(&server, &server.alice, "alice-password", "").await.reason(), ErrorReason::LoginFailed);
}

async fn a_new_password_at_a_login_counts_only_if_the_login_is_good(database: Database) {
    let server = TestServer::start(database).await;
    let refused = log_in(&server, &server.alice, "wrong-password", "a-better-password").await;
    assert_eq!(refused.reason(), ErrorReason::LoginFailed);
    server.as_root().await.lock_user(&server.alice.user_id).await.unwrap();
    let refused = log_in(&server, &server.alice, "alice-password", "a-better-password").await;
    assert_eq!(refused.reason(), ErrorReason::LoginFailed);
    server.as_root().await.unlock_user(&server.alice.user_id).await.unwrap();
    log_in(&server, &server.alice, "alice-password", "").await.unwrap();
}

async fn a_new_password_at_a_login_ends_all_other_sessions(database: Database) {
    let server = TestServer::start(database).await;
    let other = server.log_in(&server.alice).await.ust;
    let login = log_in(&server, &server.alice, "alice-password", "a-better-password").await.unwrap();
    assert_eq!(why_inactive(&server.client(), &other).await, revoked(RevokeReason::PasswordChanged));
    server.client().verify(&login.ust).await.unwrap().into_session().unwrap();
}

async fn a_password_that_expires_soon_is_warned_of(database: Database) {
    let max_age = Duration::from_hours(24 * 30);
    let server = TestServer::start_with(database, |config| config.password.max_age = Some(max_age)).await;
    let expiry = server.clock.now() + max_age;
    server.clock.advance(just_before(max_age.saturating_sub(server.config.password.warn_before)));
    assert!(server.log_in(&server.alice).await.warnings.is_empty());
    server.clock.advance(MOMENT);
    let warnings = server.log_in(&server.alice).await.warnings;
    assert_eq!(warnings.len(), 1);
    assert_eq!((warnings[0].kind(), warnings[0].time), (WarningKind::PasswordExpiresSoon, Some(timestamp(expiry))));
    let login = log_in(&server, &server.alice, "alice-password", "a-better-password").await.unwrap();
    assert!(login.warnings.is_empty(), "it is new");
}

async fn a_password_that_is_set_counts_from_then_on(database: Database) {
    let server = TestServer::start(database).await;
    let root = server.as_root().await;
    let user = Some(User { username: "bob".into(), ..User::default() });
    let bob = root.create_user(CreateUserRequest { user, ..CreateUserRequest::default() }).await.unwrap();
    let bob = Person { user_id: bob.user_id, username: "bob".into(), password: "".into() };
    assert_eq!(log_in(&server, &bob, "bob-password", "").await.reason(), ErrorReason::LoginFailed);
    root.set_password(&bob.user_id, &"bob-password".into(), false).await.unwrap();
    log_in(&server, &bob, "bob-password", "").await.unwrap();
    assert!(root.get_user(&bob.user_id).await.unwrap().has_password);
}

async fn a_password_is_hashed_anew_when_hashing_costs_more(database: Database) {
    let mut server = TestServer::start(database).await;
    let before = stored_user(&server, &server.alice).await;
    server.config.password.iterations += 1;
    server.restart().await;
    log_in(&server, &server.alice, "alice-password", "").await.unwrap();
    let after = stored_user(&server, &server.alice).await;
    assert!(after.password_hash.as_ref().unwrap().contains("t=2"), "the cost of now");
    assert_eq!((after.version, after.updated_at), (before.version, before.updated_at), "the user is as they were");
    log_in(&server, &server.alice, "alice-password", "").await.unwrap();
    assert_eq!(stored_user(&server, &server.alice).await.password_hash, after.password_hash, "once");
}

async fn logins_for_which_hashing_has_no_room_are_refused_at_once_and_counted(database: Database) {
    let server = TestServer::start_with(database, |config| {
        // One runs for so long that those that come with it find it running, and one waits.
        (config.password.memory_kib, config.password.iterations) = (65_536, 4);
        (config.password.hash_threads, config.password.hash_queue) = (1, 1);
    })
    .await;
    let logins = join_all((0..20).map(|_| log_in(&server, &server.alice, "alice-password", ""))).await;
    let refused: Vec<Error> = logins.into_iter().filter_map(Result::err).collect();
    assert!((1..20).contains(&refused.len()), "{}", refused.len());
    for refusal in &refused {
        assert_eq!((refusal.reason, refusal.retry_after), (ErrorReason::Overloaded, Some(Duration::from_secs(1))));
    }
    let unavailable = server.app().login_metrics().logins(AuthType::Password, LoginOutcome::Unavailable);
    assert_eq!(unavailable, refused.len() as u64);
    log_in(&server, &server.alice, "alice-password", "").await.unwrap();
}

/// Zato had two names for one flag: one was rejected, the other ignored.
async fn zato_19_must_change_is_one_word_that_is_accepted_and_obeyed(database: Database) {
    let server = TestServer::start(database).await;
    let root = server.as_root().await;
    root.set_password(&server.alice.user_id, &"temporary-password".into(), true).await.unwrap();
    assert!(root.get_user(&server.alice.user_id).await.unwrap().password_must_change);
    let refused = log_in(&server, &server.alice, "temporary-password", "").await;
    assert_eq!(refused.reason(), ErrorReason::PasswordChangeRequired);
    log_in(&server, &server.alice, "temporary-password", "a-better-password").await.unwrap();
    log_in(&server, &server.alice, "a-better-password", "").await.unwrap();
    let user = User { user_id: server.alice.user_id.clone(), password_must_change: true, ..User::default() };
    let mask = FieldMask { paths: vec!["password_must_change".into()] };
    let request = UpdateUserRequest { user: Some(user), update_mask: Some(mask), ..UpdateUserRequest::default() };
    assert!(root.update_user(request).await.unwrap().password_must_change);
    let refused = log_in(&server, &server.alice, "a-better-password", "").await;
    assert_eq!(refused.reason(), ErrorReason::PasswordChangeRequired);
}
