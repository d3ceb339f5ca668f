//! SQLite transactions. Unlike sea-orm's, one can follow another on a held connection, refuses statements after a
//! failed one as PostgreSQL does, and can close a connection whose state is unknown.

use std::sync::Arc;

use async_trait::async_trait;
use sea_orm::sqlx::pool::PoolConnection;
use sea_orm::sqlx::sqlite::SqliteQueryResult;
use sea_orm::sqlx::{self, AssertSqlSafe, Executor, Sqlite};
use sea_orm::{
    ConnAcquireErr, ConnectionTrait, DatabaseConnection, DbBackend, DbErr, ExecResult, QueryResult, RuntimeErr,
    Statement, Values,
};
use sea_query_sqlx::SqlxValues;
use tokio::sync::Mutex;

/// A transaction, shared by its clones.
#[derive(Clone)]
pub struct SqliteTransaction {
    inner: Arc<Mutex<Inner>>,
}

impl SqliteTransaction {
    pub(in crate::store) async fn begin(conn: &DatabaseConnection) -> Result<Self, DbErr> {
        let conn = conn.get_sqlite_connection_pool().acquire().await.map_err(map_acquire_error)?;
        let inner = Inner {
            conn,
            has_failed: false,
            is_finished: true,
            #[cfg(test)]
            hook: None,
        };
        Self { inner: Arc::new(Mutex::new(inner)) }.begin_another().await
    }

    /// Begins the next transaction on the same connection.
    pub(in crate::store) async fn begin_another(self) -> Result<Self, DbErr> {
        let mut inner = self.inner.lock().await;
        inner.has_failed = false;
        // Set before the statement, which may take effect even if cancelled.
        inner.is_finished = false;
        // Takes the write lock now: SQLite does not wait for it later in a transaction.
        let begun = inner.execute(text("BEGIN IMMEDIATE")).await;
        inner.is_finished = begun.is_err();
        drop(inner);
        begun.map(|_| self)
    }

    pub(in crate::store) async fn commit(&self) -> Result<(), DbErr> {
        let mut inner = self.inner.lock().await;
        inner.execute(text("COMMIT")).await?;
        inner.is_finished = true;
        Ok(())
    }

    pub(in crate::store) async fn rollback(&self) -> Result<(), DbErr> {
        let mut inner = self.inner.lock().await;
        inner.has_failed = false;
        inner.execute(text("ROLLBACK")).await?;
        inner.is_finished = true;
        Ok(())
    }

    /// Closes the connection, whatever the state of the transaction.
    pub(in crate::store) async fn close(self) {
        self.inner.lock().await.conn.close_on_drop();
    }

    #[cfg(test)]
    pub(in crate::store) async fn with_hook(self, hook: Option<StatementHook>) -> Self {
        self.inner.lock().await.hook = hook;
        self
    }

    pub(in crate::store) async fn savepoint(&self) -> Result<(), DbErr> {
        self.inner.lock().await.execute(text("SAVEPOINT part")).await.map(drop)
    }

    pub(in crate::store) async fn release(&self) -> Result<(), DbErr> {
        self.inner.lock().await.execute(text("RELEASE part")).await.map(drop)
    }

    pub(in crate::store) async fn rollback_to_savepoint(&self) -> Result<(), DbErr> {
        let mut inner = self.inner.lock().await;
        inner.has_failed = false;
        inner.execute(text("ROLLBACK TO part")).await?;
        inner.execute(text("RELEASE part")).await.map(drop)
    }
}

struct Inner {
    conn: PoolConnection<Sqlite>,
    /// After a failed statement no other may run, as in PostgreSQL.
    has_failed: bool,
    is_finished: bool,
    #[cfg(test)]
    hook: Option<StatementHook>,
}

/// Called with each statement.
#[cfg(test)]
pub(in crate::store) type StatementHook = Arc<dyn Fn(&Statement) + Send + Sync>;

type Query = sqlx::query::Query<'static, Sqlite, SqlxValues>;

impl Inner {
    fn query(&self, statement: Statement) -> Result<Query, DbErr> {
        if self.has_failed {
            return Err(DbErr::Custom("a statement of the transaction failed before".to_owned()));
        }
        #[cfg(test)]
        if let Some(hook) = &self.hook {
            hook(&statement);
        }
        let values = statement.values.unwrap_or(Values(Vec::new()));
        Ok(sqlx::query_with(AssertSqlSafe(statement.sql), SqlxValues(values)))
    }

    async fn execute(&mut self, statement: Statement) -> Result<SqliteQueryResult, DbErr> {
        let query = self.query(statement)?;
        let done = self.conn.execute(query).await;
        self.record_outcome(done).map_err(DbErr::Exec)
    }

    fn record_outcome<T>(&mut self, outcome: Result<T, sqlx::Error>) -> Result<T, RuntimeErr> {
        self.has_failed |= outcome.is_err();
        outcome.map_err(driver_error)
    }
}

impl Drop for Inner {
    /// Closing the connection rolls back uncommitted changes, whatever its state.
    fn drop(&mut self) {
        if !self.is_finished {
            self.conn.close_on_drop();
        }
    }
}

#[async_trait]
impl ConnectionTrait for SqliteTransaction {
    fn get_database_backend(&self) -> DbBackend {
        DbBackend::Sqlite
    }

    async fn execute_raw(&self, statement: Statement) -> Result<ExecResult, DbErr> {
        self.inner.lock().await.execute(statement).await.map(ExecResult::from)
    }

    async fn execute_unprepared(&self, sql: &str) -> Result<ExecResult, DbErr> {
        self.execute_raw(text(sql)).await
    }

    async fn query_one_raw(&self, statement: Statement) -> Result<Option<QueryResult>, DbErr> {
        let mut inner = self.inner.lock().await;
        let query = inner.query(statement)?;
        let row = inner.conn.fetch_optional(query).await;
        inner.record_outcome(row).map(|row| row.map(QueryResult::from)).map_err(DbErr::Query)
    }

    async fn query_all_raw(&self, statement: Statement) -> Result<Vec<QueryResult>, DbErr> {
        let mut inner = self.inner.lock().await;
        let query = inner.query(statement)?;
        let rows = inner.conn.fetch_all(query).await;
        let rows = inner.record_outcome(rows).map_err(DbErr::Query)?;
        Ok(rows.into_iter().map(QueryResult::from).collect())
    }
}

fn text(sql: &str) -> Statement {
    Statement::from_string(DbBackend::Sqlite, sql)
}

fn driver_error(error: sqlx::Error) -> RuntimeErr {
    RuntimeErr::SqlxError(Arc::new(error))
}

fn map_acquire_error(error: sqlx::Error) -> DbErr {
    match error {
        sqlx::Error::PoolTimedOut => DbErr::ConnectionAcquire(ConnAcquireErr::Timeout),
        sqlx::Error::PoolClosed => DbErr::ConnectionAcquire(ConnAcquireErr::ConnectionClosed),
        other => DbErr::Conn(driver_error(other)),
    }
}

#[cfg(test)]
#[path = "transaction_tests.rs"]
mod tests;
