//! Writing: whole transactions, tried again where the database asks for it; on SQLite, those that wait together share
//! a commit.

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use parking_lot::Mutex;
use sea_orm::{
    DatabaseConnection, DatabaseTransaction, DbBackend, SqliteTransactionMode, TransactionOptions, TransactionTrait,
};
use tokio::sync::{mpsc, oneshot};

use super::audit::Chains;
use super::cache::Touched;
use super::{Shared, Store, StoreConfig, Tx, fault};
use crate::crypto::random_bytes;
use crate::error::{Error, Result};

/// How often a transaction is tried before its caller hears of the conflict.
const ATTEMPTS: u32 = 5;
/// The wait before the second attempt; doubles with each one, and is cut at random.
const BACKOFF: Duration = Duration::from_millis(5);
/// Transactions of one commit.
const GROUP: usize = 64;
/// Transactions that may wait for the writer of SQLite.
const QUEUE: usize = 1024;

/// What is done in a transaction. It may run more than once, so it must not do anything but talk to the database.
pub trait Operation<T>: for<'a> Fn(&'a Tx) -> BoxFuture<'a, Result<T>> + Send + Sync + 'static {}

impl<T, F: for<'a> Fn(&'a Tx) -> BoxFuture<'a, Result<T>> + Send + Sync + 'static> Operation<T> for F {}

/// The way to the database for all that changes it.
pub(super) struct Writer {
    conn: DatabaseConnection,
    pub(super) chains: Chains,
    /// SQLite only.
    jobs: mpsc::Sender<Job>,
    waiting: Mutex<Option<mpsc::Receiver<Job>>>,
}

/// An operation that puts its value where its caller finds it.
type BoxedOperation = Box<dyn for<'a> Fn(&'a Tx) -> BoxFuture<'a, Result<()>> + Send + Sync>;

/// A transaction that waits for SQLite's one writer.
struct Job {
    operation: BoxedOperation,
    done: oneshot::Sender<Result<()>>,
}

impl Writer {
    pub(super) fn new(conn: DatabaseConnection, config: &StoreConfig) -> Self {
        let (jobs, waiting) = mpsc::channel(QUEUE);
        // SQLite has one writer, so one chain; on PostgreSQL as many as can commit at once.
        let chains = if config.database.url.is_sqlite() { 1 } else { config.database.max_connections as usize };
        Self { conn, chains: Chains::new(chains), jobs, waiting: Mutex::new(Some(waiting)) }
    }

    pub(super) fn conn(&self) -> &DatabaseConnection {
        &self.conn
    }
}

impl Store {
    /// Runs `operation` in a transaction and commits it, with its audit events and its changes to the feed.
    ///
    /// The transaction is tried again, whole, when it lost against others. Once it has begun it runs to its end, even
    /// if nobody waits for it any more. When this returns, the cache holds nothing that the transaction changed.
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn write<T: Send + 'static>(&self, operation: impl Operation<T>) -> Result<T> {
        let store = self.clone();
        let running = tokio::spawn(async move { store.write_with_retries(operation).await });
        running.await.map_err(|_| Error::internal("a transaction panicked"))?
    }

    async fn write_with_retries<T: Send + 'static>(&self, operation: impl Operation<T>) -> Result<T> {
        let operation = Arc::new(operation);
        for attempt in 1.. {
            let outcome = match self.shared.backend {
                DbBackend::Sqlite => self.write_in_group(Arc::clone(&operation)).await,
                _ => self.write_alone(&*operation).await,
            };
            match outcome {
                Err(Error::WriteConflict) if attempt < ATTEMPTS => tokio::time::sleep(backoff(attempt)).await,
                outcome => return outcome,
            }
        }
        unreachable!("the last attempt returns")
    }

    async fn write_alone<T>(&self, operation: &impl Operation<T>) -> Result<T> {
        let tx = Tx::begin(self.shared.writer.conn(), &self.shared).await?;
        let outcome = operation(&tx).await;
        let Ok(value) = outcome else {
            // Dropping it would do, later; the row locks are better given back now.
            let _ = tx.store.conn.rollback().await;
            return outcome;
        };
        let chain = tx.write_events().await;
        let touched = std::mem::take(&mut *tx.touched.lock());
        let committed = match chain {
            Ok(chain) => {
                let committed = tx.store.conn.commit().await.map_err(fault);
                chain.end(committed.is_ok());
                committed
            }
            Err(error) => Err(error),
        };
        // Whatever came of the commit: if its answer was lost, it may have happened.
        self.shared.cache.take_out(&touched);
        committed.map(|()| value)
    }

    async fn write_in_group<T: Send + 'static>(&self, operation: Arc<impl Operation<T>>) -> Result<T> {
        let slot = Arc::new(Mutex::new(None));
        let job_slot = Arc::clone(&slot);
        let (done, outcome) = oneshot::channel();
        let operation: BoxedOperation = Box::new(move |tx| {
            let slot = Arc::clone(&job_slot);
            let running = operation(tx);
            Box::pin(async move {
                let value = running.await?;
                *slot.lock() = Some(value);
                Ok(())
            })
        });
        let gone = || Error::ShuttingDown;
        self.shared.writer.jobs.send(Job { operation, done }).await.map_err(|_| gone())?;
        outcome.await.map_err(|_| gone())??;
        slot.lock().take().ok_or_else(|| Error::internal("a transaction left no value"))
    }

    /// Starts the task that commits for all; it ends with the last clone of the store.
    pub(super) fn start_group_commit(&self) {
        let Some(mut jobs) = self.shared.writer.waiting.lock().take() else { return };
        let shared: Weak<Shared> = Arc::downgrade(&self.shared);
        tokio::spawn(async move {
            let mut group = Vec::with_capacity(GROUP);
            while jobs.recv_many(&mut group, GROUP).await > 0 {
                let Some(shared) = shared.upgrade() else { return };
                commit_together(&shared, std::mem::take(&mut group)).await;
            }
        });
    }
}

/// Each job in a savepoint of its own, so that one that is refused takes only itself back; then one commit for all.
async fn commit_together(shared: &Arc<Shared>, group: Vec<Job>) {
    let outer = match begin(shared.writer.conn()).await {
        Ok(outer) => outer,
        Err(error) => return group.into_iter().for_each(|job| drop(job.done.send(Err(again(&error))))),
    };
    let mut touched = Vec::new();
    let mut good = Vec::new();
    for job in group {
        match run_in_savepoint(shared, &outer, &job).await {
            Ok(changed) => {
                touched.push(changed);
                good.push(job.done);
            }
            Err(error) => drop(job.done.send(Err(error))),
        }
    }
    let committed = outer.commit().await.map_err(fault);
    if committed.is_err() {
        shared.writer.chains.abandon();
    }
    for changed in &touched {
        shared.cache.take_out(changed);
    }
    for done in good {
        let _ = done.send(committed.as_ref().copied().map_err(again));
    }
}

async fn run_in_savepoint(shared: &Arc<Shared>, outer: &DatabaseTransaction, job: &Job) -> Result<Touched> {
    let before = shared.writer.chains.mark();
    let tx = Tx::new(outer.begin().await.map_err(fault)?, shared);
    let running = AssertUnwindSafe((job.operation)(&tx)).catch_unwind();
    let outcome = running.await.unwrap_or_else(|_| Err(Error::internal("a transaction panicked")));
    let outcome = match outcome {
        Ok(()) => tx.write_events().await.map(|chain| chain.end(true)),
        Err(error) => Err(error),
    };
    let touched = std::mem::take(&mut *tx.touched.lock());
    let outcome = match outcome {
        Ok(()) => tx.store.conn.commit().await.map_err(fault),
        Err(error) => {
            let _ = tx.store.conn.rollback().await;
            Err(error)
        }
    };
    if outcome.is_err() {
        shared.writer.chains.back_to(before);
    }
    outcome.map(|()| touched)
}

/// The same error for another of the group.
fn again(error: &Error) -> Error {
    match error {
        Error::WriteConflict => Error::WriteConflict,
        Error::StoreUnavailable { source } => Error::store_unavailable(source),
        other => Error::internal(other),
    }
}

async fn begin(conn: &DatabaseConnection) -> Result<DatabaseTransaction> {
    let options = TransactionOptions {
        // SQLite: take the write lock now, not in the middle, where it could not be waited for.
        sqlite_transaction_mode: (conn.get_database_backend() == DbBackend::Sqlite)
            .then_some(SqliteTransactionMode::Immediate),
        ..TransactionOptions::default()
    };
    conn.begin_with_options(options).await.map_err(fault)
}

impl Tx {
    async fn begin(conn: &DatabaseConnection, shared: &Arc<Shared>) -> Result<Self> {
        Ok(Self::new(begin(conn).await?, shared))
    }

    fn new(conn: DatabaseTransaction, shared: &Arc<Shared>) -> Self {
        let store = Store { conn, shared: Arc::clone(shared) };
        Self { store, events: Mutex::default(), touched: Mutex::default() }
    }
}

/// Exponential, cut at random to between half and all of it.
fn backoff(attempt: u32) -> Duration {
    let [dice] = random_bytes::<1>();
    BACKOFF * 2u32.pow(attempt - 1) * (255 + u32::from(dice)) / 510
}
