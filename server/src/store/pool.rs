//! Connection pools, for metrics.

use std::sync::Arc;

use sea_orm::{DatabaseConnection, DbBackend};

use super::Store;
use crate::telemetry::metrics::database::{PoolStats, WriteMetrics};

impl Store {
    /// Counters of transactions.
    pub fn write_metrics(&self) -> &Arc<WriteMetrics> {
        &self.shared.metrics
    }

    /// All pools. SQLite has one for reads, and one with the single connection for writes.
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
