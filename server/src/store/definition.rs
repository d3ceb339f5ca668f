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

/// Which definitions; all that are set must match.
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

    /// Definitions that match, in the order of their numbers, behind `after`.
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

    /// The definition of a principal, exactly as it is written. With basic auth the issuer is empty.
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn definition_of_principal(
        &self,
        auth_type: AuthType,
        username: &str,
        issuer: &str,
    ) -> Result<Option<DefinitionRow>> {
        use definition::Column;

        // No definition has one, and PostgreSQL refuses the question.
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
    /// The definition, locked until the transaction ends: whatever changes it, links it or begins a session with it waits.
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn lock_definition(&self, auth_id: i64) -> Result<Option<DefinitionRow>> {
        definition::Entity::find_by_id(auth_id).lock_exclusive().one(&self.conn).await.map_err(Error::from)
    }

    /// Stores a new definition and returns its number, which no other ever had: that of the row is not looked at.
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn insert_definition(&self, row: DefinitionRow) -> Result<i64> {
        let row = definition::ActiveModel { auth_id: ActiveValue::NotSet, ..row.into_active_model().reset_all() };
        let inserted = definition::Entity::insert(row).exec(&self.conn).await.map_err(taken)?;
        let auth_id = inserted.last_insert_id;
        self.feed(ChangeKind::DefinitionChanged, None, None);
        Ok(auth_id)
    }

    /// Stores the whole row but its type, which never changes. The feed names the user to whom the definition is linked:
    /// their links show parts of it.
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn update_definition(&self, row: DefinitionRow) -> Result<()> {
        let auth_id = row.auth_id;
        let auth_type = ActiveValue::Unchanged(row.auth_type);
        let row = definition::ActiveModel { auth_type, ..row.into_active_model().reset_all() };
        definition::Entity::update(row).exec(&self.conn).await.map_err(taken)?;
        self.feed_definition(ChangeKind::DefinitionChanged, auth_id).await
    }

    /// Stores only what credentials are checked against, which nothing that is cached or told shows.
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn set_material(&self, row: &DefinitionRow) -> Result<()> {
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

    /// Removes a definition with its link. The sessions that began with it are to be revoked before.
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn delete_definition(&self, auth_id: i64) -> Result<()> {
        self.feed_definition(ChangeKind::DefinitionDeleted, auth_id).await?;
        definition::Entity::delete_by_id(auth_id).exec(&self.conn).await?;
        Ok(())
    }

    async fn feed_definition(&self, kind: ChangeKind, auth_id: i64) -> Result<()> {
        let user = self.link_of_definition(auth_id).await?.map(|link| link.user_id);
        if let Some(user) = user {
            self.forget_links(user);
        }
        self.feed(kind, user, None);
        Ok(())
    }
}

/// Which of the two things that must be unique was there already.
pub(super) fn taken(error: DbErr) -> Error {
    if violates_index(&error, "definition_name", "definition.name") {
        Error::DefinitionNameTaken
    } else if violates_index(&error, "definition_principal", "definition.auth_type") {
        Error::DefinitionExists
    } else {
        Error::from(error)
    }
}
