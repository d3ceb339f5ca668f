//! Definitions: external credentials.

use sea_orm::{
    ActiveModelTrait, ActiveValue, ColumnTrait, Condition, ConnectionTrait, DbErr, EntityTrait, IntoActiveModel, Order,
    QueryFilter, QueryOrder, QuerySelect,
};

use super::change::ChangeKind;
use super::entity::definition;
use super::error::violates_index;
use super::{DefinitionRow, Store, Tx};
use crate::error::{Error, Result};
use crate::model::session::AuthType;

/// Filter of definitions; all fields that are set must match.
#[derive(Clone, Debug, Default)]
pub struct DefinitionFilter {
    pub auth_type: Option<AuthType>,
    pub name: Option<String>,
}

impl DefinitionFilter {
    fn condition(&self) -> Condition {
        use definition::Column;

        Condition::all()
            .add_option(self.auth_type.map(|auth_type| Column::AuthType.eq(auth_type)))
            .add_option(self.name.as_ref().map(|name| Column::Name.eq(name)))
    }
}

impl<C: ConnectionTrait> Store<C> {
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn definition(&self, auth_id: i64) -> Result<Option<DefinitionRow>> {
        definition::Entity::find_by_id(auth_id).one(&self.conn).await.map_err(Error::from)
    }

    /// Definitions that match, ordered by ID, after `after`.
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn definitions(
        &self,
        filter: &DefinitionFilter,
        after: Option<i64>,
        limit: u64,
    ) -> Result<Vec<DefinitionRow>> {
        use definition::Column;

        definition::Entity::find()
            .filter(filter.condition().add_option(after.map(|after| Column::AuthId.gt(after))))
            .order_by(Column::AuthId, Order::Asc)
            .limit(limit)
            .all(&self.conn)
            .await
            .map_err(Error::from)
    }

    /// The definition of a principal, compared exactly. The issuer is empty with basic auth.
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn definition_of_principal(
        &self,
        auth_type: AuthType,
        username: &str,
        issuer: &str,
    ) -> Result<Option<DefinitionRow>> {
        use definition::Column;

        // No definition contains NUL, and PostgreSQL rejects such parameters.
        if [username, issuer].iter().any(|text| text.contains('\0')) {
            return Ok(None);
        }
        let principal = Condition::all()
            .add(Column::AuthType.eq(auth_type))
            .add(Column::Username.eq(username))
            .add(Column::Issuer.eq(issuer));
        definition::Entity::find().filter(principal).one(&self.conn).await.map_err(Error::from)
    }
}

impl Tx {
    /// Locks the definition until the transaction ends: others wait to change it, link it or start a session with it.
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn lock_definition(&self, auth_id: i64) -> Result<Option<DefinitionRow>> {
        definition::Entity::find_by_id(auth_id).lock_exclusive().one(&self.conn).await.map_err(Error::from)
    }

    /// Inserts a definition and returns its ID, which no other ever had. The ID in `row` is ignored.
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn insert_definition(&self, row: DefinitionRow) -> Result<i64> {
        let row = definition::ActiveModel { auth_id: ActiveValue::NotSet, ..row.into_active_model().reset_all() };
        let inserted = definition::Entity::insert(row).exec(&self.conn).await.map_err(map_unique_violation)?;
        let auth_id = inserted.last_insert_id;
        self.feed(ChangeKind::DefinitionChanged, None, None);
        Ok(auth_id)
    }

    /// Updates the whole row except its type, which never changes. The change feed names the linked user, because their
    /// links show parts of the definition.
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn update_definition(&self, row: DefinitionRow) -> Result<()> {
        let auth_id = row.auth_id;
        let auth_type = ActiveValue::Unchanged(row.auth_type);
        let row = definition::ActiveModel { auth_type, ..row.into_active_model().reset_all() };
        definition::Entity::update(row).exec(&self.conn).await.map_err(map_unique_violation)?;
        self.feed_definition(ChangeKind::DefinitionChanged, auth_id).await
    }

    /// Updates only the material. Neither the caches nor the change feed contain it, so nothing is invalidated.
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn update_material(&self, row: &DefinitionRow) -> Result<()> {
        definition::Entity::update_many()
            .set(definition::ActiveModel {
                source: ActiveValue::Set(row.source),
                material: ActiveValue::Set(row.material.clone()),
                ..Default::default()
            })
            .filter(definition::Column::AuthId.eq(row.auth_id))
            .exec(&self.conn)
            .await?;
        Ok(())
    }

    /// Deletes a definition and its link. Revoke the sessions that it started first.
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn delete_definition(&self, auth_id: i64) -> Result<()> {
        self.feed_definition(ChangeKind::DefinitionDeleted, auth_id).await?;
        definition::Entity::delete_by_id(auth_id).exec(&self.conn).await?;
        Ok(())
    }

    async fn feed_definition(&self, kind: ChangeKind, auth_id: i64) -> Result<()> {
        let user = self.link_of_definition(auth_id).await?.map(|link| link.user_id);
        if let Some(user) = user {
            self.invalidate_links(user);
        }
        self.feed(kind, user, None);
        Ok(())
    }
}

/// Tells which unique index was violated: the name or the principal.
pub(super) fn map_unique_violation(error: DbErr) -> Error {
    if violates_index(&error, "definition_name", "definition.name") {
        Error::DefinitionNameTaken
    } else if violates_index(&error, "definition_principal", "definition.auth_type") {
        Error::DefinitionExists
    } else {
        Error::from(error)
    }
}
