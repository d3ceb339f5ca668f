//! Leases of tasks that only one server may run at a time.

use std::time::Duration;

use sea_orm::{ActiveValue::Set, EntityTrait, TryInsertResult};
use sea_orm::{ColumnTrait, ExprTrait, QueryFilter};
use uuid::Uuid;

use super::Store;
use super::entity::lease;
use crate::error::Result;

impl Store {
    /// Acquires or renews a lease; false if another server holds it.
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn acquire_lease(&self, name: &'static str, holder: Uuid, duration: Duration) -> Result<bool> {
        use lease::Column;

        let now = self.clock().now();
        let until = now + duration;
        let conn = self.shared.writer.conn();
        let row = lease::ActiveModel { name: Set(name.to_owned()), holder: Set(holder), expires_at: Set(until) };
        let inserted =
            lease::Entity::insert(row).on_conflict_do_nothing_on([Column::Name]).exec_without_returning(conn).await?;
        if matches!(inserted, TryInsertResult::Inserted(1..)) {
            return Ok(true);
        }
        let updated = lease::Entity::update_many()
            .set(lease::ActiveModel { holder: Set(holder), expires_at: Set(until), ..Default::default() })
            .filter(Column::Name.eq(name).and(Column::Holder.eq(holder).or(Column::ExpiresAt.lte(now))))
            .exec(conn)
            .await?;
        Ok(updated.rows_affected == 1)
    }
}
