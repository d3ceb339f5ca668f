//! Linked accounts as they are listed and looked up: the call of Zato SSO to the letter, whose they are, in which order.
//! Tests named `zato_..` are defects of the original, by their numbers.

use std::time::Duration;

use lanyard_client::prost_types::Timestamp;
use lanyard_client::v1::definition_ref::Definition;
use lanyard_client::v1::{
    ClientInfo, DefinitionName, DeleteDefinitionRequest, LinkedAuth, ListAuditEventsRequest, ListLinkedAuthRequest,
};
use lanyard_client::{Code, CorrelationId, ErrorReason};
use lanyard_server::app::caller::CallerToCreate;
use lanyard_server::model::caller::{Grant, Grants};
use lanyard_server::model::session::AuthType;
use lanyard_tests::both_databases;
use lanyard_tests::support::answers::{Refused, events_of};
use lanyard_tests::support::eventually;
use lanyard_tests::support::links::{definition_row, link};
use lanyard_tests::support::server::{Database, TestServer, all_powerful};
use lanyard_tests::support::store::Raw;

both_databases!(
    the_call_of_zato_sso_is_followed_to_the_letter,
    zato_01_a_regular_user_without_user_id_sees_their_own_links_and_nobody_elses,
    zato_02_a_regular_user_may_give_their_own_user_id,
    zato_03_a_definition_that_is_gone_does_not_spoil_the_list,
    zato_23_a_look_up_answers_whose_a_definition_is_and_not_who_asks,
    another_users_links_need_a_super_user_and_are_not_looked_for_before,
    links_are_listed_oldest_first_page_by_page,
    a_list_that_was_asked_for_before_shows_each_change_at_once,
    a_list_that_is_too_long_to_be_kept_in_memory_is_whole_all_the_same,
    the_page_token_of_a_list_is_good_for_nothing_else,
    a_look_up_answers_in_order_by_number_and_by_name,
    a_look_up_needs_a_grant_of_its_own_and_no_user,
    what_cannot_be_looked_up_is_refused_by_its_field,
);

const NOBODY: &str = "usr_00000000000070008000000000000000";

fn named(auth_type: &str, auth_username: &str) -> Definition {
    Definition::AuthName(DefinitionName { auth_type: auth_type.to_owned(), auth_username: auth_username.to_owned() })
}

fn ids(links: &[LinkedAuth]) -> Vec<i64> {
    links.iter().map(|link| link.auth_id).collect()
}

fn timestamp(server: &TestServer) -> Timestamp {
    let (seconds, nanos) = server.clock.now().to_unix();
    Timestamp { seconds, nanos: i32::try_from(nanos).unwrap() }
}

async fn the_call_of_zato_sso_is_followed_to_the_letter(database: Database) {
    let server = TestServer::start(database).await;
    server.clock.advance(Duration::from_micros(11 * 3_600_000_000 + 44 * 60_000_000 + 59_109_637));
    let root = server.as_root().await;
    server.add_definition("somebody.else").await;
    let auth_id = server.add_definition("my.username").await;
    let linked_at = timestamp(&server);
    let made = link(&root, &server.alice, auth_id).await;

    // Request metadata
    let cid: CorrelationId = "K051QHH5WM0T1ZQ8Z4QT5Y3K9ABF".parse().unwrap();
    let current_ust = server.log_in(&server.root).await.ust;
    let current_app = "CRM".to_owned();
    let remote_addr = "127.0.0.1".to_owned();

    // ID of the user to return links for
    let user_id = server.alice.user_id.as_str();

    // Get user's links
    let metadata = ClientInfo { current_app, remote_addr, ..ClientInfo::default() };
    let user = server.client().with_correlation_id(cid.clone()).with_client_info(metadata).on_behalf_of(&current_ust);
    let response = user.get_linked_auth_list(Some(user_id)).await.unwrap();

    let expected = LinkedAuth {
        user_id: user_id.to_owned(),
        auth_type: "basic_auth".to_owned(),
        auth_username: "my.username".to_owned(),
        auth_id: 2,
        creation_time: Some(linked_at),
        is_active: true,
        is_internal: false,
        auth_source: "reserved".to_owned(),
        auth_principal: "reserved".to_owned(),
        has_ext_principal: false,
        // What it has beyond the original.
        link_id: made.link_id.clone(),
        last_used_time: None,
        etag: "1".to_owned(),
    };
    assert_eq!(response, [expected]);
    assert_eq!(linked_at.nanos, 109_637_000, "to the microsecond");
    assert!(made.link_id.starts_with("lnk_"));

    // The audit log is searched by the correlation ID.
    let by_cid = ListAuditEventsRequest { correlation_id: cid.to_string(), ..ListAuditEventsRequest::default() };
    let found = root.call(by_cid).await.unwrap().events;
    let [event] = &found[..] else { panic!("{found:?}") };
    assert_eq!((event.operation.as_str(), event.caller.as_str()), ("link.list", "tests"));
    assert_eq!((&event.subject_user_id, event.target_user_id.as_str()), (&server.root.user_id, user_id));
    assert_eq!((event.current_app.as_str(), event.remote_addr.as_str()), ("CRM", "127.0.0.1"));
    assert_eq!((event.outcome(), event.reason.as_str()), (lanyard_client::v1::AuditOutcome::Ok, ""));
}

async fn zato_01_a_regular_user_without_user_id_sees_their_own_links_and_nobody_elses(database: Database) {
    let server = TestServer::start(database).await;
    let (root, alice) = (server.as_root().await, server.as_alice().await);
    let bob = server.add_user("bob", false).await;
    for name in ["bob.1", "bob.2", "bob.3"] {
        link(&root, &bob, server.add_definition(name).await).await;
    }
    assert!(alice.get_linked_auth_list(None).await.unwrap().is_empty());
    assert!(root.get_linked_auth_list(None).await.unwrap().is_empty(), "a super-user's own are their own too");
    let own = link(&root, &server.alice, server.add_definition("alice.1").await).await;
    assert_eq!(alice.get_linked_auth_list(None).await.unwrap(), [own]);
}

async fn zato_02_a_regular_user_may_give_their_own_user_id(database: Database) {
    let server = TestServer::start(database).await;
    let (root, alice) = (server.as_root().await, server.as_alice().await);
    let own = link(&root, &server.alice, server.add_definition("alice.1").await).await;
    assert_eq!(alice.get_linked_auth_list(Some(&server.alice.user_id)).await.unwrap(), [own]);
}

async fn zato_03_a_definition_that_is_gone_does_not_spoil_the_list(database: Database) {
    let mut server = TestServer::start(database).await;
    let (root, alice) = (server.as_root().await, server.as_alice().await);
    let (kept, gone, torn) =
        (server.add_definition("kept").await, server.add_definition("gone").await, server.add_definition("torn").await);
    for auth_id in [kept, gone, torn] {
        link(&root, &server.alice, auth_id).await;
        server.clock.advance(Duration::from_millis(1));
    }
    assert_eq!(ids(&alice.get_linked_auth_list(None).await.unwrap()), [kept, gone, torn]);
    let deleting = move |app: lanyard_server::app::App| async move {
        app.store().write(move |tx| Box::pin(tx.delete_definition(gone))).await
    };
    server.within(deleting).await.unwrap();
    assert_eq!(ids(&alice.get_linked_auth_list(None).await.unwrap()), [kept, torn], "its link went with it");
    // Torn out of the database by somebody who switched its checks off.
    let raw = Raw::beside(&server.config).await;
    raw.execute(if server.is_postgres() {
        "SET session_replication_role = replica"
    } else {
        "PRAGMA foreign_keys = OFF"
    })
    .await;
    assert_eq!(raw.execute(&format!("DELETE FROM definition WHERE auth_id = {torn}")).await, 1);
    server.restart().await;
    assert_eq!(ids(&server.as_alice().await.get_linked_auth_list(None).await.unwrap()), [kept]);
    assert_eq!(raw.count("linked_auth").await, 2, "the torn link is still there");
}

async fn zato_23_a_look_up_answers_whose_a_definition_is_and_not_who_asks(database: Database) {
    let server = TestServer::start(database).await;
    let root = server.as_root().await;
    let made = link(&root, &server.alice, server.add_definition("alice.1").await).await;
    let found = server.client().lookup_linked_auth([named("basic_auth", "alice.1")]).await.unwrap();
    let [Some(user)] = &found[..] else { panic!("{found:?}") };
    assert_eq!((&user.user_id, &user.link_id), (&server.alice.user_id, &made.link_id));
    assert_eq!((user.auth_id, user.is_active), (made.auth_id, true));
}

async fn another_users_links_need_a_super_user_and_are_not_looked_for_before(database: Database) {
    let server = TestServer::start(database).await;
    let (root, alice) = (server.as_root().await, server.as_alice().await);
    let bob = server.add_user("bob", false).await;
    link(&root, &bob, server.add_definition("bob.1").await).await;
    // Somebody who is there, a super-user, nobody: the same answer.
    for user_id in [&bob.user_id, &server.root.user_id, NOBODY] {
        let refusal = alice.get_linked_auth_list(Some(user_id)).await.refusal();
        assert_eq!((refusal.code, refusal.reason), (Code::PermissionDenied, ErrorReason::SuperUserRequired));
    }
    assert_eq!(root.get_linked_auth_list(Some(&bob.user_id)).await.unwrap().len(), 1);
    let refusal = root.get_linked_auth_list(Some(NOBODY)).await.refusal();
    assert_eq!((refusal.code, refusal.reason), (Code::NotFound, ErrorReason::UserNotFound));
    assert_eq!(root.get_linked_auth_list(Some("bob")).await.bad_field(), "user_id");
    // Who, whose and what came of it is written down, refusals too.
    let events = events_of(&server, "link.list").await;
    let said: Vec<_> = events.iter().map(|event| (event.subject, event.target, event.reason.as_str())).collect();
    let (alice, root) = (server.alice.user_id.parse().ok(), server.root.user_id.parse().ok());
    let expected = [
        (root, NOBODY.parse().ok(), "user_not_found"),
        (root, bob.user_id.parse().ok(), ""),
        (alice, NOBODY.parse().ok(), "super_user_required"),
        (alice, root, "super_user_required"),
        (alice, bob.user_id.parse().ok(), "super_user_required"),
    ];
    for event in &expected {
        assert!(said.contains(event), "{event:?} of {said:?}");
    }
    assert_eq!(said.len(), expected.len());
}

async fn links_are_listed_oldest_first_page_by_page(database: Database) {
    let server = TestServer::start(database).await;
    let (root, alice) = (server.as_root().await, server.as_alice().await);
    let mut made = Vec::new();
    for number in 0..7 {
        server.clock.advance(Duration::from_millis(1));
        made.push(link(&root, &server.alice, server.add_definition(&format!("alice.{number}")).await).await);
        let bobs = server.add_definition(&format!("nobody.{number}")).await;
        assert!(bobs > 0);
    }
    assert_eq!(alice.get_linked_auth_list(None).await.unwrap(), made);
    for page_size in 1..=8 {
        let mut pages = alice.list_linked_auth(ListLinkedAuthRequest { page_size, ..ListLinkedAuthRequest::default() });
        let (mut found, mut lengths) = (Vec::new(), Vec::new());
        while let Some(page) = pages.next_page().await.unwrap() {
            lengths.push(page.len());
            found.extend(page);
        }
        assert_eq!(found, made);
        let size = usize::try_from(page_size).unwrap();
        assert!(lengths.iter().all(|length| *length <= size) && lengths.len() == 7_usize.div_ceil(size), "{lengths:?}");
    }
    let negative = ListLinkedAuthRequest { page_size: -1, ..ListLinkedAuthRequest::default() };
    assert_eq!(alice.call(negative).await.bad_field(), "page_size");
}

async fn a_list_that_was_asked_for_before_shows_each_change_at_once(database: Database) {
    let server = TestServer::start(database).await;
    let (root, alice) = (server.as_root().await, server.log_in(&server.alice).await);
    let alice = server.client().on_behalf_of(&alice.ust);
    let (one, other) = (server.add_definition("one").await, server.add_definition("other").await);
    let list = async || alice.get_linked_auth_list(None).await.unwrap();
    assert!(list().await.is_empty());
    let first = link(&root, &server.alice, one).await;
    assert_eq!(ids(&list().await), [one]);
    // Links of one moment have no order.
    server.clock.advance(Duration::from_millis(1));
    let second = link(&root, &server.alice, other).await;
    assert_eq!(ids(&list().await), [one, other]);
    root.update_linked_auth(&first.link_id, false).await.unwrap();
    let active: Vec<bool> = list().await.iter().map(|link| link.is_active).collect();
    assert_eq!(active, [false, true]);
    root.delete_linked_auth(&second.link_id).await.unwrap();
    assert_eq!(ids(&list().await), [one]);
    root.call(DeleteDefinitionRequest { auth_id: one, ..DeleteDefinitionRequest::default() }).await.unwrap();
    assert!(list().await.is_empty());
}

async fn a_list_that_is_too_long_to_be_kept_in_memory_is_whole_all_the_same(database: Database) {
    let server = TestServer::start(database).await;
    let (root, alice) = (server.as_root().await, server.as_alice().await);
    let id = server.alice.user_id.parse().unwrap();
    let kept =
        async || server.within(move |app| async move { app.store().cached_links(id).map(|all| all.len()) }).await;
    for number in 0..64 {
        let definition = server.add_definition(&format!("definition-{number}")).await;
        link(&root, &server.alice, definition).await;
    }
    // What the feed says of the links that were just made takes them out of memory once more.
    eventually("the list is kept", async || {
        assert_eq!(alice.get_linked_auth_list(None).await.unwrap().len(), 64);
        kept().await == Some(64)
    })
    .await;
    let definition = server.add_definition("one-more").await;
    link(&root, &server.alice, definition).await;
    for _ in 0..2 {
        assert_eq!(alice.get_linked_auth_list(None).await.unwrap().len(), 65);
        assert_eq!(kept().await, None);
    }
}

async fn the_page_token_of_a_list_is_good_for_nothing_else(database: Database) {
    let server = TestServer::start(database).await;
    let (root, alice) = (server.as_root().await, server.as_alice().await);
    for name in ["alice.1", "alice.2"] {
        link(&root, &server.alice, server.add_definition(name).await).await;
    }
    let first = ListLinkedAuthRequest { page_size: 1, ..ListLinkedAuthRequest::default() };
    let page_token = alice.call(first.clone()).await.unwrap().next_page_token;
    let next = ListLinkedAuthRequest { page_token: page_token.clone(), ..first.clone() };
    assert_eq!(alice.call(next.clone()).await.unwrap().links.len(), 1);
    let same_user = ListLinkedAuthRequest { user_id: server.alice.user_id.clone(), ..next.clone() };
    assert_eq!(alice.call(same_user.clone()).await.unwrap().links.len(), 1, "the own ID names the same list");
    // Another asker, another list, no token of ours.
    for (subject, request) in [
        (&root, same_user),
        (&root, next.clone()),
        (&alice, ListLinkedAuthRequest { page_token: format!("{page_token}x"), ..first.clone() }),
    ] {
        assert_eq!(subject.call(request).await.reason(), ErrorReason::PageTokenInvalid);
    }
}

async fn a_look_up_answers_in_order_by_number_and_by_name(database: Database) {
    let server = TestServer::start(database).await;
    let root = server.as_root().await;
    let bob = server.add_user("bob", false).await;
    let now = server.clock.now();
    let (ann, ben) = (server.add_definition("ann").await, server.add_definition("ben").await);
    let token = server.add_definition_row(definition_row(AuthType::Jwt, "ann", "https://issuer.example", now)).await;
    let free = server.add_definition("free").await;
    link(&root, &server.alice, ann).await;
    let bens = link(&root, &bob, ben).await;
    link(&root, &bob, token).await;
    root.update_linked_auth(&bens.link_id, false).await.unwrap();
    let asked = [
        Definition::AuthId(ben),
        named("jwt", "ann"),
        Definition::AuthId(9_999),
        Definition::AuthId(ann),
        named("basic_auth", "ann"),
        named("jwt", "ben"),
        Definition::AuthId(free),
        Definition::AuthId(ben),
        Definition::AuthId(-1),
    ];
    let found = server.client().lookup_linked_auth(asked).await.unwrap();
    let found: Vec<_> = found
        .iter()
        .map(|user| user.as_ref().map(|user| (user.user_id.as_str(), user.auth_id, user.is_active)))
        .collect();
    let (alice, bob) = (server.alice.user_id.as_str(), bob.user_id.as_str());
    let bens = Some((bob, ben, false));
    let anns = Some((alice, ann, true));
    assert_eq!(found, [bens, Some((bob, token, true)), None, anns, anns, None, None, bens, None]);
    // A definition that is off makes its link useless.
    server.change_definition(ann, |row| row.is_active = false).await;
    let found = server.client().lookup_linked_auth([Definition::AuthId(ann)]).await.unwrap();
    assert!(!found[0].as_ref().unwrap().is_active);
    let event = &events_of(&server, "link.lookup").await[1];
    assert_eq!((event.subject, event.target, event.caller.as_str()), (None, None, "tests"));
    assert_eq!(event.detail, r#"{"definitions":9,"links":3}"#);
}

async fn a_look_up_needs_a_grant_of_its_own_and_no_user(database: Database) {
    let server = TestServer::start(database).await;
    let others: Grants = Grant::ALL.iter().copied().filter(|grant| *grant != Grant::LinkLookup).collect();
    for (name, grants, allowed) in
        [("without", others, false), ("with", [Grant::LinkLookup].into_iter().collect(), true)]
    {
        let key = server.caller(CallerToCreate { grants, ..all_powerful(name) }).await;
        let asked = server.client_of(&key).lookup_linked_auth([Definition::AuthId(1)]).await;
        if allowed {
            assert_eq!(asked.unwrap(), [None]);
        } else {
            assert_eq!(asked.reason(), ErrorReason::CallerForbidden);
        }
    }
    let elsewhere = ClientInfo { current_app: "nowhere".to_owned(), ..ClientInfo::default() };
    let asked = server.client().with_client_info(elsewhere).lookup_linked_auth([Definition::AuthId(1)]).await;
    assert_eq!(asked.reason(), ErrorReason::AppUnknown);
}

async fn what_cannot_be_looked_up_is_refused_by_its_field(database: Database) {
    let server = TestServer::start(database).await;
    let client = server.client();
    let now = server.clock.now();
    for issuer in ["https://one.example", "https://two.example"] {
        server.add_definition_row(definition_row(AuthType::Jwt, "ann", issuer, now)).await;
    }
    server.add_definition_row(definition_row(AuthType::BasicAuth, "ann", "", now)).await;
    let many = |count: i64| (1..=count).map(Definition::AuthId).collect::<Vec<_>>();
    assert_eq!(client.lookup_linked_auth(many(500)).await.unwrap().len(), 500);
    for (asked, field) in [
        (many(0), "definitions"),
        (many(501), "definitions"),
        (vec![named("basic_auth", "ann"), named("jwt", "ann")], "definitions[1].auth_name"),
        (vec![named("password", "ann")], "definitions[0].auth_name.auth_type"),
        (vec![named("", "ann")], "definitions[0].auth_name.auth_type"),
        (vec![named("jwt", "a\0b")], "definitions[0].auth_name.auth_username"),
    ] {
        assert_eq!(client.lookup_linked_auth(asked).await.bad_field(), field);
    }
    let unnamed = lanyard_client::v1::LookupLinkedAuthRequest {
        definitions: vec![lanyard_client::v1::DefinitionRef::default()],
        ..Default::default()
    };
    assert_eq!(client.call(unnamed).await.bad_field(), "definitions[0]");
}
