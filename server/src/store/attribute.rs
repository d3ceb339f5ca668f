//! Attributes of users and sessions. The owner's ID tells them apart: IDs of users and sessions never coincide.

use sea_orm::sea_query::{ExprTrait, OnConflict};
use sea_orm::{
    ColumnTrait, Condition, ConnectionTrait, EntityTrait, IntoActiveModel, Order, PaginatorTrait, QueryFilter,
    QueryOrder, QuerySelect,
};
use uuid::Uuid;

use super::change::ChangeKind;
use super::entity::attribute;
use super::{AttributeRow, Store, Tx};
use crate::clock::Time;
use crate::error::{Error, Result};
use crate::model::id::{SessionId, UserId};

/// An attribute to store; replaces the one with the same name.
pub type NewAttribute = AttributeRow;

fn live_of(owner: Uuid, now: Time) -> Condition {
    use attribute::Column;

    let live = Column::ExpiresAt.is_null().or(Column::ExpiresAt.gt(now));
    Condition::all().add(Column::OwnerId.eq(owner)).add(live)
}

impl<C: ConnectionTrait> Store<C> {
    /// Unexpired attributes with these `names` (empty: all), ordered by name, after `after`.
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn attributes(
        &self,
        owner: Uuid,
        names: &[String],
        after: Option<&str>,
        now: Time,
        limit: u64,
    ) -> Result<Vec<AttributeRow>> {
        use attribute::Column;

        let by_name = (!names.is_empty()).then(|| Column::Name.is_in(names));
        attribute::Entity::find()
            .filter(live_of(owner, now).add_option(by_name).add_option(after.map(|after| Column::Name.gt(after))))
            .order_by(Column::Name, Order::Asc)
            .limit(limit)
            .all(&self.conn)
            .await
            .map_err(Error::from)
    }
}

impl Tx {
    /// Number of unexpired attributes of an owner.
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn attribute_count(&self, owner: Uuid, now: Time) -> Result<u64> {
        attribute::Entity::find().filter(live_of(owner, now)).count(&self.conn).await.map_err(Error::from)
    }

    /// Stores an attribute and replaces the one with the same name, expired or not.
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn put_attribute(&self, row: NewAttribute) -> Result<()> {
        use attribute::Column;

        let replace = OnConflict::columns([Column::OwnerId, Column::Name])
            .update_columns([
                Column::Value,
                Column::IsSealed,
                Column::ExpiresAt,
                Column::CreatedAt,
                Column::UpdatedAt,
                Column::Version,
            ])
            .to_owned();
        attribute::Entity::insert(row.into_active_model())
            .on_conflict(replace)
            .exec_without_returning(&self.conn)
            .await?;
        Ok(())
    }

    /// Deletes the named attributes that have not expired; returns how many.
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn delete_attributes(&self, owner: Uuid, names: &[String], now: Time) -> Result<u64> {
        let done = attribute::Entity::delete_many()
            .filter(live_of(owner, now).add(attribute::Column::Name.is_in(names)))
            .exec(&self.conn)
            .await?;
        Ok(done.rows_affected)
    }

    pub fn attributes_changed(&self, user: Option<UserId>, session: Option<SessionId>) {
        self.feed(ChangeKind::AttributesChanged, user, session);
    }
}
