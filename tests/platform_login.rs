//! Logging in with the credential of a platform: whom the platform vouches for, who that is here, and what an answer that is not a
//! plain yes comes to.

use std::time::Duration;

use lanyard_client::v1::create_session_request::Credential;
use lanyard_client::v1::{CreateSessionRequest, PlatformCredential};
use lanyard_client::{Code, Error, ErrorReason, RetryPolicy};
use lanyard_server::config::{Platform, PlatformUsers};
use lanyard_tests::support::answers::{Refused, events_of};
use lanyard_tests::support::certificates::Authority;
use lanyard_tests::support::micetro::{ALICE, BOB, CAROL, FakeMicetro, Fault, Injection, Refusal, ZOE};
use lanyard_tests::support::platform::{OnPlatform, PLATFORM, auth, basic, credential, over_tls, with_platform};
use lanyard_tests::support::server::{Database, TestServer};
use lanyard_tests::{any_database, both_databases};
use tokio::task::JoinSet;
use totp_rs::{Builder, Secret};

both_databases!(
    a_platform_that_says_yes_makes_a_session,
    one_refusal_stands_for_all_causes_and_leaves_nothing_behind,
    a_user_is_made_at_the_first_login_where_the_platform_may,
    a_super_user_logs_in_through_a_platform_only_where_it_may,
    a_second_factor_here_is_asked_for_after_the_password_there,
    many_at_once_have_a_session_each,
);
any_database!(
    with_basic_nothing_is_opened_and_the_password_is_what_the_platform_is_called_with,
    who_has_no_role_with_the_prefix_is_told_so,
    who_may_do_nothing_on_the_platform_is_told_so,
    a_platform_is_found_by_its_name_and_its_aliases_and_by_nothing_else,
    failures_are_throttled_by_name_and_apart_from_those_of_passwords_here,
    what_can_be_nobodys_is_refused_without_asking,
    each_answer_that_is_no_plain_yes_is_refused_with_its_reason,
    each_answer_to_basic_that_is_no_plain_yes_is_refused_with_its_reason,
    a_platform_that_is_away_or_silent_is_told_within_its_time,
    what_passes_is_asked_again_and_a_login_is_never_sent_twice,
    a_redirect_is_not_followed,
    a_platform_is_believed_over_tls_only_if_its_authority_is_trusted,
    who_gives_up_waiting_leaves_no_session_on_the_platform,
    a_version_that_cannot_be_read_keeps_nobody_out,
);

async fn a_platform_that_says_yes_makes_a_session(database: Database) {
    let on = OnPlatform::start(database).await;
    let login = on.log_in().await;
    assert_eq!(login.session.user_id, on.server.alice.user_id);
    assert_eq!(login.session.auth_type(), lanyard_client::v1::AuthType::Platform);
    let event = events_of(&on.server, "session.create").await.remove(0);
    assert_eq!((event.reason.as_str(), event.session.unwrap().to_string()), ("", login.session.session_id.clone()));
    assert!(event.detail.contains(r#""platform":"micetro""#), "{}", event.detail);
    assert_eq!(on.micetro.sessions_of("alice"), 1, "it stays open");

    let seen = on.micetro.seen();
    let asked: Vec<(String, String)> = seen.iter().map(|seen| (seen.method.clone(), seen.target())).collect();
    for expected in [("POST", "/micetro/sessions"), ("GET", "/users/."), ("GET", "/command/web_getPreLoginInfo")] {
        assert!(asked.contains(&(expected.0.to_owned(), expected.1.to_owned())), "{asked:?}");
    }
    assert_eq!(asked.len(), 3, "{asked:?}");
    for seen in seen {
        let is_bearer = seen.authorization().is_some_and(|value| value.starts_with("Bearer "));
        assert_eq!(is_bearer, seen.target() == "/users/.", "{}", seen.target());
        assert_eq!(seen.header("accept-encoding"), Some("identity"), "nothing that is packed is unpacked");
    }
    // A name that is not ASCII, and a password with a colon.
    on.server.add_user(ZOE.0, false).await;
    assert_eq!(on.try_log_in(ZOE).await.unwrap().session.username, ZOE.0);
}

async fn with_basic_nothing_is_opened_and_the_password_is_what_the_platform_is_called_with(database: Database) {
    let on = OnPlatform::start_with(database, basic).await;
    on.log_in().await;
    assert_eq!(on.micetro.sessions_of("alice"), 0);
    assert!(on.micetro.seen().iter().all(|seen| seen.method == "GET"));
    on.server.add_user(ZOE.0, false).await;
    on.try_log_in(ZOE).await.unwrap();
    let with_colon = credential(("a:b", "x"));
    assert_eq!(on.refused(with_colon).await.0.reason, ErrorReason::LoginFailed);
}

/// Reason, code, text and details of a refusal.
fn told(error: &Error) -> (ErrorReason, Code, String, Option<Duration>, Option<i64>) {
    (error.reason, error.code, error.message.clone(), error.retry_after, error.upstream_code)
}

async fn one_refusal_stands_for_all_causes_and_leaves_nothing_behind(database: Database) {
    let on = OnPlatform::start(database).await;
    let (wrong, reason) = on.refused(credential(("alice", "not it"))).await;
    assert_eq!((wrong.reason, wrong.code), (ErrorReason::LoginFailed, Code::Unauthenticated));
    assert_eq!(reason, "platform_refused");
    assert!(events_of(&on.server, "session.create").await[0].detail.contains(r#""upstream_code":16394"#));
    let mut refusals = vec![on.refused(credential(("nobody", "x"))).await];
    // Known there, and not here.
    refusals.push(on.refused(credential(CAROL)).await);
    let root = on.server.as_root().await;
    root.lock_user(&on.server.alice.user_id).await.unwrap();
    refusals.push(on.refused(credential(ALICE)).await);
    root.unlock_user(&on.server.alice.user_id).await.unwrap();
    root.reject_user(&on.server.alice.user_id).await.unwrap();
    refusals.push(on.refused(credential(ALICE)).await);
    let reasons: Vec<&str> = refusals.iter().map(|(_, reason)| reason.as_str()).collect();
    assert_eq!(reasons, ["platform_refused", "unknown_user", "user_locked", "user_rejected"]);
    for (refusal, reason) in &refusals {
        assert_eq!(told(refusal), told(&wrong), "{reason}");
    }
    assert_eq!(on.session_count().await, 0);
    // What the platform had opened meanwhile is closed again.
    on.has_upstream_sessions("alice", 0).await;
    on.has_upstream_sessions("carol", 0).await;
}

async fn a_user_is_made_at_the_first_login_where_the_platform_may(database: Database) {
    let create = |platform: &mut Platform| platform.users = PlatformUsers::Create;
    let on = OnPlatform::start_with(database, create).await;
    let mut logins = JoinSet::new();
    for _ in 0..4 {
        let client = on.server.client();
        logins.spawn(async move { client.create_session(Credential::Platform(credential(ZOE))).await });
    }
    let made: Vec<_> = logins.join_all().await.into_iter().map(|login| login.unwrap().session).collect();
    assert!(made.iter().all(|session| session.user_id == made[0].user_id), "they are made once");
    let created = events_of(&on.server, "user.create").await;
    let of_zoe = |event: &&lanyard_server::model::audit::StoredAuditEvent| event.detail.contains("\"platform\"");
    assert_eq!(created.iter().filter(of_zoe).count(), 1);
    let user = on.server.as_root().await.get_user(&made[0].user_id).await.unwrap();
    assert_eq!((user.username.as_str(), user.has_password), (ZOE.0, false));
    assert!(!user.is_super_user);
    // Who was there before stays who they are.
    assert_eq!(on.log_in().await.session.user_id, on.server.alice.user_id);
}

async fn a_super_user_logs_in_through_a_platform_only_where_it_may(database: Database) {
    for super_users in [false, true] {
        let on = OnPlatform::start_with(database, |platform| platform.super_users = super_users).await;
        on.micetro.add_account(lanyard_tests::support::micetro::Account {
            name: "root".to_owned(),
            password: "root-of-the-platform".to_owned(),
            full_name: String::new(),
            access: lanyard_tests::support::micetro::Access::Read,
            roles: vec!["GW_all".to_owned()],
            groups: Vec::new(),
        });
        let who = ("root", "root-of-the-platform");
        if super_users {
            assert_eq!(on.try_log_in(who).await.unwrap().session.user_id, on.server.root.user_id);
        } else {
            let (refusal, reason) = on.refused(credential(who)).await;
            assert_eq!((refusal.reason, reason.as_str()), (ErrorReason::LoginFailed, "super_user"));
        }
    }
}

async fn a_second_factor_here_is_asked_for_after_the_password_there(database: Database) {
    let on = OnPlatform::start(database).await;
    let alice = on.server.as_alice().await;
    let enrolled = alice.enroll_totp(&on.server.alice.password).await.unwrap();
    let secret = Secret::try_from_base32(&enrolled.secret).expect("base32");
    let app = Builder::new().with_secret(secret).with_account_name("alice").build().expect("a good secret");
    let code = || app.generate(u64::try_from(on.server.clock.now().to_unix().0).unwrap()).to_string();
    alice.confirm_totp(&code().into()).await.unwrap();
    on.server.clock.advance(Duration::from_mins(1));
    on.micetro.clock.advance(Duration::from_mins(1));
    assert_eq!(on.refused(credential(("alice", "not it"))).await.0.reason, ErrorReason::LoginFailed);
    let (refusal, reason) = on.refused(credential(ALICE)).await;
    assert_eq!((refusal.reason, reason.as_str()), (ErrorReason::TotpRequired, "totp_required"));
    let with = |code: String| PlatformCredential { totp_code: code, ..credential(ALICE) };
    let (refusal, reason) = on.refused(with("000000".to_owned())).await;
    assert_eq!((refusal.reason, reason.as_str()), (ErrorReason::LoginFailed, "wrong_totp_code"));
    let good = code();
    on.log_in_with(with(good.clone())).await.unwrap();
    let (refusal, _) = on.refused(with(good)).await;
    assert_eq!(refusal.reason, ErrorReason::LoginFailed, "a code works once");
    on.has_upstream_sessions("alice", 1).await;
}

async fn many_at_once_have_a_session_each(database: Database) {
    let on = OnPlatform::start(database).await;
    let mut logins = JoinSet::new();
    for _ in 0..8 {
        let client = on.server.client();
        logins.spawn(async move { client.create_session(Credential::Platform(credential(ALICE))).await });
    }
    let mut sessions: Vec<_> =
        logins.join_all().await.into_iter().map(|login| login.unwrap().session.session_id).collect();
    sessions.sort();
    sessions.dedup();
    assert_eq!((sessions.len(), on.session_count().await, on.micetro.sessions_of("alice")), (8, 8, 8));
}

async fn who_has_no_role_with_the_prefix_is_told_so(database: Database) {
    let on = OnPlatform::start(database).await;
    on.server.add_user(BOB.0, false).await;
    let (refusal, reason) = on.refused(credential(BOB)).await;
    assert_eq!((refusal.reason, refusal.code), (ErrorReason::PlatformRoleMissing, Code::PermissionDenied));
    assert_eq!(reason, "platform_role_missing");
    let (wrong, _) = on.refused(credential((BOB.0, "not it"))).await;
    assert_eq!(wrong.reason, ErrorReason::LoginFailed, "roles are nobody else's business");
    on.has_upstream_sessions("bob", 0).await;
    on.micetro.give_roles("bob", &["gw_all", "GW"]);
    assert_eq!(on.refused(credential(BOB)).await.0.reason, ErrorReason::PlatformRoleMissing);
    on.micetro.give_roles("bob", &["GW_guests"]);
    assert_eq!(on.try_log_in(BOB).await.unwrap().session.groups, ["guests"]);

    let on = OnPlatform::start_with(database, |platform| platform.required_role_prefix.clear()).await;
    on.server.add_user(BOB.0, false).await;
    assert_eq!(on.try_log_in(BOB).await.unwrap().session.groups, ["Readers"]);
}

async fn who_may_do_nothing_on_the_platform_is_told_so(database: Database) {
    let on = OnPlatform::start_with(database, basic).await;
    on.server.add_user(CAROL.0, false).await;
    let (refusal, reason) = on.refused(credential(CAROL)).await;
    assert_eq!((refusal.reason, refusal.code), (ErrorReason::PlatformAccessDenied, Code::PermissionDenied));
    assert_eq!((refusal.upstream_code, reason.as_str()), (Some(1028), "platform_access_denied"));
    assert_eq!(on.refused(credential((CAROL.0, "not it"))).await.0.reason, ErrorReason::LoginFailed);
}

async fn a_platform_is_found_by_its_name_and_its_aliases_and_by_nothing_else(database: Database) {
    let on = OnPlatform::start_with(database, |platform| platform.aliases = vec!["ipam".to_owned()]).await;
    let named = |name: &str| PlatformCredential { platform: name.to_owned(), ..credential(ALICE) };
    for name in [PLATFORM, "ipam"] {
        assert_eq!(on.log_in_with(named(name)).await.unwrap().session.platform, PLATFORM);
    }
    on.micetro.forget_seen();
    let url = on.micetro.url();
    for name in ["", "Micetro", "other", "micetro\0", &url] {
        let refusal = on.log_in_with(named(name)).await.refusal();
        assert_eq!((refusal.reason, refusal.code), (ErrorReason::PlatformUnknown, Code::InvalidArgument), "{name:?}");
        assert_eq!(refusal.field_violations[0].field, "platform.platform");
    }
    assert!(on.micetro.seen().is_empty());
}

async fn failures_are_throttled_by_name_and_apart_from_those_of_passwords_here(database: Database) {
    let micetro = FakeMicetro::start();
    let platform = Platform::at(&micetro.url());
    let change = |config: &mut lanyard_server::config::Config| {
        with_platform(config, platform);
        config.throttle.free_failures = 3;
    };
    let server = TestServer::start_with(database, change).await;
    let on = OnPlatform { server, micetro };
    for _ in 0..3 {
        assert_eq!(on.refused(credential(("alice", "not it"))).await.0.reason, ErrorReason::LoginFailed);
    }
    on.refused(credential(("ALICE", "not it"))).await;
    on.micetro.forget_seen();
    let (refusal, reason) = on.refused(credential(ALICE)).await;
    assert_eq!((refusal.reason, reason.as_str()), (ErrorReason::LoginThrottled, "throttled"));
    assert!(refusal.retry_after.is_some() && on.micetro.seen().is_empty(), "the platform is spared");
    on.server.log_in(&on.server.alice).await;
    on.server.clock.advance(Duration::from_mins(1));
    on.log_in().await;
    // What is no answer about the password is no failure of the user's.
    on.micetro.fails(Injection::new(Fault::Html(502)));
    for _ in 0..5 {
        assert_eq!(on.try_log_in(ALICE).await.reason(), ErrorReason::PlatformUnavailable);
    }
    on.micetro.recovers();
    on.log_in().await;
}

async fn what_can_be_nobodys_is_refused_without_asking(database: Database) {
    let on = OnPlatform::start(database).await;
    let long = "x".repeat(1025);
    for who in [("", "x"), ("alice", ""), (&long[..129], "x"), ("alice", &long), ("a\nb", "x"), ("a\0b", "x")] {
        let (refusal, reason) = on.refused(credential(who)).await;
        assert_eq!((refusal.reason, reason.as_str()), (ErrorReason::LoginFailed, "platform_refused"), "{who:?}");
    }
    for unique_name in [&long[..129], "a\nb"] {
        let credential = PlatformCredential { unique_name: unique_name.to_owned(), ..credential(ALICE) };
        assert_eq!(on.log_in_with(credential).await.bad_field(), "platform.unique_name");
    }
    assert!(on.micetro.seen().is_empty());
}

/// What a login comes to, for each way in which Micetro may answer it.
fn ways() -> Vec<(Fault, ErrorReason, Code, Option<i64>)> {
    use ErrorReason as Reason;

    let refusal = |refusal: Refusal| Fault::Refuse(refusal);
    let (unavailable, invalid) = ((Reason::PlatformUnavailable, Code::Unavailable), Code::Internal);
    vec![
        (refusal(Refusal::wrong_password()), Reason::LoginFailed, Code::Unauthenticated, None),
        (refusal(Refusal::no_session()), Reason::LoginFailed, Code::Unauthenticated, None),
        (refusal(Refusal::session_not_valid()), Reason::LoginFailed, Code::Unauthenticated, None),
        (refusal(Refusal::new(401, 773, "x")), Reason::LoginFailed, Code::Unauthenticated, None),
        (refusal(Refusal::wrong_password().with_status(403)), Reason::LoginFailed, Code::Unauthenticated, None),
        (refusal(Refusal::no_access()), Reason::PlatformAccessDenied, Code::PermissionDenied, Some(1028)),
        (refusal(Refusal::standby()), unavailable.0, unavailable.1, Some(1037)),
        (refusal(Refusal::standby().with_status(503)), unavailable.0, unavailable.1, Some(1037)),
        (refusal(Refusal::no_central()), unavailable.0, unavailable.1, Some(515)),
        (refusal(Refusal::too_many_connections()), Reason::PlatformBusy, Code::ResourceExhausted, Some(0)),
        (refusal(Refusal::no_object("x/1")), Reason::PlatformAnswerInvalid, invalid, Some(2049)),
        (refusal(Refusal::not_found("x")), Reason::PlatformAnswerInvalid, invalid, Some(16544)),
        (refusal(Refusal::new(400, 265, "x")), Reason::PlatformAnswerInvalid, invalid, Some(265)),
        (Fault::Html(502), unavailable.0, unavailable.1, None),
        (Fault::Html(503), unavailable.0, unavailable.1, None),
        (Fault::Html(200), Reason::PlatformAnswerInvalid, invalid, None),
        (Fault::Html(404), Reason::PlatformAnswerInvalid, invalid, None),
        (Fault::ErrorWithoutError(400), Reason::PlatformAnswerInvalid, invalid, None),
        (Fault::ErrorWithoutError(500), unavailable.0, unavailable.1, None),
        (Fault::Status(202), Reason::PlatformAnswerInvalid, invalid, None),
        (Fault::Status(204), Reason::PlatformAnswerInvalid, invalid, None),
        (Fault::BrokenJson, Reason::PlatformAnswerInvalid, invalid, None),
        (Fault::EmptyBody, Reason::PlatformAnswerInvalid, invalid, None),
        (Fault::Text, Reason::PlatformAnswerInvalid, invalid, None),
        (Fault::Huge(70_000), Reason::PlatformAnswerInvalid, invalid, None),
        (Fault::Endless, Reason::PlatformAnswerInvalid, invalid, None),
        (Fault::Dropped, unavailable.0, unavailable.1, None),
    ]
}

async fn refuses_each_way(on: &OnPlatform, path: &str) {
    for (fault, reason, code, upstream_code) in ways() {
        let what = format!("{fault:?} at {path}");
        on.micetro.fails(Injection::new(fault).at(path));
        let refusal = on.try_log_in(ALICE).await.refusal();
        assert_eq!((refusal.reason, refusal.code), (reason, code), "{what}: {refusal}");
        assert_eq!(refusal.upstream_code, upstream_code, "{what}");
        let is_to_wait = [ErrorReason::PlatformUnavailable, ErrorReason::PlatformBusy].contains(&reason);
        assert_eq!(refusal.retry_after.is_some(), is_to_wait, "{what}");
        assert_eq!(on.session_count().await, 0, "{what}");
        on.micetro.recovers();
    }
}

fn impatient(platform: &mut Platform) {
    platform.max_attempts = 1;
    platform.max_response_bytes = 64 * 1024;
}

async fn each_answer_that_is_no_plain_yes_is_refused_with_its_reason(database: Database) {
    let on = OnPlatform::start_with(database, impatient).await;
    refuses_each_way(&on, "/micetro/sessions").await;
    // Some of these made a session there that nobody here was told.
    on.micetro.end_sessions();
    refuses_each_way(&on, "/users/.").await;
    on.has_upstream_sessions("alice", 0).await;
    // Without a type the body decides.
    on.micetro.fails(Injection::new(Fault::NoContentType));
    on.log_in().await;
}

async fn each_answer_to_basic_that_is_no_plain_yes_is_refused_with_its_reason(database: Database) {
    let change = |platform: &mut Platform| {
        basic(platform);
        impatient(platform);
    };
    let on = OnPlatform::start_with(database, change).await;
    refuses_each_way(&on, "/addressSpaces").await;
    on.micetro.behaves(|behaviour| behaviour.basic = false);
    assert_eq!(on.try_log_in(ALICE).await.reason(), ErrorReason::LoginFailed);
}

async fn a_platform_that_is_away_or_silent_is_told_within_its_time(database: Database) {
    let quick = |platform: &mut Platform| {
        (platform.timeout, platform.connect_timeout) = (Duration::from_millis(900), Duration::from_millis(500));
    };
    let mut on = OnPlatform::start_with(database, quick).await;
    for fault in [Fault::Silence, Fault::Trickle] {
        for path in ["/micetro/sessions", "/users/."] {
            on.micetro.fails(Injection::new(fault.clone()).at(path));
            let began = tokio::time::Instant::now();
            let refusal = on.try_log_in(ALICE).await.refusal();
            assert_eq!(refusal.reason, ErrorReason::PlatformUnavailable, "{fault:?} at {path}");
            assert!(refusal.message.contains("in time"), "{refusal}");
            assert!(began.elapsed() < Duration::from_secs(10), "the call's own deadline is further away");
            on.micetro.recovers();
        }
    }
    on.micetro.goes_down(0);
    let refusal = on.try_log_in(ALICE).await.refusal();
    assert_eq!((refusal.reason, refusal.upstream_code), (ErrorReason::PlatformUnavailable, None));
    assert!(refusal.message.contains("reached"), "{refusal}");
    assert_eq!(on.session_count().await, 0);
    on.micetro.comes_back(0);
    on.log_in().await;
}

async fn what_passes_is_asked_again_and_a_login_is_never_sent_twice(database: Database) {
    let on = OnPlatform::start(database).await;
    for refusal in [Refusal::standby(), Refusal::too_many_connections()] {
        on.micetro.forget_seen();
        on.micetro.fails(Injection::new(Fault::Refuse(refusal.clone())).at("/users/.").times(2));
        on.log_in().await;
        let asked = on.micetro.seen();
        assert_eq!(asked.iter().filter(|seen| seen.target() == "/users/.").count(), 3);
        assert_eq!(asked.iter().filter(|seen| seen.method == "POST").count(), 1);
        on.micetro.recovers();

        on.micetro.forget_seen();
        on.micetro.fails(Injection::new(Fault::Refuse(refusal)).on("POST"));
        on.try_log_in(ALICE).await.refusal();
        assert_eq!(on.micetro.seen().iter().filter(|seen| seen.method == "POST").count(), 1);
        on.micetro.recovers();
    }
    on.micetro.behaves(|behaviour| behaviour.connection_cap = Some(0));
    assert_eq!(on.try_log_in(ALICE).await.reason(), ErrorReason::PlatformBusy);
}

async fn a_redirect_is_not_followed(database: Database) {
    let elsewhere = FakeMicetro::start();
    for change in [basic as fn(&mut Platform), |_: &mut Platform| {}] {
        let on = OnPlatform::start_with(database, change).await;
        for to in [elsewhere.url(), on.micetro.url()] {
            on.micetro.fails(Injection::new(Fault::Redirect(to)));
            let refusal = on.try_log_in(ALICE).await.refusal();
            assert_eq!(refusal.reason, ErrorReason::PlatformAnswerInvalid);
            assert!(refusal.message.contains("redirects"), "{refusal}");
            on.micetro.recovers();
        }
    }
    assert!(elsewhere.seen().is_empty(), "no credential goes where nobody said that it may");
}

async fn a_platform_is_believed_over_tls_only_if_its_authority_is_trusted(database: Database) {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let folder = tempfile::tempdir().unwrap();
    for (trusted, is_good) in [(&authority, true), (&stranger, false)] {
        let file = folder.path().join("ca.pem");
        // What else may stand in such a file is not passed on.
        let identity = stranger.server();
        std::fs::write(&file, format!("{}\n{}", trusted.certificate(), identity.key)).unwrap();
        let change = |platform: &mut Platform| {
            platform.ca_file = Some(file);
            platform.max_attempts = 1;
        };
        let on = OnPlatform::start_at(database, over_tls(authority.server()), change).await;
        if !is_good {
            let refusal = on.try_log_in(ALICE).await.refusal();
            assert_eq!(refusal.reason, ErrorReason::PlatformUnavailable);
            assert!(on.micetro.seen().is_empty());
            continue;
        }
        let (_, alice) = on.as_alice().await;
        let settings = auth(&alice, false).await.unwrap().settings.unwrap();
        let certificate = authority.certificate();
        assert_eq!(settings.ca_certificates.replace("\r\n", "\n").trim(), certificate.replace("\r\n", "\n").trim());
    }
    // The authorities of the system do not vouch for it.
    let on = OnPlatform::start_at(database, over_tls(authority.server()), |platform| platform.max_attempts = 1).await;
    assert_eq!(on.try_log_in(ALICE).await.reason(), ErrorReason::PlatformUnavailable);
}

async fn who_gives_up_waiting_leaves_no_session_on_the_platform(database: Database) {
    let on = OnPlatform::start_with(database, |platform| {
        (platform.timeout, platform.connect_timeout) = (Duration::from_millis(1500), Duration::from_secs(1));
    })
    .await;
    // The session is there, and who it is of is not said: long enough for the caller to go away.
    on.micetro.fails(Injection::new(Fault::Trickle).at("/users/."));
    let request = CreateSessionRequest { credential: Some(Credential::Platform(credential(ALICE))), client: None };
    let hasty = lanyard_client::Client::builder(on.server.url())
        .api_key(on.server.key.clone())
        .deadline(Duration::from_millis(300))
        .retry(RetryPolicy::never())
        .connect_lazy()
        .unwrap();
    assert_eq!(hasty.call(request).await.refusal().code, Code::DeadlineExceeded);
    on.has_upstream_sessions("alice", 1).await;
    on.has_upstream_sessions("alice", 0).await;
    assert_eq!(on.session_count().await, 0);
}

async fn a_version_that_cannot_be_read_keeps_nobody_out(database: Database) {
    let on = OnPlatform::start_with(database, |platform| platform.timeout = Duration::from_secs(2)).await;
    for (said, read) in [
        (Some("26.1.0"), Some("26.1.0")),
        (Some("11.1.0"), Some("11.1.0")),
        (Some("26.1.0.4711"), Some("26.1.0")),
        (Some("26.1.0-rc1"), Some("26.1.0")),
        (Some("the newest"), None),
        (None, None),
    ] {
        on.micetro.behaves(|behaviour| behaviour.version = said.map(str::to_owned));
        let session = on.log_in().await.session;
        assert_eq!(session.authentication_version.as_deref(), read, "{said:?}");
    }
    for fault in [Fault::Html(502), Fault::BrokenJson, Fault::Silence, Fault::Refuse(Refusal::standby())] {
        on.micetro.fails(Injection::new(fault).at("/command"));
        assert_eq!(on.log_in().await.session.authentication_version, None);
        on.micetro.recovers();
    }
}
