//! Migrations: forward only, expand then contract, and under a lock of their own, because sea-orm-migration takes none
//! and replicas start together.

mod m0001_sessions;
mod m0002_links;
mod m0003_platforms;

use sea_orm::{ConnectionTrait, Database, DatabaseConnection, DbBackend};
use sea_orm_migration::prelude::*;

use super::{StoreConfig, fault};
use crate::error::{Error, Result};

/// Of PostgreSQL's advisory lock: any number that nobody else in the database uses. "lanyard" in ASCII.
const ADVISORY_LOCK: i64 = 0x006c_616e_7961_7264;

struct Migrator;

#[async_trait::async_trait]
impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![
            Box::new(m0001_sessions::Migration),
            Box::new(m0002_links::Migration),
            Box::new(m0003_platforms::Migration),
        ]
    }
}

/// How many migrations the database lacks; does not write.
pub(super) async fn pending(conn: &DatabaseConnection) -> Result<usize> {
    let all = Migrator::get_migration_with_status_read_only(conn).await.map_err(fault)?;
    Ok(all.iter().filter(|migration| migration.status() == sea_orm_migration::MigrationStatus::Pending).count())
}

/// Brings the schema up to date, telling `progress` how many are done of how many. Others that try at the same time wait, then find nothing to do.
pub(super) async fn migrate(
    config: &StoreConfig,
    conn: &DatabaseConnection,
    progress: &(dyn Fn(usize, usize) + Sync),
) -> Result<usize> {
    let _lock = Lock::take(config, conn).await?;
    let total = pending(conn).await?;
    for done in 0..total {
        progress(done, total);
        Migrator::up(conn, Some(1)).await.map_err(fault)?;
    }
    progress(total, total);
    Ok(total)
}

/// Held while migrating; released by dropping it.
enum Lock {
    /// On a connection of its own: an advisory lock belongs to its connection.
    Postgres(DatabaseConnection),
    /// A file beside the database. None: the database is in memory, nobody else can see it.
    Sqlite(Option<std::fs::File>),
}

impl Lock {
    async fn take(config: &StoreConfig, conn: &DatabaseConnection) -> Result<Self> {
        if conn.get_database_backend() == DbBackend::Postgres {
            let mut options = config.connect_options();
            // Waiting for the lock takes as long as the others' migrations do.
            options.max_connections(1).statement_timeout(std::time::Duration::ZERO);
            let own = Database::connect(options).await.map_err(fault)?;
            own.execute_unprepared(&format!("SELECT pg_advisory_lock({ADVISORY_LOCK})")).await.map_err(fault)?;
            return Ok(Self::Postgres(own));
        }
        let Some(path) = config.sqlite_path() else { return Ok(Self::Sqlite(None)) };
        let mut lock_path = path.into_os_string();
        lock_path.push(".migrate-lock");
        let file = tokio::task::spawn_blocking(move || {
            let file = std::fs::File::create(lock_path)?;
            file.lock()?;
            Ok::<_, std::io::Error>(file)
        });
        let file = file
            .await
            .map_err(Error::internal)?
            .map_err(|problem| Error::internal(format!("migration lock: {problem}")))?;
        Ok(Self::Sqlite(Some(file)))
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        match self {
            // Closing the connection is what gives an advisory lock back.
            Self::Postgres(own) => {
                let own = own.clone();
                tokio::spawn(async move { own.close().await });
            }
            Self::Sqlite(file) => drop(file.take()),
        }
    }
}
