//! Questions to which there is one answer, or none.

use sea_orm::{ConnectionTrait, EntityTrait, FromQueryResult, QueryTrait, Select};

use crate::error::{Error, Result};

/// The row of a condition that one row can meet.
///
/// `one` asks for `LIMIT ?`: since 3.48 SQLite looks at the bound limit when it plans, and prepares the statement anew whenever
/// a value is bound, the same one too.
pub(super) async fn unique<E: EntityTrait>(found: Select<E>, conn: &impl ConnectionTrait) -> Result<Option<E::Model>> {
    let statement = found.build(conn.get_database_backend());
    let row = conn.query_one_raw(statement).await?;
    row.map(|row| E::Model::from_query_result(&row, "").map_err(Error::from)).transpose()
}
