//! Users: who may see and change whom, names, search, pages, masks, etags.

use lanyard_client::prost_types::{FieldMask, Timestamp};
use lanyard_client::v1::{
    ApprovalStatus, CreateUserRequest, GetUserRequest, ListUsersRequest, UpdateUserRequest, User,
};
use lanyard_client::{Code, ErrorReason, Subject};
use lanyard_tests::both_databases;
use lanyard_tests::support::answers::{Refused, events_of};
use lanyard_tests::support::server::{Database, START, TestServer};

both_databases!(
    a_new_user_is_as_asked_for_and_no_more,
    a_username_is_one_name_in_upper_and_lower_case,
    a_user_that_cannot_be_is_refused_by_the_field,
    a_user_is_found_by_id_and_by_name,
    a_regular_user_is_refused_before_anything_is_looked_up,
    users_are_listed_in_the_order_of_their_creation_page_by_page,
    users_are_searched_in_name_display_name_and_email,
    users_are_filtered_by_status_lock_and_role,
    only_the_fields_of_the_mask_change,
    a_mask_that_names_nothing_or_the_wrong_thing_is_refused,
    an_old_etag_is_refused_and_the_current_one_is_not,
    a_regular_user_changes_their_own_profile_and_nothing_else,
    a_change_of_name_is_a_change_of_login,
    a_role_counts_at_once_in_sessions_that_are_open,
);

const NOBODY: &str = "usr_00000000000070008000000000000000";

fn new_user(username: &str) -> CreateUserRequest {
    let user = User { username: username.into(), ..User::default() };
    CreateUserRequest { user: Some(user), password: "good-password".into(), ..CreateUserRequest::default() }
}

fn update(user: User, paths: &[&str]) -> UpdateUserRequest {
    let paths = paths.iter().map(|path| (*path).to_owned()).collect();
    UpdateUserRequest { user: Some(user), update_mask: Some(FieldMask { paths }), ..UpdateUserRequest::default() }
}

async fn names(root: &Subject, request: ListUsersRequest) -> Vec<String> {
    root.call(request).await.unwrap().users.into_iter().map(|user| user.username).collect()
}

async fn a_new_user_is_as_asked_for_and_no_more(database: Database) {
    let server = TestServer::start(database).await;
    let root = server.as_root().await;
    let expire_time = Some(Timestamp { seconds: 1_900_000_000, nanos: 0 });
    let asked = User {
        user_id: NOBODY.into(),
        username: "Zoë".into(),
        display_name: "Zoë von Ex".into(),
        email: "zoe@example.org".into(),
        is_locked: true,
        approval_status: ApprovalStatus::Rejected.into(),
        is_totp_enabled: true,
        has_password: false,
        password_must_change: true,
        password_expire_time: expire_time,
        allowed_networks: vec!["192.0.2.77/24".into(), "::1".into()],
        etag: "mine".into(),
        ..User::default()
    };
    let made = root.create_user(CreateUserRequest { user: Some(asked.clone()), ..new_user("") }).await.unwrap();
    assert_ne!(made.user_id, NOBODY, "output only");
    let expected = User {
        user_id: made.user_id.clone(),
        is_locked: false,
        approval_status: ApprovalStatus::Approved.into(),
        is_totp_enabled: false,
        has_password: true,
        allowed_networks: vec!["192.0.2.0/24".into(), "::1/128".into()],
        creation_time: Some(Timestamp { seconds: START.to_unix().0, nanos: 0 }),
        update_time: Some(Timestamp { seconds: START.to_unix().0, nanos: 0 }),
        etag: made.etag.clone(),
        ..asked
    };
    assert_eq!(made, expected);
    assert_eq!(root.get_user(&made.user_id).await.unwrap(), expected);
    let without = root.create_user(CreateUserRequest { password: String::new(), ..new_user("bob") }).await.unwrap();
    assert!(!without.has_password);
    assert_eq!(server.client().log_in("bob", &"".into()).await.reason(), ErrorReason::LoginFailed);
}

async fn a_username_is_one_name_in_upper_and_lower_case(database: Database) {
    let server = TestServer::start(database).await;
    let root = server.as_root().await;
    root.create_user(new_user("Ärger")).await.unwrap();
    for taken in ["Ärger", "ärger", "ÄRGER", "Alice"] {
        let refusal = root.create_user(new_user(taken)).await.refusal();
        assert_eq!((refusal.reason, refusal.code), (ErrorReason::UsernameTaken, Code::AlreadyExists), "{taken}");
    }
    let login = server.client().log_in("äRGER", &"good-password".into()).await.unwrap();
    assert_eq!(login.session.username, "Ärger");
    assert_eq!(root.get_user_by_name("ÄRGER").await.unwrap().username, "Ärger");
    let rename = User { user_id: server.alice.user_id.clone(), username: "ärgeR".into(), ..User::default() };
    assert_eq!(root.update_user(update(rename, &["username"])).await.reason(), ErrorReason::UsernameTaken);
    assert_eq!(root.get_user(&server.alice.user_id).await.unwrap().username, "alice");
}

async fn a_user_that_cannot_be_is_refused_by_the_field(database: Database) {
    let server = TestServer::start(database).await;
    let root = server.as_root().await;
    for username in ["", "two words", "tab\t", "line\n", "\u{a0}", &"x".repeat(129)] {
        assert_eq!(root.create_user(new_user(username)).await.bad_field(), "user.username", "{username:?}");
    }
    root.create_user(new_user(&"x".repeat(128))).await.unwrap();
    let user = |user| CreateUserRequest { user: Some(user), ..new_user("") };
    let bob = || User { username: "bob".into(), ..User::default() };
    let long = "x".repeat(257);
    for (asked, field) in [
        (User { display_name: long.clone(), ..bob() }, "user.display_name"),
        (User { email: "a\nb".into(), ..bob() }, "user.email"),
        (User { allowed_networks: vec!["10.0.0.0/33".into()], ..bob() }, "user.allowed_networks"),
        (User { allowed_networks: vec!["10.0.0.1".into(); 65], ..bob() }, "user.allowed_networks"),
        (
            User { password_expire_time: Some(Timestamp { seconds: 0, nanos: -1 }), ..bob() },
            "user.password_expire_time",
        ),
    ] {
        assert_eq!(root.create_user(user(asked)).await.bad_field(), field);
    }
    let rejected = CreateUserRequest { approval_status: ApprovalStatus::Rejected.into(), ..new_user("bob") };
    assert_eq!(root.create_user(rejected).await.bad_field(), "approval_status");
    let nobody = CreateUserRequest { user: None, ..new_user("") };
    assert_eq!(root.create_user(nobody).await.bad_field(), "user");
    assert_eq!(root.get_user_by_name("bob").await.reason(), ErrorReason::UserNotFound, "nothing was made");
}

async fn a_user_is_found_by_id_and_by_name(database: Database) {
    let server = TestServer::start(database).await;
    let root = server.as_root().await;
    let alice = root.get_user(&server.alice.user_id).await.unwrap();
    assert_eq!(root.get_user_by_name("Alice").await.unwrap(), alice);
    assert_eq!(server.as_alice().await.current_user().await.unwrap(), alice);
    assert_eq!(root.get_user("alice").await.bad_field(), "user_id");
    assert_eq!(root.get_user_by_name("").await.reason(), ErrorReason::UserNotFound);
    assert_eq!(root.call(GetUserRequest::default()).await.bad_field(), "key");
}

async fn a_regular_user_is_refused_before_anything_is_looked_up(database: Database) {
    let server = TestServer::start(database).await;
    let alice = server.as_alice().await;
    for target in [server.root.user_id.as_str(), NOBODY] {
        let told = User { user_id: target.into(), display_name: "x".into(), ..User::default() };
        let refusals = [
            alice.get_user(target).await.refusal(),
            alice.get_user_by_name("root").await.refusal(),
            alice.update_user(update(told, &["display_name"])).await.refusal(),
            alice.delete_user(target).await.refusal(),
            alice.lock_user(target).await.refusal(),
            alice.unlock_user(target).await.refusal(),
            alice.approve_user(target).await.refusal(),
            alice.reject_user(target).await.refusal(),
            alice.set_password(target, &"good-password".into(), false).await.refusal(),
            alice.disable_totp_of(target).await.refusal(),
            alice.create_user(new_user("bob")).await.refusal(),
            alice.call(ListUsersRequest::default()).await.refusal(),
        ];
        for refusal in refusals {
            assert_eq!(refusal.reason, ErrorReason::SuperUserRequired, "{refusal}");
            assert_eq!(refusal.code, Code::PermissionDenied);
        }
    }
    assert_eq!(events_of(&server, "user.lock").await.len(), 2, "attempts on others are written down");
}

async fn users_are_listed_in_the_order_of_their_creation_page_by_page(database: Database) {
    let server = TestServer::start(database).await;
    let mut expected = vec!["root".to_owned(), "alice".to_owned()];
    for number in 0..55 {
        server.clock.advance(std::time::Duration::from_millis(1));
        // Names in the other direction: it is not them that decide.
        let name = format!("user-{}", 99 - number);
        server.add_user(&name, false).await;
        expected.push(name);
    }
    let root = server.as_root().await;
    for (page_size, lengths) in [(0, vec![50, 7]), (57, vec![57]), (25, vec![25, 25, 7])] {
        let mut pages = root.list_users(ListUsersRequest { page_size, ..ListUsersRequest::default() });
        let mut found = Vec::new();
        for length in lengths {
            let page = pages.next_page().await.unwrap().expect("one more page");
            assert_eq!(page.len(), length);
            found.extend(page.into_iter().map(|user| user.username));
        }
        assert!(pages.next_page().await.unwrap().is_none());
        // The first two were made in the same moment.
        assert_eq!(found[2..], expected[2..]);
    }
    let first = ListUsersRequest { page_size: 1, ..ListUsersRequest::default() };
    let page_token = root.call(first.clone()).await.unwrap().next_page_token;
    let other = ListUsersRequest { page_token, search: "user".into(), ..first };
    assert_eq!(root.call(other).await.reason(), ErrorReason::PageTokenInvalid);
}

async fn users_are_searched_in_name_display_name_and_email(database: Database) {
    let server = TestServer::start(database).await;
    let root = server.as_root().await;
    for (username, display_name, email) in
        [("mallory", "Ms. 100%", "m@one.example"), ("oscar", "Ölaf_x", "o@two.example"), ("peggy", "Peggy", "")]
    {
        let user = User {
            username: username.into(),
            display_name: display_name.into(),
            email: email.into(),
            ..User::default()
        };
        root.create_user(CreateUserRequest { user: Some(user), ..new_user("") }).await.unwrap();
    }
    for (search, mut expected) in [
        ("ALLO", vec!["mallory"]),
        ("öLAF", vec!["oscar"]),
        (".EXAMPLE", vec!["mallory", "oscar"]),
        ("%", vec!["mallory"]),
        ("f_x", vec!["oscar"]),
        ("100_", vec![]),
        ("\\", vec![]),
        ("'; --", vec![]),
    ] {
        let mut found = names(&root, ListUsersRequest { search: search.into(), ..ListUsersRequest::default() }).await;
        found.sort_unstable();
        expected.sort_unstable();
        assert_eq!(found, expected, "{search}");
    }
    let long = ListUsersRequest { search: "x".repeat(129), ..ListUsersRequest::default() };
    assert_eq!(root.call(long).await.bad_field(), "search");
    let renamed = User { user_id: server.alice.user_id.clone(), email: "new@three.example".into(), ..User::default() };
    root.update_user(update(renamed, &["email"])).await.unwrap();
    let three = ListUsersRequest { search: "three".into(), ..ListUsersRequest::default() };
    assert_eq!(names(&root, three).await, ["alice"], "a change is found");
}

async fn users_are_filtered_by_status_lock_and_role(database: Database) {
    let server = TestServer::start(database).await;
    let root = server.as_root().await;
    let locked = server.add_user("locked", false).await;
    root.lock_user(&locked.user_id).await.unwrap();
    let pending = CreateUserRequest { approval_status: ApprovalStatus::Pending.into(), ..new_user("pending") };
    root.create_user(pending).await.unwrap();
    let all = ListUsersRequest::default;
    for (request, expected) in [
        (ListUsersRequest { approval_status: ApprovalStatus::Pending.into(), ..all() }, vec!["pending"]),
        (ListUsersRequest { approval_status: ApprovalStatus::Rejected.into(), ..all() }, vec![]),
        (ListUsersRequest { is_locked: Some(true), ..all() }, vec!["locked"]),
        (ListUsersRequest { is_super_user: Some(true), ..all() }, vec!["root"]),
        (ListUsersRequest { is_super_user: Some(false), is_locked: Some(false), ..all() }, vec!["alice", "pending"]),
    ] {
        let mut found = names(&root, request).await;
        found.sort_unstable();
        assert_eq!(found, expected);
    }
    assert_eq!(root.call(ListUsersRequest { approval_status: 9, ..all() }).await.bad_field(), "approval_status");
}

async fn only_the_fields_of_the_mask_change(database: Database) {
    let server = TestServer::start(database).await;
    let root = server.as_root().await;
    let before = root.get_user(&server.alice.user_id).await.unwrap();
    server.clock.advance(std::time::Duration::from_secs(1));
    let asked = User {
        user_id: before.user_id.clone(),
        username: "somebody".into(),
        display_name: "Alice A.".into(),
        email: "alice@example.org".into(),
        is_super_user: true,
        password_must_change: true,
        allowed_networks: vec!["10.0.0.0/8".into()],
        ..User::default()
    };
    let after = root.update_user(update(asked, &["display_name", "email"])).await.unwrap();
    let expected = User {
        display_name: "Alice A.".into(),
        email: "alice@example.org".into(),
        update_time: after.update_time,
        etag: after.etag.clone(),
        ..before.clone()
    };
    assert_eq!(after, expected);
    assert!(after.etag != before.etag && after.update_time != before.update_time);
    let emptied = User { user_id: before.user_id, ..User::default() };
    let after = root.update_user(update(emptied, &["email"])).await.unwrap();
    assert_eq!((after.email.as_str(), after.display_name.as_str()), ("", "Alice A."), "empty is a value");
    let event = &events_of(&server, "user.update").await[0];
    assert_eq!(event.detail, r#"{"fields":["email"]}"#);
}

async fn a_mask_that_names_nothing_or_the_wrong_thing_is_refused(database: Database) {
    let server = TestServer::start(database).await;
    let root = server.as_root().await;
    let alice = || User { user_id: server.alice.user_id.clone(), ..User::default() };
    for paths in [&[][..], &["is_locked"], &["user_id"], &["etag"], &["display_name", "nonsense"], &["*"], &[""]] {
        assert_eq!(root.update_user(update(alice(), paths)).await.bad_field(), "update_mask", "{paths:?}");
    }
    let no_mask = UpdateUserRequest { user: Some(alice()), ..UpdateUserRequest::default() };
    assert_eq!(root.update_user(no_mask).await.bad_field(), "update_mask");
    assert_eq!(root.update_user(UpdateUserRequest::default()).await.bad_field(), "user");
    assert_eq!(root.update_user(update(alice(), &["username"])).await.bad_field(), "user.username");
}

async fn an_old_etag_is_refused_and_the_current_one_is_not(database: Database) {
    let server = TestServer::start(database).await;
    let root = server.as_root().await;
    let before = root.get_user(&server.alice.user_id).await.unwrap();
    let change = |etag: &str, name: &str| {
        let user =
            User { user_id: before.user_id.clone(), etag: etag.into(), display_name: name.into(), ..User::default() };
        update(user, &["display_name"])
    };
    let after = root.update_user(change(&before.etag, "one")).await.unwrap();
    let refusal = root.update_user(change(&before.etag, "two")).await.refusal();
    assert_eq!((refusal.reason, refusal.code), (ErrorReason::EtagMismatch, Code::Aborted));
    assert_eq!(root.get_user(&before.user_id).await.unwrap(), after);
    root.update_user(change(&after.etag, "three")).await.unwrap();
    root.update_user(change("", "four")).await.unwrap();
}

async fn a_regular_user_changes_their_own_profile_and_nothing_else(database: Database) {
    let server = TestServer::start(database).await;
    let alice = server.as_alice().await;
    let asked = User { display_name: "Ally".into(), is_super_user: true, username: "root2".into(), ..User::default() };
    assert_eq!(alice.update_user(update(asked.clone(), &["display_name"])).await.unwrap().display_name, "Ally");
    for path in ["username", "is_super_user", "password_must_change", "password_expire_time", "allowed_networks"] {
        let refused = alice.update_user(update(asked.clone(), &["display_name", path])).await;
        assert_eq!(refused.reason(), ErrorReason::SuperUserRequired, "{path}");
    }
    assert!(!alice.current_user().await.unwrap().is_super_user);
}

async fn a_change_of_name_is_a_change_of_login(database: Database) {
    let server = TestServer::start(database).await;
    let login = server.log_in(&server.alice).await;
    let renamed = User { user_id: server.alice.user_id.clone(), username: "Alicia".into(), ..User::default() };
    server.as_root().await.update_user(update(renamed, &["username"])).await.unwrap();
    let client = server.client();
    assert_eq!(client.log_in("alice", &server.alice.password).await.reason(), ErrorReason::LoginFailed);
    client.log_in("alicia", &server.alice.password).await.unwrap();
    let verified = client.verify(&login.ust).await.unwrap().into_session().unwrap();
    assert_eq!(verified.username, "Alicia", "in sessions that are open, too");
}

async fn a_role_counts_at_once_in_sessions_that_are_open(database: Database) {
    let server = TestServer::start(database).await;
    let login = server.log_in(&server.alice).await;
    let (alice, root) = (server.on_behalf_of(&login.ust), server.as_root().await);
    let role = |is_super_user| {
        let user = User { user_id: server.alice.user_id.clone(), is_super_user, ..User::default() };
        update(user, &["is_super_user"])
    };
    assert_eq!(alice.get_user(&server.root.user_id).await.reason(), ErrorReason::SuperUserRequired);
    root.update_user(role(true)).await.unwrap();
    alice.get_user(&server.root.user_id).await.unwrap();
    assert!(server.client().verify(&login.ust).await.unwrap().into_session().unwrap().is_super_user());
    root.update_user(role(false)).await.unwrap();
    assert_eq!(alice.get_user(&server.root.user_id).await.reason(), ErrorReason::SuperUserRequired);
}
