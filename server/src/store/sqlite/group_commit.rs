//! Group commit: SQLite has one writer, so concurrent transactions share a commit.

use std::iter;
use std::panic::AssertUnwindSafe;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use futures::FutureExt;
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tracing::Instrument;

use super::transaction::SqliteTransaction;
use crate::error::{Error, Result};
use crate::priority;
use crate::store::transaction::Transaction;
use crate::store::write::{Effects, ErasedOperation, commit};
use crate::store::{Shared, Store, Tx};
use crate::telemetry::metrics::database::WaitGuard;

/// Maximum transactions per commit.
const MAX_GROUP: usize = 64;
/// Maximum queued and running transactions.
const QUEUE: usize = 1024;
/// How long the connection is held between groups. Returning it to the pool costs as much as a small transaction; its
/// other users (purging, activity) wait no longer than this.
const HOLD_TIME: Duration = Duration::from_millis(50);

/// A queued transaction.
struct Job {
    operation: ErasedOperation,
    done: oneshot::Sender<Result<()>>,
    _permit: OwnedSemaphorePermit,
}

/// The queue of the commit thread.
pub(in crate::store) struct GroupCommit {
    jobs: Sender<Job>,
    permits: Arc<Semaphore>,
    receiver: Mutex<Option<Receiver<Job>>>,
    /// An in-memory database ends with its connection.
    is_in_memory: bool,
}

impl GroupCommit {
    pub(in crate::store) fn new(is_in_memory: bool) -> Self {
        let (jobs, receiver) = channel();
        let permits = Arc::new(Semaphore::new(QUEUE));
        Self { jobs, permits, receiver: Mutex::new(Some(receiver)), is_in_memory }
    }
}

impl Store {
    pub(in crate::store) async fn write_in_group(&self, operation: ErasedOperation) -> Result<()> {
        let (done, outcome) = oneshot::channel();
        let span = tracing::Span::current();
        let waiting = Mutex::new(Some(WaitGuard::new(&self.shared.metrics)));
        let operation: ErasedOperation = Arc::new(move |tx| {
            drop(waiting.lock().take());
            Box::pin(operation(tx).instrument(span.clone()))
        });
        let group = &self.shared.writer.group;
        let permit = Arc::clone(&group.permits).acquire_owned().await.map_err(Error::internal)?;
        let shutting_down = || Error::ShuttingDown;
        group.jobs.send(Job { operation, done, _permit: permit }).map_err(|_| shutting_down())?;
        outcome.await.map_err(|_| shutting_down())?
    }

    /// Starts the commit thread, which ends with the last clone of the store. It is not a task: a response of the
    /// connection wakes only this thread, whereas a runtime would wake a second worker to steal work.
    pub(in crate::store) fn start_group_commit(&self) -> Result<()> {
        let group = &self.shared.writer.group;
        let Some(jobs) = group.receiver.lock().take() else { return Ok(()) };
        let committer = Committer { jobs, shared: Arc::downgrade(&self.shared), runtime: Handle::current() };
        let thread = std::thread::Builder::new().name("commit".to_owned());
        thread.spawn(move || committer.run()).map_err(Error::internal)?;
        Ok(())
    }
}

/// The commit thread.
struct Committer {
    jobs: Receiver<Job>,
    shared: Weak<Shared>,
    runtime: Handle,
}

impl Committer {
    fn run(self) {
        priority::after_others();
        let runtime = self.runtime.clone();
        // Returning a connection to its pool spawns a task, which needs a runtime.
        let _runtime = runtime.enter();
        while let Ok(job) = self.jobs.recv() {
            let Some(shared) = self.shared.upgrade() else { return };
            self.commit_groups(&shared, job);
        }
    }

    /// Commits groups on one connection for [`HOLD_TIME`].
    fn commit_groups(&self, shared: &Arc<Shared>, first: Job) {
        let writer = &shared.writer;
        // An in-memory database has one connection, which reads need too.
        let hold_time = if writer.group.is_in_memory { Duration::ZERO } else { HOLD_TIME };
        let end = Instant::now() + hold_time;
        let (mut next, mut connection) = (Some(first), None);
        while let Some(job) = next {
            let group: Vec<Job> = iter::once(job).chain(self.jobs.try_iter()).take(MAX_GROUP).collect();
            connection = self.runtime.block_on(commit_group(shared, connection, group));
            let remaining = end.checked_duration_since(Instant::now());
            next = remaining.filter(|time| !time.is_zero()).and_then(|time| self.jobs.recv_timeout(time).ok());
        }
    }
}

/// Returns the connection if it can be reused.
async fn commit_group(
    shared: &Arc<Shared>,
    connection: Option<SqliteTransaction>,
    mut group: Vec<Job>,
) -> Option<SqliteTransaction> {
    let begun = match connection {
        Some(connection) => connection.begin_another().await.map_err(Error::from),
        None => shared.writer.begin_sqlite().await,
    };
    let outer = match begun {
        Ok(outer) => outer,
        Err(error) => {
            for job in group {
                let _ = job.done.send(Err(copy_error(&error)));
            }
            return None;
        }
    };
    let outcome_known = match group.pop() {
        Some(job) if group.is_empty() => commit_alone(shared, &outer, job).await,
        last => {
            group.extend(last);
            commit_together(shared, &outer, group).await
        }
    };
    if outcome_known {
        return Some(outer);
    }
    // The outcome is unknown, and so is the end of the audit chain: the next group opens a new chain on a new
    // connection.
    shared.writer.chains.abandon();
    if !shared.writer.group.is_in_memory {
        outer.close().await;
    }
    None
}

/// A single job needs no savepoint. Returns whether the outcome is known.
async fn commit_alone(shared: &Arc<Shared>, outer: &SqliteTransaction, job: Job) -> bool {
    let tx = Tx::new(Transaction::Sqlite(outer.clone()), shared);
    let outcome = run_job(&job, &tx).await;
    let effects = tx.effects();
    let (outcome, outcome_known) = match outcome {
        Ok(()) => {
            let committed = commit(tx.store, effects.events, effects.changes).await;
            let outcome_known = committed.is_ok();
            (committed, outcome_known)
        }
        Err(error) => (Err(error), tx.store.conn.rollback().await.is_ok()),
    };
    shared.cache.invalidate(&effects.invalidation);
    if outcome.is_ok() {
        shared.logouts.enqueue(effects.logouts);
    }
    let _ = job.done.send(outcome);
    outcome_known
}

/// Runs each job in a savepoint, so that a refused one rolls back alone. Then writes all events and commits once.
/// Returns whether the outcome is known.
async fn commit_together(shared: &Arc<Shared>, outer: &SqliteTransaction, group: Vec<Job>) -> bool {
    let mut jobs = group.into_iter();
    let (mut succeeded, mut events, mut changes) = (Vec::new(), Vec::new(), Vec::new());
    let mut group_failure = None;
    for job in jobs.by_ref() {
        match run_in_savepoint(shared, outer, &job).await {
            Ok(mut effects) => {
                events.append(&mut effects.events);
                changes.append(&mut effects.changes);
                succeeded.push((effects, job.done));
            }
            Err(JobFailure::RolledBack(error)) => drop(job.done.send(Err(error))),
            Err(JobFailure::GroupRolledBack(error)) => {
                let for_others = if matches!(error, Error::StoreUnavailable { .. }) {
                    copy_error(&error)
                } else {
                    Error::WriteConflict
                };
                let _ = job.done.send(Err(error));
                group_failure = Some(for_others);
                break;
            }
        }
    }
    let outer = Store { conn: Transaction::Sqlite(outer.clone()), shared: Arc::clone(shared) };
    let committed = match group_failure {
        None => commit(outer, events, changes).await,
        Some(error) => {
            let _ = outer.conn.rollback().await;
            Err(error)
        }
    };
    // Also after a failed commit, and before any job is answered.
    for (effects, _) in &succeeded {
        shared.cache.invalidate(&effects.invalidation);
    }
    for (effects, done) in succeeded {
        if committed.is_ok() {
            shared.logouts.enqueue(effects.logouts);
        }
        let _ = done.send(committed.as_ref().copied().map_err(copy_error));
    }
    // Left only after a broken transaction: they did not run and can be retried.
    for job in jobs {
        let _ = job.done.send(committed.as_ref().copied().map_err(copy_error));
    }
    committed.is_ok()
}

/// Why a job is not part of the group's transaction.
enum JobFailure {
    /// The job was rolled back alone.
    RolledBack(Error),
    /// The whole transaction was rolled back, as SQLite does when the disk is full or fails.
    GroupRolledBack(Error),
}

async fn run_job(job: &Job, tx: &Tx) -> Result<()> {
    // In an async block, so that a panic before the first await is caught too.
    let running = AssertUnwindSafe(async { (job.operation)(tx).await }).catch_unwind();
    running.await.unwrap_or_else(|_| Err(Error::internal("a transaction panicked")))
}

async fn run_in_savepoint(
    shared: &Arc<Shared>,
    outer: &SqliteTransaction,
    job: &Job,
) -> std::result::Result<Effects, JobFailure> {
    outer.savepoint().await.map_err(|error| JobFailure::GroupRolledBack(error.into()))?;
    let tx = Tx::new(Transaction::Sqlite(outer.clone()), shared);
    let mut outcome = run_job(job, &tx).await;
    if outcome.is_ok() {
        outcome = outer.release().await.map_err(Error::from);
    }
    match outcome {
        Ok(()) => Ok(tx.effects()),
        Err(error) => match outer.rollback_to_savepoint().await {
            Ok(()) => Err(JobFailure::RolledBack(error)),
            Err(_) => Err(JobFailure::GroupRolledBack(error)),
        },
    }
}

/// The same error for another job of the group.
fn copy_error(error: &Error) -> Error {
    match error {
        Error::WriteConflict => Error::WriteConflict,
        Error::StoreUnavailable { source } => Error::store_unavailable(source),
        other => Error::internal(other),
    }
}
