//! Transactions and connections.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::registry::Registry;

use super::{Histogram, write_histograms};
use crate::error::{Error, Result};

/// Outcomes of transactions.
#[derive(Default)]
pub struct WriteMetrics {
    /// Durations of transactions that were committed, rolled back by a refusal, or failed.
    pub committed: Histogram,
    pub refused: Histogram,
    pub failed: Histogram,
    retries: Counter,
    waiting: AtomicU64,
    feed_position: AtomicI64,
}

impl WriteMetrics {
    pub(super) fn register(&self, to: &mut Registry) {
        let help = "Transactions tried again because they lost against others";
        to.register("database_write_retries", help, self.retries.clone());
    }

    pub(super) fn write_histograms(&self, page: &mut String) {
        let outcomes = [("committed", &self.committed), ("refused", &self.refused), ("failed", &self.failed)];
        let labelled = outcomes.map(|(outcome, histogram)| (format!("outcome=\"{outcome}\""), histogram));
        write_histograms(page, "database_write", "How long transactions took, with waiting and all attempts", labelled);
    }

    /// Transactions that are queued or wait for a connection.
    pub fn waiting(&self) -> u64 {
        self.waiting.load(Ordering::Relaxed)
    }

    /// The sequence number of the last change that was applied.
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
        self.retries.inc();
    }
}

/// Counts a waiting transaction until it is dropped.
pub(crate) struct WaitGuard(Arc<WriteMetrics>);

impl WaitGuard {
    pub(crate) fn new(metrics: &Arc<WriteMetrics>) -> Self {
        metrics.waiting.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(metrics))
    }
}

impl Drop for WaitGuard {
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
