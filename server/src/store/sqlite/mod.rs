//! Specifics of SQLite: connection options, transactions, group commit.

pub(super) mod group_commit;
pub(super) mod transaction;

use std::time::Duration;

use sea_orm::sqlx::sqlite::{SqliteJournalMode, SqliteSynchronous};
use sea_orm::{ConnectOptions, Database, DatabaseConnection};

use super::StoreConfig;
use super::error::is_busy;
use crate::error::{Error, Result};

/// Bytes of the file that readers memory-map.
const SQLITE_MAPPED: &str = "4294967296";

/// Page cache in KiB, negative as SQLite expects. The writer often returns to pages that it wrote.
const SQLITE_WRITER_CACHE: &str = "-65536";
const SQLITE_READER_CACHE: &str = "-2048";

/// WAL pages that trigger a checkpoint: a larger WAL saves repeated writes of hot pages.
const SQLITE_LOG_PAGES: &str = "4000";

/// Writes are durable when acknowledged (`FULL`), readers never wait for the writer (`WAL`).
pub(super) fn options(config: &StoreConfig, max_connections: u32, query_only: bool) -> ConnectOptions {
    let mut options = config.connect_options();
    let busy_timeout = config.database.statement_timeout;
    options.max_connections(max_connections).test_before_acquire(false).map_sqlx_sqlite_opts(move |sqlite| {
        sqlite
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(busy_timeout)
            .pragma("query_only", if query_only { "ON" } else { "OFF" })
            // The page caches of a process share one lock, which mapped pages avoid.
            .pragma("mmap_size", if query_only { SQLITE_MAPPED } else { "0" })
            .pragma("wal_autocheckpoint", SQLITE_LOG_PAGES)
            .pragma("cache_size", if query_only { SQLITE_READER_CACHE } else { SQLITE_WRITER_CACHE })
    });
    options
}

/// Retries while another process switches a new file to WAL mode, which SQLite does not wait for.
pub(super) async fn connect(options: ConnectOptions) -> Result<DatabaseConnection> {
    const ATTEMPTS: u32 = 100;
    const PAUSE: Duration = Duration::from_millis(20);

    for _ in 1..ATTEMPTS {
        match Database::connect(options.clone()).await {
            Err(error) if is_busy(&error) => tokio::time::sleep(PAUSE).await,
            outcome => return outcome.map_err(Error::from),
        }
    }
    Database::connect(options).await.map_err(Error::from)
}
