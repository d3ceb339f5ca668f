//! Writing: whole transactions, tried again where the database asks for it; on SQLite, those that wait together share
//! a commit.

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use futures::FutureExt;
use futures::future::BoxFuture;
use parking_lot::Mutex;
use sea_orm::{
    DatabaseConnection, DatabaseTransaction, DbBackend, SqliteTransactionMode, TransactionOptions, TransactionTrait,
};
use tokio::sync::{mpsc, oneshot};
use tracing::Instrument;

use super::audit::{AuditEvent, Chains};
use super::cache::Changed;
use super::entity::change;
use super::figures::Waiting;
use super::{HeldCredential, Shared, Store, StoreConfig, Tx, fault};
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
    /// What is in memory is gone with its connection.
    may_reconnect: bool,
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
        let may_reconnect = config.sqlite_path().is_some();
        Self { conn, may_reconnect, chains: Chains::new(chains), jobs, waiting: Mutex::new(Some(waiting)) }
    }

    pub(super) fn conn(&self) -> &DatabaseConnection {
        &self.conn
    }

    /// SQLite, after a transaction that nobody knows the end of: nor does anybody know where the chain ends, so the next
    /// opens another, on another connection.
    async fn start_anew(&self) {
        self.chains.abandon();
        self.replace_connection().await;
    }

    /// SQLite: drops the writer's connection, so that the next transaction opens another. A full disk rolls back behind
    /// the driver's back, which then believes for ever that it is in a transaction, and begins all others as savepoints,
    /// which do not take the write lock.
    async fn replace_connection(&self) {
        if !self.may_reconnect {
            return;
        }
        if let Ok(connection) = self.conn.get_sqlite_connection_pool().acquire().await {
            let _ = connection.close().await;
        }
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
        let running = tokio::spawn(async move { store.write_with_retries(operation).await }.in_current_span());
        running.await.map_err(|_| Error::internal("a transaction panicked"))?
    }

    async fn write_with_retries<T: Send + 'static>(&self, operation: impl Operation<T>) -> Result<T> {
        let (operation, begun) = (Arc::new(operation), Instant::now());
        let run = || {
            let (store, operation) = (self, Arc::clone(&operation));
            async move {
                match store.shared.backend {
                    DbBackend::Sqlite => store.write_in_group(operation).await,
                    _ => store.write_alone(&*operation).await,
                }
            }
        };
        let outcome = retry_counting(run, || self.shared.figures.count_retry()).await;
        self.shared.figures.count(&outcome, begun.elapsed());
        outcome
    }

    async fn write_alone<T>(&self, operation: &impl Operation<T>) -> Result<T> {
        let waiting = Waiting::new(&self.shared.figures);
        let tx = Tx::begin(self.shared.writer.conn(), &self.shared).await?;
        drop(waiting);
        let outcome = operation(&tx).await;
        let Ok(value) = outcome else {
            // Dropping it would do, later; the row locks are better given back now.
            let _ = tx.store.conn.rollback().await;
            return outcome;
        };
        let left = tx.left();
        let committed = commit(tx.store, left.events, left.changes).await;
        // Whatever came of the commit: if its answer was lost, it may have happened.
        self.shared.cache.take_out(&left.changed);
        committed.map(|()| {
            self.shared.dropped.tell(left.dropped);
            value
        })
    }

    async fn write_in_group<T: Send + 'static>(&self, operation: Arc<impl Operation<T>>) -> Result<T> {
        let slot = Arc::new(Mutex::new(None));
        let job_slot = Arc::clone(&slot);
        let (done, outcome) = oneshot::channel();
        let span = tracing::Span::current();
        let waiting = Mutex::new(Some(Waiting::new(&self.shared.figures)));
        let operation: BoxedOperation = Box::new(move |tx| {
            drop(waiting.lock().take());
            let (slot, operation) = (Arc::clone(&job_slot), Arc::clone(&operation));
            let running = async move {
                let value = operation(tx).await?;
                *slot.lock() = Some(value);
                Ok(())
            };
            Box::pin(running.instrument(span.clone()))
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
                commit_group(&shared, std::mem::take(&mut group)).await;
            }
        });
    }
}

async fn commit_group(shared: &Arc<Shared>, mut group: Vec<Job>) {
    let outer = match begin(shared.writer.conn()).await {
        Ok(conn) => Store { conn, shared: Arc::clone(shared) },
        Err(error) => {
            if matches!(error, Error::Internal { .. }) {
                shared.writer.replace_connection().await;
            }
            return group.into_iter().for_each(|job| drop(job.done.send(Err(again(&error)))));
        }
    };
    if group.len() > 1 {
        commit_together(outer, group).await;
    } else if let Some(job) = group.pop() {
        commit_alone(outer, job).await;
    }
}

/// One that has nobody to share with needs no savepoint.
async fn commit_alone(outer: Store<DatabaseTransaction>, job: Job) {
    let shared = Arc::clone(&outer.shared);
    let tx = Tx::new(outer.conn, &shared);
    let outcome = attempt(&job, &tx).await;
    let left = tx.left();
    let (outcome, is_whole) = match outcome {
        Ok(()) => {
            let committed = commit(tx.store, left.events, left.changes).await;
            let is_whole = committed.is_ok();
            (committed, is_whole)
        }
        Err(error) => (Err(error), tx.store.conn.rollback().await.is_ok()),
    };
    shared.cache.take_out(&left.changed);
    if !is_whole {
        shared.writer.start_anew().await;
    }
    if outcome.is_ok() {
        shared.dropped.tell(left.dropped);
    }
    let _ = job.done.send(outcome);
}

/// Each job in a savepoint of its own, so that one that is refused takes only itself back; then the events of all, and one
/// commit for all.
async fn commit_together(outer: Store<DatabaseTransaction>, group: Vec<Job>) {
    let shared = Arc::clone(&outer.shared);
    let mut jobs = group.into_iter();
    let (mut good, mut events, mut changes) = (Vec::new(), Vec::new(), Vec::new());
    let mut broken = None;
    for job in jobs.by_ref() {
        match run_in_savepoint(&outer, &job).await {
            Ok(mut left) => {
                events.append(&mut left.events);
                changes.append(&mut left.changes);
                good.push((left, job.done));
            }
            Err(Failed::TakenBack(error)) => drop(job.done.send(Err(error))),
            Err(Failed::Broken(error)) => {
                let for_others =
                    if matches!(error, Error::StoreUnavailable { .. }) { again(&error) } else { Error::WriteConflict };
                let _ = job.done.send(Err(error));
                broken = Some(for_others);
                break;
            }
        }
    }
    let committed = match broken {
        None => commit(outer, events, changes).await,
        Some(error) => {
            drop(outer);
            Err(error)
        }
    };
    // Whatever came of the commit: what it changed is not in the cache when anybody hears of it.
    for (left, _) in &good {
        shared.cache.take_out(&left.changed);
    }
    if committed.is_err() {
        shared.writer.start_anew().await;
    }
    for (left, done) in good {
        if committed.is_ok() {
            shared.dropped.tell(left.dropped);
        }
        let _ = done.send(committed.as_ref().copied().map_err(again));
    }
    // Only a broken transaction leaves some: they have not run, and may be tried again.
    for job in jobs {
        let _ = job.done.send(committed.as_ref().copied().map_err(again));
    }
}

/// Writes the events and the changes and commits.
async fn commit(
    tx: Store<DatabaseTransaction>,
    events: Vec<AuditEvent>,
    changes: Vec<change::ActiveModel>,
) -> Result<()> {
    let chain = tx.write_down(events, changes).await?;
    let committed = tx.conn.commit().await.map_err(fault);
    chain.end(committed.is_ok());
    committed
}

/// What a transaction left to be done beside it.
struct Left {
    /// What to take out of the cache.
    changed: Changed,
    /// What to write before the commit.
    events: Vec<AuditEvent>,
    changes: Vec<change::ActiveModel>,
    /// What to tell once it is committed.
    dropped: Vec<HeldCredential>,
}

/// Why a job left nothing in the group's transaction.
enum Failed {
    /// It alone was taken back.
    TakenBack(Error),
    /// The whole transaction is gone: SQLite rolls it back by itself when the disk is full or fails.
    Broken(Error),
}

async fn attempt(job: &Job, tx: &Tx) -> Result<()> {
    // In a future of its own, so that a panic before the operation's first await is caught too.
    let running = AssertUnwindSafe(async { (job.operation)(tx).await }).catch_unwind();
    running.await.unwrap_or_else(|_| Err(Error::internal("a transaction panicked")))
}

async fn run_in_savepoint(outer: &Store<DatabaseTransaction>, job: &Job) -> std::result::Result<Left, Failed> {
    let conn = outer.conn.begin().await.map_err(|error| Failed::Broken(fault(error)))?;
    let tx = Tx::new(conn, &outer.shared);
    let outcome = attempt(job, &tx).await;
    let left = tx.left();
    match outcome {
        Ok(()) => match tx.store.conn.commit().await {
            Ok(()) => Ok(left),
            Err(error) => Err(Failed::Broken(fault(error))),
        },
        Err(error) => match tx.store.conn.rollback().await {
            Ok(()) => Err(Failed::TakenBack(error)),
            Err(_) => Err(Failed::Broken(error)),
        },
    }
}

/// The same error for another of the group.
fn again(error: &Error) -> Error {
    match error {
        Error::WriteConflict => Error::WriteConflict,
        Error::StoreUnavailable { source } => Error::store_unavailable(source),
        other => Error::internal(other),
    }
}

pub(super) async fn begin(conn: &DatabaseConnection) -> Result<DatabaseTransaction> {
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
        Self {
            store,
            events: Mutex::default(),
            changes: Mutex::default(),
            touched: Mutex::default(),
            dropped: Mutex::default(),
        }
    }

    fn left(&self) -> Left {
        Left {
            changed: std::mem::take(&mut *self.touched.lock()),
            events: std::mem::take(&mut *self.events.lock()),
            changes: std::mem::take(&mut *self.changes.lock()),
            dropped: std::mem::take(&mut *self.dropped.lock()),
        }
    }
}

/// Tries again what lost against others, for a while.
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

/// Exponential, cut at random to between half and all of it.
fn backoff(attempt: u32) -> Duration {
    let [dice] = random_bytes::<1>();
    BACKOFF * 2u32.pow(attempt - 1) * (255 + u32::from(dice)) / 510
}

#[cfg(test)]
#[path = "write_tests.rs"]
mod tests;
