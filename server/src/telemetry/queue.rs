//! What waits to be sent, and how it is: never waited for by anybody but the task that sends it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::config::{Signal, SignalKind};
use crate::upstream::{OtlpFailure, Receiver};

/// The wait before the second attempt; doubles with each one, and is cut at random.
const BACKOFF: Duration = Duration::from_millis(500);
const LONGEST_BACKOFF: Duration = Duration::from_secs(5);

/// Why something was dropped.
#[derive(Clone, Copy)]
pub(super) enum Dropped {
    QueueFull,
    NotSent,
    Rejected,
    Stopped,
}

impl Dropped {
    pub(super) const ALL: [Self; 4] = [Self::QueueFull, Self::NotSent, Self::Rejected, Self::Stopped];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::QueueFull => "queue_full",
            Self::NotSent => "not_sent",
            Self::Rejected => "rejected",
            Self::Stopped => "stopped",
        }
    }
}

/// What became of a signal so far.
#[derive(Debug, Default)]
pub(super) struct Tally {
    taken_in: AtomicU64,
    exported: AtomicU64,
    dropped: [AtomicU64; Dropped::ALL.len()],
}

impl Tally {
    pub(super) fn exported(&self) -> u64 {
        self.exported.load(Ordering::Relaxed)
    }

    pub(super) fn dropped(&self, reason: Dropped) -> u64 {
        self.dropped[reason as usize].load(Ordering::Relaxed)
    }

    /// What waits or is being sent.
    pub(super) fn queued(&self) -> u64 {
        let gone = Dropped::ALL.iter().map(|reason| self.dropped(*reason)).sum::<u64>() + self.exported();
        self.taken_in.load(Ordering::Relaxed).saturating_sub(gone)
    }

    fn take_in(&self) {
        self.taken_in.fetch_add(1, Ordering::Relaxed);
    }

    fn lose(&self, reason: Dropped, count: u64) {
        self.dropped[reason as usize].fetch_add(count, Ordering::Relaxed);
    }
}

/// The near end of a queue.
#[derive(Debug)]
pub(super) struct Queue<T> {
    sender: mpsc::Sender<T>,
    tally: Arc<Tally>,
}

impl<T> Queue<T> {
    /// Puts something in, if there is room.
    pub(super) fn push(&self, item: T) {
        self.tally.take_in();
        match self.sender.try_send(item) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => self.tally.lose(Dropped::QueueFull, 1),
            Err(TrySendError::Closed(_)) => self.tally.lose(Dropped::Stopped, 1),
        }
    }
}

/// The far end: takes batches out and sends them.
pub(super) struct Sending<T> {
    items: mpsc::Receiver<T>,
    batch: usize,
    delay: Duration,
    encode: fn(&[T], &super::Origin) -> Vec<u8>,
}

/// A queue for what `encode` turns into messages.
pub(super) fn queue<T>(
    signal: &Signal,
    tally: Arc<Tally>,
    encode: fn(&[T], &super::Origin) -> Vec<u8>,
) -> (Queue<T>, Sending<T>) {
    let length = signal.queue.unwrap_or(1);
    let (sender, items) = mpsc::channel(length);
    let batch = signal.batch.unwrap_or(1).min(length);
    (Queue { sender, tally }, Sending { items, batch, delay: signal.delay, encode })
}

impl<T> Sending<T> {
    /// Sends until `stop`, and then what is left.
    pub(super) async fn run(mut self, way: Way, origin: Arc<super::Origin>, stop: CancellationToken) {
        let mut batch = Vec::with_capacity(self.batch);
        loop {
            self.gather(&mut batch, &stop).await;
            if batch.is_empty() && self.items.is_closed() {
                return;
            }
            if !batch.is_empty() {
                let message = (self.encode)(&batch, &origin);
                way.send(&message, batch.len() as u64).await;
                batch.clear();
            }
        }
    }

    /// A batch: a full one, or what has come in within the delay. Once it is time to stop, what is there.
    async fn gather(&mut self, batch: &mut Vec<T>, stop: &CancellationToken) {
        let due = sleep(self.delay);
        tokio::pin!(due);
        while batch.len() < self.batch {
            let room = self.batch - batch.len();
            tokio::select! {
                biased;
                () = stop.cancelled(), if !self.items.is_closed() => self.items.close(),
                taken = self.items.recv_many(batch, room) => if taken == 0 { return },
                () = &mut due => return,
            }
        }
    }
}

/// The way of one signal to its receiver.
pub(super) struct Way {
    pub(super) kind: SignalKind,
    pub(super) receiver: Receiver,
    pub(super) export_timeout: Duration,
    pub(super) tally: Arc<Tally>,
    /// How many of a message the receiver's answer says that it does not take.
    pub(super) rejected: fn(&[u8]) -> u64,
    pub(super) is_failing: AtomicBool,
}

impl Way {
    /// Sends a message with so many items in it, and counts what became of them.
    pub(super) async fn send(&self, message: &[u8], items: u64) {
        let outcome = timeout(self.export_timeout, self.until_taken(message)).await;
        match outcome.unwrap_or_else(|_| Err("it was tried for too long".to_owned())) {
            Ok(answer) => {
                let rejected = (self.rejected)(&answer).min(items);
                self.tally.lose(Dropped::Rejected, rejected);
                self.tally.exported.fetch_add(items - rejected, Ordering::Relaxed);
                if self.is_failing.swap(false, Ordering::Relaxed) {
                    tracing::info!(signal = self.kind.name(), "telemetry is taken again");
                }
            }
            Err(problem) => {
                self.tally.lose(Dropped::NotSent, items);
                self.fails(&problem);
            }
        }
    }

    /// What is sent without having waited in a queue.
    pub(super) async fn send_at_once(&self, message: &[u8]) {
        self.tally.take_in();
        self.send(message, 1).await;
    }

    async fn until_taken(&self, message: &[u8]) -> Result<bytes::Bytes, String> {
        let mut wait = BACKOFF;
        loop {
            match self.receiver.send(message).await {
                Ok(answer) => return Ok(answer),
                Err(OtlpFailure::Refused(problem)) => return Err(problem),
                Err(OtlpFailure::Passing { problem, after }) => {
                    self.fails(&problem);
                    sleep(after.unwrap_or_else(|| wait.mul_f64(0.5 + fastrand::f64() / 2.0))).await;
                    wait = (wait * 2).min(LONGEST_BACKOFF);
                }
            }
        }
    }

    /// Told once, until it works again.
    fn fails(&self, problem: &str) {
        if !self.is_failing.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                signal = self.kind.name(),
                problem,
                "telemetry is not taken; it is dropped when the queue is full"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn signal(length: usize) -> Signal {
        Signal {
            queue: Some(length),
            batch: Some(2),
            delay: Duration::from_millis(1),
            ..Config::default().telemetry.traces
        }
    }

    #[tokio::test]
    async fn what_does_not_fit_is_dropped_and_counted() {
        let tally = Arc::<Tally>::default();
        let (queue, sending) = queue::<u8>(&signal(3), tally.clone(), |_, _| Vec::new());
        (0..5).for_each(|item| queue.push(item));
        assert_eq!((tally.queued(), tally.dropped(Dropped::QueueFull)), (3, 2));
        drop(sending);
        queue.push(6);
        assert_eq!(tally.dropped(Dropped::Stopped), 1);
    }

    #[tokio::test]
    async fn a_batch_is_full_or_due_or_what_is_left_at_the_end() {
        let (queue, mut sending) = queue::<u8>(&signal(10), Arc::default(), |_, _| Vec::new());
        let (mut batch, stop) = (Vec::new(), CancellationToken::new());
        (0..3).for_each(|item| queue.push(item));
        for expected in [vec![0, 1], vec![2], vec![]] {
            sending.gather(&mut batch, &stop).await;
            assert_eq!(batch, expected);
            batch.clear();
        }
        (3..6).for_each(|item| queue.push(item));
        stop.cancel();
        for expected in [vec![3, 4], vec![5], vec![]] {
            sending.gather(&mut batch, &stop).await;
            assert_eq!(batch, expected);
            batch.clear();
        }
        assert!(sending.items.is_closed());
    }
}
