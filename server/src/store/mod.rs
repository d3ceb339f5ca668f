//! The database. Only this module contains SQL. SQLite and PostgreSQL share migrations and queries.
//!
//! - [`Store`] reads from the pool; [`Tx`] reads and writes in a transaction. Both offer the same reads.
//! - Changes go through [`Store::write`]: it retries whole transactions, commits the audit events and the change feed
//!   with the change, and invalidates the cache before it acknowledges the change.
//! - Rows stay in this module, or `app` converts them to types without secrets.

mod activity;
mod attribute;
mod audit;
mod cache;
mod caller;
mod change;
mod column;
mod credential;
mod definition;
mod entity;
mod error;
mod examine;
mod feed;
mod import;
mod key_use;
mod lease;
mod link;
mod migration;
#[cfg(test)]
mod plan_tests;
mod platform;
mod pool;
mod postgres;
mod purge;
mod read_log;
pub mod seed;
mod session;
mod sqlite;
mod transaction;
mod trust;
mod unique;
mod user;
mod write;
mod zato;

use std::ops::Deref;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use sea_orm::{ConnectOptions, ConnectionTrait, DatabaseConnection, DbBackend, Statement};

use crate::clock::Clock;
use crate::config::Config;
use crate::crypto::Keyring;
use crate::error::{Error, Result};
use crate::model::audit::AuditEvent;
use crate::telemetry::metrics::cache::CacheStats;
use crate::telemetry::metrics::database::WriteMetrics;

pub use activity::Activity;
pub use attribute::NewAttribute;
pub use audit::AuditProblem;
pub use caller::NewCallerKey;
pub use credential::{CredentialHash, CredentialSession};
pub use definition::DefinitionFilter;
pub use entity::attribute::Model as AttributeRow;
pub use entity::caller::Model as CallerRow;
pub use entity::definition::Model as DefinitionRow;
pub use entity::linked_auth::Model as LinkedAuthRow;
pub use entity::platform_credential::Model as PlatformCredentialRow;
pub use entity::session::Model as SessionRow;
pub use entity::session_credential::Model as SessionCredentialRow;
pub use entity::session_platform::Model as SessionPlatformRow;
pub use entity::session_token::Model as SessionTokenRow;
pub use entity::user::Model as UserRow;
pub use examine::KeysInUse;
pub use feed::{Follower, Look};
pub use key_use::LiveHashes;
pub use link::{MAX_LINKS_READ, NamedDefinition, UserLinks};
pub use migration::SchemaState;
pub use platform::StoredCredential;
pub use purge::Purged;
use read_log::ReadLog;
pub use session::{NewSession, SessionFilter};
use transaction::Transaction;
pub use user::UserFilter;
pub use write::Operation;
pub use zato::{ZatoDefinition, ZatoError, ZatoLink, ZatoTables, ZatoUser, read_zato};

/// Maximum wait for pending writes on close.
const CLOSE_LIMIT: Duration = Duration::from_secs(10);

/// The settings of the store.
#[derive(Clone, Debug)]
pub struct StoreConfig {
    pub database: crate::config::Database,
    pub cache_capacity: Option<usize>,
}

impl StoreConfig {
    pub fn of(config: &Config) -> Self {
        let cache_capacity = config.cache_is_on().then_some(config.cache.capacity);
        Self { database: config.database.clone(), cache_capacity }
    }

    fn connect_options(&self) -> ConnectOptions {
        let mut options = ConnectOptions::new(self.database.url.expose());
        options
            .max_connections(self.database.max_connections)
            .acquire_timeout(self.database.acquire_timeout)
            .connect_timeout(self.database.acquire_timeout)
            .sqlx_logging(false)
            .record_stmt_in_spans(false);
        if self.database.url.is_postgres() {
            postgres::set_options(&mut options, &self.database);
        }
        options
    }

    /// The database file; `None` for PostgreSQL and in-memory databases.
    pub fn sqlite_path(&self) -> Option<PathBuf> {
        let path = self.database.url.expose().strip_prefix("sqlite:")?;
        let path = path.strip_prefix("//").unwrap_or(path);
        let path = path.split_once('?').map_or(path, |(path, _)| path);
        (path != ":memory:" && !path.is_empty()).then(|| PathBuf::from(path))
    }
}

/// State shared by the pool and all transactions.
struct Shared {
    config: StoreConfig,
    backend: DbBackend,
    clock: Clock,
    keyring: Arc<Keyring>,
    cache: cache::Caches,
    read_log: ReadLog,
    activity: Activity,
    logouts: platform::LogoutQueue,
    writer: write::Writer,
    metrics: Arc<WriteMetrics>,
}

/// The database, through a pool of connections or, in a [`Tx`], through one of them.
pub struct Store<C = DatabaseConnection> {
    conn: C,
    shared: Arc<Shared>,
}

impl<C: Clone> Clone for Store<C> {
    fn clone(&self) -> Self {
        Self { conn: self.conn.clone(), shared: Arc::clone(&self.shared) }
    }
}

impl<C> std::fmt::Debug for Store<C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("backend", &self.shared.backend).finish_non_exhaustive()
    }
}

/// A write transaction. Only [`Store::write`] commits it.
pub struct Tx {
    store: Store<Transaction>,
    events: Mutex<Vec<AuditEvent>>,
    changes: Mutex<Vec<entity::change::ActiveModel>>,
    invalidated: Mutex<cache::Invalidation>,
    logouts: Mutex<Vec<StoredCredential>>,
}

impl Deref for Tx {
    type Target = Store<Transaction>;

    fn deref(&self) -> &Self::Target {
        &self.store
    }
}

impl Store {
    /// Connects. Does not check the schema; see [`Self::migrate`] and [`Self::pending_migrations`].
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn connect(config: StoreConfig, keyring: Arc<Keyring>, clock: Clock) -> Result<Self> {
        if let Some(directory) = config.sqlite_path().as_deref().and_then(std::path::Path::parent) {
            std::fs::create_dir_all(directory)
                .map_err(|problem| Error::store_unavailable(format!("directory of the database: {problem}")))?;
        }
        let (reader, writer) = if config.database.url.is_sqlite() {
            // The writer connects first: only it may create the file.
            let writer = sqlite::connect(sqlite::options(&config, 1, false)).await?;
            // An in-memory database exists only within its one connection.
            let in_memory = config.sqlite_path().is_none();
            let options = sqlite::options(&config, config.database.max_connections, true);
            (if in_memory { writer.clone() } else { sqlite::connect(options).await? }, writer)
        } else {
            let pool = postgres::connect(config.connect_options(), &config.database).await?;
            (pool.clone(), pool)
        };
        let backend = reader.get_database_backend();
        let shared = Shared {
            backend,
            clock,
            keyring,
            cache: cache::Caches::new(config.cache_capacity),
            read_log: ReadLog::default(),
            activity: Activity::default(),
            logouts: platform::LogoutQueue::default(),
            writer: write::Writer::new(writer, &config),
            metrics: Arc::default(),
            config,
        };
        let store = Self { conn: reader, shared: Arc::new(shared) };
        if backend == DbBackend::Sqlite {
            store.start_group_commit()?;
        }
        store.start_read_log();
        Ok(store)
    }

    /// Compares the schema with the one that this build expects.
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn schema_state(&self) -> Result<SchemaState> {
        migration::state(&self.conn).await
    }

    /// Number of pending migrations.
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn pending_migrations(&self) -> Result<usize> {
        migration::pending(&self.conn).await
    }

    /// Applies pending migrations and returns how many. `progress` receives the number applied and the total.
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn migrate(&self, progress: &(dyn Fn(usize, usize) + Sync)) -> Result<usize> {
        migration::migrate(&self.shared.config, self.shared.writer.conn(), progress).await
    }

    /// SQLite only: copies a consistent snapshot of the database into an empty file, which is removed on failure.
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn copy_into(&self, file: &std::path::Path) -> Result<()> {
        let name = file.to_str().ok_or_else(|| Error::internal("the name of the file is no text"))?;
        let copy = Statement::from_sql_and_values(self.shared.backend, "VACUUM INTO ?", [name.into()]);
        let copied = self.shared.writer.conn().execute_raw(copy).await;
        if copied.is_err() {
            let _ = std::fs::remove_file(file);
        }
        copied.map(drop).map_err(Error::from)
    }

    /// Checks that the database answers.
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn ping(&self) -> Result<()> {
        self.conn.ping().await.map_err(Error::from)
    }

    /// Closes all connections; SQLite first checkpoints its WAL. Does not run ANALYZE: with statistics of a small table
    /// the planner keeps scanning it after it has grown.
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn close(&self) -> Result<()> {
        self.flush_reads(CLOSE_LIMIT).await;
        if self.shared.backend == DbBackend::Sqlite {
            let _ = self.shared.writer.conn().execute_unprepared("PRAGMA wal_checkpoint(TRUNCATE)").await;
        }
        self.conn.clone().close().await?;
        self.shared.writer.conn().clone().close().await.map_err(Error::from)
    }

    /// Counters of the session cache.
    pub fn cache_stats(&self) -> CacheStats {
        self.shared.cache.sessions.stats()
    }

    /// Counters of the link cache.
    pub fn link_cache_stats(&self) -> CacheStats {
        self.shared.cache.links.stats()
    }
}

impl<C> Store<C> {
    pub fn is_postgres(&self) -> bool {
        self.shared.backend == DbBackend::Postgres
    }

    pub fn clock(&self) -> &Clock {
        &self.shared.clock
    }

    pub fn keyring(&self) -> &Keyring {
        &self.shared.keyring
    }

    /// Activity that is not flushed to the database yet.
    pub fn activity(&self) -> &Activity {
        &self.shared.activity
    }
}
