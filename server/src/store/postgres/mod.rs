//! Specifics of PostgreSQL: connection options.

use std::time::Duration;

use sea_orm::ConnectOptions;

use crate::config::Database;

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
