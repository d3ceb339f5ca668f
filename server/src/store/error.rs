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

/// The database's code and message. They name objects, but contain no values and no statement.
fn describe(error: &RuntimeErr) -> String {
    use sea_orm::sqlx::Error as Sqlx;

    match error {
        RuntimeErr::SqlxError(source) => match source.as_ref() {
            Sqlx::Database(database) => format!("{}: {}", database.code().unwrap_or_default(), database.message()),
            Sqlx::Io(problem) => format!("connection: {}", problem.kind()),
            Sqlx::PoolTimedOut => "no connection became free in time".to_owned(),
            other => other.to_string(),
        },
        RuntimeErr::Internal(problem) => problem.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_url_that_cannot_be_parsed_is_not_repeated() {
        for url in ["postgres://lanyard:hunter2@localhost:port/lanyard", "nosql://lanyard:hunter2@localhost/lanyard"] {
            let error = Error::from(sea_orm::Database::connect(url).await.unwrap_err());
            let Error::StoreUnavailable { source } = &error else { panic!("{url}: {error:?}") };
            assert!(!source.0.contains("hunter2") && !source.0.is_empty(), "{source}");
        }
    }
}
