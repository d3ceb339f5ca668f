//! Links turned off and on, removed, and going with their users and definitions: which sessions end, and that nobody is
//! locked out.

use std::time::Duration;

use lanyard_client::v1::definition_ref::Definition;
use lanyard_client::v1::revoke_sessions_request::Target;
use lanyard_client::v1::{CreateUserRequest, DeleteLinkedAuthRequest, LinkedAuth, UpdateLinkedAuthRequest, User};
use lanyard_client::{Code, ErrorReason, RevokeReason, Subject};
use lanyard_tests::both_databases;
use lanyard_tests::support::answers::{Refused, events_of, is_active, revoked, why_inactive};
use lanyard_tests::support::links::link;
use lanyard_tests::support::server::{Database, Person, TestServer};

both_databases!(
    a_link_that_is_turned_off_ends_the_sessions_that_began_with_it,
    turning_a_link_on_again_does_not_revive_its_sessions,
    zato_07_unlinking_definition_1_does_not_touch_10,
    zato_08_deleting_a_user_with_links_leaves_nothing_behind,
    a_link_goes_with_its_definition,
    an_etag_guards_a_link_against_what_was_changed_meanwhile,
    a_link_that_is_not_there_is_not_found,
    the_last_way_in_is_kept,
    a_way_in_is_a_link_that_is_on_with_a_definition_that_is_on,
    the_two_last_ways_in_are_not_removed_at_once,
    the_sessions_of_a_definition_can_be_ended_without_unlinking_it,
    what_unlinking_came_to_is_written_down,
);

const NOWHERE: &str = "lnk_00000000000070008000000000000000";

/// A user without a password.
async fn machine(server: &TestServer, root: &Subject) -> Person {
    let user = User { username: "machine".to_owned(), ..User::default() };
    let request = CreateUserRequest { user: Some(user), ..CreateUserRequest::default() };
    let user = root.create_user(request).await.unwrap();
    assert!(!user.has_password);
    Person { user_id: user.user_id, username: user.username, ..server.alice.clone() }
}

async fn a_link_that_is_turned_off_ends_the_sessions_that_began_with_it(database: Database) {
    let server = TestServer::start(database).await;
    let root = server.as_root().await;
    let (one, two) = (server.add_definition("one").await, server.add_definition("two").await);
    let made = link(&root, &server.alice, one).await;
    link(&root, &server.alice, two).await;
    let by_password = server.log_in(&server.alice).await.ust;
    let mut through_one = Vec::new();
    for _ in 0..3 {
        through_one.push(server.session_through(&server.alice, one).await);
    }
    let through_two = server.session_through(&server.alice, two).await;
    let client = server.client();
    for ust in &through_one {
        assert!(is_active(&client, ust).await);
    }
    server.clock.advance(Duration::from_secs(1));
    let change = root.update_linked_auth(&made.link_id, false).await.unwrap();
    assert_eq!(change.revoked_count, 3);
    assert_eq!(change.link, LinkedAuth { is_active: false, etag: "2".to_owned(), ..made });
    for ust in &through_one {
        assert_eq!(why_inactive(&client, ust).await, revoked(RevokeReason::LinkInactive));
    }
    assert!(is_active(&client, &through_two).await && is_active(&client, &by_password).await);
    // Once more changes nothing.
    let again = root.update_linked_auth(&change.link.link_id, false).await.unwrap();
    assert_eq!((&again.link, again.revoked_count), (&change.link, 0));
    let listed = server.on_behalf_of(&by_password).get_linked_auth_list(None).await.unwrap();
    assert!(listed.contains(&change.link), "{listed:?}");
}

async fn turning_a_link_on_again_does_not_revive_its_sessions(database: Database) {
    let server = TestServer::start(database).await;
    let root = server.as_root().await;
    let auth_id = server.add_definition("one").await;
    let made = link(&root, &server.alice, auth_id).await;
    let ust = server.session_through(&server.alice, auth_id).await;
    root.update_linked_auth(&made.link_id, false).await.unwrap();
    let change = root.update_linked_auth(&made.link_id, true).await.unwrap();
    assert_eq!((change.link.is_active, change.link.etag.as_str(), change.revoked_count), (true, "3", 0));
    assert_eq!(why_inactive(&server.client(), &ust).await, revoked(RevokeReason::LinkInactive));
}

async fn zato_07_unlinking_definition_1_does_not_touch_10(database: Database) {
    let server = TestServer::start(database).await;
    let root = server.as_root().await;
    let bob = server.add_user("bob", false).await;
    let mut sessions = Vec::new();
    let mut first = None;
    for number in 1..=11 {
        let auth_id = server.add_definition(&format!("definition.{number}")).await;
        assert_eq!(auth_id, number);
        let person = if number == 1 { &server.alice } else { &bob };
        let made = link(&root, person, auth_id).await;
        first.get_or_insert(made);
        sessions.push(server.session_through(person, auth_id).await);
    }
    assert_eq!(root.delete_linked_auth(&first.unwrap().link_id).await.unwrap(), 1);
    let client = server.client();
    assert_eq!(why_inactive(&client, &sessions[0]).await, revoked(RevokeReason::LinkDeleted));
    for ust in &sessions[1..] {
        assert!(is_active(&client, ust).await);
    }
    assert_eq!(root.get_linked_auth_list(Some(&bob.user_id)).await.unwrap().len(), 10);
}

async fn zato_08_deleting_a_user_with_links_leaves_nothing_behind(database: Database) {
    let server = TestServer::start(database).await;
    let root = server.as_root().await;
    let bob = server.add_user("bob", false).await;
    let (one, two) = (server.add_definition("one").await, server.add_definition("two").await);
    link(&root, &server.alice, one).await;
    link(&root, &server.alice, two).await;
    let ust = server.session_through(&server.alice, one).await;
    assert_eq!(root.delete_user(&server.alice.user_id).await.unwrap(), 1);
    assert_eq!(why_inactive(&server.client(), &ust).await, revoked(RevokeReason::UserDeleted));
    let refused = root.get_linked_auth_list(Some(&server.alice.user_id)).await;
    assert_eq!(refused.reason(), ErrorReason::UserNotFound);
    let asked = [Definition::AuthId(one), Definition::AuthId(two)];
    assert_eq!(server.client().lookup_linked_auth(asked).await.unwrap(), [None, None]);
    // The definitions are free again.
    link(&root, &bob, one).await;
    link(&root, &bob, two).await;
}

async fn a_link_goes_with_its_definition(database: Database) {
    let server = TestServer::start(database).await;
    let (root, alice) = (server.as_root().await, server.as_alice().await);
    let auth_id = server.add_definition("one").await;
    let made = link(&root, &server.alice, auth_id).await;
    assert_eq!(alice.get_linked_auth_list(None).await.unwrap().len(), 1);
    let deleting = move |app: lanyard_server::app::App| async move {
        app.store().write(move |tx| Box::pin(tx.delete_definition(auth_id))).await
    };
    server.within(deleting).await.unwrap();
    assert!(alice.get_linked_auth_list(None).await.unwrap().is_empty());
    assert_eq!(root.update_linked_auth(&made.link_id, false).await.reason(), ErrorReason::LinkNotFound);
}

async fn an_etag_guards_a_link_against_what_was_changed_meanwhile(database: Database) {
    let server = TestServer::start(database).await;
    let root = server.as_root().await;
    let auth_id = server.add_definition("one").await;
    let made = link(&root, &server.alice, auth_id).await;
    let ust = server.session_through(&server.alice, auth_id).await;
    let update = |etag: &str, is_active| {
        let request = UpdateLinkedAuthRequest {
            link_id: made.link_id.clone(),
            is_active,
            etag: etag.to_owned(),
            ..UpdateLinkedAuthRequest::default()
        };
        root.call(request)
    };
    let delete = |etag: &str| {
        let request = DeleteLinkedAuthRequest {
            link_id: made.link_id.clone(),
            etag: etag.to_owned(),
            ..DeleteLinkedAuthRequest::default()
        };
        root.call(request)
    };
    for etag in ["0", "2", "x"] {
        let refusal = update(etag, false).await.refusal();
        assert_eq!((refusal.code, refusal.reason), (Code::Aborted, ErrorReason::EtagMismatch));
        assert_eq!(delete(etag).await.reason(), ErrorReason::EtagMismatch);
    }
    assert!(is_active(&server.client(), &ust).await, "what was refused ended nothing");
    assert_eq!(update(&made.etag, false).await.unwrap().link.unwrap().etag, "2");
    assert_eq!(delete(&made.etag).await.reason(), ErrorReason::EtagMismatch);
    delete("2").await.unwrap();
}

async fn a_link_that_is_not_there_is_not_found(database: Database) {
    let server = TestServer::start(database).await;
    let root = server.as_root().await;
    let refusal = root.update_linked_auth(NOWHERE, true).await.refusal();
    assert_eq!((refusal.code, refusal.reason), (Code::NotFound, ErrorReason::LinkNotFound));
    assert_eq!(root.delete_linked_auth(NOWHERE).await.reason(), ErrorReason::LinkNotFound);
    for link_id in ["", "lnk_1", &server.alice.user_id] {
        assert_eq!(root.update_linked_auth(link_id, true).await.bad_field(), "link_id");
        assert_eq!(root.delete_linked_auth(link_id).await.bad_field(), "link_id");
    }
    let made = link(&root, &server.alice, server.add_definition("one").await).await;
    root.delete_linked_auth(&made.link_id).await.unwrap();
    assert_eq!(root.delete_linked_auth(&made.link_id).await.reason(), ErrorReason::LinkNotFound);
}

async fn the_last_way_in_is_kept(database: Database) {
    let server = TestServer::start(database).await;
    let root = server.as_root().await;
    let machine = machine(&server, &root).await;
    let (one, two) = (server.add_definition("one").await, server.add_definition("two").await);
    let (first, second) = (link(&root, &machine, one).await, link(&root, &machine, two).await);
    let ust = server.session_through(&machine, two).await;
    root.update_linked_auth(&first.link_id, false).await.unwrap();
    let refusal = root.delete_linked_auth(&second.link_id).await.refusal();
    assert_eq!((refusal.code, refusal.reason), (Code::FailedPrecondition, ErrorReason::LastLoginMethod));
    let refused = root.update_linked_auth(&second.link_id, false).await;
    assert_eq!(refused.reason(), ErrorReason::LastLoginMethod);
    assert!(is_active(&server.client(), &ust).await, "what was refused ended nothing");
    // What is no way in can go.
    root.delete_linked_auth(&first.link_id).await.unwrap();
    // A password is another way in.
    root.set_password(&machine.user_id, &"a-good-password".into(), false).await.unwrap();
    root.delete_linked_auth(&second.link_id).await.unwrap();
}

async fn a_way_in_is_a_link_that_is_on_with_a_definition_that_is_on(database: Database) {
    let server = TestServer::start(database).await;
    let root = server.as_root().await;
    let machine = machine(&server, &root).await;
    let (one, two) = (server.add_definition("one").await, server.add_definition("two").await);
    let (first, second) = (link(&root, &machine, one).await, link(&root, &machine, two).await);
    server.change_definition(one, |row| row.is_active = false).await;
    assert_eq!(root.delete_linked_auth(&second.link_id).await.reason(), ErrorReason::LastLoginMethod);
    server.change_definition(one, |row| row.is_active = true).await;
    root.delete_linked_auth(&second.link_id).await.unwrap();
    assert_eq!(root.delete_linked_auth(&first.link_id).await.reason(), ErrorReason::LastLoginMethod);
    // Others' links are nobody's way in but theirs.
    link(&root, &server.alice, two).await;
    assert_eq!(root.delete_linked_auth(&first.link_id).await.reason(), ErrorReason::LastLoginMethod);
}

async fn the_two_last_ways_in_are_not_removed_at_once(database: Database) {
    let server = TestServer::start(database).await;
    let root = server.as_root().await;
    let machine = machine(&server, &root).await;
    for _ in 0..5 {
        for link in root.get_linked_auth_list(Some(&machine.user_id)).await.unwrap().iter().skip(1) {
            root.delete_linked_auth(&link.link_id).await.unwrap();
        }
        let name = server.clock.now().micros().to_string();
        link(&root, &machine, server.add_definition(&format!("a{name}")).await).await;
        link(&root, &machine, server.add_definition(&format!("b{name}")).await).await;
        server.clock.advance(Duration::from_millis(1));
        let links = root.get_linked_auth_list(Some(&machine.user_id)).await.unwrap();
        let removing = links.iter().map(|link| root.delete_linked_auth(&link.link_id));
        let removed = futures::future::join_all(removing).await;
        let refused: Vec<_> = removed.into_iter().filter(Result::is_err).collect();
        assert_eq!(refused.len(), 1, "one is left");
        for refusal in refused {
            assert_eq!(refusal.reason(), ErrorReason::LastLoginMethod);
        }
    }
}

async fn the_sessions_of_a_definition_can_be_ended_without_unlinking_it(database: Database) {
    let server = TestServer::start(database).await;
    let (root, alice) = (server.as_root().await, server.as_alice().await);
    let (one, two) = (server.add_definition("one").await, server.add_definition("two").await);
    link(&root, &server.alice, one).await;
    link(&root, &server.alice, two).await;
    let (ended, kept) =
        (server.session_through(&server.alice, one).await, server.session_through(&server.alice, two).await);
    let refused = alice.revoke_sessions(Some(Target::AuthId(one)), false).await;
    assert_eq!(refused.reason(), ErrorReason::SuperUserRequired);
    assert_eq!(root.revoke_sessions(Some(Target::AuthId(one)), false).await.unwrap(), 1);
    assert_eq!(root.revoke_sessions(Some(Target::AuthId(one)), false).await.unwrap(), 0);
    assert_eq!(root.revoke_sessions(Some(Target::AuthId(one + 90)), false).await.unwrap(), 0);
    let client = server.client();
    assert_eq!(why_inactive(&client, &ended).await, revoked(RevokeReason::Administrator));
    assert!(is_active(&client, &kept).await);
    assert_eq!(alice.get_linked_auth_list(None).await.unwrap().len(), 2);
    let event = &events_of(&server, "session.revoke_many").await[2];
    let detail: serde_json::Value = serde_json::from_str(&event.detail).unwrap();
    assert_eq!((&detail["auth_id"], &detail["revoked"]), (&one.into(), &1.into()));
}

async fn what_unlinking_came_to_is_written_down(database: Database) {
    let server = TestServer::start(database).await;
    let root = server.client().with_correlation_id("unlink-it".parse().unwrap());
    let root = root.on_behalf_of(&server.log_in(&server.root).await.ust);
    let machine = machine(&server, &root).await;
    let (one, two) = (server.add_definition("one").await, server.add_definition("two").await);
    let made = link(&root, &server.alice, one).await;
    let last = link(&root, &machine, two).await;
    server.session_through(&server.alice, one).await;
    root.update_linked_auth(&last.link_id, false).await.reason();
    root.delete_linked_auth(&last.link_id).await.reason();
    root.update_linked_auth(&made.link_id, false).await.unwrap();
    root.update_linked_auth(&made.link_id, true).await.unwrap();
    let stale = DeleteLinkedAuthRequest { link_id: made.link_id.clone(), etag: "1".into(), ..Default::default() };
    root.call(stale).await.reason();
    root.delete_linked_auth(&made.link_id).await.unwrap();
    root.delete_linked_auth(&made.link_id).await.reason();
    let mut said = Vec::new();
    for operation in ["link.update", "link.delete"] {
        for event in events_of(&server, operation).await {
            assert_eq!((event.correlation_id.as_str(), event.caller.as_str()), ("unlink-it", "tests"));
            assert_eq!(event.subject.unwrap().to_string(), server.root.user_id);
            let detail: serde_json::Value = serde_json::from_str(&event.detail).unwrap();
            let target = event.target.map(|user| user.to_string());
            let (whose, auth_id) = match detail["link_id"].as_str().unwrap() {
                link if link == made.link_id => (&server.alice.user_id, one),
                link if link == last.link_id => (&machine.user_id, two),
                other => panic!("{other}"),
            };
            if event.reason == "link_not_found" {
                assert_eq!((target, &detail["auth_id"]), (None, &serde_json::Value::Null));
            } else {
                assert_eq!((target.as_ref(), &detail["auth_id"]), (Some(whose), &auth_id.into()));
            }
            let revoked = detail["revoked"].as_u64();
            said.push((event.operation.clone(), event.reason.clone(), detail["is_active"].as_bool(), revoked));
        }
    }
    said.sort_unstable();
    let expected = [
        ("link.delete", "", Some(true), Some(0)),
        ("link.delete", "etag_mismatch", None, None),
        ("link.delete", "last_login_method", None, None),
        ("link.delete", "link_not_found", None, None),
        ("link.update", "", Some(false), Some(1)),
        ("link.update", "", Some(true), Some(0)),
        ("link.update", "last_login_method", None, None),
    ];
    let said: Vec<_> = said
        .iter()
        .map(|(operation, reason, active, revoked)| (operation.as_str(), reason.as_str(), *active, *revoked))
        .collect();
    assert_eq!(said, expected);
}
