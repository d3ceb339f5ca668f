//! Attributes at rest, and what Zato got wrong about attributes.

use std::time::Duration;

use lanyard_client::v1::attribute_owner::Owner;
use lanyard_client::v1::{Attribute, AttributeOwner, AttributeToSet, ListAttributesRequest};
use lanyard_client::{ErrorReason, Subject};
use lanyard_server::model::id::UserId;
use lanyard_server::store::AttributeRow;
use lanyard_tests::both_databases;
use lanyard_tests::support::answers::Refused;
use lanyard_tests::support::server::{Database, Person, TestServer};

both_databases!(
    a_sealed_value_does_not_stand_in_the_database,
    a_sealed_value_belongs_to_its_owner_and_its_name,
    zato_20_an_expired_attribute_does_not_block_its_name,
    zato_20_sealing_an_attribute_later_seals_it,
    zato_20_an_empty_value_is_a_value,
    zato_20_an_attribute_is_set_for_the_user_that_was_named,
    zato_20_attributes_are_shown_to_who_may_see_them_only,
);

const PLAIN: &str = "the combination is 12345-67890";

fn set(name: &str, value: &str, seal: bool) -> Vec<AttributeToSet> {
    vec![AttributeToSet { name: name.into(), value: value.into(), seal, ..AttributeToSet::default() }]
}

async fn list(subject: &Subject) -> Vec<Attribute> {
    subject.call(ListAttributesRequest::default()).await.unwrap().attributes
}

/// The attributes of a user as they are stored.
async fn stored(server: &TestServer, person: &Person) -> Vec<AttributeRow> {
    let (owner, now) = (person.user_id.parse::<UserId>().unwrap().uuid(), server.clock.now());
    server.within(move |app| async move { app.store().attributes(owner, &[], None, now, 9).await.unwrap() }).await
}

/// Do the files of the database hold these bytes?
fn in_files(server: &TestServer, text: &str) -> bool {
    ["lanyard.db", "lanyard.db-wal"].into_iter().any(|file| {
        let bytes = std::fs::read(server.folder().join(file)).unwrap_or_default();
        bytes.windows(text.len()).any(|window| window == text.as_bytes())
    })
}

async fn a_sealed_value_does_not_stand_in_the_database(database: Database) {
    let server = TestServer::start(database).await;
    let alice = server.as_alice().await;
    alice.set_attributes(None, set("sealed", PLAIN, true)).await.unwrap();
    let row = stored(&server, &server.alice).await.remove(0);
    assert!(row.is_sealed && !row.value.windows(PLAIN.len()).any(|window| window == PLAIN.as_bytes()));
    assert!(!in_files(&server, PLAIN));
    assert_eq!(list(&alice).await[0].value, PLAIN);
    let first = row.value;
    alice.set_attributes(None, set("sealed", PLAIN, true)).await.unwrap();
    assert_ne!(stored(&server, &server.alice).await[0].value, first, "the same twice is not the same sealed");
    // The look into the files can find something.
    alice.set_attributes(None, set("plain", PLAIN, false)).await.unwrap();
    assert_eq!(in_files(&server, PLAIN), database == Database::Sqlite);
}

async fn a_sealed_value_belongs_to_its_owner_and_its_name(database: Database) {
    let server = TestServer::start(database).await;
    let alice = server.as_alice().await;
    alice.set_attributes(None, set("sealed", PLAIN, true)).await.unwrap();
    let mut row = stored(&server, &server.alice).await.remove(0);
    "elsewhere".clone_into(&mut row.name);
    let moved = server.within(move |app| async move {
        let store = app.store().clone();
        store
            .write(move |tx| {
                let row = row.clone();
                Box::pin(async move { tx.put_attribute(row).await })
            })
            .await
    });
    moved.await.unwrap();
    let refused = alice.call(ListAttributesRequest::default()).await.refusal();
    assert_eq!(refused.reason, ErrorReason::Internal, "what somebody moved in the database is not believed");
    assert!(!refused.to_string().contains("12345"));
}

/// In Zato an expired attribute still had its name until a clean-up: creating it anew failed.
async fn zato_20_an_expired_attribute_does_not_block_its_name(database: Database) {
    let server = TestServer::start(database).await;
    let alice = server.as_alice().await;
    let ttl = lanyard_client::prost_types::Duration { seconds: 1, nanos: 0 };
    let mut fleeting = set("name", "old", false);
    fleeting[0].ttl = Some(ttl);
    alice.set_attributes(None, fleeting).await.unwrap();
    server.clock.advance(Duration::from_secs(1));
    let new = alice.set_attributes(None, set("name", "new", false)).await.unwrap().remove(0);
    assert_eq!((new.value.as_str(), new.expire_time), ("new", None));
    assert_eq!(new.creation_time, new.update_time, "it is a new one");
    assert_eq!(list(&alice).await, [new]);
}

/// Zato's update with encryption left the value in the clear, marked as it was.
async fn zato_20_sealing_an_attribute_later_seals_it(database: Database) {
    let server = TestServer::start(database).await;
    let alice = server.as_alice().await;
    for seal in [false, true, false, true] {
        let told = alice.set_attributes(None, set("name", PLAIN, seal)).await.unwrap().remove(0);
        assert_eq!((told.is_sealed, told.value.as_str()), (seal, PLAIN));
        let row = stored(&server, &server.alice).await.remove(0);
        assert_eq!((row.is_sealed, row.value == PLAIN.as_bytes()), (seal, !seal));
        assert_eq!(list(&alice).await, [told]);
    }
}

/// Zato ignored an update to the empty text.
async fn zato_20_an_empty_value_is_a_value(database: Database) {
    let server = TestServer::start(database).await;
    let alice = server.as_alice().await;
    for seal in [false, true] {
        alice.set_attributes(None, set("name", "something", seal)).await.unwrap();
        alice.set_attributes(None, set("name", "", seal)).await.unwrap();
        assert_eq!(list(&alice).await[0].value, "");
    }
}

/// Zato's set ignored the user that was named.
async fn zato_20_an_attribute_is_set_for_the_user_that_was_named(database: Database) {
    let server = TestServer::start(database).await;
    let (alice, root) = (server.as_alice().await, server.as_root().await);
    let owner = Some(Owner::UserId(server.alice.user_id.clone()));
    root.set_attributes(owner, set("name", "of alice", false)).await.unwrap();
    assert_eq!(list(&alice).await[0].value, "of alice");
    assert!(list(&root).await.is_empty());
}

/// Zato's listing of attributes checked no permission.
async fn zato_20_attributes_are_shown_to_who_may_see_them_only(database: Database) {
    let server = TestServer::start(database).await;
    server.as_root().await.set_attributes(None, set("name", "of root", false)).await.unwrap();
    let owner = Some(AttributeOwner { owner: Some(Owner::UserId(server.root.user_id.clone())) });
    let request = ListAttributesRequest { owner, ..ListAttributesRequest::default() };
    assert_eq!(server.as_alice().await.call(request).await.reason(), ErrorReason::SuperUserRequired);
}
