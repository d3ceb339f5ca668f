//! What `lanyard doctor` reads from a database: facts, not judgements. Nothing here writes.

use sea_orm::{ConnectionTrait, DbBackend, Statement};

use super::Store;
use crate::clock::Time;
use crate::error::{Error, Result};

/// Tables on which the server needs fewer privileges: it only appends to the audit trail.
const APPEND_ONLY: [(&str, &[&str]); 2] =
    [("audit_event", &["SELECT", "INSERT"]), ("audit_chain", &["SELECT", "INSERT", "UPDATE"])];
const ALL_PRIVILEGES: [&str; 4] = ["SELECT", "INSERT", "UPDATE", "DELETE"];

/// Columns that hold sealed values, and the condition of rows that have one.
const SEALED: [(&str, &str, &str); 7] = [
    ("attribute", "value", "is_sealed"),
    ("\"user\"", "totp_secret", "totp_secret IS NOT NULL"),
    ("session_token", "successor", "successor IS NOT NULL"),
    ("session_credential", "token", "1 = 1"),
    ("platform_credential", "sealed", "1 = 1"),
    ("definition", "material", "source = 2"),
    ("definition", "previous_material", "previous_source = 2"),
];

/// IDs of the keys that the database depends on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeysInUse {
    /// Keys that tokens and caller keys are hashed with, live or not; compare [`Store::live_hashes`].
    pub token: Vec<u16>,
    pub seal: Vec<u16>,
    pub audit: Vec<u16>,
}

impl Store {
    /// Name and version of the database.
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn database_version(&self) -> Result<String> {
        let (name, query) = match self.shared.backend {
            DbBackend::Sqlite => ("SQLite", "SELECT sqlite_version()"),
            _ => ("PostgreSQL", "SELECT current_setting('server_version')"),
        };
        Ok(format!("{name} {}", self.scalar::<String>(query).await?))
    }

    /// Time of the database server. `None` for SQLite, which has no clock of its own.
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn database_time(&self) -> Result<Option<Time>> {
        if self.shared.backend == DbBackend::Sqlite {
            return Ok(None);
        }
        let micros = "SELECT CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS bigint)";
        self.scalar(micros).await.map(Some)
    }

    /// Privileges that the server needs and its account lacks, such as `INSERT on session`.
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn missing_privileges(&self) -> Result<Vec<String>> {
        if self.shared.backend == DbBackend::Sqlite {
            return Ok(Vec::new());
        }
        let tables = "SELECT CAST(tablename AS text) FROM pg_tables \
                      WHERE schemaname = current_schema() AND tablename <> 'seaql_migrations' ORDER BY 1";
        let mut missing = Vec::new();
        for table in self.column::<String>(tables).await? {
            let needed =
                APPEND_ONLY.iter().find(|(name, _)| *name == table).map_or(&ALL_PRIVILEGES[..], |(_, some)| some);
            for privilege in needed {
                let has_privilege = format!(
                    "SELECT has_table_privilege(quote_ident(current_schema()) || '.' || quote_ident('{table}'), \
                     '{privilege}')"
                );
                if !self.scalar::<bool>(&has_privilege).await? {
                    missing.push(format!("{privilege} on {table}"));
                }
            }
        }
        Ok(missing)
    }

    /// Reads the key ID of every sealed value, which takes a while with millions of rows.
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn keys_in_use(&self) -> Result<KeysInUse> {
        let mut seal = Vec::new();
        for (table, column, condition) in SEALED {
            // Layout: version, key ID (two bytes), ...
            let query = format!("SELECT DISTINCT substr({column}, 2, 2) FROM {table} WHERE {condition}");
            let numbers = self.column::<Vec<u8>>(&query).await?;
            seal.extend(numbers.into_iter().filter_map(|number| Some(u16::from_be_bytes(number.try_into().ok()?))));
        }
        let token = "SELECT DISTINCT key_id FROM session_token UNION SELECT DISTINCT key_id FROM caller_key";
        let audit = "SELECT DISTINCT key_id FROM audit_chain";
        Ok(KeysInUse { token: self.numbers(token).await?, seal: sorted(seal), audit: self.numbers(audit).await? })
    }

    async fn numbers(&self, query: &str) -> Result<Vec<u16>> {
        let numbers = self.column::<i32>(query).await?;
        Ok(sorted(numbers.into_iter().filter_map(|number| u16::try_from(number).ok()).collect()))
    }

    async fn scalar<T: sea_orm::TryGetable>(&self, query: &str) -> Result<T> {
        self.column(query).await?.into_iter().next().ok_or_else(|| Error::internal("a query without an answer"))
    }

    /// The first column of all rows.
    async fn column<T: sea_orm::TryGetable>(&self, query: &str) -> Result<Vec<T>> {
        let rows = self.conn.query_all_raw(Statement::from_string(self.shared.backend, query)).await?;
        rows.iter().map(|row| row.try_get_by_index(0).map_err(Error::from)).collect()
    }
}

fn sorted(mut numbers: Vec<u16>) -> Vec<u16> {
    numbers.sort_unstable();
    numbers.dedup();
    numbers
}
