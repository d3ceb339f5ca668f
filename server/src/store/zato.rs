//! The tables of Zato SSO, read from one snapshot and never written to.
//!
//! Versions of Zato differ in their columns, and its databases in how they store times and booleans. So columns are
//! read as text, and missing ones are empty. The import interprets them.

use std::collections::HashSet;
use std::time::Duration;

use sea_orm::sea_query::{Expr, ExprTrait, Order, Query, SelectStatement};
use sea_orm::{
    AccessMode, ConnectOptions, ConnectionTrait, Database, DatabaseTransaction, DbBackend, DbErr, IsolationLevel,
    QueryResult, RuntimeErr, Statement, TransactionOptions, TransactionTrait,
};

use crate::config::DatabaseUrl;
use crate::error::Error;

/// Rows per query.
const PAGE: u64 = 1_000;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Why a database cannot be read. Databases are shown without passwords.
#[derive(Debug, thiserror::Error)]
pub enum ZatoError {
    #[error("only SQLite (sqlite:FILE) and PostgreSQL (postgres://USER:PASSWORD@HOST/NAME) can be imported from")]
    UnknownScheme,
    #[error("{database} cannot be opened: {problem}")]
    NotOpened { database: String, problem: String },
    #[error("{database} cannot be read: {problem}")]
    Unreadable { database: String, problem: String },
    #[error("{database} is no database of Zato SSO: it has no {missing} that can be read")]
    NotZato { database: String, missing: String },
}

/// A user of Zato. Missing required values are empty.
#[derive(Clone, Debug, Default)]
pub struct ZatoUser {
    pub id: i64,
    pub user_id: String,
    pub username: String,
    pub is_super_user: Option<String>,
    pub is_locked: Option<String>,
    pub approval_status: Option<String>,
    pub sign_up_status: Option<String>,
    pub sign_up_time: Option<String>,
    pub email: Option<String>,
    pub display_name: Option<String>,
    pub first_name: Option<String>,
    pub middle_name: Option<String>,
    pub last_name: Option<String>,
    pub is_totp_enabled: Option<String>,
}

/// A security definition of Zato. Its secret is not read: it is encrypted with Zato's own key.
#[derive(Clone, Debug, Default)]
pub struct ZatoDefinition {
    pub id: i64,
    pub name: String,
    pub sec_type: String,
    pub username: Option<String>,
    pub is_active: Option<String>,
}

/// A link of Zato.
#[derive(Clone, Debug, Default)]
pub struct ZatoLink {
    pub id: i64,
    pub user_id: String,
    pub auth_type: String,
    pub auth_id: Option<i64>,
    pub is_active: Option<String>,
    pub is_internal: Option<String>,
    pub creation_time: Option<String>,
    pub has_ext_principal: Option<String>,
}

/// All rows, ordered by Zato's IDs.
#[derive(Clone, Debug, Default)]
pub struct ZatoTables {
    pub users: Vec<ZatoUser>,
    /// `None` if this database has no definitions: Zato may keep them in another one.
    pub definitions: Option<Vec<ZatoDefinition>>,
    pub links: Vec<ZatoLink>,
}

/// Reads users and links from one database, and definitions from the same or another one.
#[tracing::instrument(level = "debug", skip_all)]
pub async fn read_zato(
    from: &DatabaseUrl,
    definitions_from: Option<&DatabaseUrl>,
) -> std::result::Result<ZatoTables, ZatoError> {
    let source = Source::open(from).await?;
    let users = source.table(&USERS).await?.ok_or_else(|| source.missing_error("table zato_sso_user"))?;
    // Older versions of Zato have users, but no links.
    let links = source.table(&LINKS).await?.unwrap_or_default();
    let definitions = match definitions_from {
        None => source.table(&DEFINITIONS).await?,
        Some(other) => {
            let other = Source::open(other).await?;
            Some(other.table(&DEFINITIONS).await?.ok_or_else(|| other.missing_error("table sec_base"))?)
        }
    };
    Ok(ZatoTables { users, definitions, links })
}

/// A table, and how its rows are converted. `id` is needed too, because rows are read in its order.
struct Table<R> {
    name: &'static str,
    required: &'static [&'static str],
    optional: &'static [&'static str],
    row: fn(&Row<'_>) -> R,
}

const USERS: Table<ZatoUser> = Table {
    name: "zato_sso_user",
    required: &["user_id", "username"],
    optional: &[
        "is_super_user",
        "is_locked",
        "approval_status",
        "sign_up_status",
        "sign_up_time",
        "email",
        "display_name",
        "first_name",
        "middle_name",
        "last_name",
        "is_totp_enabled",
    ],
    row: |row| ZatoUser {
        id: row.id,
        user_id: row.get("user_id").unwrap_or_default(),
        username: row.get("username").unwrap_or_default(),
        is_super_user: row.get("is_super_user"),
        is_locked: row.get("is_locked"),
        approval_status: row.get("approval_status"),
        sign_up_status: row.get("sign_up_status"),
        sign_up_time: row.get("sign_up_time"),
        email: row.get("email"),
        display_name: row.get("display_name"),
        first_name: row.get("first_name"),
        middle_name: row.get("middle_name"),
        last_name: row.get("last_name"),
        is_totp_enabled: row.get("is_totp_enabled"),
    },
};

const DEFINITIONS: Table<ZatoDefinition> = Table {
    name: "sec_base",
    required: &["name", "username", "sec_type"],
    optional: &["is_active"],
    row: |row| ZatoDefinition {
        id: row.id,
        name: row.get("name").unwrap_or_default(),
        sec_type: row.get("sec_type").unwrap_or_default(),
        username: row.get("username"),
        is_active: row.get("is_active"),
    },
};

const LINKS: Table<ZatoLink> = Table {
    name: "zato_sso_linked_auth",
    required: &["user_id", "auth_type", "auth_id"],
    optional: &["is_active", "is_internal", "creation_time", "has_ext_principal"],
    row: |row| ZatoLink {
        id: row.id,
        user_id: row.get("user_id").unwrap_or_default(),
        auth_type: row.get("auth_type").unwrap_or_default(),
        auth_id: row.get("auth_id").and_then(|id| id.parse().ok()),
        is_active: row.get("is_active"),
        is_internal: row.get("is_internal"),
        creation_time: row.get("creation_time"),
        has_ext_principal: row.get("has_ext_principal"),
    },
};

/// A row whose columns, if they exist, are text.
struct Row<'a> {
    id: i64,
    values: &'a QueryResult,
}

impl Row<'_> {
    fn get(&self, column: &str) -> Option<String> {
        self.values.try_get::<Option<String>>("", column).ok().flatten()
    }
}

/// A database in a read-only snapshot transaction.
struct Source {
    redacted_url: String,
    tx: DatabaseTransaction,
}

impl Source {
    async fn open(url: &DatabaseUrl) -> std::result::Result<Self, ZatoError> {
        if !url.is_sqlite() && !url.is_postgres() {
            return Err(ZatoError::UnknownScheme);
        }
        let redacted_url = url.to_string();
        let opened = async {
            if url.is_postgres() {
                try_postgres(url).await?;
            }
            let conn = Database::connect(options(url)).await?;
            conn.begin_with_options(snapshot(conn.get_database_backend())).await
        };
        match opened.await {
            Ok(tx) => Ok(Self { redacted_url, tx }),
            Err(error) => Err(ZatoError::NotOpened { database: redacted_url, problem: error_text(error) }),
        }
    }

    fn missing_error(&self, missing: impl Into<String>) -> ZatoError {
        ZatoError::NotZato { database: self.redacted_url.clone(), missing: missing.into() }
    }

    fn unreadable(&self, error: DbErr) -> ZatoError {
        ZatoError::Unreadable { database: self.redacted_url.clone(), problem: error_text(error) }
    }

    /// The rows of a table ordered by ID; `None` if there is no such table.
    async fn table<R>(&self, table: &Table<R>) -> std::result::Result<Option<Vec<R>>, ZatoError> {
        let existing = self.columns(table.name).await.map_err(|error| self.unreadable(error))?;
        if existing.is_empty() {
            return Ok(None);
        }
        if let Some(missing) = table.required.iter().chain(&["id"]).find(|column| !existing.contains(**column)) {
            return Err(self.missing_error(format!("column {missing} in its table {}", table.name)));
        }
        let columns: Vec<_> =
            table.required.iter().chain(table.optional).copied().filter(|column| existing.contains(*column)).collect();
        let mut rows = Vec::new();
        let mut after = None;
        loop {
            let page = self.tx.query_all(&page(table.name, &columns, after)).await;
            let page = page.map_err(|error| self.unreadable(error))?;
            let Some(last) = page.last() else { return Ok(Some(rows)) };
            after = Some(number(last).map_err(|error| self.unreadable(error))?);
            for values in &page {
                let id = number(values).map_err(|error| self.unreadable(error))?;
                rows.push((table.row)(&Row { id, values }));
            }
        }
    }

    async fn columns(&self, table: &str) -> std::result::Result<HashSet<String>, DbErr> {
        let backend = self.tx.get_database_backend();
        let sql = match backend {
            DbBackend::Postgres => {
                "SELECT column_name::text AS name FROM information_schema.columns \
                 WHERE table_name = $1 AND table_schema = ANY (current_schemas(false))"
            }
            _ => "SELECT name FROM pragma_table_info(?)",
        };
        let statement = Statement::from_sql_and_values(backend, sql, [table.into()]);
        self.tx.query_all_raw(statement).await?.iter().map(|row| row.try_get("", "name")).collect()
    }
}

/// The alias of the ID, by which rows are paged.
const NUMBER: &str = "row_number_";

fn number(row: &QueryResult) -> std::result::Result<i64, DbErr> {
    row.try_get("", NUMBER)
}

/// One page of rows after `after`, ordered by ID, all columns as text.
fn page(table: &'static str, columns: &[&'static str], after: Option<i64>) -> SelectStatement {
    let id = || Expr::col((table, "id"));
    let mut query = Query::select();
    query.expr_as(id().cast_as("bigint"), NUMBER).from(table).order_by((table, "id"), Order::Asc).limit(PAGE);
    for column in columns {
        query.expr_as(Expr::col((table, *column)).cast_as("text"), *column);
    }
    if let Some(after) = after {
        query.and_where(id().gt(after));
    }
    query
}

/// Connects once, to report the error: a pool retries and hides it.
async fn try_postgres(url: &DatabaseUrl) -> std::result::Result<(), DbErr> {
    use sea_orm::sqlx::{ConnectOptions, Connection, Error, postgres::PgConnectOptions};

    let connected = tokio::time::timeout(CONNECT_TIMEOUT, async {
        let options: PgConnectOptions = url.expose().parse()?;
        options.connect().await?.close().await
    });
    let connected = connected.await.unwrap_or_else(|_| Err(Error::Io(std::io::ErrorKind::TimedOut.into())));
    connected.map_err(|error| DbErr::Conn(RuntimeErr::SqlxError(error.into())))
}

fn options(url: &DatabaseUrl) -> ConnectOptions {
    let mut options = ConnectOptions::new(url.expose());
    options
        .max_connections(1)
        .acquire_timeout(CONNECT_TIMEOUT)
        .connect_timeout(CONNECT_TIMEOUT)
        .sqlx_logging(false)
        .record_stmt_in_spans(false);
    if url.is_postgres() {
        options.set_application_name("lanyard import").map_sqlx_postgres_opts(|postgres| {
            postgres.options([("default_transaction_read_only", "on"), ("datestyle", "ISO")])
        });
    } else {
        options.map_sqlx_sqlite_opts(|sqlite| sqlite.read_only(true).create_if_missing(false));
    }
    options
}

/// On SQLite every transaction reads from a snapshot.
fn snapshot(backend: DbBackend) -> TransactionOptions {
    match backend {
        DbBackend::Postgres => TransactionOptions {
            isolation_level: Some(IsolationLevel::RepeatableRead),
            access_mode: Some(AccessMode::ReadOnly),
            ..TransactionOptions::default()
        },
        _ => TransactionOptions::default(),
    }
}

/// The error text from the database.
fn error_text(error: DbErr) -> String {
    match Error::from(error) {
        Error::StoreUnavailable { source } | Error::Internal { source } => source.0,
        Error::WriteConflict => "another program has locked the database: stop it, or import from a copy".to_owned(),
        other => other.to_string(),
    }
}
