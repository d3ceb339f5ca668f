//! Who is let in: lock, approval, deletion, and what users cannot learn about one another.

use lanyard_client::prost_types::FieldMask;
use lanyard_client::v1::{ApprovalStatus, CreateUserRequest, ListUsersRequest, UpdateUserRequest, User};
use lanyard_client::{Code, ErrorReason};
use lanyard_tests::both_databases;
use lanyard_tests::support::answers::{Refused, events_of};
use lanyard_tests::support::server::{Database, TestServer};

both_databases!(
    a_super_user_does_not_do_to_themself_what_keeps_them_out,
    a_locked_a_waiting_and_a_rejected_user_is_let_in_again,
    an_unlock_does_not_approve_and_an_approval_does_not_unlock,
    what_is_done_to_nobody_is_not_found,
    a_deleted_user_is_gone_and_the_name_is_free,
    zato_10_a_stranger_learns_nothing_of_who_is_there,
    zato_18_no_read_returns_a_secret_of_a_user,
    zato_23_the_current_user_is_the_holder_of_the_token,
);

const NOBODY: &str = "usr_00000000000070008000000000000000";

async fn a_super_user_does_not_do_to_themself_what_keeps_them_out(database: Database) {
    let server = TestServer::start(database).await;
    let (root, id) = (server.as_root().await, server.root.user_id.as_str());
    let regular = UpdateUserRequest {
        user: Some(User { user_id: id.into(), ..User::default() }),
        update_mask: Some(FieldMask { paths: vec!["is_super_user".into()] }),
        ..UpdateUserRequest::default()
    };
    let refusals = [
        root.lock_user(id).await.refusal(),
        root.reject_user(id).await.refusal(),
        root.delete_user(id).await.refusal(),
        root.update_user(regular).await.refusal(),
    ];
    for refusal in refusals {
        assert_eq!((refusal.reason, refusal.code), (ErrorReason::NotOnYourself, Code::FailedPrecondition));
    }
    let root = root.current_user().await.unwrap();
    assert!(root.is_super_user && !root.is_locked && root.approval_status() == ApprovalStatus::Approved);
}

async fn a_locked_a_waiting_and_a_rejected_user_is_let_in_again(database: Database) {
    let server = TestServer::start(database).await;
    let root = server.as_root().await;
    let user = User { username: "bob".into(), ..User::default() };
    let pending = CreateUserRequest {
        user: Some(user),
        password: "bob-password".into(),
        approval_status: ApprovalStatus::Pending.into(),
        ..CreateUserRequest::default()
    };
    let bob = root.create_user(pending).await.unwrap();
    let log_in = async || server.client().log_in("bob", &"bob-password".into()).await;
    assert_eq!(log_in().await.reason(), ErrorReason::LoginFailed);
    let approved = root.approve_user(&bob.user_id).await.unwrap();
    assert_eq!(approved.approval_status(), ApprovalStatus::Approved);
    log_in().await.unwrap();
    let rejected = root.reject_user(&bob.user_id).await.unwrap();
    assert_eq!((rejected.user.approval_status(), rejected.revoked_count), (ApprovalStatus::Rejected, 1));
    assert_eq!(log_in().await.reason(), ErrorReason::LoginFailed);
    root.approve_user(&bob.user_id).await.unwrap();
    root.lock_user(&bob.user_id).await.unwrap();
    assert_eq!(log_in().await.reason(), ErrorReason::LoginFailed);
    assert!(!root.unlock_user(&bob.user_id).await.unwrap().is_locked);
    log_in().await.unwrap();
    let reasons: Vec<_> = events_of(&server, "session.create").await.into_iter().map(|event| event.reason).collect();
    assert_eq!(reasons, ["", "user_locked", "user_rejected", "", "user_not_approved", ""], "newest first");
}

async fn an_unlock_does_not_approve_and_an_approval_does_not_unlock(database: Database) {
    let server = TestServer::start(database).await;
    let (root, alice) = (server.as_root().await, server.alice.user_id.as_str());
    root.lock_user(alice).await.unwrap();
    root.reject_user(alice).await.unwrap();
    let log_in = async || server.client().log_in("alice", &server.alice.password).await;
    assert_eq!(root.unlock_user(alice).await.unwrap().approval_status(), ApprovalStatus::Rejected);
    assert_eq!(log_in().await.reason(), ErrorReason::LoginFailed);
    root.lock_user(alice).await.unwrap();
    assert!(root.approve_user(alice).await.unwrap().is_locked);
    assert_eq!(log_in().await.reason(), ErrorReason::LoginFailed);
    root.unlock_user(alice).await.unwrap();
    log_in().await.unwrap();
}

async fn what_is_done_to_nobody_is_not_found(database: Database) {
    let server = TestServer::start(database).await;
    let root = server.as_root().await;
    let nobody = UpdateUserRequest {
        user: Some(User { user_id: NOBODY.into(), ..User::default() }),
        update_mask: Some(FieldMask { paths: vec!["email".into()] }),
        ..UpdateUserRequest::default()
    };
    let refusals = [
        root.get_user(NOBODY).await.refusal(),
        root.update_user(nobody).await.refusal(),
        root.delete_user(NOBODY).await.refusal(),
        root.lock_user(NOBODY).await.refusal(),
        root.unlock_user(NOBODY).await.refusal(),
        root.approve_user(NOBODY).await.refusal(),
        root.reject_user(NOBODY).await.refusal(),
        root.set_password(NOBODY, &"good-password".into(), false).await.refusal(),
        root.disable_totp_of(NOBODY).await.refusal(),
    ];
    for refusal in refusals {
        assert_eq!((refusal.reason, refusal.code), (ErrorReason::UserNotFound, Code::NotFound));
        assert!(refusal.message.contains("no such user"), "{refusal}");
    }
}

async fn a_deleted_user_is_gone_and_the_name_is_free(database: Database) {
    let server = TestServer::start(database).await;
    let root = server.as_root().await;
    server.as_alice().await;
    assert_eq!(root.delete_user(&server.alice.user_id).await.unwrap(), 1);
    assert_eq!(root.get_user(&server.alice.user_id).await.reason(), ErrorReason::UserNotFound);
    assert_eq!(root.delete_user(&server.alice.user_id).await.reason(), ErrorReason::UserNotFound);
    let login = server.client().log_in("alice", &server.alice.password).await;
    assert_eq!(login.reason(), ErrorReason::LoginFailed);
    let event = &events_of(&server, "user.delete").await[0];
    assert_eq!(event.target.unwrap().to_string(), server.alice.user_id, "the trail keeps the ID");
    let again = server.add_user("alice", false).await;
    assert_ne!(again.user_id, server.alice.user_id);
    server.acting_for(&again).await;
}

/// Zato looked names up before it knew who asked, and waited after a miss: anybody could find out who is there.
async fn zato_10_a_stranger_learns_nothing_of_who_is_there(database: Database) {
    let server = TestServer::start(database).await;
    let (alice, stranger) = (server.as_alice().await, server.on_behalf_of(&"junk".into()));
    for name in ["root", "nobody-of-this-name"] {
        assert_eq!(alice.get_user_by_name(name).await.reason(), ErrorReason::SuperUserRequired);
        assert_eq!(stranger.get_user_by_name(name).await.reason(), ErrorReason::SessionInvalid);
    }
    for id in [server.root.user_id.as_str(), NOBODY] {
        assert_eq!(alice.get_user(id).await.reason(), ErrorReason::SuperUserRequired);
        assert_eq!(stranger.get_user(id).await.reason(), ErrorReason::SessionInvalid);
    }
    let search = ListUsersRequest { search: "root".into(), ..ListUsersRequest::default() };
    assert_eq!(alice.call(search).await.reason(), ErrorReason::SuperUserRequired);
}

/// After one call with all attributes, Zato returned TOTP keys with every read of a user, and to regular users their own.
async fn zato_18_no_read_returns_a_secret_of_a_user(database: Database) {
    let server = TestServer::start(database).await;
    let (alice, root) = (server.as_alice().await, server.as_root().await);
    let secret = alice.enroll_totp(&server.alice.password).await.unwrap().secret;
    let listed = root.call(ListUsersRequest::default()).await.unwrap();
    let shown = [
        format!("{:?}", alice.current_user().await.unwrap()),
        format!("{:?}", root.get_user(&server.alice.user_id).await.unwrap()),
        format!("{listed:?}"),
    ];
    for shown in shown {
        assert!(shown.contains("alice"), "{shown}");
        assert!(!shown.contains(&secret) && !shown.contains("$argon2"), "{shown}");
    }
}

/// Where Zato was asked for the user of a credential, it returned the caller.
async fn zato_23_the_current_user_is_the_holder_of_the_token(database: Database) {
    let server = TestServer::start(database).await;
    let (alice, root) = (server.as_alice().await, server.as_root().await);
    assert_eq!(alice.current_user().await.unwrap().user_id, server.alice.user_id);
    assert_eq!(root.current_user().await.unwrap().user_id, server.root.user_id);
    assert_eq!(root.get_user_by_name("alice").await.unwrap().user_id, server.alice.user_id);
}
