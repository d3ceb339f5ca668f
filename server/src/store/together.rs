//! Statements that need no answer, in one go.

use sea_orm::{ConnectionTrait, DatabaseTransaction, DbBackend, Statement, Value, Values};

use super::fault;
use crate::error::Result;

/// So many statements are one text, at most. Each sequence of statements is a text of its own, which is prepared once: those of
/// single changes come again and again, while no two batches of reads are alike.
const AT_ONCE: usize = 8;

/// Runs statements in their order; returns how many rows they changed in all.
///
/// SQLite takes a few as one text with all values, because each visit to the thread of its connection costs more than what is
/// done there. PostgreSQL takes one after the other: its protocol prepares one statement at a time.
pub(super) async fn execute_together(tx: &DatabaseTransaction, statements: Vec<Statement>) -> Result<u64> {
    let at_once = if tx.get_database_backend() == DbBackend::Sqlite { joined(statements) } else { statements };
    let mut changed = 0;
    for statement in at_once {
        changed += tx.execute_raw(statement).await.map_err(fault)?.rows_affected();
    }
    Ok(changed)
}

fn joined(statements: Vec<Statement>) -> Vec<Statement> {
    if !(2..=AT_ONCE).contains(&statements.len()) {
        return statements;
    }
    let texts: Vec<&str> = statements.iter().map(|statement| statement.sql.as_str()).collect();
    let sql = texts.join("; ");
    let values: Vec<Value> =
        statements.into_iter().filter_map(|statement| statement.values).flat_map(|Values(values)| values).collect();
    vec![Statement::from_sql_and_values(DbBackend::Sqlite, sql, values)]
}
