//! Who may not log in with an external credential, what else is asked for, and what is written down.

use std::time::Duration;

use lanyard_client::prost_types::FieldMask;
use lanyard_client::v1::create_session_request::Credential;
use lanyard_client::v1::{BasicAuthCredential, CreateLinkedAuthRequest, JwtCredential, UpdateUserRequest, User};
use lanyard_client::{Client, Code, Error, ErrorReason, Login, Subject};
use lanyard_server::config::{App, Config, QuotaPolicy};
use lanyard_tests::both_databases;
use lanyard_tests::support::answers::{Refused, at, events_of, is_active};
use lanyard_tests::support::external::{BOTH, Defined, Kinds, patient, turn_definition};
use lanyard_tests::support::server::{Database, Person, TestServer};
use tokio::task::JoinSet;
use totp_rs::{Builder, Secret, Totp};

both_databases!(
    zato_06_a_link_that_is_off_logs_nobody_in,
    all_refusals_are_one_answer_and_each_has_its_reason_in_the_trail,
    a_credential_is_good_for_its_own_kind_and_definition_only,
    the_users_password_does_not_matter,
    basic_auth_asks_for_no_second_factor,
    a_token_asks_for_the_second_factor_when_a_session_begins,
    that_a_code_is_needed_is_told_to_who_has_a_good_token_only,
    a_code_works_once_whatever_it_comes_with,
    a_code_that_comes_many_times_at_once_with_other_tokens_works_once,
    wrong_codes_are_throttled_apart_from_everything_else,
    wrong_secrets_are_throttled_and_the_definition_is_free_again,
    the_quota_counts_sessions_that_begin,
    a_login_without_a_credential_is_refused,
);

/// Why the last login was refused, and whom it was about.
async fn last_reason(server: &TestServer) -> (String, Option<String>, String) {
    let event = events_of(server, "session.create").await.swap_remove(0);
    (event.reason, event.target.map(|id| id.to_string()), event.detail)
}

async fn refused(server: &TestServer, client: &Client, defined: &Defined, reason: &str) {
    let error = defined.try_to_log_in(client, &server.clock).await.refusal();
    assert_eq!((error.reason, error.code), (ErrorReason::LoginFailed, Code::Unauthenticated), "{reason}");
    let (said, _, detail) = last_reason(server).await;
    assert_eq!(said, reason);
    if reason != "definition_inactive" {
        assert!(detail.contains(&format!("\"auth_id\":{}", defined.auth_id)), "{detail}");
    }
}

async fn zato_06_a_link_that_is_off_logs_nobody_in(database: Database) {
    let server = TestServer::start(database).await;
    let root = server.as_root().await;
    for kind in BOTH {
        let defined = Defined::new(&root, kind, &format!("{kind:?}")).await;
        let request = CreateLinkedAuthRequest { is_inactive: true, ..defined.link_request(&server.alice.user_id) };
        let link = root.call(request).await.unwrap().link.unwrap();
        refused(&server, &server.client(), &defined, "link_inactive").await;
        root.update_linked_auth(&link.link_id, true).await.unwrap();
        let login = defined.log_in(&server).await;
        assert_eq!(root.update_linked_auth(&link.link_id, false).await.unwrap().revoked_count, 1);
        assert!(!is_active(&server.client(), &login.ust).await);
        refused(&server, &server.client(), &defined, "link_inactive").await;
    }
}

async fn all_refusals_are_one_answer_and_each_has_its_reason_in_the_trail(database: Database) {
    let closed = |config: &mut Config| {
        let app = App { login: false, ..config.apps["CRM"].clone() };
        config.apps.insert("closed".into(), app);
        patient(config);
    };
    let server = TestServer::start_with(database, closed).await;
    let (root, client) = (server.as_root().await, server.client());
    for kind in BOTH {
        let person = server.add_user(&format!("user-of-{kind:?}"), false).await;
        let defined = Defined::new(&root, kind, &format!("{kind:?}")).await;
        refused(&server, &client, &defined, "not_linked").await;
        defined.link(&root, &person.user_id).await;
        defined.log_in(&server).await;

        refused(&server, &client.with_client_info(at("closed", "")), &defined, "app_without_login").await;
        allow(&root, &person, &["192.0.2.0/24"]).await;
        let outside = client.with_client_info(at("", "198.51.100.1"));
        refused(&server, &outside, &defined, "address_not_allowed").await;
        let inside = client.with_client_info(at("", "192.0.2.9"));
        defined.try_to_log_in(&inside, &server.clock).await.unwrap();
        allow(&root, &person, &[]).await;

        root.lock_user(&person.user_id).await.unwrap();
        refused(&server, &client, &defined, "user_locked").await;
        let (_, target, _) = last_reason(&server).await;
        assert_eq!(target, Some(person.user_id.clone()));
        root.unlock_user(&person.user_id).await.unwrap();
        root.reject_user(&person.user_id).await.unwrap();
        refused(&server, &client, &defined, "user_rejected").await;
        root.approve_user(&person.user_id).await.unwrap();
        defined.log_in(&server).await;

        turn_definition(&root, defined.auth_id, false).await;
        refused(&server, &client, &defined, "definition_inactive").await;
        turn_definition(&root, defined.auth_id, true).await;
        defined.log_in(&server).await;
        root.delete_user(&person.user_id).await.unwrap();
        refused(&server, &client, &defined, "not_linked").await;
    }
    server.verify_audit().await;
}

async fn allow(root: &Subject, person: &Person, networks: &[&str]) {
    let networks = networks.iter().map(|network| (*network).to_owned()).collect();
    let user = User { user_id: person.user_id.clone(), allowed_networks: networks, ..User::default() };
    let mask = FieldMask { paths: vec!["allowed_networks".into()] };
    let request = UpdateUserRequest { user: Some(user), update_mask: Some(mask), ..UpdateUserRequest::default() };
    root.update_user(request).await.unwrap();
}

fn basic(username: &str, secret: &str) -> Credential {
    Credential::BasicAuth(BasicAuthCredential { username: username.into(), secret: secret.into() })
}

fn jwt(token: &str, code: &str) -> Credential {
    Credential::Jwt(JwtCredential { token: token.into(), totp_code: code.into() })
}

async fn a_credential_is_good_for_its_own_kind_and_definition_only(database: Database) {
    let server = TestServer::start_with(database, patient).await;
    let root = server.as_root().await;
    let alice = &server.alice.user_id;
    let machine = Defined::linked(&root, Kinds::BasicAuth, "machine", alice).await;
    Defined::linked(&root, Kinds::BasicAuth, "other", alice).await;
    let principal = Defined::linked(&root, Kinds::Jwt, "principal", alice).await;
    let token = principal.token(&server.clock, 0);
    let Credential::BasicAuth(BasicAuthCredential { secret, .. }) = machine.credential(&server.clock, 0) else {
        panic!("it is basic auth")
    };
    let stranger = Defined { name: "stranger".into(), ..principal.clone() }.token(&server.clock, 0);
    let forged = format!("{}.{}", token.rsplit_once('.').unwrap().0, stranger.rsplit_once('.').unwrap().1);
    for wrong in [
        basic("other", &secret),
        basic("Machine", &secret),
        basic("machine", &format!("{secret} ")),
        basic("machine", ""),
        basic("", ""),
        basic("alice", "alice-password"),
        basic("principal", &token),
        jwt(&secret, ""),
        jwt("", ""),
        jwt(&stranger, ""),
        jwt(&forged, ""),
        jwt(&format!("{token}x"), ""),
    ] {
        let refused = server.client().create_session(wrong).await;
        assert_eq!(refused.reason(), ErrorReason::LoginFailed);
        let (_, target, detail) = last_reason(&server).await;
        assert_eq!(target, None, "nobody knows who it was");
        assert!(detail.contains("\"auth_type\""), "{detail}");
    }
    server.client().create_session(basic("machine", &secret)).await.unwrap();
    server.client().create_session(jwt(&token, "123456")).await.expect("a code that nobody asked for does no harm");
}

async fn the_users_password_does_not_matter(database: Database) {
    let expiring = |config: &mut Config| {
        (config.password.max_age, config.password.warn_before) = (Some(Duration::from_hours(24)), Duration::ZERO);
    };
    let server = TestServer::start_with(database, expiring).await;
    let root = server.as_root().await;
    let mut defined = Vec::new();
    for kind in BOTH {
        defined.push(Defined::linked(&root, kind, &format!("{kind:?}"), &server.alice.user_id).await);
    }
    root.set_password(&server.alice.user_id, &"a-password-for-once".into(), true).await.unwrap();
    for defined in &defined {
        let login = defined.log_in(&server).await;
        assert!(login.warnings.is_empty());
    }
    server.clock.advance(Duration::from_hours(48));
    let expired = server.client().log_in("alice", &"a-password-for-once".into()).await;
    assert_eq!(expired.reason(), ErrorReason::PasswordChangeRequired);
    for defined in &defined {
        defined.log_in(&server).await;
    }
}

/// What the user's app shows.
struct Authenticator(Totp);

impl Authenticator {
    /// Turns the factor on; the clock is then at a step whose code was not used yet.
    async fn enable(server: &TestServer) -> Self {
        let alice = server.as_alice().await;
        let enrolled = alice.enroll_totp(&server.alice.password).await.unwrap();
        let secret = Secret::try_from_base32(&enrolled.secret).expect("base32");
        let app = Self(Builder::new().with_secret(secret).with_account_name("alice").build().expect("a good secret"));
        alice.confirm_totp(&app.code(server).into()).await.unwrap();
        server.clock.advance(Duration::from_secs(30));
        app
    }

    fn code(&self, server: &TestServer) -> String {
        self.0.generate(u64::try_from(server.clock.now().to_unix().0).unwrap()).to_string()
    }
}

async fn with_code(server: &TestServer, defined: &Defined, number: u32, code: &str) -> Result<Login, Error> {
    server.client().create_session(jwt(&defined.token(&server.clock, number), code)).await
}

async fn basic_auth_asks_for_no_second_factor(database: Database) {
    let server = TestServer::start(database).await;
    let root = server.as_root().await;
    let machine = Defined::linked(&root, Kinds::BasicAuth, "machine", &server.alice.user_id).await;
    Authenticator::enable(&server).await;
    machine.log_in(&server).await;
}

async fn a_token_asks_for_the_second_factor_when_a_session_begins(database: Database) {
    let server = TestServer::start(database).await;
    let root = server.as_root().await;
    let defined = Defined::linked(&root, Kinds::Jwt, "principal", &server.alice.user_id).await;
    let app = Authenticator::enable(&server).await;
    let refused = with_code(&server, &defined, 0, "").await.refusal();
    assert_eq!((refused.reason, refused.code), (ErrorReason::TotpRequired, Code::FailedPrecondition));
    assert_eq!(last_reason(&server).await.0, "totp_required");
    assert_eq!(with_code(&server, &defined, 0, "000000").await.reason(), ErrorReason::LoginFailed);
    assert_eq!(last_reason(&server).await.0, "wrong_totp_code");
    let login = with_code(&server, &defined, 0, &app.code(&server)).await.unwrap();
    for code in ["", "000000", &app.code(&server)] {
        let found = with_code(&server, &defined, 0, code).await.unwrap();
        assert_eq!(found.ust.expose(), login.ust.expose(), "one that is live is found without a code");
    }
    server.on_behalf_of(&login.ust).log_out().await.unwrap();
    assert_eq!(with_code(&server, &defined, 0, "").await.reason(), ErrorReason::TotpRequired, "a new one begins");
    server.clock.advance(Duration::from_secs(30));
    with_code(&server, &defined, 0, &app.code(&server)).await.unwrap();
}

async fn that_a_code_is_needed_is_told_to_who_has_a_good_token_only(database: Database) {
    let server = TestServer::start(database).await;
    let root = server.as_root().await;
    let defined = Defined::linked(&root, Kinds::Jwt, "principal", &server.alice.user_id).await;
    let app = Authenticator::enable(&server).await;
    let bad = format!("{}x", defined.token(&server.clock, 0));
    for code in ["", &app.code(&server)] {
        let refused = server.client().create_session(jwt(&bad, code)).await;
        assert_eq!(refused.reason(), ErrorReason::LoginFailed);
    }
    root.lock_user(&server.alice.user_id).await.unwrap();
    assert_eq!(with_code(&server, &defined, 0, "").await.reason(), ErrorReason::LoginFailed, "nor of a locked user");
}

async fn a_code_works_once_whatever_it_comes_with(database: Database) {
    let server = TestServer::start(database).await;
    let root = server.as_root().await;
    let defined = Defined::linked(&root, Kinds::Jwt, "principal", &server.alice.user_id).await;
    let app = Authenticator::enable(&server).await;
    let code = app.code(&server);
    with_code(&server, &defined, 1, &code).await.unwrap();
    assert_eq!(with_code(&server, &defined, 2, &code).await.reason(), ErrorReason::LoginFailed);
    let password = lanyard_client::v1::PasswordCredential {
        username: "alice".into(),
        password: "alice-password".into(),
        totp_code: code.clone(),
        ..Default::default()
    };
    let refused = server.client().create_session(Credential::Password(password.clone())).await;
    assert_eq!(refused.reason(), ErrorReason::LoginFailed);
    server.clock.advance(Duration::from_secs(30));
    let code = app.code(&server);
    let password = lanyard_client::v1::PasswordCredential { totp_code: code.clone(), ..password };
    server.client().create_session(Credential::Password(password)).await.unwrap();
    assert_eq!(
        with_code(&server, &defined, 2, &code).await.reason(),
        ErrorReason::LoginFailed,
        "nor the other way round"
    );
}

async fn a_code_that_comes_many_times_at_once_with_other_tokens_works_once(database: Database) {
    let server = TestServer::start(database).await;
    let root = server.as_root().await;
    let defined = Defined::linked(&root, Kinds::Jwt, "principal", &server.alice.user_id).await;
    let app = Authenticator::enable(&server).await;
    let code = app.code(&server);
    let mut logins = JoinSet::new();
    // Three of each token: who comes second with the same token finds the session of the first.
    for number in 0..30 {
        let (client, credential) = (server.client(), jwt(&defined.token(&server.clock, number / 3), &code));
        logins.spawn(async move { client.create_session(credential).await });
    }
    let logins = logins.join_all().await;
    let mut tokens: Vec<_> = logins.iter().flatten().map(|login| login.ust.expose()).collect();
    tokens.sort_unstable();
    tokens.dedup();
    assert_eq!(tokens.len(), 1);
    for refused in logins.into_iter().filter(Result::is_err) {
        let reason = refused.reason();
        assert!(matches!(reason, ErrorReason::LoginFailed | ErrorReason::LoginThrottled), "{reason:?}");
    }
}

async fn wrong_codes_are_throttled_apart_from_everything_else(database: Database) {
    let server = TestServer::start(database).await;
    let root = server.as_root().await;
    let defined = Defined::linked(&root, Kinds::Jwt, "principal", &server.alice.user_id).await;
    let other = Defined::linked(&root, Kinds::Jwt, "other", &server.alice.user_id).await;
    let app = Authenticator::enable(&server).await;
    let free = server.config.throttle.free_failures;
    for number in 0..free {
        assert_eq!(with_code(&server, &defined, number, "000000").await.reason(), ErrorReason::LoginFailed);
    }
    let code = app.code(&server);
    let throttled = with_code(&server, &defined, 0, &code).await.refusal();
    assert_eq!(throttled.reason, ErrorReason::LoginThrottled);
    assert!(throttled.retry_after.is_some());
    assert_eq!(last_reason(&server).await.0, "throttled");
    assert_eq!(with_code(&server, &defined, 0, "").await.reason(), ErrorReason::TotpRequired, "no guess");
    with_code(&server, &other, 0, &code).await.expect("the other definition is not hurt");
    server.clock.advance(Duration::from_mins(1));
    with_code(&server, &defined, 0, &app.code(&server)).await.expect("nobody is locked out for ever");
}

async fn wrong_secrets_are_throttled_and_the_definition_is_free_again(database: Database) {
    let server = TestServer::start(database).await;
    let root = server.as_root().await;
    let machine = Defined::linked(&root, Kinds::BasicAuth, "machine", &server.alice.user_id).await;
    let other = Defined::linked(&root, Kinds::BasicAuth, "other", &server.alice.user_id).await;
    let client = server.client();
    for _ in 0..server.config.throttle.free_failures {
        assert_eq!(client.create_session(basic("machine", "wrong secret")).await.reason(), ErrorReason::LoginFailed);
    }
    let throttled = machine.try_to_log_in(&client, &server.clock).await.refusal();
    assert_eq!(throttled.reason, ErrorReason::LoginThrottled);
    assert_eq!(last_reason(&server).await.0, "throttled");
    other.log_in(&server).await;
    server.clock.advance(throttled.retry_after.expect("how long"));
    machine.log_in(&server).await;
}

async fn the_quota_counts_sessions_that_begin(database: Database) {
    for policy in [QuotaPolicy::Deny, QuotaPolicy::DropOldest] {
        let small = |config: &mut Config| (config.session.quota, config.session.quota_policy) = (2, policy);
        let server = TestServer::start_with(database, small).await;
        let root = server.as_root().await;
        let mut defined = Vec::new();
        for name in ["one", "two", "three"] {
            defined.push(Defined::linked(&root, Kinds::BasicAuth, name, &server.alice.user_id).await);
        }
        let first = defined[0].log_in(&server).await;
        server.clock.advance(Duration::from_secs(1));
        let second = defined[1].log_in(&server).await;
        for _ in 0..3 {
            assert_eq!(defined[0].log_in(&server).await.ust.expose(), first.ust.expose());
            assert_eq!(defined[1].log_in(&server).await.ust.expose(), second.ust.expose());
        }
        let third = defined[2].try_to_log_in(&server.client(), &server.clock).await;
        if policy == QuotaPolicy::Deny {
            assert_eq!(third.reason(), ErrorReason::SessionQuotaReached);
            assert_eq!(last_reason(&server).await.0, "quota");
            assert!(is_active(&server.client(), &first.ust).await);
        } else {
            assert!(is_active(&server.client(), &third.unwrap().ust).await);
            assert!(!is_active(&server.client(), &first.ust).await, "the oldest");
            assert!(is_active(&server.client(), &second.ust).await);
        }
    }
}

async fn a_login_without_a_credential_is_refused(database: Database) {
    let server = TestServer::start(database).await;
    let request = lanyard_client::v1::CreateSessionRequest::default();
    assert_eq!(server.client().call(request).await.bad_field(), "credential");
}
