//! Migrations: forward only, expand then contract, and under a lock of their own, because sea-orm-migration takes none
//! and replicas start together.

mod m0001_sessions;
mod m0002_links;
mod m0003_platforms;
mod m0004_audit_indexes;

use sea_orm::{ConnectionTrait, Database, DatabaseConnection, DbBackend, EntityTrait, Order, QueryOrder, QuerySelect};
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
            Box::new(m0004_audit_indexes::Migration),
        ]
    }
}

/// How the schema of a database differs from the one that this program makes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SchemaState {
    /// Migrations that it lacks.
    pub pending: Vec<String>,
    /// Migrations of a later version. It goes on working with this one: they only add.
    pub unknown: Vec<String>,
}

/// Does not write. Migrations of a later version are none of sea-orm-migration's own business here: it would take them for a
/// fault, and a server of the version before could not be started any more once a new one has migrated.
pub(super) async fn state(conn: &DatabaseConnection) -> Result<SchemaState> {
    use sea_orm_migration::seaql_migrations::{Column, Entity};

    let is_new = !SchemaManager::new(conn).has_table("seaql_migrations").await.map_err(fault)?;
    let applied: Vec<String> = if is_new {
        Vec::new()
    } else {
        let versions = Entity::find().select_only().column(Column::Version).order_by(Column::Version, Order::Asc);
        versions.into_tuple().all(conn).await.map_err(fault)?
    };
    let known: Vec<String> = Migrator::migrations().iter().map(|migration| migration.name().to_owned()).collect();
    let missing = |from: &[String], names: &[String]| {
        names.iter().filter(|name| !from.contains(name)).cloned().collect::<Vec<_>>()
    };
    Ok(SchemaState { pending: missing(&applied, &known), unknown: missing(&known, &applied) })
}

/// How many migrations the database lacks; does not write.
pub(super) async fn pending(conn: &DatabaseConnection) -> Result<usize> {
    Ok(state(conn).await?.pending.len())
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use sea_orm::Statement;

    use super::*;

    /// Type, may it be null, and does it have a default; by table and column.
    type Columns = BTreeMap<(String, String), (String, bool, bool)>;

    const OF_SQLITE: &str = "SELECT t.name, c.name, c.type, c.\"notnull\" = 0, c.dflt_value IS NOT NULL \
                             FROM sqlite_master t JOIN pragma_table_info(t.name) c WHERE t.type = 'table'";
    const OF_POSTGRES: &str = "SELECT CAST(table_name AS text), CAST(column_name AS text), CAST(data_type AS text), \
                               is_nullable = 'YES', column_default IS NOT NULL OR is_identity = 'YES' \
                               FROM information_schema.columns WHERE table_schema = current_schema()";

    async fn columns(conn: &DatabaseConnection) -> Columns {
        let backend = conn.get_database_backend();
        let query = if backend == DbBackend::Sqlite { OF_SQLITE } else { OF_POSTGRES };
        let rows = conn.query_all_raw(Statement::from_string(backend, query)).await.expect("they can be read");
        let text = |row: &sea_orm::QueryResult, place| row.try_get_by_index::<String>(place).expect("text");
        let flag = |row: &sea_orm::QueryResult, place| row.try_get_by_index::<bool>(place).expect("a flag");
        rows.iter().map(|row| ((text(row, 0), text(row, 1)), (text(row, 2), flag(row, 3), flag(row, 4)))).collect()
    }

    /// A server of the version before goes on reading what it read and writing what it wrote.
    async fn each_migration_only_adds(url: &str) {
        let mut options = sea_orm::ConnectOptions::new(url);
        options.max_connections(1).sqlx_logging(false);
        let conn = Database::connect(options).await.expect("the database can be reached");
        let mut before = columns(&conn).await;
        for migration in Migrator::migrations() {
            let name = migration.name();
            Migrator::up(&conn, Some(1)).await.expect("it can be applied");
            let after = columns(&conn).await;
            for (place, column) in &before {
                assert_eq!(after.get(place).map(|it| (&it.0, it.1)), Some((&column.0, column.1)), "{name}: {place:?}");
            }
            let tables: Vec<_> = before.keys().map(|(table, _)| table.clone()).collect();
            for (place, (_, may_be_null, has_default)) in after.iter().filter(|(place, _)| !before.contains_key(place))
            {
                let is_in_the_way = tables.contains(&place.0) && !may_be_null && !has_default;
                assert!(!is_in_the_way, "{name}: {place:?} is not written by the version before");
            }
            before = after;
        }
        assert!(before.len() > 50, "{}", before.len());
    }

    #[tokio::test]
    async fn each_migration_only_adds_on_sqlite() {
        each_migration_only_adds("sqlite::memory:").await;
    }

    #[tokio::test]
    async fn each_migration_only_adds_on_postgres() {
        let database = lanyard_test_postgres::shared().database();
        each_migration_only_adds(database.url()).await;
    }
}
