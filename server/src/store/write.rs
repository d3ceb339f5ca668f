//! Write transactions, with retries.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use parking_lot::Mutex;
use sea_orm::{DatabaseConnection, DbBackend, TransactionTrait};
use tracing::Instrument;

use super::audit::Chains;
use super::cache::Invalidation;
use super::entity::change;
use super::sqlite::group_commit::GroupCommit;
use super::sqlite::transaction::SqliteTransaction;
use super::transaction::Transaction;
use super::{Shared, Store, StoreConfig, StoredCredential, Tx};
use crate::crypto::random_bytes;
use crate::error::{Error, Result};
use crate::model::audit::AuditEvent;
use crate::telemetry::metrics::database::WaitGuard;

/// Attempts before a conflict is reported.
const ATTEMPTS: u32 = 5;
/// Delay before the second attempt; doubles with each further one, with jitter.
const BACKOFF: Duration = Duration::from_millis(5);

/// The body of a transaction. It may run more than once, so it must have no effects outside the database.
pub trait Operation<T>: for<'a> Fn(&'a Tx) -> BoxFuture<'a, Result<T>> + Send + Sync + 'static {}

impl<T, F: for<'a> Fn(&'a Tx) -> BoxFuture<'a, Result<T>> + Send + Sync + 'static> Operation<T> for F {}

/// An operation that stores its value in a slot. Type-erased, so that the code that runs it is compiled once.
pub(super) type ErasedOperation = Arc<dyn for<'a> Fn(&'a Tx) -> BoxFuture<'a, Result<()>> + Send + Sync>;

/// The connection (SQLite) or the pool (PostgreSQL) for writes.
pub(super) struct Writer {
    conn: DatabaseConnection,
    pub(super) chains: Chains,
    /// SQLite only.
    pub(super) group: GroupCommit,
    #[cfg(test)]
    pub(super) hook: Option<super::sqlite::transaction::StatementHook>,
}

impl Writer {
    pub(super) fn new(conn: DatabaseConnection, config: &StoreConfig) -> Self {
        // SQLite has one writer, so one audit chain. PostgreSQL has as many as can commit concurrently.
        let chains = if config.database.url.is_sqlite() { 1 } else { config.database.max_connections as usize };
        Self {
            conn,
            chains: Chains::new(chains),
            group: GroupCommit::new(config.sqlite_path().is_none()),
            #[cfg(test)]
            hook: None,
        }
    }

    pub(super) async fn begin(&self) -> Result<Transaction> {
        match self.conn.get_database_backend() {
            DbBackend::Sqlite => self.begin_sqlite().await.map(Transaction::Sqlite),
            _ => self.conn.begin().await.map(Transaction::Postgres).map_err(Error::from),
        }
    }

    pub(super) async fn begin_sqlite(&self) -> Result<SqliteTransaction> {
        let transaction = SqliteTransaction::begin(&self.conn).await?;
        #[cfg(test)]
        let transaction = transaction.with_hook(self.hook.clone()).await;
        Ok(transaction)
    }

    pub(super) fn conn(&self) -> &DatabaseConnection {
        &self.conn
    }
}

impl Store {
    /// Runs `operation` in a transaction and commits it with its audit events and change-feed entries.
    ///
    /// Retries the whole transaction after a conflict. Once started, it completes even if the caller is gone. On
    /// return, the cache is invalidated for everything that the transaction changed.
    pub async fn write<T: Send + 'static>(&self, operation: impl Operation<T>) -> Result<T> {
        let slot = Arc::new(Mutex::new(None));
        let (operation, value) = (Arc::new(operation), Arc::clone(&slot));
        let erased: ErasedOperation = Arc::new(move |tx| {
            let (operation, value) = (Arc::clone(&operation), Arc::clone(&value));
            Box::pin(async move {
                *value.lock() = Some(operation(tx).await?);
                Ok(())
            })
        });
        self.write_erased(erased).await?;
        slot.lock().take().ok_or_else(|| Error::internal("a transaction left no value"))
    }

    #[tracing::instrument(name = "write", level = "debug", skip_all)]
    async fn write_erased(&self, operation: ErasedOperation) -> Result<()> {
        if self.shared.backend == DbBackend::Sqlite {
            // The commit thread completes it even if this call is cancelled; only retries are skipped then.
            return Box::pin(self.write_with_retries(operation)).await;
        }
        let store = self.clone();
        let running = tokio::spawn(async move { store.write_with_retries(operation).await }.in_current_span());
        running.await.map_err(|_| Error::internal("a transaction panicked"))?
    }

    async fn write_with_retries(&self, operation: ErasedOperation) -> Result<()> {
        let started_at = Instant::now();
        let run = || {
            let (store, operation) = (self, Arc::clone(&operation));
            async move {
                match store.shared.backend {
                    DbBackend::Sqlite => store.write_in_group(operation).await,
                    _ => store.write_alone(&operation).await,
                }
            }
        };
        let outcome = retry_counting(run, || self.shared.metrics.count_retry()).await;
        self.shared.metrics.count(&outcome, started_at.elapsed());
        outcome
    }

    async fn write_alone(&self, operation: &ErasedOperation) -> Result<()> {
        let waiting = WaitGuard::new(&self.shared.metrics);
        let tx = Tx::new(self.shared.writer.begin().await?, &self.shared);
        drop(waiting);
        if let Err(error) = operation(&tx).await {
            // Dropping it would roll back later; this releases row locks now.
            let _ = tx.store.conn.rollback().await;
            return Err(error);
        }
        let effects = tx.effects();
        let committed = commit(tx.store, effects.events, effects.changes).await;
        // Also after a failed commit, which may have succeeded and lost only its response.
        self.shared.cache.invalidate(&effects.invalidation);
        committed.inspect(|()| self.shared.logouts.enqueue(effects.logouts))
    }
}

/// Writes audit events and change-feed entries, then commits.
pub(super) async fn commit(
    tx: Store<Transaction>,
    events: Vec<AuditEvent>,
    changes: Vec<change::ActiveModel>,
) -> Result<()> {
    let chain = match tx.write_events(events, changes).await {
        Ok(chain) => chain,
        Err(error) => {
            let _ = tx.conn.rollback().await;
            return Err(error);
        }
    };
    let committed = tx.conn.commit().await.map_err(Error::from);
    chain.release(committed.is_ok());
    committed
}

/// Effects of a transaction besides its statements.
pub(super) struct Effects {
    /// Invalidated after the commit.
    pub(super) invalidation: Invalidation,
    /// Written before the commit.
    pub(super) events: Vec<AuditEvent>,
    pub(super) changes: Vec<change::ActiveModel>,
    /// Queued for logout after the commit.
    pub(super) logouts: Vec<StoredCredential>,
}

impl Tx {
    pub(super) fn new(conn: Transaction, shared: &Arc<Shared>) -> Self {
        let store = Store { conn, shared: Arc::clone(shared) };
        Self {
            store,
            events: Mutex::default(),
            changes: Mutex::default(),
            invalidated: Mutex::default(),
            logouts: Mutex::default(),
        }
    }

    pub(super) fn effects(&self) -> Effects {
        Effects {
            invalidation: std::mem::take(&mut *self.invalidated.lock()),
            events: std::mem::take(&mut *self.events.lock()),
            changes: std::mem::take(&mut *self.changes.lock()),
            logouts: std::mem::take(&mut *self.logouts.lock()),
        }
    }
}

/// Retries after conflicts.
pub(super) async fn retry<T, F: Future<Output = Result<T>>>(run: impl Fn() -> F) -> Result<T> {
    retry_counting(run, || {}).await
}

async fn retry_counting<T, F: Future<Output = Result<T>>>(run: impl Fn() -> F, count: impl Fn()) -> Result<T> {
    for attempt in 1..ATTEMPTS {
        match run().await {
            Err(Error::WriteConflict) => {
                count();
                tracing::debug!(attempt, "transaction is tried again");
                tokio::time::sleep(backoff(attempt)).await;
            }
            outcome => return outcome,
        }
    }
    run().await
}

/// Exponential backoff with jitter, which shortens it by up to half.
fn backoff(attempt: u32) -> Duration {
    let [random] = random_bytes::<1>();
    BACKOFF * 2u32.pow(attempt - 1) * (255 + u32::from(random)) / 510
}

#[cfg(test)]
#[path = "write_tests.rs"]
mod tests;
