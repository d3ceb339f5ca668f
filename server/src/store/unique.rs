//! Queries with at most one row.

use sea_orm::{ConnectionTrait, EntityTrait, FromQueryResult, QueryTrait, Select};

use crate::error::{Error, Result};

/// The row that matches a query with at most one row.
///
/// `one` would add `LIMIT ?`: SQLite since 3.48 plans with the bound limit and prepares again for each binding.
pub(super) async fn unique<E: EntityTrait>(found: Select<E>, conn: &impl ConnectionTrait) -> Result<Option<E::Model>> {
    let statement = found.build(conn.get_database_backend());
    let row = conn.query_one_raw(statement).await?;
    row.map(|row| E::Model::from_query_result(&row, "").map_err(Error::from)).transpose()
}
