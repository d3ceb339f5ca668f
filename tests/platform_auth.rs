//! The credential of a platform: to whom it is handed out, what becomes of one that the platform refuses, how it rests, and that it goes
//! with its session.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use lanyard_client::v1::{GetPlatformAuthResponse, PlatformAuthScheme};
use lanyard_client::{Code, ErrorReason, Login, RevokeReason, Subject};
use lanyard_server::app::caller::CallerToCreate;
use lanyard_server::clock::Clock;
use lanyard_server::config::{AuditReads, Platform};
use lanyard_server::crypto::{KeyPurpose, Keyring};
use lanyard_server::model::caller::{Grant, Grants};
use lanyard_server::model::id::CallerId;
use lanyard_tests::support::answers::{Refused, events_of, is_active, revoked, why_inactive};
use lanyard_tests::support::eventually;
use lanyard_tests::support::http;
use lanyard_tests::support::micetro::{ALICE, Fault, Injection, Refusal};
use lanyard_tests::support::platform::{OnPlatform, PLATFORM, auth, basic};
use lanyard_tests::support::server::{Database, all_powerful};
use lanyard_tests::{any_database, both_databases};

both_databases!(
    the_credential_is_handed_out_with_an_event_each_time,
    a_credential_that_the_platform_refuses_ends_its_session,
    a_session_is_logged_in_anew_only_where_the_password_may_be_kept,
    a_credential_rests_sealed_and_goes_with_its_session_however_that_ends,
    a_credential_goes_with_a_session_that_expires,
    a_sealed_credential_that_was_moved_does_not_open,
    credentials_are_sealed_anew_under_a_new_key,
);
any_database!(
    in_bearer_mode_nobody_is_given_the_password,
    it_takes_a_grant_of_its_own,
    who_is_on_no_platform_is_told_so,
    what_was_refused_and_is_good_again_is_handed_out_again,
    many_who_were_refused_at_once_are_all_helped,
    what_a_client_needs_to_call_the_platform_comes_along,
    revoking_is_told_to_the_platform_and_never_waits_for_it,
);

async fn authorization(subject: &Subject) -> GetPlatformAuthResponse {
    auth(subject, false).await.unwrap()
}

/// What the platform answers to who calls it with a credential.
async fn calls(on: &OnPlatform, credential: &str) -> u16 {
    http::get(&format!("{}/mmws/api/v2/dnsServers", on.micetro.url()), &[("authorization", credential)])
        .await
        .status
        .as_u16()
}

async fn the_credential_is_handed_out_with_an_event_each_time(database: Database) {
    let on = OnPlatform::start(database).await;
    let (login, alice) = on.as_alice().await;
    let handed = authorization(&alice).await;
    assert_eq!((handed.scheme(), handed.platform.as_str()), (PlatformAuthScheme::Bearer, PLATFORM));
    assert!(handed.micetro_auth.starts_with("Bearer ") && handed.micetro_url == on.micetro.url());
    assert_eq!(calls(&on, &handed.micetro_auth).await, 200);
    assert_eq!(authorization(&alice).await.micetro_auth, handed.micetro_auth);
    let events = events_of(&on.server, "platform.auth").await;
    assert_eq!(events.len(), 2);
    for event in events {
        let (subject, session) = (event.subject.unwrap().to_string(), event.session.unwrap().to_string());
        assert_eq!((subject, session), (on.server.alice.user_id.clone(), login.session.session_id.clone()));
        assert_eq!((event.caller.as_str(), event.reason.as_str()), ("tests", ""));
        assert!(event.detail.contains(r#""scheme":"bearer""#), "{}", event.detail);
        assert!(!event.detail.contains(handed.micetro_auth.trim_start_matches("Bearer ")));
    }
    // The new token of a session is for the same session of the platform.
    let rotated = alice.rotate().await.unwrap().ust.unwrap();
    let again = authorization(&on.server.on_behalf_of(&rotated)).await;
    assert_eq!(again.micetro_auth, handed.micetro_auth);
    on.server.verify_audit().await;
}

async fn in_bearer_mode_nobody_is_given_the_password(database: Database) {
    let on = OnPlatform::start(database).await;
    let (_, alice) = on.as_alice().await;
    let handed = authorization(&alice).await.micetro_auth;
    let encoded = BASE64.encode(format!("{}:{}", ALICE.0, ALICE.1));
    assert!(!handed.contains(ALICE.1) && !handed.contains(&encoded));
    let on = OnPlatform::start_with(database, basic).await;
    let (_, alice) = on.as_alice().await;
    let handed = authorization(&alice).await;
    assert_eq!((handed.scheme(), handed.micetro_auth), (PlatformAuthScheme::Basic, format!("Basic {encoded}")));
}

async fn it_takes_a_grant_of_its_own(database: Database) {
    let on = OnPlatform::start(database).await;
    let login = on.log_in().await;
    let with = |name: &str, granted: Grants| CallerToCreate { grants: granted, ..all_powerful(name) };
    let all_but = Grant::ALL.iter().copied().filter(|grant| *grant != Grant::PlatformAuth).collect();
    let refused = on.server.client_of(&on.server.caller(with("most", all_but)).await).on_behalf_of(&login.ust);
    let refusal = auth(&refused, false).await.refusal();
    assert_eq!((refusal.reason, refusal.code), (ErrorReason::CallerForbidden, Code::PermissionDenied));
    let only = Grants::NONE.with(Grant::PlatformAuth);
    let granted = on.server.client_of(&on.server.caller(with("only", only)).await).on_behalf_of(&login.ust);
    authorization(&granted).await;
    assert_eq!(events_of(&on.server, "platform.auth").await.len(), 1);
}

async fn who_is_on_no_platform_is_told_so(database: Database) {
    let on = OnPlatform::start(database).await;
    for refused in [false, true] {
        let refusal = auth(&on.server.as_alice().await, refused).await.refusal();
        assert_eq!(refusal.reason, ErrorReason::PlatformSessionRequired);
        assert_eq!(refusal.code, Code::FailedPrecondition);
    }
    assert_eq!(events_of(&on.server, "platform.auth").await[0].reason, "no_platform");
    let (_, alice) = on.as_alice().await;
    alice.log_out().await.unwrap();
    assert_eq!(auth(&alice, false).await.reason(), ErrorReason::SessionInvalid);
    assert!(on.micetro.seen().iter().all(|seen| seen.target() != "/addressSpaces?limit=1"));
}

async fn a_credential_that_the_platform_refuses_ends_its_session(database: Database) {
    for change in [basic as fn(&mut Platform), |_: &mut Platform| {}] {
        let on = OnPlatform::start_with(database, change).await;
        let (login, alice) = on.as_alice().await;
        on.micetro.end_sessions();
        on.micetro.set_password("alice", "another one");
        authorization(&alice).await;
        assert!(is_active(&on.server.client(), &login.ust).await, "nobody asked the platform");
        let refusal = auth(&alice, true).await.refusal();
        assert_eq!((refusal.reason, refusal.code), (ErrorReason::SessionInvalid, Code::Unauthenticated));
        assert_eq!(why_inactive(&on.server.client(), &login.ust).await, revoked(RevokeReason::PlatformRefused));
        assert!(on.held(&login.session.session_id).await.is_none());
        let event = events_of(&on.server, "session.revoke").await.remove(0);
        assert!(event.detail.contains(r#""cause":"platform_refused""#) && event.detail.contains("upstream_code"));
        assert_eq!(events_of(&on.server, "platform.auth").await.len(), 1, "nothing was handed out the second time");
    }
}

async fn a_session_is_logged_in_anew_only_where_the_password_may_be_kept(database: Database) {
    let on = OnPlatform::start_with(database, |platform| platform.keep_password = true).await;
    let (login, alice) = on.as_alice().await;
    let first = authorization(&alice).await.micetro_auth;
    on.micetro.end_sessions();
    assert_eq!(calls(&on, &first).await, 401);
    let anew = auth(&alice, true).await.unwrap().micetro_auth;
    assert!(anew != first && calls(&on, &anew).await == 200);
    assert_eq!(authorization(&alice).await.micetro_auth, anew);
    let events = events_of(&on.server, "platform.auth").await;
    let told: Vec<bool> = events.iter().map(|event| event.detail.contains(r#""logged_in_anew":true"#)).collect();
    assert_eq!(told, [false, true, false]);
    let held = on.held(&login.session.session_id).await.unwrap();
    assert_eq!(held.credential.generation, 1);
    // The password is right no more: that is the end.
    on.micetro.end_sessions();
    on.micetro.set_password("alice", "another one");
    assert_eq!(auth(&alice, true).await.reason(), ErrorReason::SessionInvalid);
    assert_eq!(why_inactive(&on.server.client(), &login.ust).await, revoked(RevokeReason::PlatformRefused));
}

async fn what_was_refused_and_is_good_again_is_handed_out_again(database: Database) {
    let on = OnPlatform::start(database).await;
    let (login, alice) = on.as_alice().await;
    let handed = authorization(&alice).await.micetro_auth;
    assert_eq!(auth(&alice, true).await.unwrap().micetro_auth, handed, "the platform does accept it");
    // It may not do anything, and is who it is.
    on.micetro.give_access("alice", lanyard_tests::support::micetro::Access::Nothing);
    assert_eq!(auth(&alice, true).await.unwrap().micetro_auth, handed);
    for (fault, reason) in [
        (Fault::Html(502), ErrorReason::PlatformUnavailable),
        (Fault::Refuse(Refusal::no_central()), ErrorReason::PlatformUnavailable),
        (Fault::Html(200), ErrorReason::PlatformAnswerInvalid),
        (Fault::Refuse(Refusal::too_many_connections()), ErrorReason::PlatformBusy),
    ] {
        on.micetro.fails(Injection::new(fault.clone()));
        assert_eq!(auth(&alice, true).await.reason(), reason, "{fault:?}");
        on.micetro.recovers();
    }
    assert!(is_active(&on.server.client(), &login.ust).await, "what is no answer ends nothing");
}

async fn many_who_were_refused_at_once_are_all_helped(database: Database) {
    let on = OnPlatform::start_with(database, |platform| platform.keep_password = true).await;
    let (_, alice) = on.as_alice().await;
    on.micetro.end_sessions();
    let mut asking = tokio::task::JoinSet::new();
    for _ in 0..6 {
        let alice = alice.clone();
        asking.spawn(async move { auth(&alice, true).await.unwrap().micetro_auth });
    }
    for handed in asking.join_all().await {
        // It may have been taken before a faster one was put in its place, which logged it out.
        assert!(handed.starts_with("Bearer "));
    }
    let last = authorization(&alice).await.micetro_auth;
    assert_eq!(calls(&on, &last).await, 200);
    on.has_upstream_sessions("alice", 1).await;
}

async fn what_a_client_needs_to_call_the_platform_comes_along(database: Database) {
    let change = |platform: &mut Platform| {
        platform.auth_valid_for = Duration::from_mins(30);
        platform.max_attempts = 7;
        platform.max_response_bytes = 4096;
    };
    let on = OnPlatform::start_with(database, change).await;
    let (_, alice) = on.as_alice().await;
    let handed = authorization(&alice).await;
    let duration =
        |duration: Option<lanyard_client::prost_types::Duration>| Duration::try_from(duration.unwrap()).unwrap();
    let settings = handed.settings.unwrap();
    assert_eq!(duration(settings.timeout), Duration::from_secs(5));
    assert_eq!(duration(settings.connect_timeout), Duration::from_secs(2));
    assert_eq!((settings.max_attempts, settings.max_response_bytes), (7, 4096));
    assert_eq!(settings.ca_certificates, "");
    assert_eq!(duration(handed.valid_for), Duration::from_mins(30));
    // No longer than the session: it ends after twelve hours, whatever happens.
    for _ in 0..35 {
        on.server.clock.advance(Duration::from_mins(20));
        alice.renew().await.unwrap();
    }
    on.server.clock.advance(Duration::from_mins(10));
    assert_eq!(duration(authorization(&alice).await.valid_for), Duration::from_mins(10));
}

/// Ends the session of the platform.
#[derive(Clone, Copy, Debug)]
enum End {
    LogOut,
    ByAdministrator,
    AllOfUser,
    OfApp,
    Everyone,
    Lock,
    NewPassword,
    DeleteUser,
    Reuse,
    Quota,
}

impl End {
    const ALL: [Self; 10] = [
        Self::LogOut,
        Self::ByAdministrator,
        Self::AllOfUser,
        Self::OfApp,
        Self::Everyone,
        Self::Lock,
        Self::NewPassword,
        Self::DeleteUser,
        Self::Reuse,
        Self::Quota,
    ];

    async fn happens(self, on: &OnPlatform, login: &Login) {
        use lanyard_client::v1::revoke_sessions_request::Target;

        let (root, alice) = (on.server.as_root().await, on.server.on_behalf_of(&login.ust));
        let (user, session) = (&login.session.user_id, &login.session.session_id);
        let many = |target| root.revoke_sessions(Some(target), true);
        match self {
            Self::LogOut => assert!(alice.log_out().await.unwrap()),
            Self::ByAdministrator => assert!(root.revoke_session(session).await.unwrap()),
            Self::AllOfUser => drop(many(Target::UserId(user.clone())).await.unwrap()),
            Self::OfApp => drop(many(Target::App("default".to_owned())).await.unwrap()),
            Self::Everyone => drop(many(Target::Everyone(true)).await.unwrap()),
            Self::Lock => root.lock_user(user).await.map(drop).unwrap(),
            Self::NewPassword => root.set_password(user, &"another-password".into(), false).await.map(drop).unwrap(),
            Self::DeleteUser => root.delete_user(user).await.map(drop).unwrap(),
            Self::Reuse => {
                let second = alice.rotate().await.unwrap().ust.unwrap();
                on.server.on_behalf_of(&second).rotate().await.unwrap();
                on.server.clock.advance(Duration::from_mins(1));
                assert!(!is_active(&on.server.client(), &login.ust).await);
                on.server.client().verify(&login.ust).await.unwrap().into_session().unwrap_err();
            }
            Self::Quota => {
                for _ in 0..20 {
                    // Sessions of one moment have no order.
                    on.server.clock.advance(Duration::from_secs(1));
                    on.server.log_in(&on.server.alice).await;
                }
            }
        }
    }
}

async fn a_credential_rests_sealed_and_goes_with_its_session_however_that_ends(database: Database) {
    for end in End::ALL {
        let on = OnPlatform::start_with(database, |platform| platform.keep_password = true).await;
        let (login, alice) = on.as_alice().await;
        let handed = authorization(&alice).await.micetro_auth;
        let held = on.held(&login.session.session_id).await.expect("it is there");
        let session = handed.trim_start_matches("Bearer ");
        for secret in [session, ALICE.1] {
            assert!(!held.credential.sealed.windows(secret.len()).any(|window| window == secret.as_bytes()));
        }
        assert!(!format!("{:?}", held.credential).contains("sealed"));
        end.happens(&on, &login).await;
        assert!(on.held(&login.session.session_id).await.is_none(), "{end:?}");
        assert!(on.stored(&login.session.session_id).await.is_some(), "{end:?}: what is not secret stays");
        assert!(auth(&alice, false).await.is_err(), "{end:?}");
        // And it is good for nothing on the platform.
        on.has_upstream_sessions("alice", 0).await;
        assert_eq!(calls(&on, &handed).await, 401, "{end:?}");
    }
}

async fn purge(on: &OnPlatform) -> lanyard_server::store::Purged {
    let holder = CallerId::new(on.server.clock.now()).uuid();
    on.server.within(move |app| async move { app.purge(holder).await }).await.unwrap()
}

async fn a_credential_goes_with_a_session_that_expires(database: Database) {
    let on = OnPlatform::start(database).await;
    let (login, _) = on.as_alice().await;
    let id = &login.session.session_id;
    on.server.clock.advance(Duration::from_mins(29));
    let used = on.log_in().await;
    on.server.clock.advance(Duration::from_mins(2));
    // What another server may have noted is not written yet.
    purge(&on).await;
    assert!(on.held(id).await.is_some());
    on.server.clock.advance(Duration::from_mins(16));
    assert_eq!(purge(&on).await.platform_credentials, 1);
    assert!(on.held(id).await.is_none() && on.stored(id).await.is_some());
    assert!(on.held(&used.session.session_id).await.is_some(), "it has not expired");
    on.has_upstream_sessions("alice", 1).await;
    // In the end the rows go with their session.
    on.server.clock.advance(Duration::from_hours(24 * 30));
    purge(&on).await;
    for id in [id, &used.session.session_id] {
        assert!(on.held(id).await.is_none() && on.stored(id).await.is_none());
    }
    assert_eq!(on.session_count().await, 0);
}

async fn a_sealed_credential_that_was_moved_does_not_open(database: Database) {
    let on = OnPlatform::start(database).await;
    let (login, alice) = on.as_alice().await;
    let (other, _) = on.as_alice().await;
    let theirs = on.held(&other.session.session_id).await.unwrap().credential;
    let own = on.held(&login.session.session_id).await.unwrap().credential;
    let moved = lanyard_server::store::PlatformCredentialRow { session_id: own.session_id, ..theirs };
    let put = on.server.within(move |app| async move {
        let store = app.store().clone();
        let replace = store.write(move |tx| {
            let (own, moved) = (own.clone(), moved.clone());
            Box::pin(async move { tx.replace_platform_credential(&own, moved).await })
        });
        replace.await
    });
    assert!(put.await.unwrap());
    assert_eq!(auth(&alice, false).await.reason(), ErrorReason::Internal);
}

async fn credentials_are_sealed_anew_under_a_new_key(database: Database) {
    let mut on = OnPlatform::start_with(database, |platform| platform.keep_password = true).await;
    let (login, alice) = on.as_alice().await;
    let handed = authorization(&alice).await.micetro_auth;
    let id = &login.session.session_id;
    let first = on.held(id).await.unwrap().credential;
    let reseal = async |on: &OnPlatform| {
        on.server.within(|app| async move { app.reseal_platform_credentials().await }).await.unwrap()
    };
    assert_eq!(reseal(&on).await, 0);

    let path = on.server.config.keys.file.clone();
    let mut keyring = Keyring::load(&path).unwrap();
    keyring.rotate(KeyPurpose::Seal, Clock::system().now());
    keyring.save(&path).unwrap();
    on.server.config.purge.interval = Duration::from_millis(20);
    on.server.restart().await;
    eventually("the housekeeper seals it anew", async || on.held(id).await.unwrap().credential.key_id == 2).await;
    let second = on.held(id).await.unwrap().credential;
    assert_eq!((first.key_id, second.key_id, second.generation), (1, 2, 0));
    assert_ne!(first.sealed, second.sealed);
    assert_eq!(reseal(&on).await, 0);
    let alice = on.server.on_behalf_of(&login.ust);
    assert_eq!(authorization(&alice).await.micetro_auth, handed);
    on.micetro.end_sessions();
    assert_ne!(auth(&alice, true).await.unwrap().micetro_auth, handed, "the password came along");
}

async fn revoking_is_told_to_the_platform_and_never_waits_for_it(database: Database) {
    let mut on = OnPlatform::start_with(database, |platform| platform.timeout = Duration::from_secs(2)).await;
    // An audit of reads makes no difference: handing out is written down always.
    on.server.config.audit.reads = AuditReads::None;
    on.server.restart().await;
    for fault in [Fault::Silence, Fault::Html(502), Fault::Refuse(Refusal::session_not_valid())] {
        let (login, alice) = on.as_alice().await;
        authorization(&alice).await;
        on.micetro.forget_seen();
        on.micetro.fails(Injection::new(fault.clone()).on("POST"));
        let began = tokio::time::Instant::now();
        assert!(alice.log_out().await.unwrap(), "{fault:?}");
        assert!(began.elapsed() < Duration::from_secs(2), "{fault:?}: it waited");
        assert!(!is_active(&on.server.client(), &login.ust).await);
        let is_logout = |seen: &lanyard_tests::support::micetro::Seen| {
            let body = String::from_utf8_lossy(&seen.body);
            seen.path == "/mmws/json" && body.contains("Logout") && seen.authorization().is_none()
        };
        eventually("the platform hears of it", async || on.micetro.seen().iter().any(is_logout)).await;
        on.micetro.recovers();
    }
    assert_eq!(events_of(&on.server, "platform.auth").await.len(), 3);
    let (_, alice) = on.as_alice().await;
    on.micetro.goes_down(0);
    assert!(alice.log_out().await.unwrap());
}
