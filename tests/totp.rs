//! The second factor: enrol, confirm, log in with a code that works once, turn off.

use std::time::Duration;

use lanyard_client::v1::PasswordCredential;
use lanyard_client::v1::create_session_request::Credential;
use lanyard_client::{Error, ErrorReason, Login, RevokeReason, Subject};
use lanyard_tests::both_databases;
use lanyard_tests::support::answers::{Refused, at, events_of, is_active, revoked, stored_user, why_inactive};
use lanyard_tests::support::server::{Database, TestServer};
use tokio::task::JoinSet;
use totp_rs::{Builder, Secret, Totp};

both_databases!(
    a_second_factor_counts_once_it_is_confirmed,
    a_second_factor_is_shown_as_apps_want_it,
    enrolling_needs_the_password_and_a_factor_that_is_off,
    a_code_of_now_or_of_the_step_before_is_good_and_no_other,
    that_a_code_is_needed_is_told_to_who_knows_the_password_only,
    turning_the_factor_on_or_off_ends_all_other_sessions,
    a_factor_is_turned_off_with_the_password_or_by_a_super_user,
    wrong_codes_are_throttled,
    the_secret_is_sealed_at_rest,
    a_code_that_comes_many_times_at_once_works_once,
    zato_17_a_code_that_was_used_is_refused,
);

const STEP: Duration = Duration::from_secs(30);

/// What the user's app shows.
struct Authenticator(Totp);

impl Authenticator {
    fn new(secret: &str) -> Self {
        let secret = Secret::try_from_base32(secret).expect("base32");
        Self(Builder::new().with_secret(secret).with_account_name("alice").build().expect("a secret as apps want it"))
    }

    /// The code of now, or of another time.
    fn code_at(&self, server: &TestServer, steps: i64) -> String {
        let seconds = server.clock.now().to_unix().0 + steps * 30;
        self.0.generate(u64::try_from(seconds).unwrap()).to_string()
    }

    fn code(&self, server: &TestServer) -> String {
        self.code_at(server, 0)
    }
}

fn with_code(code: &str) -> Credential {
    with_password("alice-password", code)
}

fn with_password(password: &str, code: &str) -> Credential {
    Credential::Password(PasswordCredential {
        username: "alice".into(),
        password: password.into(),
        totp_code: code.into(),
        ..PasswordCredential::default()
    })
}

async fn log_in(server: &TestServer, password: &str, code: &str) -> Result<Login, Error> {
    server.client().create_session(with_password(password, code)).await
}

/// Turns the factor on; the clock is then at a step whose code was not used yet.
async fn enable(server: &TestServer, alice: &Subject) -> Authenticator {
    let enrolled = alice.enroll_totp(&server.alice.password).await.unwrap();
    let app = Authenticator::new(&enrolled.secret);
    alice.confirm_totp(&app.code(server).into()).await.unwrap();
    server.clock.advance(STEP);
    app
}

async fn a_second_factor_counts_once_it_is_confirmed(database: Database) {
    let server = TestServer::start(database).await;
    let alice = server.as_alice().await;
    assert_eq!(alice.confirm_totp(&"123456".into()).await.reason(), ErrorReason::TotpNotEnrolled);
    let enrolled = alice.enroll_totp(&server.alice.password).await.unwrap();
    log_in(&server, "alice-password", "").await.unwrap();
    assert!(!alice.current_user().await.unwrap().is_totp_enabled);
    assert_eq!(alice.confirm_totp(&"000000".into()).await.reason(), ErrorReason::LoginFailed);
    let app = Authenticator::new(&enrolled.secret);
    alice.confirm_totp(&app.code(&server).into()).await.unwrap();
    assert!(alice.current_user().await.unwrap().is_totp_enabled);
    assert_eq!(alice.confirm_totp(&app.code(&server).into()).await.reason(), ErrorReason::TotpAlreadyEnabled);
    server.clock.advance(STEP);
    assert_eq!(log_in(&server, "alice-password", "").await.reason(), ErrorReason::TotpRequired);
    log_in(&server, "alice-password", &app.code(&server)).await.unwrap();
    server.verify_audit().await;
}

async fn a_second_factor_is_shown_as_apps_want_it(database: Database) {
    let server = TestServer::start(database).await;
    let alice = server.as_alice().await;
    let first = alice.enroll_totp(&server.alice.password).await.unwrap();
    assert_eq!(first.secret.len(), 32, "160 bits: {}", first.secret.len());
    assert!(first.otpauth_uri.starts_with("otpauth://totp/Lanyard:alice?"));
    assert!(first.otpauth_uri.contains(&format!("secret={}", first.secret)));
    let second = alice.enroll_totp(&server.alice.password).await.unwrap();
    assert_ne!(first.secret, second.secret);
    let old = Authenticator::new(&first.secret).code(&server);
    assert_eq!(alice.confirm_totp(&old.into()).await.reason(), ErrorReason::LoginFailed, "the last one counts");
    let new = Authenticator::new(&second.secret).code(&server);
    alice.confirm_totp(&new.into()).await.unwrap();
    let odd = server.acting_for(&server.add_user("a:b/c?d&e=%41", false).await).await;
    let enrolled = odd.enroll_totp(&"a:b/c?d&e=%41-password".into()).await.unwrap();
    let code = Authenticator::new(&enrolled.secret).code(&server);
    odd.confirm_totp(&code.into()).await.unwrap();
}

async fn enrolling_needs_the_password_and_a_factor_that_is_off(database: Database) {
    let server = TestServer::start(database).await;
    let alice = server.as_alice().await;
    assert_eq!(alice.enroll_totp(&"wrong-password".into()).await.reason(), ErrorReason::LoginFailed);
    enable(&server, &alice).await;
    assert_eq!(alice.enroll_totp(&server.alice.password).await.reason(), ErrorReason::TotpAlreadyEnabled);
    let reasons: Vec<_> = events_of(&server, "user.enroll_totp").await.into_iter().map(|event| event.reason).collect();
    assert_eq!(reasons, ["", "wrong_password"], "newest first");
}

async fn a_code_of_now_or_of_the_step_before_is_good_and_no_other(database: Database) {
    let server = TestServer::start_with(database, |config| config.throttle.free_failures = 50).await;
    let app = enable(&server, &server.as_alice().await).await;
    server.clock.advance(STEP * 10);
    for steps in [-2, 1, 2, -100] {
        let refused = log_in(&server, "alice-password", &app.code_at(&server, steps)).await;
        assert_eq!(refused.reason(), ErrorReason::LoginFailed, "{steps}");
    }
    for junk in ["000000", "12345", "1234567", "abcdef", " ", &format!(" {}", app.code(&server))] {
        let refused = log_in(&server, "alice-password", junk).await;
        assert_eq!(refused.reason(), ErrorReason::LoginFailed, "{junk:?}");
    }
    assert_eq!(events_of(&server, "session.create").await[0].reason, "wrong_totp_code");
    log_in(&server, "alice-password", &app.code_at(&server, -1)).await.unwrap();
    log_in(&server, "alice-password", &app.code(&server)).await.unwrap();
}

async fn that_a_code_is_needed_is_told_to_who_knows_the_password_only(database: Database) {
    let server = TestServer::start(database).await;
    let app = enable(&server, &server.as_alice().await).await;
    for code in ["", &app.code(&server)] {
        let refused = log_in(&server, "wrong-password", code).await;
        assert_eq!(refused.reason(), ErrorReason::LoginFailed);
    }
    server.as_root().await.lock_user(&server.alice.user_id).await.unwrap();
    assert_eq!(log_in(&server, "alice-password", "").await.reason(), ErrorReason::LoginFailed);
}

async fn turning_the_factor_on_or_off_ends_all_other_sessions(database: Database) {
    let server = TestServer::start(database).await;
    let (this, other) = (server.log_in(&server.alice).await.ust, server.log_in(&server.alice).await.ust);
    let alice = server.on_behalf_of(&this);
    let app = enable(&server, &alice).await;
    let totp_changed = revoked(RevokeReason::TotpChanged);
    assert_eq!(why_inactive(&server.client(), &other).await, totp_changed);
    let other = log_in(&server, "alice-password", &app.code(&server)).await.unwrap().ust;
    assert_eq!(alice.disable_totp(&server.alice.password).await.unwrap(), 1);
    assert_eq!(why_inactive(&server.client(), &other).await, totp_changed);
    assert!(is_active(&server.client(), &this).await);
}

async fn a_factor_is_turned_off_with_the_password_or_by_a_super_user(database: Database) {
    let server = TestServer::start(database).await;
    let (alice, root) = (server.as_alice().await, server.as_root().await);
    assert_eq!(alice.disable_totp(&server.alice.password).await.reason(), ErrorReason::TotpNotEnrolled);
    assert_eq!(root.disable_totp_of(&server.alice.user_id).await.reason(), ErrorReason::TotpNotEnrolled);
    enable(&server, &alice).await;
    assert_eq!(alice.disable_totp(&"wrong-password".into()).await.reason(), ErrorReason::LoginFailed);
    assert!(alice.current_user().await.unwrap().is_totp_enabled);
    assert_eq!(root.disable_totp_of(&server.alice.user_id).await.unwrap(), 1);
    log_in(&server, "alice-password", "").await.unwrap();
    enable(&server, &server.as_alice().await).await;
    let own = server.root.user_id.clone();
    assert_eq!(root.disable_totp_of(&own).await.reason(), ErrorReason::LoginFailed, "the own one needs the password");
}

async fn wrong_codes_are_throttled(database: Database) {
    let server = TestServer::start(database).await;
    let app = enable(&server, &server.as_alice().await).await;
    // Not from where alice logged in before.
    let client = server.client().with_client_info(at("", "192.0.2.1"));
    for _ in 0..server.config.throttle.free_failures {
        let refused = client.create_session(with_code("000000")).await;
        assert_eq!(refused.reason(), ErrorReason::LoginFailed);
    }
    let refused = client.create_session(with_code(&app.code(&server))).await;
    assert_eq!(refused.reason(), ErrorReason::LoginThrottled);
}

async fn the_secret_is_sealed_at_rest(database: Database) {
    let server = TestServer::start(database).await;
    let secret = server.as_alice().await.enroll_totp(&server.alice.password).await.unwrap().secret;
    let plain = Secret::try_from_base32(&secret).unwrap();
    let row = stored_user(&server, &server.alice).await;
    let stored = row.totp_secret.unwrap();
    assert!(!stored.windows(plain.as_ref().len()).any(|window| window == plain.as_ref()));
    assert!(!stored.windows(secret.len()).any(|window| window == secret.as_bytes()));
}

async fn a_code_that_comes_many_times_at_once_works_once(database: Database) {
    let server = TestServer::start(database).await;
    let app = enable(&server, &server.as_alice().await).await;
    let mut logins = JoinSet::new();
    for _ in 0..8 {
        let (client, code) = (server.client(), app.code(&server));
        logins.spawn(async move { client.create_session(with_code(&code)).await.map_err(|error| error.reason) });
    }
    let outcomes = logins.join_all().await;
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1);
    let refusals = outcomes.iter().filter_map(|outcome| outcome.as_ref().err());
    for reason in refusals {
        assert!(matches!(reason, ErrorReason::LoginFailed | ErrorReason::LoginThrottled), "{reason:?}");
    }
}

/// In Zato a code worked again and again for as long as it was shown.
async fn zato_17_a_code_that_was_used_is_refused(database: Database) {
    let server = TestServer::start(database).await;
    let alice = server.as_alice().await;
    let enrolled = alice.enroll_totp(&server.alice.password).await.unwrap();
    let app = Authenticator::new(&enrolled.secret);
    let code = app.code(&server);
    alice.confirm_totp(&code.clone().into()).await.unwrap();
    assert_eq!(log_in(&server, "alice-password", &code).await.reason(), ErrorReason::LoginFailed, "used to confirm");
    server.clock.advance(STEP);
    let code = app.code(&server);
    log_in(&server, "alice-password", &code).await.unwrap();
    assert_eq!(log_in(&server, "alice-password", &code).await.reason(), ErrorReason::LoginFailed);
    let before = app.code_at(&server, -1);
    assert_eq!(log_in(&server, "alice-password", &before).await.reason(), ErrorReason::LoginFailed, "older than it");
    server.clock.advance(STEP);
    log_in(&server, "alice-password", &app.code(&server)).await.unwrap();
}
