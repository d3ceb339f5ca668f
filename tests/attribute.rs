//! Attributes: named values of users and sessions, their expiry, their sealing, who reaches them.

use std::time::Duration;

use lanyard_client::prost_types;
use lanyard_client::v1::attribute_owner::Owner;
use lanyard_client::v1::{Attribute, AttributeOwner, AttributeToSet, ListAttributesRequest};
use lanyard_client::{Code, Error, ErrorReason, Subject};
use lanyard_server::clock::Time;
use lanyard_tests::both_databases;
use lanyard_tests::support::answers::{MOMENT, Refused, events_of, just_before};
use lanyard_tests::support::server::{Database, TestServer};
use tokio::task::JoinSet;

both_databases!(
    an_attribute_is_kept_as_it_was_set,
    attributes_are_listed_by_name_page_by_page,
    attributes_are_set_all_or_none,
    attributes_are_deleted_all_or_none,
    an_attribute_that_cannot_be_is_refused_by_its_field,
    an_etag_guards_against_what_was_changed_meanwhile,
    setting_the_same_at_once_leaves_one,
    a_user_has_a_quota_of_attributes,
    an_expired_attribute_is_gone_to_the_microsecond,
    a_regular_user_reaches_their_own_attributes_only,
    a_super_user_reaches_everybodys_attributes,
    attributes_of_a_session_go_with_the_session,
    attributes_of_a_user_go_with_the_user,
);

const NOBODY: &str = "usr_00000000000070008000000000000000";

fn set(name: &str, value: &str) -> AttributeToSet {
    AttributeToSet { name: name.into(), value: value.into(), ..AttributeToSet::default() }
}

fn lasting(ttl: Duration) -> AttributeToSet {
    AttributeToSet { ttl: Some(ttl.try_into().unwrap()), ..set("fleeting", "value") }
}

fn user(id: &str) -> Owner {
    Owner::UserId(id.to_owned())
}

fn session(id: &str) -> Owner {
    Owner::SessionId(id.to_owned())
}

async fn list(subject: &Subject, owner: impl Into<Option<Owner>>) -> Result<Vec<Attribute>, Error> {
    let owner = owner.into().map(|owner| AttributeOwner { owner: Some(owner) });
    let request = ListAttributesRequest { owner, ..ListAttributesRequest::default() };
    Ok(subject.call(request).await?.attributes)
}

/// Names and values.
async fn pairs(subject: &Subject, owner: impl Into<Option<Owner>>) -> Vec<(String, String)> {
    let listed = list(subject, owner).await.unwrap();
    listed.into_iter().map(|attribute| (attribute.name, attribute.value)).collect()
}

fn pair(name: &str, value: &str) -> (String, String) {
    (name.to_owned(), value.to_owned())
}

fn timestamp(time: Time) -> prost_types::Timestamp {
    let (seconds, nanos) = time.to_unix();
    prost_types::Timestamp { seconds, nanos: i32::try_from(nanos).unwrap() }
}

async fn an_attribute_is_kept_as_it_was_set(database: Database) {
    let server = TestServer::start(database).await;
    let alice = server.as_alice().await;
    let begin = server.clock.now();
    let long = "é\0\n💥".repeat(1000);
    let asked = vec![
        AttributeToSet { seal: true, ..set("b.sealed:name/1", &long) },
        AttributeToSet { ttl: Some(prost_types::Duration { seconds: 60, nanos: 0 }), ..set("A-plain_2", &long) },
    ];
    let stored = alice.set_attributes(None, asked).await.unwrap();
    let expected = |attribute: &Attribute, name: &str, is_sealed, expire_time| Attribute {
        name: name.into(),
        value: long.clone(),
        is_sealed,
        expire_time,
        creation_time: Some(timestamp(begin)),
        update_time: Some(timestamp(begin)),
        etag: attribute.etag.clone(),
    };
    assert_eq!(stored[0], expected(&stored[0], "b.sealed:name/1", true, None), "in the order of the request");
    let expiry = Some(timestamp(begin + Duration::from_mins(1)));
    assert_eq!(stored[1], expected(&stored[1], "A-plain_2", false, expiry));
    assert_eq!(list(&alice, None).await.unwrap(), [stored[1].clone(), stored[0].clone()], "in the order of names");
    server.clock.advance(Duration::from_secs(1));
    let again = alice.set_attributes(None, vec![set("A-plain_2", "new")]).await.unwrap().remove(0);
    let now = server.clock.now();
    assert_eq!((again.creation_time, again.update_time), (Some(timestamp(begin)), Some(timestamp(now))));
    assert_eq!((again.value.as_str(), again.expire_time), ("new", None), "what is not said is not kept");
    assert_ne!(again.etag, stored[1].etag);
}

async fn attributes_are_listed_by_name_page_by_page(database: Database) {
    let server = TestServer::start(database).await;
    let alice = server.as_alice().await;
    // Bytes decide, not a language.
    let mut names: Vec<String> = (0..52).map(|number| format!("n{number:02}")).collect();
    names.extend(["a", "B", "_", "Z9", "a.b", "a-b"].map(str::to_owned));
    for chunk in names.chunks(64) {
        alice.set_attributes(None, chunk.iter().map(|name| set(name, name)).collect()).await.unwrap();
    }
    names.sort_unstable();
    for page_size in [0, 7, 58] {
        let mut pages = alice.list_attributes(ListAttributesRequest { page_size, ..ListAttributesRequest::default() });
        let mut found = Vec::new();
        while let Some(page) = pages.next_page().await.unwrap() {
            found.extend(page.into_iter().map(|attribute| attribute.name));
        }
        assert_eq!(found, names);
    }
    let some = vec!["n07".to_owned(), "nobody".to_owned(), "a".to_owned()];
    let chosen = alice.call(ListAttributesRequest { names: some, ..ListAttributesRequest::default() }).await.unwrap();
    assert_eq!(chosen.attributes.iter().map(|found| found.name.as_str()).collect::<Vec<_>>(), ["a", "n07"]);
}

async fn attributes_are_set_all_or_none(database: Database) {
    let server = TestServer::start(database).await;
    let alice = server.as_alice().await;
    alice.set_attributes(None, vec![set("one", "before")]).await.unwrap();
    let stale = AttributeToSet { etag: "no-such-etag".into(), ..set("two", "after") };
    let refused = alice.set_attributes(None, vec![set("one", "after"), stale]).await;
    assert_eq!(refused.reason(), ErrorReason::EtagMismatch);
    assert_eq!(pairs(&alice, None).await, [pair("one", "before")]);
    assert_eq!(events_of(&server, "attribute.set").await.len(), 1);
}

async fn attributes_are_deleted_all_or_none(database: Database) {
    let server = TestServer::start(database).await;
    let alice = server.as_alice().await;
    alice.set_attributes(None, vec![set("one", "1"), set("two", "2"), set("three", "3")]).await.unwrap();
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let refused = alice.delete_attributes(None, names(&["one", "four"])).await.refusal();
    assert_eq!((refused.reason, refused.code), (ErrorReason::AttributeNotFound, Code::NotFound));
    assert_eq!(pairs(&alice, None).await.len(), 3);
    assert_eq!(alice.delete_attributes(None, names(&["one", "two", "one"])).await.unwrap(), 2);
    assert_eq!(pairs(&alice, None).await, [pair("three", "3")]);
    assert_eq!(alice.delete_attributes(None, vec![]).await.bad_field(), "names");
}

async fn an_attribute_that_cannot_be_is_refused_by_its_field(database: Database) {
    let server = TestServer::start(database).await;
    let alice = server.as_alice().await;
    let ttl = |seconds, nanos| AttributeToSet { ttl: Some(prost_types::Duration { seconds, nanos }), ..set("a", "") };
    for (attributes, field) in [
        (vec![], "attributes"),
        (vec![set("x", ""); 65], "attributes"),
        (vec![set("", "x")], "attributes[0].name"),
        (vec![set("ok", "x"), set("with space", "x")], "attributes[1].name"),
        (vec![set(&"n".repeat(129), "x")], "attributes[0].name"),
        (vec![set("nul\0", "x")], "attributes[0].name"),
        (vec![set("twice", "x"), set("twice", "y")], "attributes[1].name"),
        (vec![set("long", &"x".repeat(16 * 1024 + 1))], "attributes[0].value"),
        (vec![ttl(0, 0)], "attributes[0].ttl"),
        (vec![set("ok", "x"), ttl(-1, 0)], "attributes[1].ttl"),
        (vec![ttl(i64::MAX, 0)], "attributes[0].ttl"),
        (vec![ttl(0, 999)], "attributes[0].ttl"),
    ] {
        assert_eq!(alice.set_attributes(None, attributes).await.bad_field(), field);
    }
    alice.set_attributes(None, vec![set(&"n".repeat(128), &"x".repeat(16 * 1024))]).await.unwrap();
    for (owner, field) in [(user("alice"), "owner.user_id"), (session("x"), "owner.session_id")] {
        assert_eq!(list(&alice, owner).await.bad_field(), field);
    }
}

async fn an_etag_guards_against_what_was_changed_meanwhile(database: Database) {
    let server = TestServer::start(database).await;
    let alice = server.as_alice().await;
    let with = |etag: &str, value: &str| vec![AttributeToSet { etag: etag.into(), ..set("name", value) }];
    let absent = alice.set_attributes(None, with("1", "x")).await;
    assert_eq!(absent.reason(), ErrorReason::EtagMismatch, "it must be there");
    let first = alice.set_attributes(None, with("", "one")).await.unwrap().remove(0);
    let second = alice.set_attributes(None, with(&first.etag, "two")).await.unwrap().remove(0);
    let late = alice.set_attributes(None, with(&first.etag, "late")).await.refusal();
    assert_eq!((late.reason, late.code), (ErrorReason::EtagMismatch, Code::Aborted));
    assert_eq!(list(&alice, None).await.unwrap(), [second]);
}

async fn setting_the_same_at_once_leaves_one(database: Database) {
    let server = TestServer::start(database).await;
    let alice = server.as_alice().await;
    let mut setting = JoinSet::new();
    for number in 0..16 {
        let alice = alice.clone();
        let value = number.to_string();
        setting
            .spawn(async move { alice.set_attributes(None, vec![set("same", &value)]).await.unwrap().remove(0).etag });
    }
    let etags: std::collections::HashSet<_> = setting.join_all().await.into_iter().collect();
    assert_eq!(etags.len(), 16, "each change has an etag of its own");
    assert_eq!(pairs(&alice, None).await.len(), 1);
    server.verify_audit().await;
}

async fn a_user_has_a_quota_of_attributes(database: Database) {
    let server = TestServer::start(database).await;
    let alice = server.as_alice().await;
    for block in 0..4 {
        alice.set_attributes(None, (0..64).map(|n| set(&format!("{block}-{n}"), "")).collect()).await.unwrap();
    }
    let refused = alice.set_attributes(None, vec![set("one-more", "")]).await.refusal();
    assert_eq!((refused.reason, refused.code), (ErrorReason::AttributeQuotaReached, Code::ResourceExhausted));
    alice.set_attributes(None, vec![set("0-0", "replaced")]).await.unwrap();
    alice.delete_attributes(None, vec!["0-1".into()]).await.unwrap();
    alice.set_attributes(None, vec![set("one-more", "")]).await.unwrap();
}

async fn an_expired_attribute_is_gone_to_the_microsecond(database: Database) {
    let server = TestServer::start(database).await;
    let alice = server.as_alice().await;
    alice.set_attributes(None, vec![lasting(Duration::from_mins(1)), set("other", "")]).await.unwrap();
    server.clock.advance(just_before(Duration::from_mins(1)));
    assert_eq!(pairs(&alice, None).await.len(), 2);
    server.clock.advance(MOMENT);
    assert_eq!(pairs(&alice, None).await, [pair("other", "")]);
    let deleted = alice.delete_attributes(None, vec!["fleeting".into()]).await;
    assert_eq!(deleted.reason(), ErrorReason::AttributeNotFound);
}

async fn a_regular_user_reaches_their_own_attributes_only(database: Database) {
    let server = TestServer::start(database).await;
    let (login, root) = (server.log_in(&server.alice).await, server.log_in(&server.root).await);
    let alice = server.on_behalf_of(&login.ust);
    let second = server.log_in(&server.alice).await.session.session_id;
    for own in [user(&server.alice.user_id), session(&login.session.session_id), session(&second)] {
        alice.set_attributes(Some(own.clone()), vec![set("a", "1")]).await.unwrap();
        assert_eq!(pairs(&alice, own).await, [pair("a", "1")]);
    }
    let nowhere = "ses_00000000000070008000000000000000";
    let others = [user(&server.root.user_id), user(NOBODY), session(&root.session.session_id), session(nowhere)];
    for owner in others {
        let refusals = [
            list(&alice, owner.clone()).await.refusal(),
            alice.set_attributes(Some(owner.clone()), vec![set("a", "1")]).await.refusal(),
            alice.delete_attributes(Some(owner), vec!["a".into()]).await.refusal(),
        ];
        for refusal in refusals {
            assert_eq!(refusal.reason, ErrorReason::SuperUserRequired);
        }
    }
}

async fn a_super_user_reaches_everybodys_attributes(database: Database) {
    let server = TestServer::start(database).await;
    let (login, root) = (server.log_in(&server.alice).await, server.as_root().await);
    for owner in [user(&server.alice.user_id), session(&login.session.session_id)] {
        root.set_attributes(Some(owner.clone()), vec![set("a", "1")]).await.unwrap();
        assert_eq!(pairs(&root, owner.clone()).await, [pair("a", "1")]);
        assert_eq!(root.delete_attributes(Some(owner), vec!["a".into()]).await.unwrap(), 1);
    }
    for (owner, reason) in [
        (user(NOBODY), ErrorReason::UserNotFound),
        (session("ses_00000000000070008000000000000000"), ErrorReason::SessionNotFound),
    ] {
        assert_eq!(list(&root, owner.clone()).await.reason(), reason);
        assert_eq!(root.set_attributes(Some(owner), vec![set("a", "1")]).await.reason(), reason);
    }
    for event in events_of(&server, "attribute.list").await {
        assert_eq!(event.subject.unwrap().to_string(), server.root.user_id);
    }
}

async fn attributes_of_a_session_go_with_the_session(database: Database) {
    let server = TestServer::start(database).await;
    let (alice, root) = (server.as_alice().await, server.as_root().await);
    let ended = server.log_in(&server.alice).await;
    let owner = || session(&ended.session.session_id);
    alice.set_attributes(Some(owner()), vec![set("a", "1")]).await.unwrap();
    server.on_behalf_of(&ended.ust).log_out().await.unwrap();
    for subject in [&alice, &root] {
        assert_eq!(list(subject, owner()).await.reason(), ErrorReason::SessionNotFound);
        let refused = subject.set_attributes(Some(owner()), vec![set("a", "2")]).await;
        assert_eq!(refused.reason(), ErrorReason::SessionNotFound);
    }
    let idle = server.log_in(&server.alice).await.session.session_id;
    alice.set_attributes(Some(session(&idle)), vec![set("a", "1")]).await.unwrap();
    server.clock.advance(server.config.session.idle / 2);
    alice.current_user().await.unwrap();
    server.clock.advance(server.config.session.idle / 2);
    assert_eq!(list(&alice, session(&idle)).await.reason(), ErrorReason::SessionNotFound);
}

async fn attributes_of_a_user_go_with_the_user(database: Database) {
    let server = TestServer::start(database).await;
    let (login, root) = (server.log_in(&server.alice).await, server.as_root().await);
    let alice = server.on_behalf_of(&login.ust);
    for owner in [None, Some(session(&login.session.session_id))] {
        alice.set_attributes(owner, vec![set("a", "1")]).await.unwrap();
    }
    root.delete_user(&server.alice.user_id).await.unwrap();
    assert_eq!(list(&root, user(&server.alice.user_id)).await.reason(), ErrorReason::UserNotFound);
    let owners: [uuid::Uuid; 2] = [
        server.alice.user_id.parse::<lanyard_server::model::id::UserId>().unwrap().uuid(),
        login.session.session_id.parse::<lanyard_server::model::id::SessionId>().unwrap().uuid(),
    ];
    for owner in owners {
        let now = server.clock.now();
        let rows =
            server.within(move |app| async move { app.store().attributes(owner, &[], None, now, 9).await }).await;
        assert!(rows.unwrap().is_empty());
    }
}
