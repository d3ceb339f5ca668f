//! Transactions on either database.

use async_trait::async_trait;
use sea_orm::{ConnectionTrait, DatabaseTransaction, DbBackend, DbErr, ExecResult, QueryResult, Statement};

use super::sqlite::transaction::SqliteTransaction;

/// A transaction. Dropping it rolls it back.
pub enum Transaction {
    Postgres(DatabaseTransaction),
    Sqlite(SqliteTransaction),
}

impl Transaction {
    /// Runs statements in order.
    pub(super) async fn execute_all(
        &self,
        statements: impl IntoIterator<Item = Statement, IntoIter: Send>,
    ) -> Result<(), DbErr> {
        for statement in statements {
            self.execute_raw(statement).await?;
        }
        Ok(())
    }

    /// Commits. On failure the transaction is rolled back, unless the connection was lost: then the outcome is unknown.
    pub(super) async fn commit(self) -> Result<(), DbErr> {
        match self {
            Self::Postgres(transaction) => transaction.commit().await,
            Self::Sqlite(transaction) => {
                let committed = transaction.commit().await;
                if committed.is_err() {
                    let _ = transaction.rollback().await;
                }
                committed
            }
        }
    }

    pub(super) async fn rollback(self) -> Result<(), DbErr> {
        match self {
            Self::Postgres(transaction) => transaction.rollback().await,
            Self::Sqlite(transaction) => transaction.rollback().await,
        }
    }
}

#[async_trait]
impl ConnectionTrait for Transaction {
    fn get_database_backend(&self) -> DbBackend {
        match self {
            Self::Postgres(transaction) => transaction.get_database_backend(),
            Self::Sqlite(transaction) => transaction.get_database_backend(),
        }
    }

    async fn execute_raw(&self, statement: Statement) -> Result<ExecResult, DbErr> {
        match self {
            Self::Postgres(transaction) => transaction.execute_raw(statement).await,
            Self::Sqlite(transaction) => transaction.execute_raw(statement).await,
        }
    }

    async fn execute_unprepared(&self, sql: &str) -> Result<ExecResult, DbErr> {
        match self {
            Self::Postgres(transaction) => transaction.execute_unprepared(sql).await,
            Self::Sqlite(transaction) => transaction.execute_unprepared(sql).await,
        }
    }

    async fn query_one_raw(&self, statement: Statement) -> Result<Option<QueryResult>, DbErr> {
        match self {
            Self::Postgres(transaction) => transaction.query_one_raw(statement).await,
            Self::Sqlite(transaction) => transaction.query_one_raw(statement).await,
        }
    }

    async fn query_all_raw(&self, statement: Statement) -> Result<Vec<QueryResult>, DbErr> {
        match self {
            Self::Postgres(transaction) => transaction.query_all_raw(statement).await,
            Self::Sqlite(transaction) => transaction.query_all_raw(statement).await,
        }
    }
}
