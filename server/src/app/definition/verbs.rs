//! Operations on definitions: create, read, update, delete, rotate. All of them require a super-user.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use super::material::Material;
use super::{
    ALGORITHMS, Definition, DefinitionChange, DefinitionToCreate, ListDefinitions, Rotation, algorithms_of, check_etag,
    check_overlap, new_row, touch, with_definition_detail,
};
use crate::app::App;
use crate::app::audit::Event;
use crate::app::client::Acting;
use crate::app::page::{Page, PageRequest, Query};
use crate::error::{Error, Result};
use crate::model::audit::Operation;
use crate::model::session::RevokeReason;
use crate::store::{DefinitionFilter, DefinitionRow};

impl App {
    /// Creates a definition.
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn create_definition(&self, acting: &Acting<'_>, new: DefinitionToCreate) -> Result<Definition> {
        self.require_super_user(acting, Operation::DefinitionCreate, None, None).await?;
        let row = new_row(&new, self.parts.clock.now())?;
        let material = self.material(row.auth_type, new.secret).await?;
        material.check_algorithms(ALGORITHMS, &algorithms_of(&row)?)?;
        let event = Event::by(acting, Operation::DefinitionCreate);
        let material = Arc::new(material);
        let stored = self.parts.store.write(move |tx| {
            let (row, material, event) = (row.clone(), Arc::clone(&material), event.clone());
            Box::pin(async move {
                // A sealed secret is bound to the ID, which the database assigns.
                let mut row = DefinitionRow { auth_id: tx.insert_definition(row.clone()).await?, ..row };
                material.store_in(tx.keyring(), &mut row);
                tx.update_material(&row).await?;
                let detail = json!({ "auth_id": row.auth_id, "auth_type": row.auth_type.name() });
                tx.audit(event.detail(detail));
                Ok(row)
            })
        });
        Definition::from_row(stored.await?, self.parts.clock.now())
    }

    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn get_definition(&self, acting: &Acting<'_>, auth_id: i64) -> Result<Definition> {
        self.require_super_user(acting, Operation::DefinitionGet, None, None).await?;
        let row = self.parts.store.definition(auth_id).await?.ok_or(Error::DefinitionNotFound)?;
        self.audit_read_event(Event::by(acting, Operation::DefinitionGet).detail(json!({ "auth_id": auth_id })))
            .await?;
        Definition::from_row(row, self.parts.clock.now())
    }

    /// One page of definitions, by ascending ID.
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn list_definitions(
        &self,
        acting: &Acting<'_>,
        list: ListDefinitions,
        page: PageRequest<'_>,
    ) -> Result<Page<Definition>> {
        self.require_super_user(acting, Operation::DefinitionList, None, None).await?;
        let now = self.parts.clock.now();
        let query = Query::new("definitions", acting.user(), &format!("{list:?}"));
        let after = page.cursor(&self.parts.keyring, &query, now)?;
        let after = after.map(|bytes| bytes.try_into().map(i64::from_be_bytes).map_err(|_| Error::PageTokenInvalid));
        let filter = DefinitionFilter { auth_type: list.auth_type, name: list.name };
        let rows = self.parts.store.definitions(&filter, after.transpose()?, page.limit() + 1).await?;
        self.audit_read(acting, Operation::DefinitionList, None, None).await?;
        let page = page.take(rows, |row| row.auth_id.to_be_bytes().to_vec(), &self.parts.keyring, &query, now);
        let items = page.items.into_iter().map(|row| Definition::from_row(row, now)).collect::<Result<_>>()?;
        Ok(Page { items, next_page_token: page.next_page_token })
    }

    /// Updates fields; returns how many live sessions ended. A non-empty etag must match.
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn update_definition(
        &self,
        acting: &Acting<'_>,
        auth_id: i64,
        changes: Vec<DefinitionChange>,
        etag: String,
    ) -> Result<(Definition, u64)> {
        self.require_super_user(acting, Operation::DefinitionUpdate, None, None).await?;
        self.parts.store.flush_activity().await?;
        let event = Event::by(acting, Operation::DefinitionUpdate);
        let (changes, etag) = (Arc::new(changes), Arc::new(etag));
        let done = self.parts.store.write(move |tx| {
            let (changes, etag, event) = (Arc::clone(&changes), Arc::clone(&etag), event.clone());
            Box::pin(async move {
                let before = tx.lock_definition(auth_id).await?.ok_or(Error::DefinitionNotFound)?;
                check_etag(&before, &etag)?;
                let now = tx.clock().now();
                let mut row = before.clone();
                changes.iter().try_for_each(|change| change.apply(tx.keyring(), &mut row))?;
                let is_turned_off = before.is_active && !row.is_active;
                let ended = if is_turned_off {
                    tx.revoke_sessions_of_definition(auth_id, RevokeReason::DefinitionInactive, now).await?
                } else {
                    0
                };
                if row != before {
                    touch(&mut row, now);
                    tx.update_definition(row.clone()).await?;
                }
                let fields: Vec<&str> = changes.iter().map(DefinitionChange::name).collect();
                let detail = json!({ "fields": fields, "revoked": ended });
                tx.audit(with_definition_detail(tx, event, auth_id, detail).await?);
                Ok((row, ended))
            })
        });
        let (row, ended) = done.await?;
        Ok((Definition::from_row(row, self.parts.clock.now())?, ended))
    }

    /// Deletes a definition and its link; returns how many live sessions ended.
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn delete_definition(&self, acting: &Acting<'_>, auth_id: i64, etag: String) -> Result<u64> {
        self.require_super_user(acting, Operation::DefinitionDelete, None, None).await?;
        self.parts.store.flush_activity().await?;
        let event = Event::by(acting, Operation::DefinitionDelete);
        self.parts
            .store
            .write(move |tx| {
                let (etag, event) = (etag.clone(), event.clone());
                Box::pin(async move {
                    let row = tx.lock_definition(auth_id).await?.ok_or(Error::DefinitionNotFound)?;
                    check_etag(&row, &etag)?;
                    let (now, reason) = (tx.clock().now(), RevokeReason::DefinitionDeleted);
                    let ended = tx.revoke_sessions_of_definition(auth_id, reason, now).await?;
                    let event =
                        with_definition_detail(tx, event, auth_id, json!({ "name": row.name, "revoked": ended }))
                            .await?;
                    tx.delete_definition(auth_id).await?;
                    tx.audit(event);
                    Ok(ended)
                })
            })
            .await
    }

    /// Replaces the secret or keys of a definition; returns how many live sessions ended.
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn rotate_definition_secret(
        &self,
        acting: &Acting<'_>,
        auth_id: i64,
        rotation: Rotation,
    ) -> Result<(Definition, u64)> {
        self.require_super_user(acting, Operation::DefinitionRotate, None, None).await?;
        let Rotation { secret, overlap, revoke_sessions, etag } = rotation;
        check_overlap(overlap)?;
        let found = self.parts.store.definition(auth_id).await?.ok_or(Error::DefinitionNotFound)?;
        check_etag(&found, &etag)?;
        // Hashed before the transaction: it is slow, and a definition's type never changes.
        let material = self.material(found.auth_type, secret).await?;
        if revoke_sessions {
            self.parts.store.flush_activity().await?;
        }
        let work = Arc::new(Replacement { auth_id, material, overlap, revoke_sessions, etag });
        let event = Event::by(acting, Operation::DefinitionRotate);
        let done = self.parts.store.write(move |tx| {
            let (work, event) = (Arc::clone(&work), event.clone());
            Box::pin(async move { work.run(tx, event).await })
        });
        let (row, ended) = done.await?;
        Ok((Definition::from_row(row, self.parts.clock.now())?, ended))
    }
}

/// The transaction of a rotation.
struct Replacement {
    auth_id: i64,
    material: Material,
    overlap: Duration,
    revoke_sessions: bool,
    etag: String,
}

impl Replacement {
    async fn run(&self, tx: &crate::store::Tx, event: Event) -> Result<(DefinitionRow, u64)> {
        let mut row = tx.lock_definition(self.auth_id).await?.ok_or(Error::DefinitionNotFound)?;
        check_etag(&row, &self.etag)?;
        let now = tx.clock().now();
        self.material.check_algorithms("secret", &algorithms_of(&row)?)?;
        let until = (!self.overlap.is_zero()).then(|| now + self.overlap);
        self.material.replace(tx.keyring(), &mut row, until)?;
        let ended = if self.revoke_sessions {
            tx.revoke_sessions_of_definition(self.auth_id, RevokeReason::SecretRotated, now).await?
        } else {
            0
        };
        touch(&mut row, now);
        tx.update_definition(row.clone()).await?;
        let detail = json!({ "overlap_seconds": self.overlap.as_secs(), "revoked": ended });
        tx.audit(with_definition_detail(tx, event, self.auth_id, detail).await?);
        Ok((row, ended))
    }
}
