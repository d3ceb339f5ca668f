//! How the database does, as far as this server sees it.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use sea_orm::{DatabaseConnection, DbBackend};

use crate::error::{Error, Result};
use crate::store::Store;
use crate::telemetry::metrics::Histogram;

/// What became of transactions.
#[derive(Default)]
pub struct WriteFigures {
    /// How long those took that were committed; that were rolled back, with an answer for who asked; and that failed.
    pub committed: Histogram,
    pub refused: Histogram,
    pub failed: Histogram,
    retries: AtomicU64,
    waiting: AtomicU64,
    feed_position: AtomicI64,
}

impl WriteFigures {
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
pub(crate) struct Waiting(Arc<WriteFigures>);

impl Waiting {
    pub(crate) fn new(figures: &Arc<WriteFigures>) -> Self {
        figures.waiting.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(figures))
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

impl Store {
    /// How transactions do.
    pub fn write_figures(&self) -> &Arc<WriteFigures> {
        &self.shared.figures
    }

    /// Each pool: SQLite has one to read from, and one with the connection that writes.
    pub fn pools(&self) -> Vec<PoolStats> {
        match self.shared.backend {
            DbBackend::Sqlite => vec![pool("read", &self.conn), pool("write", self.shared.writer.conn())],
            _ => vec![pool("all", &self.conn)],
        }
    }
}

fn pool(name: &'static str, conn: &DatabaseConnection) -> PoolStats {
    let (size, idle, max) = if conn.get_database_backend() == DbBackend::Sqlite {
        let pool = conn.get_sqlite_connection_pool();
        (pool.size(), pool.num_idle(), pool.options().get_max_connections())
    } else {
        let pool = conn.get_postgres_connection_pool();
        (pool.size(), pool.num_idle(), pool.options().get_max_connections())
    };
    let idle = (idle as u64).min(size.into());
    PoolStats { pool: name, in_use: u64::from(size) - idle, idle, max: max.into() }
}
