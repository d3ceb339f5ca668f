//! Logging in with an external credential: whose session it is, and that it is found again.

use std::collections::HashSet;
use std::time::Duration;

use lanyard_client::secrecy::SecretString;
use lanyard_client::v1::{AuthType, ListSessionsRequest, SessionState, UserSession};
use lanyard_client::{InactiveReason, Login, RevokeReason, Subject, Ust};
use lanyard_server::config::AddressBinding;
use lanyard_server::crypto::{KeyPurpose, Keyring};
use lanyard_tests::both_databases;
use lanyard_tests::support::answers::{
    MOMENT, at, events_of, is_active, just_before, not_revoked, revoked, why_inactive,
};
use lanyard_tests::support::external::{BOTH, Defined, Kinds, secret_of};
use lanyard_tests::support::server::{Database, TestServer};
use tokio::task::JoinSet;

both_databases!(
    zato_09_external_login_works,
    zato_24_two_hundred_logins_at_once_make_one_session,
    the_same_credential_finds_its_live_session,
    each_token_of_a_definition_has_a_session_of_its_own,
    each_app_has_a_session_of_its_own,
    where_sessions_are_bound_to_addresses_each_place_has_its_own,
    that_a_session_is_found_is_activity_and_nothing_more,
    after_a_rotation_the_credential_gives_the_new_token,
    a_session_that_has_ended_is_followed_by_a_new_one,
    the_credential_finds_its_session_under_an_older_seal_key,
    the_use_of_a_link_is_noted_once_a_minute,
    a_login_that_finds_its_session_changes_nothing,
    a_purged_session_takes_its_credential_along,
);

async fn live_sessions(subject: &Subject, user_id: &str) -> Vec<UserSession> {
    let request = ListSessionsRequest {
        user_id: user_id.to_owned(),
        state: SessionState::Active.into(),
        page_size: 200,
        ..ListSessionsRequest::default()
    };
    subject.call(request).await.unwrap().sessions
}

async fn zato_09_external_login_works(database: Database) {
    let server = TestServer::start(database).await;
    let root = server.as_root().await;
    for (kind, auth_type) in [(Kinds::BasicAuth, AuthType::BasicAuth), (Kinds::Jwt, AuthType::Jwt)] {
        let name = format!("{kind:?}");
        let defined = Defined::linked(&root, kind, &name, &server.alice.user_id).await;
        let client = server.client();
        let token: SecretString = defined.token(&server.clock, 0).into();
        let login = match kind {
            Kinds::BasicAuth => client.log_in_basic_auth(&name, &secret_of(&name)).await.unwrap(),
            Kinds::Jwt => client.log_in_jwt(&token).await.unwrap(),
        };
        let verified = client.verify(&login.ust).await.unwrap().into_session().unwrap();
        assert_eq!((verified.user_id.as_str(), verified.username.as_str()), (&*server.alice.user_id, "alice"));
        assert_eq!(verified.auth_type(), auth_type);
        let own = server.on_behalf_of(&login.ust).current_session().await.unwrap();
        assert_eq!((own.auth_type(), own.auth_id, &own.auth_principal), (auth_type, defined.auth_id, &name));
        assert_eq!(own.session_id, login.session.session_id);
        let event = &events_of(&server, "session.create").await[0];
        assert_eq!(event.target.map(|id| id.to_string()), Some(server.alice.user_id.clone()));
        assert_eq!(event.subject, event.target);
        assert_eq!(event.session.map(|id| id.to_string()), Some(own.session_id));
        let detail: serde_json::Value = serde_json::from_str(&event.detail).unwrap();
        let name_of_type = if kind == Kinds::Jwt { "jwt" } else { "basic_auth" };
        let expected = serde_json::json!({
            "auth_type": name_of_type, "auth_id": defined.auth_id, "auth_principal": name, "reused": false,
        });
        assert_eq!(detail, expected);
    }
    let own = server.log_in(&server.alice).await.session;
    assert_eq!((own.auth_type(), own.auth_id, own.auth_principal.as_str()), (AuthType::Password, 0, ""));
    server.verify_audit().await;
}

async fn zato_24_two_hundred_logins_at_once_make_one_session(database: Database) {
    let many = |config: &mut lanyard_server::config::Config| config.password.hash_queue = 400;
    let server = TestServer::start_with(database, many).await;
    let root = server.as_root().await;
    for kind in BOTH {
        let defined = Defined::linked(&root, kind, &format!("{kind:?}"), &server.alice.user_id).await;
        let credential = defined.credential(&server.clock, 0);
        let mut logins = JoinSet::new();
        for _ in 0..200 {
            let (client, credential) = (server.client(), credential.clone());
            logins.spawn(async move { client.create_session(credential).await.unwrap() });
        }
        let logins = logins.join_all().await;
        let tokens: HashSet<&str> = logins.iter().map(|login| login.ust.expose()).collect();
        let sessions: HashSet<&str> = logins.iter().map(|login| login.session.session_id.as_str()).collect();
        assert_eq!((logins.len(), tokens.len(), sessions.len()), (200, 1, 1), "{kind:?}");
        assert!(is_active(&server.client(), &logins[0].ust).await);
        let live = live_sessions(&root, &server.alice.user_id).await;
        assert_eq!(live.iter().filter(|session| session.auth_id == defined.auth_id).count(), 1, "{kind:?}");
        let events = events_of(&server, "session.create").await;
        let begun = |reused: bool| {
            let said = format!("\"reused\":{reused}");
            let of_it = |detail: &str| detail.contains(&format!("\"auth_id\":{},", defined.auth_id));
            events.iter().filter(|event| of_it(&event.detail) && event.detail.contains(&said)).count()
        };
        assert_eq!((begun(false), begun(true)), (1, 199), "{kind:?}");
    }
    server.verify_audit().await;
}

fn same(one: &Login, other: &Login) -> bool {
    let same = one.session.session_id == other.session.session_id;
    assert_eq!(one.ust.expose() == other.ust.expose(), same);
    same
}

async fn the_same_credential_finds_its_live_session(database: Database) {
    let server = TestServer::start(database).await;
    let root = server.as_root().await;
    for kind in BOTH {
        let defined = Defined::linked(&root, kind, &format!("{kind:?}"), &server.alice.user_id).await;
        let first = defined.log_in(&server).await;
        server.clock.advance(Duration::from_mins(3));
        let second = defined.log_in(&server).await;
        assert!(same(&first, &second), "{kind:?}");
        assert_eq!(second.session.creation_time, first.session.creation_time);
        let event = &events_of(&server, "session.create").await[0];
        assert!(event.detail.contains("\"reused\":true"), "{}", event.detail);
        assert_eq!(event.session.map(|id| id.to_string()), Some(first.session.session_id));
        assert_eq!(event.subject.map(|id| id.to_string()), Some(server.alice.user_id.clone()));
    }
    let password = [server.log_in(&server.alice).await, server.log_in(&server.alice).await];
    assert!(!same(&password[0], &password[1]), "a password begins a session each time");
}

async fn each_token_of_a_definition_has_a_session_of_its_own(database: Database) {
    let server = TestServer::start(database).await;
    let root = server.as_root().await;
    let defined = Defined::linked(&root, Kinds::Jwt, "issued", &server.alice.user_id).await;
    let log_in =
        async |number| server.client().create_session(defined.credential(&server.clock, number)).await.unwrap();
    let (one, other) = (log_in(1).await, log_in(2).await);
    assert!(!same(&one, &other));
    assert!(same(&one, &log_in(1).await) && same(&other, &log_in(2).await));
    assert!(is_active(&server.client(), &one.ust).await && is_active(&server.client(), &other.ust).await);
}

async fn each_app_has_a_session_of_its_own(database: Database) {
    let server = TestServer::start(database).await;
    let root = server.as_root().await;
    for kind in BOTH {
        let defined = Defined::linked(&root, kind, &format!("{kind:?}"), &server.alice.user_id).await;
        let log_in = async |app| {
            let client = server.client().with_client_info(at(app, ""));
            defined.try_to_log_in(&client, &server.clock).await.unwrap()
        };
        let (one, other) = (log_in("").await, log_in("CRM").await);
        assert!(!same(&one, &other));
        assert_eq!((one.session.current_app.as_str(), other.session.current_app.as_str()), ("default", "CRM"));
        assert!(same(&one, &log_in("default").await) && same(&other, &log_in("CRM").await));
    }
}

async fn where_sessions_are_bound_to_addresses_each_place_has_its_own(database: Database) {
    for (binding, near, far) in [
        (AddressBinding::Off, true, true),
        (AddressBinding::Record, true, true),
        (AddressBinding::Prefix, true, false),
        (AddressBinding::Exact, false, false),
    ] {
        let server = TestServer::start_with(database, |config| config.session.address_binding = binding).await;
        let root = server.as_root().await;
        for (kind, addresses) in [
            (Kinds::BasicAuth, ["192.0.2.1", "192.0.2.99", "198.51.100.1"]),
            (Kinds::Jwt, ["2001:db8:0:100::1", "2001:db8:0:1ff::9", "2001:db8:0:200::1"]),
        ] {
            let defined = Defined::linked(&root, kind, &format!("{kind:?}"), &server.alice.user_id).await;
            let log_in = async |address| {
                let client = server.client().with_client_info(at("", address));
                let login = defined.try_to_log_in(&client, &server.clock).await.unwrap();
                assert!(is_active(&client, &login.ust).await, "{binding:?} {address}");
                login
            };
            let [here, beside, elsewhere] = addresses;
            let first = log_in(here).await;
            assert_eq!(same(&first, &log_in(beside).await), near, "{binding:?}");
            assert_eq!(same(&first, &log_in(elsewhere).await), far, "{binding:?}");
            assert!(same(&first, &log_in(here).await), "{binding:?}");
        }
    }
}

async fn that_a_session_is_found_is_activity_and_nothing_more(database: Database) {
    let server = TestServer::start(database).await;
    let (idle, absolute) = (server.config.session.idle, server.config.session.absolute);
    for kind in BOTH {
        let root = server.as_root().await;
        let defined = Defined::linked(&root, kind, &format!("{kind:?}"), &server.alice.user_id).await;
        let first = defined.log_in(&server).await;
        let steps = u32::try_from(absolute.as_secs() / (idle.as_secs() / 2)).unwrap();
        for _ in 1..steps {
            server.clock.advance(idle / 2);
            let again = defined.log_in(&server).await;
            assert!(same(&first, &again));
            assert_eq!(again.session.absolute_expire_time, first.session.absolute_expire_time);
            assert_eq!(again.session.rotation_count, 0);
            let own = server.on_behalf_of(&again.ust).current_session().await.unwrap();
            assert_eq!(
                (own.last_active_time, own.expire_time),
                (again.session.last_active_time, again.session.expire_time)
            );
        }
        server.clock.advance(just_before(idle / 2));
        assert!(same(&first, &defined.log_in(&server).await));
        server.clock.advance(MOMENT);
        assert!(!same(&first, &defined.log_in(&server).await), "the absolute limit holds");
    }
}

async fn rotate(server: &TestServer, ust: &Ust) -> Ust {
    server.on_behalf_of(ust).rotate().await.unwrap().ust.expect("a new token")
}

async fn after_a_rotation_the_credential_gives_the_new_token(database: Database) {
    let server = TestServer::start(database).await;
    let root = server.as_root().await;
    for kind in BOTH {
        let defined = Defined::linked(&root, kind, &format!("{kind:?}"), &server.alice.user_id).await;
        let first = defined.log_in(&server).await;
        let mut current = first.ust.clone();
        for _ in 0..3 {
            let new = rotate(&server, &current).await;
            let found = defined.log_in(&server).await;
            assert_eq!(found.session.session_id, first.session.session_id);
            assert!(found.ust.expose() == new.expose() && new.expose() != current.expose());
            server.clock.advance(server.config.session.rotation_grace);
            let verdict = why_inactive(&server.client(), &current).await;
            assert_eq!(verdict, not_revoked(InactiveReason::Rotated), "the one before has had its time");
            current = defined.log_in(&server).await.ust;
            assert!(current.expose() == new.expose() && is_active(&server.client(), &current).await);
        }
        // Logins and rotations at the same time: each login gets a token that works.
        let mut logins = JoinSet::new();
        for _ in 0..20 {
            let (client, credential) = (server.client(), defined.credential(&server.clock, 0));
            logins.spawn(async move { client.create_session(credential).await.unwrap() });
        }
        let last = rotate(&server, &current).await;
        for login in logins.join_all().await {
            assert_eq!(login.session.session_id, first.session.session_id);
            assert!(is_active(&server.client(), &login.ust).await);
        }
        assert_eq!(defined.log_in(&server).await.ust.expose(), last.expose());
    }
}

/// What ends a session, and what is said of it then.
async fn end(server: &TestServer, root: &Subject, how: usize, login: &Login) -> Option<(InactiveReason, RevokeReason)> {
    let alice = &server.alice.user_id;
    Some(match how {
        0 => {
            assert!(server.on_behalf_of(&login.ust).log_out().await.unwrap());
            revoked(RevokeReason::Logout)
        }
        1 => {
            assert!(root.revoke_session(&login.session.session_id).await.unwrap());
            revoked(RevokeReason::Administrator)
        }
        2 => {
            root.lock_user(alice).await.unwrap();
            root.unlock_user(alice).await.unwrap();
            revoked(RevokeReason::UserLocked)
        }
        3 => {
            root.set_password(alice, &"alice-password".into(), false).await.unwrap();
            revoked(RevokeReason::PasswordChanged)
        }
        4 => {
            let old = rotate(server, &login.ust).await;
            rotate(server, &old).await;
            assert!(!is_active(&server.client(), &login.ust).await, "a token from two rotations ago");
            revoked(RevokeReason::TokenReused)
        }
        5 => {
            server.clock.advance(server.config.session.idle);
            return None;
        }
        _ => return None,
    })
}

async fn a_session_that_has_ended_is_followed_by_a_new_one(database: Database) {
    let server = TestServer::start(database).await;
    for kind in BOTH {
        for how in 0..6 {
            let root = server.as_root().await;
            let defined = Defined::linked(&root, kind, &format!("{kind:?}{how}"), &server.alice.user_id).await;
            let first = defined.log_in(&server).await;
            let why = end(&server, &root, how, &first).await;
            let second = defined.log_in(&server).await;
            assert!(!same(&first, &second), "{kind:?} {how}");
            assert!(same(&second, &defined.log_in(&server).await), "{kind:?} {how}");
            assert!(is_active(&server.client(), &second.ust).await);
            // One that was idle for too long ends for good: another server may know of activity.
            let why = why.unwrap_or(revoked(RevokeReason::Quota));
            assert_eq!(why_inactive(&server.client(), &first.ust).await, why, "{kind:?} {how}");
        }
    }
}

async fn the_credential_finds_its_session_under_an_older_seal_key(database: Database) {
    let mut server = TestServer::start(database).await;
    let root = server.as_root().await;
    let mut defined = Vec::new();
    for kind in BOTH {
        let made = Defined::linked(&root, kind, &format!("{kind:?}"), &server.alice.user_id).await;
        let login = made.log_in(&server).await;
        defined.push((made, login));
    }
    server.stop().await;
    let mut keyring = Keyring::load(&server.config.keys.file).unwrap();
    keyring.rotate(KeyPurpose::Seal, server.clock.now());
    keyring.rotate(KeyPurpose::Token, server.clock.now());
    keyring.save(&server.config.keys.file).unwrap();
    server.resume().await;
    for (defined, first) in &defined {
        assert!(same(first, &defined.log_in(&server).await));
        let new = rotate(&server, &first.ust).await;
        assert_eq!(defined.log_in(&server).await.ust.expose(), new.expose());
        server.on_behalf_of(&new).log_out().await.unwrap();
        let next = defined.log_in(&server).await;
        assert!(!same(first, &next) && same(&next, &defined.log_in(&server).await));
    }
    let live = live_sessions(&server.as_alice().await, "").await;
    assert_eq!(live.iter().filter(|session| session.auth_id != 0).count(), BOTH.len());
}

async fn the_use_of_a_link_is_noted_once_a_minute(database: Database) {
    let server = TestServer::start(database).await;
    let root = server.as_root().await;
    for kind in BOTH {
        let defined = Defined::linked(&root, kind, &format!("{kind:?}"), &server.alice.user_id).await;
        let link = async || defined.link_of(&root, &server.alice.user_id).await;
        let unused = link().await;
        assert_eq!(unused.last_used_time, None);
        let begun = defined.log_in(&server).await.session.creation_time;
        assert_eq!(link().await.last_used_time, begun);
        server.clock.advance(just_before(Duration::from_mins(1)));
        defined.log_in(&server).await;
        assert_eq!(link().await.last_used_time, begun, "not yet");
        server.clock.advance(MOMENT);
        defined.log_in(&server).await;
        let used = link().await;
        assert!(used.last_used_time.is_some() && used.last_used_time != begun);
        assert_eq!(used.etag, unused.etag, "a login is no change");
    }
}

/// What a table holds, told by numbers.
async fn counted(server: &TestServer, sql: &'static str) -> i64 {
    use sea_orm::{ConnectionTrait, Database, Statement};

    let connection = Database::connect(server.config.database.url.expose()).await.unwrap();
    let statement = Statement::from_string(connection.get_database_backend(), sql);
    let row = connection.query_one_raw(statement).await.unwrap().expect("a row");
    row.try_get_by_index(0).unwrap()
}

async fn a_login_that_finds_its_session_changes_nothing(database: Database) {
    let server = TestServer::start(database).await;
    let root = server.as_root().await;
    let sums = [
        "SELECT count(*) + coalesce(max(sequence), 0) FROM change",
        "SELECT count(*) FROM session",
        "SELECT count(*) FROM session_token",
        "SELECT count(*) FROM session_credential",
        "SELECT CAST(sum(last_active_at % 1000000007) AS BIGINT) FROM session",
        "SELECT CAST(sum(last_used_at % 1000000007) AS BIGINT) FROM linked_auth",
    ];
    for kind in BOTH {
        let defined = Defined::linked(&root, kind, &format!("{kind:?}"), &server.alice.user_id).await;
        defined.log_in(&server).await;
        let mut before = Vec::new();
        for sql in sums {
            before.push(counted(&server, sql).await);
        }
        let events = events_of(&server, "session.create").await.len();
        server.clock.advance(Duration::from_secs(1));
        for _ in 0..5 {
            defined.log_in(&server).await;
        }
        for (sql, before) in sums.iter().zip(before) {
            assert_eq!(counted(&server, sql).await, before, "{kind:?} {sql}");
        }
        assert_eq!(events_of(&server, "session.create").await.len(), events + 5, "but each is written down");
    }
}

async fn a_purged_session_takes_its_credential_along(database: Database) {
    let server = TestServer::start(database).await;
    let root = server.as_root().await;
    for kind in BOTH {
        let defined = Defined::linked(&root, kind, &format!("{kind:?}"), &server.alice.user_id).await;
        let login = defined.log_in(&server).await;
        server.on_behalf_of(&login.ust).log_out().await.unwrap();
    }
    assert_eq!(counted(&server, "SELECT count(*) FROM session_credential").await, 2, "until the session goes");
    server.clock.advance(Duration::from_secs(1));
    let now = server.clock.now();
    let purged = server.within(move |app| async move { app.store().purge_batch(now, now, 100).await }).await.unwrap();
    assert_eq!(purged.sessions, 2);
    assert_eq!(counted(&server, "SELECT count(*) FROM session_credential").await, 0);
}
