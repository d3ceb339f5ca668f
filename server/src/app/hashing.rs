//! Password hashing in a thread pool.
//!
//! The pool has a fixed number of threads that reuse their memory, a queue of fixed length and the lowest priority: a
//! flood of logins gets only the processor time that verification leaves.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::oneshot;
use zeroize::Zeroizing;

use crate::crypto::{HashMemory, PasswordHash, PasswordMatch, PasswordParams, check_password, hash_password};
use crate::error::{Error, Result};
use crate::priority;
use crate::telemetry::metrics::hashing::HashingMetrics;

/// Retry delay when the queue is full.
const RETRY_AFTER: Duration = Duration::from_secs(1);

type Job = Box<dyn FnOnce(&mut HashMemory) + Send>;

/// The thread pool. Clones share it.
#[derive(Clone)]
pub(super) struct PasswordHasher {
    queue: SyncSender<Job>,
    queued: Arc<AtomicUsize>,
    /// Maximum number of queued and running jobs.
    capacity: usize,
    metrics: Arc<HashingMetrics>,
    params: PasswordParams,
    /// Checked when there is no hash, so that an unknown user takes as long as a wrong password.
    decoy: Arc<PasswordHash>,
}

impl fmt::Debug for PasswordHasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PasswordHasher").field("params", &self.params).finish_non_exhaustive()
    }
}

impl PasswordHasher {
    /// Starts `threads` threads with a queue of `queue` jobs. They end with the last clone.
    pub(super) fn start(params: PasswordParams, threads: usize, queue: usize) -> Result<Self> {
        params.check()?;
        let (sender, receiver) = sync_channel::<Job>(queue);
        let receiver = Arc::new(Mutex::new(receiver));
        for number in 0..threads {
            let receiver = Arc::clone(&receiver);
            std::thread::Builder::new()
                .name(format!("hash-{number}"))
                .spawn(move || run_worker(&receiver))
                .map_err(Error::internal)?;
        }
        let decoy = hash_password(b"", params, &mut HashMemory::new())?;
        Ok(Self {
            queue: sender,
            queued: Arc::default(),
            capacity: queue + threads,
            metrics: Arc::default(),
            params,
            decoy: Arc::new(decoy),
        })
    }

    /// Parameters of new hashes.
    pub(super) const fn params(&self) -> PasswordParams {
        self.params
    }

    /// Queued and running jobs.
    pub(super) fn depth(&self) -> usize {
        self.queued.load(Ordering::Relaxed)
    }

    pub(super) fn metrics(&self) -> &Arc<HashingMetrics> {
        &self.metrics
    }

    /// Fails early if the queue is full. Success is no reservation.
    pub(super) fn check_capacity(&self) -> Result<()> {
        if self.depth() < self.capacity { Ok(()) } else { Err(self.refuse()) }
    }

    /// Hashes a new password.
    pub(super) async fn hash(&self, password: Zeroizing<String>) -> Result<PasswordHash> {
        let params = self.params;
        self.run(move |memory| hash_password(password.as_bytes(), params, memory)).await?
    }

    /// Checks a password. `None` (no such user, or no password) is wrong and takes as long.
    pub(super) async fn check(
        &self,
        password: Zeroizing<String>,
        stored: Option<PasswordHash>,
    ) -> Result<PasswordMatch> {
        let exists = stored.is_some();
        let stored = stored.unwrap_or_else(|| (*self.decoy).clone());
        let params = self.params;
        let outcome = self.run(move |memory| check_password(password.as_bytes(), &stored, params, memory)).await??;
        Ok(if exists { outcome } else { PasswordMatch::Wrong })
    }

    fn refuse(&self) -> Error {
        self.metrics.refused.inc();
        Error::Overloaded { retry_after: RETRY_AFTER }
    }

    async fn run<T: Send + 'static>(&self, job: impl FnOnce(&mut HashMemory) -> T + Send + 'static) -> Result<T> {
        let (sender, receiver) = oneshot::channel();
        self.queued.fetch_add(1, Ordering::Relaxed);
        let (queued, metrics) = (Arc::clone(&self.queued), Arc::clone(&self.metrics));
        let submitted_at = Instant::now();
        let job: Job = Box::new(move |memory| {
            // A closed sender means a cancelled call.
            let started_at = Instant::now();
            let output = (!sender.is_closed()).then(|| job(memory));
            queued.fetch_sub(1, Ordering::Relaxed);
            if let Some(output) = output {
                metrics.waited.record(started_at.duration_since(submitted_at));
                metrics.computed.record(started_at.elapsed());
                let _ = sender.send(output);
            }
        });
        if let Err(refused) = self.queue.try_send(job) {
            self.queued.fetch_sub(1, Ordering::Relaxed);
            return Err(match refused {
                TrySendError::Full(_) => self.refuse(),
                TrySendError::Disconnected(_) => Error::internal("the hashing threads are gone"),
            });
        }
        receiver.await.map_err(|_| Error::internal("a hashing thread gave no answer"))
    }
}

fn run_worker(receiver: &Mutex<Receiver<Job>>) {
    priority::lowest();
    let mut memory = HashMemory::new();
    loop {
        let job = receiver.lock().recv();
        let Ok(job) = job else { return };
        job(&mut memory);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHEAP: PasswordParams = PasswordParams { memory_kib: 64, iterations: 1, parallelism: 1 };

    fn text(text: &str) -> Zeroizing<String> {
        Zeroizing::new(text.to_owned())
    }

    #[tokio::test]
    async fn a_password_matches_its_own_hash_and_no_other() {
        let hasher = PasswordHasher::start(CHEAP, 1, 4).unwrap();
        let stored = hasher.hash(text("correct")).await.unwrap();
        assert!(stored.0.starts_with("$argon2id$v=19$m=64,t=1,p=1$"), "the stored form is a PHC string");
        assert_ne!(stored, hasher.hash(text("correct")).await.unwrap(), "each hash has a salt of its own");
        assert_eq!(hasher.check(text("correct"), Some(stored.clone())).await.unwrap(), PasswordMatch::Right);
        assert_eq!(hasher.check(text("wrong"), Some(stored)).await.unwrap(), PasswordMatch::Wrong);
    }

    #[tokio::test]
    async fn no_password_is_wrong_even_where_the_decoy_would_match() {
        let hasher = PasswordHasher::start(CHEAP, 1, 4).unwrap();
        assert_eq!(hasher.check(text(""), None).await.unwrap(), PasswordMatch::Wrong);
    }

    #[tokio::test]
    async fn a_hash_of_nothing_can_be_checked_and_has_no_password() {
        let hasher = PasswordHasher::start(CHEAP, 1, 4).unwrap();
        let nothing = PasswordHash::of_nothing(CHEAP).unwrap();
        assert!(nothing.0.starts_with("$argon2id$v=19$m=64,t=1,p=1$"), "it looks like any other");
        assert_ne!(nothing, PasswordHash::of_nothing(CHEAP).unwrap());
        assert_eq!(hasher.check(text(""), Some(nothing)).await.unwrap(), PasswordMatch::Wrong);
    }

    #[tokio::test]
    async fn a_hash_of_another_cost_is_replaced_at_the_next_login() {
        let before = PasswordHasher::start(CHEAP, 1, 4).unwrap();
        let stored = before.hash(text("p")).await.unwrap();
        let dearer = PasswordHasher::start(PasswordParams { iterations: 2, ..CHEAP }, 1, 4).unwrap();
        let PasswordMatch::RightRehashed(new) = dearer.check(text("p"), Some(stored)).await.unwrap() else {
            panic!("the cost differs");
        };
        assert_eq!(dearer.check(text("p"), Some(new)).await.unwrap(), PasswordMatch::Right);
    }

    #[tokio::test]
    async fn a_full_queue_is_refused_at_once_and_works_again_when_it_has_room() {
        let hasher = PasswordHasher::start(CHEAP, 1, 1).unwrap();
        let (release, released) = std::sync::mpsc::channel::<()>();
        let (started, running) = oneshot::channel();
        let first = tokio::spawn({
            let hasher = hasher.clone();
            async move {
                hasher
                    .run(move |_| {
                        let _ = started.send(());
                        let _ = released.recv();
                    })
                    .await
            }
        });
        running.await.unwrap();
        let mut second = Box::pin(hasher.hash(text("waits")));
        hasher.check_capacity().unwrap();
        assert!(futures::poll!(&mut second).is_pending());
        assert!(matches!(hasher.check_capacity(), Err(Error::Overloaded { .. })), "one runs and one waits");
        assert!(matches!(hasher.hash(text("too many")).await, Err(Error::Overloaded { .. })));
        release.send(()).unwrap();
        first.await.unwrap().unwrap();
        second.await.unwrap();
        assert_eq!(hasher.depth(), 0);
        hasher.check_capacity().unwrap();
    }
}
