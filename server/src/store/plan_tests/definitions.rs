//! Definitions.

use super::{Access, Fixture};
use crate::model::session::{AuthType, RevokeReason};
use crate::store::DefinitionFilter;

pub(super) async fn all(fixture: &Fixture) {
    let store = &fixture.store;
    // The first user's: pages of other definitions come after it.
    let first = &fixture.users[0].username;
    let found = store.definition_of_principal(AuthType::BasicAuth, first, "").await.unwrap().expect("it is there");
    fixture.explain("a definition by its principal", Access::Search).await;
    store.definition(found.auth_id).await.unwrap().unwrap();
    fixture.explain("a definition by its number", Access::Search).await;
    pages(fixture, found.auth_id, &found.name).await;

    let work = store.write(move |tx| {
        let mut row = found.clone();
        Box::pin(async move {
            tx.lock_definition(row.auth_id).await?;
            row.version += 1;
            tx.update_material(&row).await?;
            tx.update_definition(row.clone()).await?;
            tx.revoke_sessions_of_definition(row.auth_id, RevokeReason::DefinitionDeleted, tx.clock().now()).await?;
            tx.delete_definition(row.auth_id).await
        })
    });
    work.await.unwrap();
    fixture.explain("what changes definitions", Access::Search).await;
}

/// A page is read in index order: nothing is sorted, however many definitions exist.
async fn pages(fixture: &Fixture, after: i64, name: &str) {
    let every = DefinitionFilter::default();
    let of_type = DefinitionFilter { auth_type: Some(AuthType::BasicAuth), ..every.clone() };
    let named = DefinitionFilter { name: Some(name.to_owned()), ..every.clone() };
    for (what, filter, count, access) in [
        ("definitions", every, 51, Access::Scan),
        ("definitions of a type", of_type, 51, Access::Search),
        ("a definition by its name", named, 0, Access::Search),
    ] {
        assert_eq!(fixture.store.definitions(&filter, Some(after), 51).await.unwrap().len(), count, "{what}");
        let statement = fixture.recorded.lock().last().cloned().expect("it was asked");
        let plan = fixture.plan(&statement).await.join("\n");
        assert!(count == 0 || !plan.contains("TEMP B-TREE") && !plan.contains("Sort"), "{what}\n{plan}");
        fixture.explain(what, access).await;
    }
}
