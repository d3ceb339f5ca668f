//! The session of a platform: Gateway's `UserSession`, property by property, who sees what of it, and how long it lasts.

use std::collections::HashSet;
use std::time::Duration;

use lanyard_client::v1::revoke_sessions_request::Target;
use lanyard_client::v1::{AuthType, ListSessionsRequest, PlatformCredential, UserSession};
use lanyard_client::{ErrorReason, InactiveReason, RevokeReason, Subject};
use lanyard_server::config::{Platform, PlatformExpiry};
use lanyard_tests::support::answers::{
    MOMENT, Refused, events_of, is_active, just_before, not_revoked, revoked, why_inactive,
};
use lanyard_tests::support::micetro::{ALICE, FakeMicetro};
use lanyard_tests::support::platform::{OnPlatform, PLATFORM, basic, credential};
use lanyard_tests::support::server::{Database, TestServer};
use lanyard_tests::{any_database, both_databases};

both_databases!(
    a_session_has_every_property_of_gateways_user_session,
    sessions_of_a_platform_are_listed_and_revoked_by_its_name,
    sessions_of_a_platform_that_is_configured_no_more_end_with_the_next_start,
);
any_database!(
    a_standalone_session_answers_as_gateways_does,
    urls_are_scheme_host_and_the_port_that_is_configured,
    session_auth_is_for_who_holds_the_token,
    the_context_of_log_lines_is_unique_to_the_session_and_stays,
    a_session_is_a_picture_of_the_login,
    expiry_is_that_of_the_app_unless_the_platforms_is_shorter,
);

async fn session_of(subject: &Subject) -> UserSession {
    subject.get_session("").await.unwrap()
}

async fn list(subject: &Subject, request: ListSessionsRequest) -> Vec<UserSession> {
    subject.call(request).await.unwrap().sessions
}

async fn a_session_has_every_property_of_gateways_user_session(database: Database) {
    let on = OnPlatform::start(database).await;
    let unique = PlatformCredential { unique_name: "desk 7".to_owned(), ..credential(ALICE) };
    let login = on.log_in_with(unique).await.unwrap();
    let alice = on.server.on_behalf_of(&login.ust);
    let renewed = alice.renew().await.unwrap().session;
    for session in [login.session.clone(), session_of(&alice).await, renewed] {
        // "The host portion of the authentication URL."
        assert_eq!(session.authentication_host.as_deref(), Some("127.0.0.1"));
        // "It contains only the scheme, host, and (if explicitly specified in the configuration) port."
        assert_eq!(session.authentication_url, on.micetro.url());
        assert_eq!(session.micetro_url, on.micetro.url());
        // "The base version for the authentication of the session."
        assert_eq!(session.authentication_version.as_deref(), Some("26.1.0"));
        // "True if the user is authenticated via the Replication system, otherwise False."
        assert!(!session.is_replication_user);
        // "It is unique to this user session as it derives from the username and the session."
        assert!(session.logger_context.starts_with("alice:"), "{}", session.logger_context);
        // "The authentication value identifying this user session."
        assert_eq!(session.session_auth, login.ust.expose());
        // "The username of the currently logged-in user."
        assert_eq!(session.username, "alice");
        assert_eq!((session.platform.as_str(), session.unique_name.as_str()), (PLATFORM, "desk 7"));
        // The roles that she has herself and by her group.
        assert_eq!(session.groups, ["all", "operations"]);
        assert_eq!(session.auth_type(), AuthType::Platform);
        assert_eq!((session.auth_id, session.auth_principal.as_str()), (0, ""));
    }
    // The verdict says that it is a session of a platform; more is not asked for with every request.
    let verdict = on.server.client().verify(&login.ust).await.unwrap().into_session().unwrap();
    assert_eq!(verdict.into_message().auth_type(), AuthType::Platform);
}

async fn a_standalone_session_answers_as_gateways_does(database: Database) {
    let on = OnPlatform::start(database).await;
    let login = on.server.log_in(&on.server.alice).await;
    for session in [session_of(&on.server.on_behalf_of(&login.ust)).await, login.session.clone()] {
        assert_eq!((session.authentication_host, session.authentication_version), (None, None));
        assert_eq!((session.authentication_url.as_str(), session.micetro_url.as_str()), ("", ""));
        assert!(!session.is_replication_user && session.groups.is_empty());
        assert_eq!((session.platform.as_str(), session.unique_name.as_str()), ("", ""));
        assert_eq!(session.session_auth, login.ust.expose());
        assert!(session.logger_context.starts_with("alice:"));
    }
}

async fn urls_are_scheme_host_and_the_port_that_is_configured(database: Database) {
    let micetro = FakeMicetro::start();
    let port = micetro.url().rsplit_once(':').unwrap().1.to_owned();
    let written = format!("http://LocalHost:{port}/");
    let on = OnPlatform::start_at(database, micetro, |platform| *platform = Platform::at(&written)).await;
    let session = on.log_in().await.session;
    assert_eq!(session.authentication_url, format!("http://localhost:{port}"));
    assert_eq!(session.micetro_url, session.authentication_url);
    assert_eq!(session.authentication_host.as_deref(), Some("localhost"));
}

async fn session_auth_is_for_who_holds_the_token(database: Database) {
    let on = OnPlatform::start(database).await;
    let (login, alice) = on.as_alice().await;
    let id = login.session.session_id.clone();
    assert_eq!(
        alice.get_session(&id).await.unwrap().session_auth,
        login.ust.expose(),
        "by its ID it is the own one too"
    );
    let root = on.server.as_root().await;
    let seen = root.get_session(&id).await.unwrap();
    assert_eq!((seen.session_auth.as_str(), seen.platform.as_str()), ("", PLATFORM));
    assert_eq!(seen.micetro_url, on.micetro.url());
    let rotated = alice.rotate().await.unwrap();
    let new = rotated.ust.unwrap();
    assert_eq!(rotated.session.session_auth, new.expose());
    assert_eq!(session_of(&on.server.on_behalf_of(&new)).await.session_auth, new.expose());
    let listed = list(&on.server.on_behalf_of(&new), ListSessionsRequest::default()).await;
    assert!(listed.iter().any(|session| session.platform == PLATFORM && session.groups == ["all", "operations"]));
    assert!(listed.iter().all(|session| session.session_auth.is_empty()));
}

async fn the_context_of_log_lines_is_unique_to_the_session_and_stays(database: Database) {
    let on = OnPlatform::start(database).await;
    let mut contexts = HashSet::new();
    for _ in 0..5 {
        let (login, alice) = on.as_alice().await;
        let context = login.session.logger_context.clone();
        assert!(!context.contains(&login.session.session_id) && !context.contains(login.ust.expose()));
        assert_eq!(session_of(&alice).await.logger_context, context);
        assert_eq!(alice.rotate().await.unwrap().session.logger_context, context);
        assert!(contexts.insert(context));
    }
}

async fn a_session_is_a_picture_of_the_login(database: Database) {
    let on = OnPlatform::start(database).await;
    let (_, alice) = on.as_alice().await;
    on.micetro.give_roles("alice", &["GW_other"]);
    on.micetro.behaves(|behaviour| behaviour.version = Some("27.0.0".to_owned()));
    let before = session_of(&alice).await;
    assert_eq!(
        (before.groups, before.authentication_version),
        (vec!["all".into(), "operations".into()], Some("26.1.0".into()))
    );
    let after = on.log_in().await.session;
    assert_eq!(
        (after.groups, after.authentication_version),
        (vec!["operations".into(), "other".into()], Some("27.0.0".into()))
    );
}

async fn expiry_is_that_of_the_app_unless_the_platforms_is_shorter(database: Database) {
    let minutes = Duration::from_mins;
    let app = TestServer::start(database).await.config.policy("default").unwrap();
    for (expiry, after, idle, absolute) in [
        (PlatformExpiry::None, None, app.idle, app.absolute),
        (PlatformExpiry::Activity, Some(minutes(20)), minutes(20), app.absolute),
        (PlatformExpiry::Fixed, Some(minutes(20)), minutes(20), minutes(20)),
    ] {
        let change = |platform: &mut Platform| (platform.expiry, platform.expires_after) = (expiry, after);
        let on = OnPlatform::start_with(database, change).await;
        let (clock, client) = (&on.server.clock, on.server.client());
        let left_alone = on.log_in().await;
        clock.advance(just_before(idle));
        assert!(is_active(&client, &left_alone.ust).await, "{expiry:?}");
        clock.advance(MOMENT);
        let reason = if idle == absolute { InactiveReason::AbsoluteExpired } else { InactiveReason::IdleExpired };
        assert_eq!(why_inactive(&client, &left_alone.ust).await, not_revoked(reason), "{expiry:?}");

        let used = on.log_in().await;
        let began = clock.now();
        while clock.now() + idle / 2 < began + absolute {
            clock.advance(idle / 2);
            client.verify(&used.ust).await.unwrap().into_session().unwrap();
        }
        clock.advance((began + absolute).since(clock.now()));
        let over = why_inactive(&client, &used.ust).await;
        assert_eq!(over, not_revoked(InactiveReason::AbsoluteExpired), "{expiry:?}");
    }
}

async fn sessions_of_a_platform_are_listed_and_revoked_by_its_name(database: Database) {
    let on = OnPlatform::start(database).await;
    let (login, alice) = on.as_alice().await;
    on.log_in().await;
    let standalone = on.server.log_in(&on.server.alice).await;
    let of = |platform: &str| ListSessionsRequest { platform: platform.to_owned(), ..ListSessionsRequest::default() };
    let found = list(&alice, of(PLATFORM)).await;
    assert_eq!(found.len(), 2);
    assert!(found.iter().all(|session| session.micetro_url == on.micetro.url()));
    assert!(list(&alice, of("other")).await.is_empty());
    let by_type = ListSessionsRequest { auth_type: AuthType::Platform.into(), ..ListSessionsRequest::default() };
    assert_eq!(list(&alice, by_type).await.len(), 2);
    let of_all = ListSessionsRequest { all_users: true, ..of(PLATFORM) };
    let root = on.server.as_root().await;
    assert_eq!(list(&root, of_all).await.len(), 2);

    let target = |name: &str| Some(Target::Platform(name.to_owned()));
    assert_eq!(alice.revoke_sessions(target(PLATFORM), false).await.reason(), ErrorReason::SuperUserRequired);
    assert_eq!(root.revoke_sessions(target(""), false).await.bad_field(), "platform");
    assert_eq!(root.revoke_sessions(target("other"), false).await.unwrap(), 0);
    assert_eq!(root.revoke_sessions(target(PLATFORM), false).await.unwrap(), 2);
    assert_eq!(root.revoke_sessions(target(PLATFORM), false).await.unwrap(), 0);
    let client = on.server.client();
    assert_eq!(why_inactive(&client, &login.ust).await, revoked(RevokeReason::Administrator));
    assert!(is_active(&client, &standalone.ust).await);
    assert!(events_of(&on.server, "session.revoke_many").await[0].detail.contains(r#""platform":"micetro""#));
    on.has_upstream_sessions("alice", 0).await;
}

async fn sessions_of_a_platform_that_is_configured_no_more_end_with_the_next_start(database: Database) {
    let mut on = OnPlatform::start(database).await;
    let (login, _) = on.as_alice().await;
    let standalone = on.server.log_in(&on.server.alice).await;
    on.server.restart().await;
    assert!(is_active(&on.server.client(), &login.ust).await, "a restart alone ends nothing");

    // Another URL is another server, which must not be shown the credential of this one.
    let elsewhere = FakeMicetro::start();
    let url = elsewhere.url();
    on.server.config.platforms.insert(PLATFORM.to_owned(), Platform::at(&url));
    on.server.restart().await;
    let client = on.server.client();
    assert_eq!(why_inactive(&client, &login.ust).await, revoked(RevokeReason::PlatformRemoved));
    assert!(is_active(&client, &standalone.ust).await);
    let id = &login.session.session_id;
    assert!(on.held(id).await.is_none());
    let event = events_of(&on.server, "session.revoke_many").await.remove(0);
    assert!(event.detail.contains(r#""cause":"platform_removed""#) && event.caller == "operator", "{event:?}");
    // What it was is still told.
    let seen = on.server.as_root().await.get_session(id).await.unwrap();
    assert_eq!((seen.micetro_url, seen.revoke_reason), (on.micetro.url(), RevokeReason::PlatformRemoved.into()));
    assert!(elsewhere.seen().is_empty());

    let login = on.server.client().log_in_platform(PLATFORM, "alice", &ALICE.1.into()).await.unwrap();
    on.server.config.platforms.clear();
    on.server.restart().await;
    assert_eq!(why_inactive(&on.server.client(), &login.ust).await, revoked(RevokeReason::PlatformRemoved));
    let unknown = on.try_log_in(ALICE).await;
    assert_eq!(unknown.reason(), ErrorReason::PlatformUnknown);
    // With basic nothing can be logged out, and nothing is tried.
    let mut basic_one = Platform::at(&url);
    basic(&mut basic_one);
    on.server.config.platforms.insert(PLATFORM.to_owned(), basic_one);
    on.server.restart().await;
    elsewhere.forget_seen();
    let (login, alice) = on.as_alice().await;
    assert!(alice.log_out().await.unwrap());
    assert!(on.held(&login.session.session_id).await.is_none());
    assert!(elsewhere.seen().iter().all(|seen| seen.method == "GET"));
}
