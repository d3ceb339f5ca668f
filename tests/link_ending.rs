//! What ends the sessions that began with an external credential: those of its definition, and no others.

use std::time::Duration;

use lanyard_client::v1::revoke_sessions_request::Target;
use lanyard_client::v1::{DefinitionSecret, ListSessionsRequest, RotateDefinitionSecretRequest, SessionState};
use lanyard_client::{Error, ErrorReason, Login, RevokeReason, Subject};
use lanyard_tests::both_databases;
use lanyard_tests::support::answers::{Refused, events_of, is_active, revoked, why_inactive};
use lanyard_tests::support::external::{BOTH, Defined, Kinds, patient, turn_definition};
use lanyard_tests::support::server::{Database, Person, TestServer};
use tokio::task::JoinSet;

both_databases!(
    zato_07_what_ends_the_sessions_of_a_definition_touches_no_other,
    what_turns_nothing_off_ends_nothing,
    a_super_user_ends_the_sessions_of_a_definition,
    who_is_no_super_user_ends_no_sessions_of_a_definition,
    a_definition_that_is_linked_to_another_begins_sessions_of_that_one,
    zato_08_deleting_a_user_ends_their_logins_and_frees_the_definition,
    a_login_beside_what_turns_it_off_never_leaves_a_live_session,
);

/// What ends the sessions of a definition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    LinkOff,
    LinkDeleted,
    DefinitionOff,
    DefinitionDeleted,
    SecretRotated,
    Revoked,
}

const ENDINGS: [Ending; 6] = [
    Ending::LinkOff,
    Ending::LinkDeleted,
    Ending::DefinitionOff,
    Ending::DefinitionDeleted,
    Ending::SecretRotated,
    Ending::Revoked,
];

impl Ending {
    const fn reason(self) -> RevokeReason {
        match self {
            Self::LinkOff => RevokeReason::LinkInactive,
            Self::LinkDeleted => RevokeReason::LinkDeleted,
            Self::DefinitionOff => RevokeReason::DefinitionInactive,
            Self::DefinitionDeleted => RevokeReason::DefinitionDeleted,
            Self::SecretRotated => RevokeReason::SecretRotated,
            Self::Revoked => RevokeReason::Administrator,
        }
    }

    /// Returns how many sessions ended.
    async fn of(self, root: &Subject, defined: &Defined, user_id: &str) -> u64 {
        match self {
            Self::LinkOff => {
                let link = defined.link_of(root, user_id).await;
                root.update_linked_auth(&link.link_id, false).await.unwrap().revoked_count
            }
            Self::LinkDeleted => {
                let link = defined.link_of(root, user_id).await;
                root.delete_linked_auth(&link.link_id).await.unwrap()
            }
            Self::DefinitionOff => turn_definition(root, defined.auth_id, false).await,
            Self::DefinitionDeleted => root.delete_definition(defined.auth_id).await.unwrap(),
            Self::SecretRotated => rotate_secret(root, defined, "a secret that is new, of 32 bytes or more").await,
            Self::Revoked => root.revoke_sessions(Some(Target::AuthId(defined.auth_id)), false).await.unwrap(),
        }
    }
}

async fn rotate_secret(root: &Subject, defined: &Defined, secret: &str) -> u64 {
    let request = RotateDefinitionSecretRequest {
        auth_id: defined.auth_id,
        secret: Some(DefinitionSecret { secret: secret.into(), ..DefinitionSecret::default() }),
        revoke_sessions: true,
        ..RotateDefinitionSecretRequest::default()
    };
    root.rotate_definition_secret(request).await.unwrap().revoked_count
}

/// Definitions enough that some numbers begin as others do: 1 and 10, 11, 12.
async fn a_dozen(root: &Subject, kind: Kinds, user_id: &str) -> Vec<Defined> {
    let mut defined = Vec::new();
    for number in 0..13 {
        defined.push(Defined::linked(root, kind, &format!("{kind:?}-{number}"), user_id).await);
    }
    defined
}

async fn zato_07_what_ends_the_sessions_of_a_definition_touches_no_other(database: Database) {
    let server = TestServer::start_with(database, |config| config.session.quota = 100).await;
    let root = server.as_root().await;
    let alice = server.log_in(&server.alice).await;
    for kind in BOTH {
        let mut defined = a_dozen(&root, kind, &server.alice.user_id).await;
        let mut logins = Vec::new();
        for defined in &defined {
            logins.push(defined.log_in(&server).await);
        }
        for ending in ENDINGS {
            let (ended, login) = (defined.remove(0), logins.remove(0));
            assert_eq!(ending.of(&root, &ended, &server.alice.user_id).await, 1, "{kind:?} {ending:?}");
            let verdict = why_inactive(&server.client(), &login.ust).await;
            assert_eq!(verdict, revoked(ending.reason()), "{kind:?} {ending:?}");
            for (other, login) in defined.iter().zip(&logins) {
                assert!(is_active(&server.client(), &login.ust).await, "{kind:?} {ending:?} {}", other.name);
            }
            assert!(is_active(&server.client(), &alice.ust).await, "nor that of a password");
        }
    }
    server.verify_audit().await;
}

async fn what_turns_nothing_off_ends_nothing(database: Database) {
    let server = TestServer::start(database).await;
    let root = server.as_root().await;
    for kind in BOTH {
        let defined = Defined::linked(&root, kind, &format!("{kind:?}"), &server.alice.user_id).await;
        let login = defined.log_in(&server).await;
        let link = defined.link_of(&root, &server.alice.user_id).await;
        assert_eq!(root.update_linked_auth(&link.link_id, true).await.unwrap().revoked_count, 0);
        assert_eq!(turn_definition(&root, defined.auth_id, true).await, 0);
        assert!(is_active(&server.client(), &login.ust).await);
        assert_eq!(defined.log_in(&server).await.ust.expose(), login.ust.expose());
    }
}

async fn a_super_user_ends_the_sessions_of_a_definition(database: Database) {
    let server = TestServer::start(database).await;
    let root = server.as_root().await;
    let defined = Defined::linked(&root, Kinds::Jwt, "principal", &server.alice.user_id).await;
    for number in 0..3 {
        server.client().create_session(defined.credential(&server.clock, number)).await.unwrap();
    }
    server.clock.advance(Duration::from_mins(1));
    let target = || Some(Target::AuthId(defined.auth_id));
    assert_eq!(root.revoke_sessions(target(), false).await.unwrap(), 3);
    assert_eq!(root.revoke_sessions(target(), false).await.unwrap(), 0);
    let event = &events_of(&server, "session.revoke_many").await[1];
    let detail: serde_json::Value = serde_json::from_str(&event.detail).unwrap();
    assert_eq!((&detail["revoked"], &detail["auth_id"]), (&3.into(), &defined.auth_id.into()));
    defined.log_in(&server).await;
}

async fn who_is_no_super_user_ends_no_sessions_of_a_definition(database: Database) {
    let server = TestServer::start(database).await;
    let root = server.as_root().await;
    let defined = Defined::linked(&root, Kinds::Jwt, "principal", &server.alice.user_id).await;
    let login = defined.log_in(&server).await;
    let own = server.on_behalf_of(&login.ust);
    for auth_id in [defined.auth_id, 4711] {
        let refused = own.revoke_sessions(Some(Target::AuthId(auth_id)), false).await;
        assert_eq!(refused.reason(), ErrorReason::SuperUserRequired);
    }
    assert!(is_active(&server.client(), &login.ust).await);
    assert_eq!(root.revoke_sessions(Some(Target::AuthId(-1)), false).await.bad_field(), "auth_id");
}

async fn a_definition_that_is_linked_to_another_begins_sessions_of_that_one(database: Database) {
    let server = TestServer::start(database).await;
    let root = server.as_root().await;
    let bob = server.add_user("bob", false).await;
    for kind in BOTH {
        let defined = Defined::linked(&root, kind, &format!("{kind:?}"), &server.alice.user_id).await;
        let of_alice = defined.log_in(&server).await;
        let link = defined.link_of(&root, &server.alice.user_id).await;
        root.delete_linked_auth(&link.link_id).await.unwrap();
        defined.link(&root, &bob.user_id).await;
        let of_bob = defined.log_in(&server).await;
        assert_eq!(of_bob.session.user_id, bob.user_id);
        assert!(!is_active(&server.client(), &of_alice.ust).await);
        assert_eq!(defined.log_in(&server).await.ust.expose(), of_bob.ust.expose());
    }
}

async fn zato_08_deleting_a_user_ends_their_logins_and_frees_the_definition(database: Database) {
    let server = TestServer::start(database).await;
    let root = server.as_root().await;
    for kind in BOTH {
        let bob = server.add_user("bob", false).await;
        let defined = Defined::linked(&root, kind, &format!("{kind:?}"), &bob.user_id).await;
        let login = defined.log_in(&server).await;
        root.delete_user(&bob.user_id).await.unwrap();
        assert_eq!(why_inactive(&server.client(), &login.ust).await, revoked(RevokeReason::UserDeleted));
        let refused = defined.try_to_log_in(&server.client(), &server.clock).await;
        assert_eq!(refused.reason(), ErrorReason::LoginFailed);
        defined.link(&root, &server.alice.user_id).await;
        assert_eq!(defined.log_in(&server).await.session.username, "alice");
    }
}

/// What takes a login from somebody while they log in.
#[derive(Clone, Copy, Debug)]
enum Blow {
    Of(Ending),
    UserLocked,
    UserRejected,
    UserDeleted,
}

impl Blow {
    async fn strike(self, root: &Subject, defined: &Defined, person: &Person) {
        match self {
            Self::Of(ending) => _ = ending.of(root, defined, &person.user_id).await,
            Self::UserLocked => _ = root.lock_user(&person.user_id).await.unwrap(),
            Self::UserRejected => _ = root.reject_user(&person.user_id).await.unwrap(),
            Self::UserDeleted => _ = root.delete_user(&person.user_id).await.unwrap(),
        }
    }

    /// Whether nobody can log in with it any more.
    const fn is_final(self) -> bool {
        !matches!(self, Self::Of(Ending::Revoked))
    }
}

async fn live_sessions_of(root: &Subject, auth_id: i64) -> usize {
    let request = ListSessionsRequest {
        all_users: true,
        state: SessionState::Active.into(),
        page_size: 200,
        ..Default::default()
    };
    let sessions = root.call(request).await.unwrap().sessions;
    sessions.iter().filter(|session| session.auth_id == auth_id).count()
}

async fn a_login_beside_what_turns_it_off_never_leaves_a_live_session(database: Database) {
    let server = TestServer::start_with(database, patient).await;
    let root = server.as_root().await;
    let blows = ENDINGS.map(Blow::Of).into_iter().chain([Blow::UserLocked, Blow::UserRejected, Blow::UserDeleted]);
    for (number, blow) in blows.enumerate() {
        for round in 0..6 {
            // Of a user who has a password, so that it is never the last way in.
            let person = server.add_user(&format!("user-{number}-{round}"), false).await;
            let kind = BOTH[round % 2];
            let defined = Defined::linked(&root, kind, &format!("race-{number}-{round}"), &person.user_id).await;
            if round >= 4 {
                defined.log_in(&server).await;
            }
            let mut logins: JoinSet<Result<Login, Error>> = JoinSet::new();
            for _ in 0..6 {
                let (client, credential) = (server.client(), defined.credential(&server.clock, 0));
                logins.spawn(async move { client.create_session(credential).await });
            }
            tokio::task::yield_now().await;
            blow.strike(&root, &defined, &person).await;
            let logins = logins.join_all().await;
            if !blow.is_final() {
                // Who came later began another one, which is the same for all of them.
                assert!(live_sessions_of(&root, defined.auth_id).await <= 1, "{blow:?}");
                continue;
            }
            assert_eq!(live_sessions_of(&root, defined.auth_id).await, 0, "{blow:?} {kind:?} {round}");
            for login in logins {
                match login {
                    Ok(login) => assert!(!is_active(&server.client(), &login.ust).await, "{blow:?} {kind:?}"),
                    Err(refused) => assert_eq!(refused.reason, ErrorReason::LoginFailed, "{blow:?}: {refused}"),
                }
            }
        }
    }
    server.verify_audit().await;
}
