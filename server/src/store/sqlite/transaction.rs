//! Transactions of SQLite, driven by statements of our own instead of the library's.
//!
//! Each round trip to the thread that has the connection wakes it and is woken by it, which costs more than most statements:
//! what needs no answer of its own goes with the next statement that does, from the beginning on.

use std::future::ready;
use std::sync::Arc;

use async_trait::async_trait;
use futures::TryStreamExt;
use sea_orm::sqlx::pool::PoolConnection;
use sea_orm::sqlx::sqlite::{SqliteQueryResult, SqliteRow};
use sea_orm::sqlx::{self, AssertSqlSafe, Executor, Sqlite};
use sea_orm::{
    ConnAcquireErr, ConnectionTrait, DatabaseConnection, DbBackend, DbErr, ExecResult, QueryResult, RuntimeErr,
    Statement, Value, Values,
};
use sea_query_sqlx::SqlxValues;
use tokio::sync::Mutex;

/// So many statements are one text, at most. Each sequence of statements is a text of its own, which is prepared once: those of
/// single changes come again and again, while no two batches of reads are alike.
const AT_ONCE: usize = 8;

/// Takes the write lock now, not in the middle, where it could not be waited for.
const BEGIN: &str = "BEGIN IMMEDIATE";

/// Cloning shares it.
#[derive(Clone)]
pub struct SqliteTransaction {
    inner: Arc<Mutex<Inner>>,
}

/// Where a part of a transaction began that can be taken back alone.
pub(in crate::store) struct Savepoint {
    round_trips: u64,
    deferred: usize,
}

impl SqliteTransaction {
    pub(in crate::store) async fn begin(conn: &DatabaseConnection) -> Result<Self, DbErr> {
        let conn = conn.get_sqlite_connection_pool().acquire().await.map_err(not_acquired)?;
        let inner = Inner {
            conn,
            deferred: vec![text(BEGIN)],
            round_trips: 0,
            has_failed: false,
            is_over: false,
            #[cfg(test)]
            hook: None,
        };
        Ok(Self { inner: Arc::new(Mutex::new(inner)) })
    }

    /// Another transaction on the same connection, after one that came to its end.
    pub(in crate::store) async fn begin_another(self) -> Self {
        let mut inner = self.inner.lock().await;
        inner.deferred = vec![text(BEGIN)];
        inner.round_trips = 0;
        inner.has_failed = false;
        inner.is_over = false;
        drop(inner);
        self
    }

    /// Runs statements whose outcome is that of the transaction with one that comes later.
    pub(in crate::store) async fn defer(&self, statements: Vec<Statement>) {
        self.inner.lock().await.deferred.extend(statements);
    }

    /// Runs the last statements and commits.
    pub(in crate::store) async fn commit(&self, last: Vec<Statement>) -> Result<(), DbErr> {
        self.inner.lock().await.commit(last).await
    }

    pub(in crate::store) async fn rollback(&self) -> Result<(), DbErr> {
        self.inner.lock().await.rollback().await
    }

    /// Closes the connection, whatever the transaction came to.
    pub(in crate::store) async fn close(self) {
        self.inner.lock().await.conn.close_on_drop();
    }

    #[cfg(test)]
    pub(in crate::store) async fn with_hook(self, hook: Option<StatementHook>) -> Self {
        self.inner.lock().await.hook = hook;
        self
    }

    pub(in crate::store) async fn savepoint(&self) -> Savepoint {
        let mut inner = self.inner.lock().await;
        let savepoint = Savepoint { round_trips: inner.round_trips, deferred: inner.deferred.len() };
        inner.deferred.push(text("SAVEPOINT part"));
        savepoint
    }

    /// Keeps what was done since the savepoint; all of it was done by then.
    pub(in crate::store) async fn release(&self) -> Result<(), DbErr> {
        self.inner.lock().await.run_all(vec![text("RELEASE part")]).await
    }

    /// Takes back what was done since the savepoint.
    pub(in crate::store) async fn take_back(&self, to: Savepoint) -> Result<(), DbErr> {
        let mut inner = self.inner.lock().await;
        if inner.round_trips == to.round_trips {
            inner.deferred.truncate(to.deferred);
            return Ok(());
        }
        inner.deferred.clear();
        inner.has_failed = false;
        inner.run_all(vec![text("ROLLBACK TO part"), text("RELEASE part")]).await
    }
}

struct Inner {
    conn: PoolConnection<Sqlite>,
    /// What goes with the next statement, before it.
    deferred: Vec<Statement>,
    /// How often the connection was asked.
    round_trips: u64,
    /// A statement failed: nothing else may run. If it was the one that begins, what came after it would be no part of the
    /// transaction; and PostgreSQL lets nothing run either.
    has_failed: bool,
    is_over: bool,
    #[cfg(test)]
    hook: Option<StatementHook>,
}

/// Hears each statement that is run.
#[cfg(test)]
pub(in crate::store) type StatementHook = Arc<dyn Fn(&Statement) + Send + Sync>;

impl Inner {
    /// This one with what is deferred.
    async fn with_deferred(&mut self, statement: Statement) -> Result<Joined, DbErr> {
        if self.deferred.len() >= AT_ONCE {
            self.run_all(Vec::new()).await?;
        }
        let mut all = std::mem::take(&mut self.deferred);
        all.push(statement);
        self.round_trip(&all)?;
        Ok(Joined::from(all))
    }

    /// Runs what is deferred, and these.
    async fn run_all(&mut self, statements: Vec<Statement>) -> Result<(), DbErr> {
        let mut all = std::mem::take(&mut self.deferred);
        all.extend(statements);
        self.round_trip(&all)?;
        let texts =
            if all.len() <= AT_ONCE { vec![Joined::from(all)] } else { all.into_iter().map(Joined::of).collect() };
        for text in texts {
            let done = self.conn.execute(text.query()).await;
            self.noted(done).map_err(DbErr::Exec)?;
        }
        Ok(())
    }

    #[cfg_attr(not(test), expect(unused_variables, reason = "only tests hear them"))]
    fn round_trip(&mut self, statements: &[Statement]) -> Result<(), DbErr> {
        if self.has_failed {
            return Err(DbErr::Custom("a statement of the transaction failed before".to_owned()));
        }
        self.round_trips += 1;
        #[cfg(test)]
        if let Some(hook) = &self.hook {
            for statement in statements {
                hook(statement);
            }
        }
        Ok(())
    }

    fn noted<T>(&mut self, outcome: Result<T, sqlx::Error>) -> Result<T, RuntimeErr> {
        self.has_failed |= outcome.is_err();
        outcome.map_err(of_driver)
    }

    async fn commit(&mut self, mut last: Vec<Statement>) -> Result<(), DbErr> {
        last.push(text("COMMIT"));
        if let Err(error) = self.run_all(last).await {
            let _ = self.rollback().await;
            return Err(error);
        }
        self.is_over = true;
        Ok(())
    }

    async fn rollback(&mut self) -> Result<(), DbErr> {
        self.deferred.clear();
        self.has_failed = false;
        if self.round_trips > 0 {
            self.run_all(vec![text("ROLLBACK")]).await?;
        }
        self.is_over = true;
        Ok(())
    }
}

impl Drop for Inner {
    /// Closing the connection takes back what was not committed, whatever its state is.
    fn drop(&mut self) {
        if !self.is_over && self.round_trips > 0 {
            self.conn.close_on_drop();
        }
    }
}

/// Statements as one text with all their values.
struct Joined {
    sql: String,
    values: Vec<Value>,
}

impl Joined {
    fn of(statement: Statement) -> Self {
        Self { sql: statement.sql, values: statement.values.map_or_else(Vec::new, |Values(values)| values) }
    }

    fn query(self) -> sqlx::query::Query<'static, Sqlite, SqlxValues> {
        sqlx::query_with(AssertSqlSafe(self.sql), SqlxValues(Values(self.values)))
    }
}

impl From<Vec<Statement>> for Joined {
    fn from(statements: Vec<Statement>) -> Self {
        let mut statements = statements.into_iter();
        let mut joined = statements.next().map_or(Self { sql: String::new(), values: Vec::new() }, Self::of);
        for statement in statements {
            joined.sql.push_str("; ");
            joined.sql.push_str(&statement.sql);
            joined.values.extend(statement.values.into_iter().flat_map(|Values(values)| values));
        }
        joined
    }
}

#[async_trait]
impl ConnectionTrait for SqliteTransaction {
    fn get_database_backend(&self) -> DbBackend {
        DbBackend::Sqlite
    }

    async fn execute_raw(&self, statement: Statement) -> Result<ExecResult, DbErr> {
        let mut inner = self.inner.lock().await;
        let joined = inner.with_deferred(statement).await?;
        // Each statement tells what it changed: the last is the one that was asked for.
        let done = inner.conn.fetch_many(joined.query()).try_filter_map(|item| async move { Ok(item.left()) });
        let last: Result<SqliteQueryResult, _> =
            done.try_fold(SqliteQueryResult::default(), |_, done| ready(Ok(done))).await;
        inner.noted(last).map(ExecResult::from).map_err(DbErr::Exec)
    }

    async fn execute_unprepared(&self, sql: &str) -> Result<ExecResult, DbErr> {
        self.execute_raw(text(sql)).await
    }

    async fn query_one_raw(&self, statement: Statement) -> Result<Option<QueryResult>, DbErr> {
        let mut inner = self.inner.lock().await;
        let joined = inner.with_deferred(statement).await?;
        let row = inner.conn.fetch_optional(joined.query()).await;
        inner.noted(row).map(|row| row.map(QueryResult::from)).map_err(DbErr::Query)
    }

    async fn query_all_raw(&self, statement: Statement) -> Result<Vec<QueryResult>, DbErr> {
        let mut inner = self.inner.lock().await;
        let joined = inner.with_deferred(statement).await?;
        let rows: Result<Vec<SqliteRow>, _> = inner.conn.fetch_all(joined.query()).await;
        let rows = inner.noted(rows).map_err(DbErr::Query)?;
        Ok(rows.into_iter().map(QueryResult::from).collect())
    }
}

fn text(sql: &str) -> Statement {
    Statement::from_string(DbBackend::Sqlite, sql)
}

fn of_driver(error: sqlx::Error) -> RuntimeErr {
    RuntimeErr::SqlxError(Arc::new(error))
}

fn not_acquired(error: sqlx::Error) -> DbErr {
    match error {
        sqlx::Error::PoolTimedOut => DbErr::ConnectionAcquire(ConnAcquireErr::Timeout),
        sqlx::Error::PoolClosed => DbErr::ConnectionAcquire(ConnAcquireErr::ConnectionClosed),
        other => DbErr::Conn(of_driver(other)),
    }
}

#[cfg(test)]
#[path = "transaction_tests.rs"]
mod tests;
