//! How sessions are ended: by their user, by a super-user, and at once by whatever makes them wrong.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use lanyard_client::v1::revoke_sessions_request::Target;
use lanyard_client::{ErrorReason, RevokeReason, Subject, Verdict};
use lanyard_tests::both_databases;
use lanyard_tests::support::answers::{Refused, at, events_of, is_active, revoked, why_inactive};
use lanyard_tests::support::server::{Database, TestServer};
use tokio::task::JoinSet;

both_databases!(
    logging_out_ends_the_session_once,
    a_user_ends_another_of_their_own_sessions,
    the_session_of_somebody_else_is_not_there_to_end,
    a_super_user_ends_anybodys_session,
    a_user_ends_all_their_sessions_or_all_but_this_one,
    a_super_user_ends_the_sessions_of_a_user,
    a_super_user_ends_the_sessions_of_an_app_or_of_everybody,
    a_password_change_ends_all_other_sessions_at_once,
    a_password_that_is_set_by_a_super_user_ends_all_sessions_at_once,
    a_lock_ends_all_sessions_and_an_unlock_revives_none,
    a_rejection_ends_all_sessions_and_an_approval_revives_none,
    a_deleted_user_has_no_session,
    a_revocation_that_was_acknowledged_is_seen_by_every_verification_after_it,
    all_sessions_of_a_locked_user_are_gone_for_all_who_ask_at_the_same_time,
    zato_14_a_password_change_leaves_no_other_session_alive,
    zato_15_all_sessions_of_a_user_end_with_one_call,
);

async fn logging_out_ends_the_session_once(database: Database) {
    let server = TestServer::start(database).await;
    let ust = server.log_in(&server.alice).await.ust;
    assert!(server.on_behalf_of(&ust).log_out().await.unwrap());
    assert_eq!(why_inactive(&server.client(), &ust).await, revoked(RevokeReason::Logout));
    assert_eq!(server.on_behalf_of(&ust).log_out().await.reason(), ErrorReason::SessionInvalid);
}

async fn a_user_ends_another_of_their_own_sessions(database: Database) {
    let server = TestServer::start(database).await;
    let (here, there) = (server.as_alice().await, server.log_in(&server.alice).await);
    assert!(here.revoke_session(&there.session.session_id).await.unwrap());
    assert_eq!(why_inactive(&server.client(), &there.ust).await, revoked(RevokeReason::Logout));
    assert!(!here.revoke_session(&there.session.session_id).await.unwrap(), "it had ended already");
    assert_eq!(events_of(&server, "session.revoke").await.len(), 1, "what changes nothing is not written down");
    here.current_user().await.unwrap();
}

async fn the_session_of_somebody_else_is_not_there_to_end(database: Database) {
    let server = TestServer::start(database).await;
    let (alice, root) = (server.as_alice().await, server.log_in(&server.root).await);
    assert_eq!(alice.revoke_session(&root.session.session_id).await.reason(), ErrorReason::SessionNotFound);
    let nowhere = "ses_00000000000070008000000000000000";
    assert_eq!(alice.revoke_session(nowhere).await.reason(), ErrorReason::SessionNotFound);
    assert!(is_active(&server.client(), &root.ust).await);
    let event = &events_of(&server, "session.revoke").await[0];
    assert_eq!(
        (event.reason.as_str(), event.target.unwrap().to_string()),
        ("not_own_session", server.root.user_id.clone())
    );
}

async fn a_super_user_ends_anybodys_session(database: Database) {
    let server = TestServer::start(database).await;
    let login = server.log_in(&server.alice).await;
    assert!(server.as_root().await.revoke_session(&login.session.session_id).await.unwrap());
    assert_eq!(why_inactive(&server.client(), &login.ust).await, revoked(RevokeReason::Administrator));
}

async fn a_user_ends_all_their_sessions_or_all_but_this_one(database: Database) {
    let server = TestServer::start(database).await;
    let root = server.log_in(&server.root).await.ust;
    let others = [server.log_in(&server.alice).await.ust, server.log_in(&server.alice).await.ust];
    let this = server.log_in(&server.alice).await.ust;
    assert_eq!(server.on_behalf_of(&this).log_out_elsewhere().await.unwrap(), 2);
    for other in &others {
        assert_eq!(why_inactive(&server.client(), other).await, revoked(RevokeReason::Logout));
    }
    assert!(is_active(&server.client(), &this).await);
    assert_eq!(server.on_behalf_of(&this).revoke_sessions(None, false).await.unwrap(), 1);
    assert_eq!(why_inactive(&server.client(), &this).await, revoked(RevokeReason::Logout));
    assert!(is_active(&server.client(), &root).await, "nobody else's");
}

async fn a_super_user_ends_the_sessions_of_a_user(database: Database) {
    let server = TestServer::start(database).await;
    let (alice, root) = (server.log_in(&server.alice).await.ust, server.as_root().await);
    let target = || Some(Target::UserId(server.alice.user_id.clone()));
    let nobody = Some(Target::UserId("usr_00000000000070008000000000000000".into()));
    let bob = server.acting_for(&server.add_user("bob", false).await).await;
    assert_eq!(bob.revoke_sessions(target(), false).await.reason(), ErrorReason::SuperUserRequired);
    assert_eq!(bob.revoke_sessions(nobody.clone(), false).await.reason(), ErrorReason::SuperUserRequired);
    assert_eq!(root.revoke_sessions(nobody, false).await.reason(), ErrorReason::UserNotFound);
    assert!(is_active(&server.client(), &alice).await);
    assert_eq!(root.revoke_sessions(target(), false).await.unwrap(), 1);
    assert_eq!(root.revoke_sessions(target(), false).await.unwrap(), 0, "how many were live");
    assert_eq!(why_inactive(&server.client(), &alice).await, revoked(RevokeReason::Administrator));
}

async fn a_super_user_ends_the_sessions_of_an_app_or_of_everybody(database: Database) {
    let server = TestServer::start(database).await;
    let client = server.client();
    let crm = client.with_client_info(at("CRM", "")).log_in("alice", &server.alice.password).await.unwrap().ust;
    let (alice, root) = (server.log_in(&server.alice).await.ust, server.log_in(&server.root).await.ust);
    let as_root = server.on_behalf_of(&root);
    let refused = server.on_behalf_of(&alice);
    for target in [Target::App("CRM".into()), Target::Everyone(true)] {
        assert_eq!(refused.revoke_sessions(Some(target), false).await.reason(), ErrorReason::SuperUserRequired);
    }
    for target in [Target::App(String::new()), Target::Everyone(false)] {
        assert!(!as_root.revoke_sessions(Some(target), false).await.bad_field().is_empty());
    }
    assert_eq!(as_root.revoke_sessions(Some(Target::App("CRM".into())), false).await.unwrap(), 1);
    assert_eq!(why_inactive(&client, &crm).await, revoked(RevokeReason::Administrator));
    assert!(is_active(&client, &alice).await);
    assert_eq!(as_root.revoke_sessions(Some(Target::Everyone(true)), true).await.unwrap(), 1);
    assert_eq!(why_inactive(&client, &alice).await, revoked(RevokeReason::Administrator));
    assert!(is_active(&client, &root).await, "the acting one was to be spared");
    assert_eq!(as_root.revoke_sessions(Some(Target::Everyone(true)), false).await.unwrap(), 1);
    assert!(!is_active(&client, &root).await);
}

async fn a_password_change_ends_all_other_sessions_at_once(database: Database) {
    let server = TestServer::start(database).await;
    let (this, other) = (server.log_in(&server.alice).await.ust, server.log_in(&server.alice).await.ust);
    for ust in [&this, &other] {
        assert!(is_active(&server.client(), ust).await);
    }
    let new = "a-better-password".into();
    let ended = server.on_behalf_of(&this).change_password(&server.alice.password, &new).await.unwrap();
    assert_eq!(ended, 1);
    assert!(is_active(&server.client(), &this).await);
    assert_eq!(why_inactive(&server.client(), &other).await, revoked(RevokeReason::PasswordChanged));
}

async fn a_password_that_is_set_by_a_super_user_ends_all_sessions_at_once(database: Database) {
    let server = TestServer::start(database).await;
    let (ust, root) = (server.log_in(&server.alice).await.ust, server.log_in(&server.root).await.ust);
    let as_root = server.on_behalf_of(&root);
    let new = "a-better-password".into();
    assert_eq!(as_root.set_password(&server.alice.user_id, &new, false).await.unwrap(), 1);
    assert_eq!(why_inactive(&server.client(), &ust).await, revoked(RevokeReason::PasswordChanged));
    let second = server.log_in(&server.root).await.ust;
    assert_eq!(
        as_root.set_password(&server.root.user_id, &new, false).await.unwrap(),
        1,
        "the own: but the acting one"
    );
    assert!(is_active(&server.client(), &root).await && !is_active(&server.client(), &second).await);
}

async fn a_lock_ends_all_sessions_and_an_unlock_revives_none(database: Database) {
    let server = TestServer::start(database).await;
    let (ust, root) = (server.log_in(&server.alice).await.ust, server.as_root().await);
    let locked = root.lock_user(&server.alice.user_id).await.unwrap();
    assert!(locked.user.is_locked && locked.revoked_count == 1);
    assert_eq!(why_inactive(&server.client(), &ust).await, revoked(RevokeReason::UserLocked));
    assert_eq!(root.lock_user(&server.alice.user_id).await.unwrap().revoked_count, 0);
    assert!(!root.unlock_user(&server.alice.user_id).await.unwrap().is_locked);
    assert_eq!(why_inactive(&server.client(), &ust).await, revoked(RevokeReason::UserLocked));
    server.as_alice().await.current_user().await.unwrap();
}

async fn a_rejection_ends_all_sessions_and_an_approval_revives_none(database: Database) {
    let server = TestServer::start(database).await;
    let (ust, root) = (server.log_in(&server.alice).await.ust, server.as_root().await);
    assert_eq!(root.reject_user(&server.alice.user_id).await.unwrap().revoked_count, 1);
    assert_eq!(why_inactive(&server.client(), &ust).await, revoked(RevokeReason::UserRejected));
    root.approve_user(&server.alice.user_id).await.unwrap();
    assert_eq!(why_inactive(&server.client(), &ust).await, revoked(RevokeReason::UserRejected));
    server.as_alice().await.current_user().await.unwrap();
}

async fn a_deleted_user_has_no_session(database: Database) {
    let server = TestServer::start(database).await;
    let (login, root) = (server.log_in(&server.alice).await, server.as_root().await);
    assert_eq!(root.delete_user(&server.alice.user_id).await.unwrap(), 1);
    assert_eq!(why_inactive(&server.client(), &login.ust).await, revoked(RevokeReason::UserDeleted));
    assert_eq!(server.on_behalf_of(&login.ust).current_user().await.reason(), ErrorReason::SessionInvalid);
    // Its end can still be explained.
    let session = root.get_session(&login.session.session_id).await.unwrap();
    assert_eq!((session.username.as_str(), session.revoke_reason()), ("alice", RevokeReason::UserDeleted));
}

/// Asks without a pause whether the token is good; once `ended` was set before the question, it must not be.
async fn hammer(server: &TestServer, subjects: &[(Subject, lanyard_client::Ust)], end: impl AsyncFnOnce()) {
    let acknowledged = Arc::new(AtomicBool::new(false));
    let mut asking = JoinSet::new();
    for (_, ust) in subjects {
        for _ in 0..4 {
            let (client, ust, acknowledged) = (server.client(), ust.clone(), Arc::clone(&acknowledged));
            asking.spawn(async move {
                let mut after = 0;
                while after < 20 {
                    let was_acknowledged = acknowledged.load(Ordering::SeqCst);
                    let is_active = matches!(client.verify(&ust).await.unwrap(), Verdict::Active(_));
                    assert!(!(was_acknowledged && is_active), "good after its end was acknowledged");
                    after += usize::from(was_acknowledged);
                }
            });
        }
    }
    end().await;
    acknowledged.store(true, Ordering::SeqCst);
    asking.join_all().await;
}

async fn a_revocation_that_was_acknowledged_is_seen_by_every_verification_after_it(database: Database) {
    let server = TestServer::start(database).await;
    for _ in 0..10 {
        let login = server.log_in(&server.alice).await;
        let myself = server.on_behalf_of(&login.ust);
        let subjects = [(myself.clone(), login.ust)];
        hammer(&server, &subjects, async || assert!(myself.log_out().await.unwrap())).await;
    }
}

async fn all_sessions_of_a_locked_user_are_gone_for_all_who_ask_at_the_same_time(database: Database) {
    let server = TestServer::start(database).await;
    let mut subjects = Vec::new();
    for _ in 0..5 {
        let ust = server.log_in(&server.alice).await.ust;
        subjects.push((server.on_behalf_of(&ust), ust));
    }
    let root = server.as_root().await;
    hammer(&server, &subjects, async || drop(root.lock_user(&server.alice.user_id).await.unwrap())).await;
    server.verify_audit().await;
}

/// In Zato all sessions went on after a password change.
async fn zato_14_a_password_change_leaves_no_other_session_alive(database: Database) {
    let server = TestServer::start(database).await;
    let mut others = Vec::new();
    for _ in 0..5 {
        others.push(server.log_in(&server.alice).await.ust);
    }
    let new = "a-better-password".into();
    let ended = server.as_alice().await.change_password(&server.alice.password, &new).await.unwrap();
    assert_eq!(ended, 5);
    for verdict in server.client().batch_verify(&others).await.unwrap() {
        assert_eq!(verdict.into_session().unwrap_err().revoke_reason, RevokeReason::PasswordChanged);
    }
}

/// Zato had no way to end all sessions of a user.
async fn zato_15_all_sessions_of_a_user_end_with_one_call(database: Database) {
    let server = TestServer::start(database).await;
    let mut all = Vec::new();
    for app in ["default", "CRM", "default"] {
        let client = server.client().with_client_info(at(app, ""));
        all.push(client.log_in("alice", &server.alice.password).await.unwrap().ust);
    }
    let target = Target::UserId(server.alice.user_id.clone());
    assert_eq!(server.as_root().await.revoke_sessions(Some(target), false).await.unwrap(), 3);
    for ust in &all {
        assert_eq!(why_inactive(&server.client(), ust).await, revoked(RevokeReason::Administrator));
    }
}
