//! Maps database errors to the server's errors.

use sea_orm::{DbErr, RuntimeErr, SqlErr};

use crate::error::Error;

/// PostgreSQL SQLSTATEs after which a retry of the transaction may succeed: serialization failure, deadlock.
const POSTGRES_CONFLICTS: [&str; 2] = ["40001", "40P01"];
/// PostgreSQL SQLSTATE classes of a server that is down, stopping, full or too slow: connection, resources, operator
/// intervention (includes the statement timeout).
const POSTGRES_UNAVAILABLE: [&str; 3] = ["08", "53", "57"];
/// PostgreSQL SQLSTATEs that mean the same: read-only (a standby until promoted), idle-in-transaction timeout.
const POSTGRES_UNAVAILABLE_CODES: [&str; 2] = ["25006", "25P03"];
/// SQLite primary result codes: BUSY, LOCKED.
const SQLITE_CONFLICTS: [i32; 2] = [5, 6];
/// SQLite primary result codes: READONLY, IOERR, FULL, CANTOPEN.
const SQLITE_UNAVAILABLE: [i32; 4] = [8, 10, 13, 14];

impl From<DbErr> for Error {
    fn from(error: DbErr) -> Self {
        match &error {
            // Its text contains the URL, and so the password.
            DbErr::Conn(RuntimeErr::Internal(_)) => Self::store_unavailable("its URL cannot be used"),
            DbErr::Conn(source) => Self::store_unavailable(describe(source)),
            DbErr::ConnectionAcquire(source) => Self::store_unavailable(source),
            DbErr::Exec(source) | DbErr::Query(source) => runtime_fault(source),
            // Its `Display` shows its source, but no statement.
            other => Self::internal(other),
        }
    }
}

/// True if SQLite found the file locked while connecting.
pub(super) fn is_busy(error: &DbErr) -> bool {
    let DbErr::Conn(RuntimeErr::SqlxError(source)) = error else { return false };
    let Some(code) = source.as_database_error().and_then(sea_orm::sqlx::error::DatabaseError::code) else {
        return false;
    };
    code.parse::<i32>().is_ok_and(|code| SQLITE_CONFLICTS.contains(&(code & 0xff)))
}

/// True if a row with that key exists.
pub(super) fn is_unique_violation(error: &DbErr) -> bool {
    matches!(error.sql_err(), Some(SqlErr::UniqueConstraintViolation(_)))
}

/// True if a referenced row does not exist.
pub(super) fn is_foreign_key_violation(error: &DbErr) -> bool {
    matches!(error.sql_err(), Some(SqlErr::ForeignKeyConstraintViolation(_)))
}

/// True if this unique index was violated. PostgreSQL reports the index, SQLite its columns, of which `first_column`
/// (`table.column`) is the first.
pub(super) fn violates_index(error: &DbErr, index: &str, first_column: &str) -> bool {
    let (DbErr::Exec(RuntimeErr::SqlxError(source)) | DbErr::Query(RuntimeErr::SqlxError(source))) = error else {
        return false;
    };
    let Some(database) = source.as_database_error().filter(|_| is_unique_violation(error)) else { return false };
    if let Some(violated) = database.constraint() {
        return violated == index;
    }
    let columns = database.message().rsplit(": ").next().unwrap_or_default();
    columns.split(", ").next() == Some(first_column)
}

fn runtime_fault(error: &RuntimeErr) -> Error {
    use sea_orm::sqlx::Error as Sqlx;

    let RuntimeErr::SqlxError(source) = error else { return Error::internal(error) };
    match source.as_ref() {
        Sqlx::Io(_)
        | Sqlx::Tls(_)
        | Sqlx::Protocol(_)
        | Sqlx::PoolTimedOut
        | Sqlx::PoolClosed
        | Sqlx::WorkerCrashed => Error::store_unavailable(describe(error)),
        Sqlx::Database(database) => {
            let code = database.code().unwrap_or_default();
            let sqlite_code =
                database.try_downcast_ref::<sea_orm::SqlxSqliteError>().and_then(|_| code.parse::<i32>().ok());
            match (sqlite_code.map(|code| code & 0xff), code.as_ref()) {
                (Some(code), _) if SQLITE_CONFLICTS.contains(&code) => Error::WriteConflict,
                (Some(code), _) if SQLITE_UNAVAILABLE.contains(&code) => Error::store_unavailable(describe(error)),
                (None, code) if POSTGRES_CONFLICTS.contains(&code) => Error::WriteConflict,
                (None, code)
                    if POSTGRES_UNAVAILABLE.iter().any(|class| code.starts_with(class))
                        || POSTGRES_UNAVAILABLE_CODES.contains(&code) =>
                {
                    Error::store_unavailable(describe(error))
                }
                _ => Error::internal(describe(error)),
            }
        }
        _ => Error::internal(describe(error)),
    }
}

/// Why a connection failed.
pub(super) fn connection_failed(error: sea_orm::sqlx::Error) -> Error {
    Error::store_unavailable(describe(&RuntimeErr::SqlxError(error.into())))
}

/// The cause in the operator's terms, if it is known, and the database's code and message. These name objects, but contain no
/// values and no statement.
fn describe(error: &RuntimeErr) -> String {
    use sea_orm::sqlx::Error as Sqlx;

    let RuntimeErr::SqlxError(source) = error else { return error.to_string() };
    match source.as_ref() {
        Sqlx::Database(database) => {
            let (code, message) = (database.code().unwrap_or_default(), database.message());
            let is_sqlite = database.try_downcast_ref::<sea_orm::SqlxSqliteError>().is_some();
            let cause = if is_sqlite { sqlite_cause(&code) } else { postgres_cause(&code) };
            cause.map_or_else(|| format!("{code}: {message}"), |cause| format!("{cause} ({code}: {message})"))
        }
        Sqlx::Io(problem) => connection_cause(problem),
        Sqlx::Tls(problem) => format!("TLS failed: {problem}; see `sslmode` and `sslrootcert` of the URL"),
        Sqlx::PoolTimedOut => "no connection became free in time".to_owned(),
        other => other.to_string(),
    }
}

/// By SQLSTATE.
fn postgres_cause(code: &str) -> Option<&'static str> {
    Some(match code {
        "3D000" => "the database does not exist: create it, or correct the name",
        "28P01" | "28000" => "user or password is wrong",
        "42501" => "the user lacks a privilege: it must own the schema",
        "53100" => "the disk of the database is full",
        "53300" => "PostgreSQL has no connection left: raise its limit, or lower `database.max_connections`",
        "25006" => "the database is read-only: it is a standby, or was set so",
        "57P03" => "the database is starting, stopping or in recovery",
        "57014" => "the statement took longer than `database.statement_timeout`",
        _ => return None,
    })
}

/// By extended result code.
fn sqlite_cause(code: &str) -> Option<&'static str> {
    Some(match code.parse::<i32>().ok()? & 0xff {
        8 => "the database is read-only: the server must be able to write its file and folder",
        10 => "the disk reports an error",
        13 => "the disk is full",
        14 => "the file cannot be opened: the server must be able to read and write it and its folder",
        11 | 26 => "the file is damaged or not an SQLite database",
        _ => return None,
    })
}

fn connection_cause(problem: &std::io::Error) -> String {
    use std::io::ErrorKind;

    match problem.kind() {
        ErrorKind::ConnectionRefused => "nothing listens at its host and port".to_owned(),
        ErrorKind::TimedOut => "its host does not answer".to_owned(),
        ErrorKind::NotFound => "its socket does not exist".to_owned(),
        ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable => "its host cannot be reached".to_owned(),
        // The standard library has no kind for it.
        _ if problem.to_string().starts_with("failed to lookup address") => "its host name is unknown".to_owned(),
        kind => format!("connection: {kind}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Why a database cannot be used, as the operator reads it.
    async fn cause_of(url: &str) -> String {
        let mut config = crate::config::Config::default();
        config.database.url = crate::config::DatabaseUrl::new(url);
        config.database.acquire_timeout = std::time::Duration::from_secs(1);
        let clock = crate::clock::Clock::system();
        let keyring = crate::crypto::Keyring::generate(clock.now()).into();
        match crate::store::Store::connect(crate::store::StoreConfig::of(&config), keyring, clock).await {
            Err(Error::StoreUnavailable { source } | Error::Internal { source }) => source.0,
            other => panic!("{url}: {other:?}"),
        }
    }

    #[tokio::test]
    async fn names_the_cause_if_postgres_cannot_be_used() {
        let database = lanyard_test_postgres::shared().database();
        let url = database.url();
        let (start, name) = url.rsplit_once('/').unwrap();
        let unknown = format!("{start}/no_such_database{}", name.find('?').map_or("", |query| &name[query..]));
        assert!(cause_of(&unknown).await.starts_with("the database does not exist"));
        for (url, cause) in [
            ("postgres://x@127.0.0.1:1/x", "nothing listens"),
            ("postgres://x@no-such-host.invalid/x", "its host name is unknown"),
        ] {
            let told = cause_of(url).await;
            assert!(told.starts_with(cause), "{url}: {told}");
        }
    }

    #[tokio::test]
    async fn names_the_cause_if_sqlite_cannot_be_used() {
        let folder = tempfile::tempdir().unwrap();
        let told = cause_of(&format!("sqlite://{}", folder.path().display())).await;
        assert!(told.starts_with("the file cannot be opened"), "{told}");
        let other = folder.path().join("text");
        std::fs::write(&other, "no database, whatever its name says. ".repeat(100)).unwrap();
        let told = cause_of(&format!("sqlite://{}", other.display())).await;
        assert!(told.starts_with("the file is damaged or not an SQLite database"), "{told}");
    }

    #[test]
    fn names_the_cause_of_known_codes() {
        for code in ["28P01", "42501", "53100", "53300", "25006", "57P03", "57014"] {
            assert!(postgres_cause(code).is_some(), "{code}");
        }
        for code in ["8", "13", "1544"] {
            assert!(sqlite_cause(code).is_some(), "{code}");
        }
        assert_eq!((postgres_cause("XX000"), sqlite_cause("1")), (None, None));
    }

    #[tokio::test]
    async fn a_url_that_cannot_be_parsed_is_not_repeated() {
        for url in ["postgres://lanyard:hunter2@localhost:port/lanyard", "nosql://lanyard:hunter2@localhost/lanyard"] {
            let error = Error::from(sea_orm::Database::connect(url).await.unwrap_err());
            let Error::StoreUnavailable { source } = &error else { panic!("{url}: {error:?}") };
            assert!(!source.0.contains("hunter2") && !source.0.is_empty(), "{source}");
        }
    }
}
