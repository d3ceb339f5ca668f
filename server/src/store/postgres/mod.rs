//! Specifics of PostgreSQL: connection options, and why connecting failed.

use std::str::FromStr;
use std::time::Duration;

use sea_orm::sqlx::ConnectOptions as _;
use sea_orm::sqlx::postgres::PgConnectOptions;
use sea_orm::{ConnectOptions, DatabaseConnection};
use tokio::time::timeout;

use super::error::connection_failed;
use crate::config::Database;
use crate::error::{Error, Result};

/// Idle time after which a connection is tested before use.
const PING_AFTER: Duration = Duration::from_secs(5);

pub(super) fn set_options(options: &mut ConnectOptions, database: &Database) {
    options
        .set_application_name("lanyard")
        .statement_timeout(database.statement_timeout)
        .test_before_acquire(false)
        .test_before_acquire_if_idle_for(PING_AFTER)
        // A replica that hangs in a transaction must not hold locks forever.
        .map_sqlx_postgres_opts(|postgres| postgres.options([("idle_in_transaction_session_timeout", "15s")]));
}

/// Connects a pool.
pub(super) async fn connect(options: ConnectOptions, database: &Database) -> Result<DatabaseConnection> {
    let error = match sea_orm::Database::connect(options).await {
        Ok(pool) => return Ok(pool),
        Err(error) => Error::from(error),
    };
    Err(cause(database).await.unwrap_or(error))
}

/// Why a connection fails: the pool tries until its time is over, and then knows only that.
async fn cause(database: &Database) -> Option<Error> {
    let options = PgConnectOptions::from_str(database.url.expose()).ok()?;
    let connection = timeout(database.acquire_timeout, options.connect()).await.ok()?;
    connection.err().map(connection_failed)
}
