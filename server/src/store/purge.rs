//! Purging: rows that nobody can need any more go in small batches, found by an index, so that no lock is held for long.

use sea_orm::sea_query::{Alias, Expr, ExprTrait, IntoIden, Query, SelectStatement};
use sea_orm::{ConnectionTrait, EntityName, IdenStatic};

use super::entity::{attribute, caller_key, change, session, session_token};
use super::{Store, fault};
use crate::clock::Time;
use crate::error::Result;

/// How much was purged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Purged {
    pub sessions: u64,
    pub attributes: u64,
    pub changes: u64,
    pub successors: u64,
    pub caller_keys: u64,
}

impl Purged {
    pub fn total(&self) -> u64 {
        self.sessions + self.attributes + self.changes + self.successors + self.caller_keys
    }
}

impl std::ops::AddAssign for Purged {
    fn add_assign(&mut self, more: Self) {
        self.sessions += more.sessions;
        self.attributes += more.attributes;
        self.changes += more.changes;
        self.successors += more.successors;
        self.caller_keys += more.caller_keys;
    }
}

impl Store {
    /// Purges one batch of each kind: sessions that ended before `ended_before` with their attributes, expired attributes, the
    /// change feed before `fed_before`, sealed successors whose grace is over, expired caller keys.
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn purge_batch(&self, ended_before: Time, fed_before: Time, batch: u64) -> Result<Purged> {
        let now = self.clock().now();
        Ok(Purged {
            sessions: self.purge_sessions(ended_before, batch).await?,
            attributes: self.purge_rows(attribute::Entity, &["owner_id", "name"], "expires_at", now, batch).await?,
            changes: self.purge_rows(change::Entity, &["sequence"], "time", fed_before, batch).await?,
            successors: self.clear_successors(now, batch).await?,
            caller_keys: self.purge_rows(caller_key::Entity, &["key_hash"], "expires_at", ended_before, batch).await?,
        })
    }

    async fn purge_sessions(&self, ended_before: Time, batch: u64) -> Result<u64> {
        let mut done = 0;
        for column in [session::Column::ExpiresAt, session::Column::RevokedAt] {
            let ended = old_rows("session", &["session_id"], column.as_str(), ended_before, batch);
            let attributes = Query::delete()
                .from_table(attribute::Entity)
                .and_where(Expr::col(attribute::Column::OwnerId).in_subquery(ended.clone()))
                .to_owned();
            let sessions = Query::delete()
                .from_table(session::Entity)
                .and_where(Expr::col(session::Column::SessionId).in_subquery(ended))
                .to_owned();
            let conn = self.shared.writer.conn();
            // The attributes first: if it stops in between, the next round goes on.
            conn.execute(&attributes).await.map_err(fault)?;
            done += conn.execute(&sessions).await.map_err(fault)?.rows_affected();
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
        let done = self.shared.writer.conn().execute(&delete).await.map_err(fault)?;
        Ok(done.rows_affected())
    }

    async fn clear_successors(&self, now: Time, batch: u64) -> Result<u64> {
        use session_token::Column;

        let mut over = old_rows("session_token", &["token_hash"], "grace_until", now, batch);
        over.and_where(Expr::col(Column::Successor).is_not_null());
        let clear = Query::update()
            .table(session_token::Entity)
            .value(Column::Successor, Option::<Vec<u8>>::None)
            .and_where(Expr::col(Column::TokenHash).in_subquery(over))
            .to_owned();
        let done = self.shared.writer.conn().execute(&clear).await.map_err(fault)?;
        Ok(done.rows_affected())
    }
}

/// The keys of the oldest rows whose time in `column` is before `before`.
fn old_rows(table: &str, key: &[&'static str], column: &'static str, before: Time, batch: u64) -> SelectStatement {
    Query::select()
        .columns(key.iter().map(|column| Alias::new(*column)))
        .from(Alias::new(table))
        .and_where(Expr::col(Alias::new(column)).lt(before.micros()))
        .order_by(Alias::new(column), sea_orm::Order::Asc)
        .limit(batch)
        .to_owned()
}
