//! Links and their definitions.

use super::{Access, Fixture, START};
use crate::clock::Micros;
use crate::model::definition::MaterialSource;
use crate::model::id::{LinkId, UserId};
use crate::model::session::{AuthType, RevokeReason};
use crate::store::{DefinitionRow, LinkedAuthRow, Store, UserRow};

/// Two definitions per user, one of them linked.
pub(super) async fn fill(store: &Store, users: &[UserRow]) {
    for owners in users.chunks(100) {
        let owners = owners.to_vec();
        let linked = store.write(move |tx| {
            let owners = owners.clone();
            Box::pin(async move {
                for owner in &owners {
                    tx.insert_definition(definition(AuthType::Jwt, &owner.username)).await?;
                    let auth_id = tx.insert_definition(definition(AuthType::BasicAuth, &owner.username)).await?;
                    tx.insert_link(link(owner.user_id, auth_id)).await?;
                }
                Ok(())
            })
        });
        linked.await.unwrap();
    }
}

pub(super) async fn all(fixture: &Fixture) {
    let (store, user) = (&fixture.store, fixture.users[700].user_id);
    let links = store.links_of_user(user).await.unwrap();
    let [link] = &links[..] else { panic!("{links:?}") };
    assert_eq!(fixture.recorded.lock().len(), 1, "however many there are, it is one statement");
    store.links_of_user_after(user, link.link_id, 51).await.unwrap();
    fixture.explain("a user's links", Access::Search).await;
    assert_eq!(store.links_of_definitions(&[100, 101, 102, 103]).await.unwrap().len(), 2);
    fixture.explain("links of definitions", Access::Search).await;
    let names: Vec<String> = (0..10).map(|number| format!("user{number}")).collect();
    let both: Vec<(AuthType, &str)> = names
        .iter()
        .zip([AuthType::BasicAuth, AuthType::Jwt].into_iter().cycle())
        .map(|(name, auth_type)| (auth_type, name.as_str()))
        .collect();
    assert_eq!(store.definitions_named(&both).await.unwrap().len(), 10);
    fixture.explain("definitions by their usernames", Access::Search).await;
    assert_eq!(store.definitions_named(&both[..1]).await.unwrap().len(), 1);
    fixture.explain("one definition by its username", Access::Search).await;

    let link = link.clone();
    let work = store.write(move |tx| {
        let (auth_id, link_id) = (link.auth_id, link.link_id);
        Box::pin(async move {
            let now = tx.clock().now();
            tx.lock_definition(auth_id).await?;
            tx.link_of_definition(auth_id).await?;
            let mut row = tx.lock_link(link_id).await?.expect("it is there");
            assert!(!tx.has_other_active_link(&row).await?);
            row.version += 1;
            tx.update_link(row.clone()).await?;
            tx.record_link_use(link_id, now).await?;
            tx.revoke_sessions_of_definition(auth_id, RevokeReason::LinkDeleted, now).await?;
            tx.delete_link(&row).await
        })
    });
    work.await.unwrap();
    fixture.explain("what changes links", Access::Search).await;
}

fn definition(auth_type: AuthType, username: &str) -> DefinitionRow {
    DefinitionRow {
        auth_id: 0,
        auth_type,
        name: format!("{username} {}", auth_type as i16),
        username: username.to_owned(),
        issuer: String::new(),
        audience: String::new(),
        algorithms: String::new(),
        clock_skew_micros: Micros::default(),
        source: MaterialSource::Hash,
        material: Vec::new(),
        previous_source: None,
        previous_material: None,
        previous_until: None,
        is_active: true,
        is_internal: false,
        created_at: START,
        updated_at: START,
        version: 1,
    }
}

fn link(user_id: UserId, auth_id: i64) -> LinkedAuthRow {
    LinkedAuthRow {
        link_id: LinkId::new(START),
        user_id,
        auth_id,
        is_active: true,
        is_internal: false,
        created_at: START,
        updated_at: START,
        last_used_at: None,
        version: 1,
    }
}
