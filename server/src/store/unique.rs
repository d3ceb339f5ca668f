//! Queries with at most one row.

use sea_orm::{ConnectionTrait, EntityTrait, FromQueryResult, QueryTrait, Select};

use crate::error::{Error, Result};

/// The row of a condition that at most one row meets.
///
/// `one` would add `LIMIT ?`: since 3.48 SQLite uses the bound limit for planning and prepares the statement anew for each binding.
pub(super) async fn unique<E: EntityTrait>(found: Select<E>, conn: &impl ConnectionTrait) -> Result<Option<E::Model>> {
    let statement = found.build(conn.get_database_backend());
    let row = conn.query_one_raw(statement).await?;
    row.map(|row| E::Model::from_query_result(&row, "").map_err(Error::from)).transpose()
}
