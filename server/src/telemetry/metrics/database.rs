//! The database, as far as this server sees it.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use super::Histogram;
use crate::error::{Error, Result};

/// What became of transactions.
#[derive(Default)]
pub struct WriteMetrics {
    /// How long those took that were committed; that were rolled back, with an answer for who asked; and that failed.
    pub committed: Histogram,
    pub refused: Histogram,
    pub failed: Histogram,
    retries: AtomicU64,
    waiting: AtomicU64,
    feed_position: AtomicI64,
}

impl WriteMetrics {
    /// Transactions that were tried again because they lost against others.
    pub fn retries(&self) -> u64 {
        self.retries.load(Ordering::Relaxed)
    }

    /// Transactions that wait for their turn or a connection.
    pub fn waiting(&self) -> u64 {
        self.waiting.load(Ordering::Relaxed)
    }

    /// The number of the last change that was seen.
    pub fn feed_position(&self) -> i64 {
        self.feed_position.load(Ordering::Relaxed)
    }

    pub(crate) fn count<T>(&self, outcome: &Result<T>, took: Duration) {
        let histogram = match outcome {
            Ok(_) => &self.committed,
            Err(
                Error::StoreUnavailable { .. } | Error::WriteConflict | Error::Internal { .. } | Error::ShuttingDown,
            ) => &self.failed,
            Err(_) => &self.refused,
        };
        histogram.record(took);
    }

    pub(crate) fn feed_is_at(&self, position: i64) {
        self.feed_position.store(position, Ordering::Relaxed);
    }

    pub(crate) fn count_retry(&self) {
        self.retries.fetch_add(1, Ordering::Relaxed);
    }
}

/// A transaction that waits, as long as this lives.
pub(crate) struct Waiting(Arc<WriteMetrics>);

impl Waiting {
    pub(crate) fn new(metrics: &Arc<WriteMetrics>) -> Self {
        metrics.waiting.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(metrics))
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The connections of one pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolStats {
    pub pool: &'static str,
    pub in_use: u64,
    pub idle: u64,
    pub max: u64,
}
