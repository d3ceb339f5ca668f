//! Linking: by super-users for others, by users for themselves; who may not, and which attacks come to nothing.

use std::time::Duration;

use lanyard_client::v1::create_linked_auth_request::Proof;
use lanyard_client::v1::definition_ref::Definition;
use lanyard_client::v1::{
    ApprovalStatus, BasicAuthCredential, CreateLinkedAuthRequest, CreateUserRequest, DefinitionName, DefinitionRef,
    User,
};
use lanyard_client::{Code, ErrorReason, Subject};
use lanyard_server::clock::Time;
use lanyard_server::model::id::{LinkId, UserId};
use lanyard_server::model::session::AuthType;
use lanyard_tests::support::answers::{Refused, events_of};
use lanyard_tests::support::links::definition_row;
use lanyard_tests::support::server::{Database, Person, TestServer};
use lanyard_tests::support::store::{Ground, add_user, all_at_once};
use lanyard_tests::{both_databases, on_each_database};

both_databases!(
    a_super_user_links_by_number_and_by_name,
    zato_04_nobody_is_linked_to_a_user_who_is_not_there,
    zato_05_a_definition_belongs_to_one_user,
    zato_10_a_regular_user_learns_nothing_of_definitions_and_does_not_wait,
    two_who_link_the_same_definition_at_once_do_not_both_succeed,
    who_was_never_approved_gets_no_links,
    nobody_links_anything_to_a_super_user,
    a_link_that_cannot_be_is_refused_by_its_field,
    what_linking_came_to_is_written_down,
);

on_each_database!(
    zato_04_the_database_takes_no_link_to_a_user_or_a_definition_that_is_not_there,
    zato_05_the_database_takes_no_second_link_of_a_definition,
);

const NOBODY: &str = "usr_00000000000070008000000000000000";

fn by_number(user_id: &str, auth_id: i64) -> CreateLinkedAuthRequest {
    request(user_id, Definition::AuthId(auth_id))
}

fn by_name(user_id: &str, auth_type: &str, auth_username: &str) -> CreateLinkedAuthRequest {
    let name = DefinitionName { auth_type: auth_type.to_owned(), auth_username: auth_username.to_owned() };
    request(user_id, Definition::AuthName(name))
}

fn request(user_id: &str, definition: Definition) -> CreateLinkedAuthRequest {
    let definition = Some(DefinitionRef { definition: Some(definition) });
    CreateLinkedAuthRequest { user_id: user_id.to_owned(), definition, ..CreateLinkedAuthRequest::default() }
}

async fn pending(server: &TestServer, root: &Subject) -> Person {
    let user = User { username: "pending".to_owned(), ..User::default() };
    let request = CreateUserRequest {
        user: Some(user),
        approval_status: ApprovalStatus::Pending.into(),
        ..CreateUserRequest::default()
    };
    Person { user_id: root.create_user(request).await.unwrap().user_id, ..server.alice.clone() }
}

async fn a_super_user_links_by_number_and_by_name(database: Database) {
    let server = TestServer::start(database).await;
    let (root, alice) = (server.as_root().await, server.as_alice().await);
    let now = server.clock.now();
    let number = server.add_definition("by.number").await;
    let name = server.add_definition("by.name").await;
    let token =
        server.add_definition_row(definition_row(AuthType::Jwt, "by.name", "https://issuer.example", now)).await;
    let internal = lanyard_server::store::DefinitionRow {
        is_internal: true,
        ..definition_row(AuthType::Jwt, "internal", "https://issuer.example", now)
    };
    let internal = server.add_definition_row(internal).await;
    let user_id = server.alice.user_id.as_str();
    let mut made = Vec::new();
    for request in [
        by_number(user_id, number),
        by_name(user_id, "basic_auth", "by.name"),
        CreateLinkedAuthRequest { is_inactive: true, ..by_name(user_id, "jwt", "by.name") },
        by_number(user_id, internal),
    ] {
        server.clock.advance(Duration::from_millis(1));
        made.push(root.call(request).await.unwrap().link.unwrap());
    }
    assert_eq!(alice.get_linked_auth_list(None).await.unwrap(), made, "the answers are what is stored");
    let said: Vec<_> = made
        .iter()
        .map(|link| {
            (link.auth_id, link.auth_type.as_str(), link.auth_username.as_str(), link.is_active, link.is_internal)
        })
        .collect();
    assert_eq!(
        said,
        [
            (number, "basic_auth", "by.number", true, false),
            (name, "basic_auth", "by.name", true, false),
            (token, "jwt", "by.name", false, false),
            (internal, "jwt", "internal", true, true),
        ]
    );
}

async fn zato_04_nobody_is_linked_to_a_user_who_is_not_there(database: Database) {
    let server = TestServer::start(database).await;
    let root = server.as_root().await;
    let auth_id = server.add_definition("definition").await;
    let refusal = root.call(by_number(NOBODY, auth_id)).await.refusal();
    assert_eq!((refusal.code, refusal.reason), (Code::NotFound, ErrorReason::UserNotFound));
    let (alice, gone) = (server.alice.user_id.as_str(), auth_id + 1);
    for request in [by_number(alice, gone), by_number(alice, 0), by_name(alice, "jwt", "definition")] {
        let refusal = root.call(request).await.refusal();
        assert_eq!((refusal.code, refusal.reason), (Code::NotFound, ErrorReason::DefinitionNotFound));
    }
    assert_eq!(server.client().lookup_linked_auth([Definition::AuthId(auth_id)]).await.unwrap(), [None]);
}

async fn zato_05_a_definition_belongs_to_one_user(database: Database) {
    let server = TestServer::start(database).await;
    let root = server.as_root().await;
    let bob = server.add_user("bob", false).await;
    let auth_id = server.add_definition("shared").await;
    root.call(by_number(&server.alice.user_id, auth_id)).await.unwrap();
    for user_id in [&bob.user_id, &server.alice.user_id] {
        let refusal = root.call(by_number(user_id, auth_id)).await.refusal();
        assert_eq!((refusal.code, refusal.reason), (Code::FailedPrecondition, ErrorReason::LinkUnavailable));
        assert!(!refusal.to_string().contains(&server.alice.user_id), "{refusal}");
    }
    assert!(root.get_linked_auth_list(Some(&bob.user_id)).await.unwrap().is_empty());
}

async fn zato_10_a_regular_user_learns_nothing_of_definitions_and_does_not_wait(database: Database) {
    let server = TestServer::start(database).await;
    let alice = server.as_alice().await;
    let auth_id = server.add_definition("there").await;
    let user_id = server.alice.user_id.as_str();
    let mut refusals = Vec::new();
    for request in [
        by_number(user_id, auth_id),
        by_number(user_id, auth_id + 1),
        by_name(user_id, "basic_auth", "there"),
        by_name(user_id, "basic_auth", "not.there"),
        by_name(NOBODY, "basic_auth", "there"),
    ] {
        // The original waited up to 9,999 seconds for a name to come into being.
        let quick = server.client().with_deadline(Duration::from_secs(5));
        let ust = server.log_in(&server.alice).await.ust;
        refusals.push(quick.on_behalf_of(&ust).call(request).await.refusal());
    }
    for refusal in &refusals {
        assert_eq!((refusal.code, refusal.reason), (Code::PermissionDenied, ErrorReason::SuperUserRequired));
        assert_eq!(refusal.message, refusals[0].message);
    }
    for link_id in ["lnk_00000000000070008000000000000000", "lnk_00000000000070008000000000000001"] {
        assert_eq!(alice.update_linked_auth(link_id, false).await.reason(), ErrorReason::SuperUserRequired);
        assert_eq!(alice.delete_linked_auth(link_id).await.reason(), ErrorReason::SuperUserRequired);
    }
    for event in events_of(&server, "link.").await {
        assert_eq!(event.reason, "super_user_required");
        assert_eq!(event.subject.unwrap().to_string(), server.alice.user_id);
    }
    assert_eq!(events_of(&server, "link.").await.len(), 9);
}

async fn two_who_link_the_same_definition_at_once_do_not_both_succeed(database: Database) {
    let server = TestServer::start(database).await;
    let root = server.as_root().await;
    let auth_id = server.add_definition("wanted").await;
    let mut users = Vec::new();
    for number in 0..8 {
        users.push(server.add_user(&format!("user{number}"), false).await.user_id);
    }
    let linking = users.clone().into_iter().map(|user_id| {
        let root = root.clone();
        async move { root.call(by_number(&user_id, auth_id)).await }
    });
    let (done, refused): (Vec<_>, Vec<_>) = all_at_once(linking).await.into_iter().partition(Result::is_ok);
    assert_eq!(done.len(), 1);
    for refusal in refused {
        assert_eq!(refusal.reason(), ErrorReason::LinkUnavailable);
    }
}

async fn who_was_never_approved_gets_no_links(database: Database) {
    let server = TestServer::start(database).await;
    let root = server.as_root().await;
    let auth_id = server.add_definition("definition").await;
    let user = pending(&server, &root).await;
    let linking = || root.call(by_number(&user.user_id, auth_id));
    assert_eq!(linking().await.reason(), ErrorReason::UserNotEligible);
    root.reject_user(&user.user_id).await.unwrap();
    let refusal = linking().await.refusal();
    assert_eq!((refusal.code, refusal.reason), (Code::FailedPrecondition, ErrorReason::UserNotEligible));
    root.approve_user(&user.user_id).await.unwrap();
    linking().await.unwrap();
}

async fn nobody_links_anything_to_a_super_user(database: Database) {
    let server = TestServer::start(database).await;
    let root = server.as_root().await;
    let auth_id = server.add_definition("definition").await;
    let other = server.add_user("other", true).await;
    // Neither to another one nor, without proving both sides, to oneself.
    for user_id in [&other.user_id, &server.root.user_id] {
        assert_eq!(root.call(by_number(user_id, auth_id)).await.reason(), ErrorReason::UserNotEligible);
    }
}

async fn a_link_that_cannot_be_is_refused_by_its_field(database: Database) {
    let server = TestServer::start(database).await;
    let root = server.as_root().await;
    let now = server.clock.now();
    for issuer in ["https://one.example", "https://two.example"] {
        server.add_definition_row(definition_row(AuthType::Jwt, "ann", issuer, now)).await;
    }
    let alice = server.alice.user_id.as_str();
    let proof = || Some(Proof::BasicAuth(BasicAuthCredential { username: "a".into(), secret: "b".into() }));
    for (request, field) in [
        (by_number("", 1), "user_id"),
        (by_number("alice", 1), "user_id"),
        (CreateLinkedAuthRequest { user_id: alice.to_owned(), ..CreateLinkedAuthRequest::default() }, "definition"),
        (CreateLinkedAuthRequest { definition: Some(DefinitionRef::default()), ..by_number(alice, 1) }, "definition"),
        (by_name(alice, "jwt", "ann"), "definition.auth_name"),
        (by_name(alice, "password", "ann"), "definition.auth_name.auth_type"),
        (by_name(alice, "jwt", "a\0b"), "definition.auth_name.auth_username"),
        (CreateLinkedAuthRequest { proof: proof(), ..by_number("", 1) }, "definition"),
        (CreateLinkedAuthRequest { proof: proof(), definition: None, ..by_number(alice, 1) }, "user_id"),
        (
            CreateLinkedAuthRequest { proof: proof(), is_inactive: true, ..CreateLinkedAuthRequest::default() },
            "is_inactive",
        ),
    ] {
        let shown = format!("{request:?}");
        assert_eq!(root.call(request).await.bad_field(), field, "{shown}");
    }
}

async fn what_linking_came_to_is_written_down(database: Database) {
    let server = TestServer::start(database).await;
    let root = server.client().with_correlation_id("link-it".parse().unwrap());
    let root = root.on_behalf_of(&server.log_in(&server.root).await.ust);
    let auth_id = server.add_definition("definition").await;
    let alice = server.alice.user_id.as_str();
    let made = root.call(by_number(alice, auth_id)).await.unwrap().link.unwrap();
    root.call(by_number(alice, auth_id)).await.reason();
    root.call(by_number(NOBODY, auth_id)).await.reason();
    root.call(by_number(alice, 77)).await.reason();
    root.call(by_name(alice, "jwt", "nobody")).await.reason();
    root.call(by_number(&server.root.user_id, auth_id)).await.reason();
    let events = events_of(&server, "link.create").await;
    let mut said: Vec<_> =
        events.iter().map(|event| (event.reason.as_str(), event.target.unwrap().to_string())).collect();
    said.sort_unstable();
    let mut expected = [
        ("", alice.to_owned()),
        ("definition_not_found", alice.to_owned()),
        ("definition_not_found", alice.to_owned()),
        ("link_unavailable", alice.to_owned()),
        ("user_not_eligible", server.root.user_id.clone()),
        ("user_not_found", NOBODY.to_owned()),
    ];
    expected.sort_unstable();
    assert_eq!(said, expected);
    for event in &events {
        assert_eq!((event.correlation_id.as_str(), event.caller.as_str()), ("link-it", "tests"));
        assert_eq!(event.subject.unwrap().to_string(), server.root.user_id);
        let detail: serde_json::Value = serde_json::from_str(&event.detail).unwrap_or_default();
        if event.reason.is_empty() {
            assert_eq!(detail["link_id"], made.link_id.as_str());
            assert_eq!((&detail["auth_id"], &detail["self_service"]), (&auth_id.into(), &false.into()));
        }
    }
}

/// A literal of a UUID.
fn literal(ground: &Ground, id: uuid::Uuid) -> String {
    if ground.is_postgres() { format!("'{id}'") } else { format!("X'{}'", id.simple()) }
}

/// What adds a link behind the store's back.
fn insert(ground: &Ground, user: UserId, auth_id: i64) -> String {
    let (link, user) = (literal(ground, LinkId::new(ground.clock.now()).uuid()), literal(ground, user.uuid()));
    format!(
        "INSERT INTO linked_auth (link_id, user_id, auth_id, is_active, is_internal, created_at, updated_at, version) \
         VALUES ({link}, {user}, {auth_id}, TRUE, FALSE, 0, 0, 1)"
    )
}

async fn definition_in(store: &lanyard_server::store::Store, username: &str) -> i64 {
    let row = definition_row(AuthType::Jwt, username, "https://issuer.example", Time::default());
    let added = store.write(move |tx| {
        let row = row.clone();
        Box::pin(async move { tx.insert_definition(row).await })
    });
    added.await.unwrap()
}

async fn zato_04_the_database_takes_no_link_to_a_user_or_a_definition_that_is_not_there(ground: Ground) {
    let store = ground.store().await;
    let (ann, auth_id) = (add_user(&store, "ann").await, definition_in(&store, "ann").await);
    let raw = ground.raw().await;
    for sql in [insert(&ground, UserId::new(ground.clock.now()), auth_id), insert(&ground, ann.user_id, auth_id + 1)] {
        let problem = raw.refused(&sql).await.to_lowercase();
        assert!(problem.contains("foreign key"), "{problem}");
    }
    assert_eq!(raw.execute(&insert(&ground, ann.user_id, auth_id)).await, 1);
    // Both take it along.
    raw.execute("DELETE FROM definition").await;
    assert_eq!(raw.count("linked_auth").await, 0);
    let auth_id = definition_in(&store, "ann").await;
    raw.execute(&insert(&ground, ann.user_id, auth_id)).await;
    raw.execute("DELETE FROM \"user\"").await;
    assert_eq!(raw.count("linked_auth").await, 0);
}

async fn zato_05_the_database_takes_no_second_link_of_a_definition(ground: Ground) {
    let store = ground.store().await;
    let (ann, ben) = (add_user(&store, "ann").await, add_user(&store, "ben").await);
    let auth_id = definition_in(&store, "ann").await;
    let raw = ground.raw().await;
    assert_eq!(raw.execute(&insert(&ground, ann.user_id, auth_id)).await, 1);
    for user in [ben.user_id, ann.user_id] {
        let problem = raw.refused(&insert(&ground, user, auth_id)).await.to_lowercase();
        assert!(problem.contains("unique"), "{problem}");
    }
}
