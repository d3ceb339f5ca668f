//! Purging: deletes rows that are no longer needed, in small batches found by an index, so that locks are held briefly.

use crate::model::id::SessionId;
use sea_orm::sea_query::{Alias, Expr, ExprTrait, IntoIden, Query, SelectStatement};
use sea_orm::{ColumnTrait, ConnectionTrait, EntityName, EntityTrait, Order, QueryFilter, QueryOrder, QuerySelect};

use super::Store;
use super::entity::{attribute, caller_key, change, session, session_token};
use crate::clock::Time;
use crate::error::Result;

/// Maximum sessions per batch: each is a parameter, and SQLite allows 32,766.
const MAX_BATCH: u64 = 10_000;

/// Numbers of purged rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Purged {
    pub sessions: u64,
    pub attributes: u64,
    pub changes: u64,
    pub successors: u64,
    pub caller_keys: u64,
    pub platform_credentials: u64,
}

impl Purged {
    pub fn total(&self) -> u64 {
        self.sessions + self.attributes + self.changes + self.successors + self.caller_keys + self.platform_credentials
    }
}

impl std::ops::AddAssign for Purged {
    fn add_assign(&mut self, other: Self) {
        self.sessions += other.sessions;
        self.attributes += other.attributes;
        self.changes += other.changes;
        self.successors += other.successors;
        self.caller_keys += other.caller_keys;
        self.platform_credentials += other.platform_credentials;
    }
}

impl Store {
    /// Purges one batch of each kind: sessions that were revoked or reached their absolute limit before `ended_before`,
    /// with their attributes; expired attributes; the change feed before `changes_before`; sealed successors after their
    /// grace period; expired caller keys; platform credentials of expired sessions.
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn purge_batch(&self, ended_before: Time, changes_before: Time, batch: u64) -> Result<Purged> {
        let now = self.clock().now();
        Ok(Purged {
            sessions: self.purge_sessions(ended_before, batch).await?,
            attributes: self.purge_rows(attribute::Entity, &["owner_id", "name"], "expires_at", now, batch).await?,
            changes: self.purge_rows(change::Entity, &["sequence"], "time", changes_before, batch).await?,
            successors: self.clear_successors(now, batch).await?,
            caller_keys: self.purge_rows(caller_key::Entity, &["key_hash"], "expires_at", ended_before, batch).await?,
            platform_credentials: self.purge_platform_credentials(now, batch).await?,
        })
    }

    async fn purge_sessions(&self, ended_before: Time, batch: u64) -> Result<u64> {
        let mut done = 0;
        for column in [session::Column::AbsoluteExpiresAt, session::Column::RevokedAt] {
            let tx = self.shared.writer.begin().await?;
            // Selected once: attributes must be deleted with exactly these sessions.
            let ended: Vec<SessionId> = session::Entity::find()
                .select_only()
                .column(session::Column::SessionId)
                .filter(column.lt(ended_before))
                .order_by(column, Order::Asc)
                .limit(std::cmp::min(batch, MAX_BATCH))
                .lock_exclusive()
                .into_tuple()
                .all(&tx)
                .await?;
            if ended.is_empty() {
                tx.rollback().await?;
                continue;
            }
            let attributes = attribute::Entity::delete_many().filter(attribute::Column::OwnerId.is_in(ended.clone()));
            attributes.exec(&tx).await?;
            let sessions = session::Entity::delete_many().filter(session::Column::SessionId.is_in(ended));
            done += sessions.exec(&tx).await?.rows_affected;
            tx.commit().await?;
        }
        Ok(done)
    }

    async fn purge_rows(
        &self,
        table: impl EntityName,
        key: &[&'static str],
        column: &'static str,
        before: Time,
        batch: u64,
    ) -> Result<u64> {
        let old = old_rows(table.table_name(), key, column, before, batch);
        let columns = key.iter().map(|column| Expr::col(Alias::new(*column)));
        let delete = Query::delete()
            .from_table(Alias::new(table.table_name()).into_iden())
            .and_where(Expr::tuple(columns).in_subquery(old))
            .to_owned();
        let done = self.shared.writer.conn().execute(&delete).await?;
        Ok(done.rows_affected())
    }

    async fn clear_successors(&self, now: Time, batch: u64) -> Result<u64> {
        use session_token::Column;

        let mut expired = old_rows("session_token", &["token_hash"], "grace_until", now, batch);
        expired.and_where(Expr::col(Column::Successor).is_not_null());
        let clear = Query::update()
            .table(session_token::Entity)
            .value(Column::Successor, Option::<Vec<u8>>::None)
            .and_where(Expr::col(Column::TokenHash).in_subquery(expired))
            .to_owned();
        let done = self.shared.writer.conn().execute(&clear).await?;
        Ok(done.rows_affected())
    }
}

/// The keys of the oldest rows whose time in `column` is before `before`.
fn old_rows(table: &str, key: &[&'static str], column: &'static str, before: Time, batch: u64) -> SelectStatement {
    Query::select()
        .columns(key.iter().map(|column| Alias::new(*column)))
        .from(Alias::new(table))
        .and_where(Expr::col(Alias::new(column)).lt(before))
        .order_by(Alias::new(column), Order::Asc)
        .limit(batch)
        .to_owned()
}
