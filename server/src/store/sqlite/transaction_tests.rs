//! What a SQLite transaction commits, rolls back and leaves behind.

use std::path::Path;

use sea_orm::{ConnectOptions, Database};

use super::*;

/// One connection to a database with a table of unique numbers.
async fn connect(folder: &Path) -> DatabaseConnection {
    let url = format!("sqlite://{}?mode=rwc", folder.join("numbers.db").display());
    let mut options = ConnectOptions::new(url);
    options.max_connections(1).sqlx_logging(false);
    options.map_sqlx_sqlite_opts(|sqlite| sqlite.busy_timeout(std::time::Duration::ZERO));
    let conn = Database::connect(options).await.unwrap();
    conn.execute_unprepared("CREATE TABLE IF NOT EXISTS number (n INTEGER PRIMARY KEY)").await.unwrap();
    conn
}

fn insert(number: i64) -> Statement {
    Statement::from_sql_and_values(DbBackend::Sqlite, "INSERT INTO number VALUES (?)", [number.into()])
}

async fn numbers(conn: &impl ConnectionTrait) -> Vec<i64> {
    let rows = conn.query_all_raw(text("SELECT n FROM number ORDER BY n")).await.unwrap();
    rows.iter().map(|row| row.try_get_by_index(0).unwrap()).collect()
}

async fn begin(conn: &DatabaseConnection) -> SqliteTransaction {
    SqliteTransaction::begin(conn).await.unwrap()
}

#[tokio::test]
async fn what_is_rolled_back_or_dropped_is_not_there() {
    let folder = tempfile::tempdir().unwrap();
    let conn = connect(folder.path()).await;
    for is_dropped in [false, true] {
        let transaction = begin(&conn).await;
        transaction.execute_raw(insert(1)).await.unwrap();
        assert_eq!(numbers(&transaction).await, [1]);
        if !is_dropped {
            transaction.rollback().await.unwrap();
        }
        drop(transaction);
        assert!(numbers(&conn).await.is_empty(), "dropped: {is_dropped}");
    }
}

#[tokio::test]
async fn a_part_is_rolled_back_alone() {
    let folder = tempfile::tempdir().unwrap();
    let conn = connect(folder.path()).await;
    for has_failed in [false, true] {
        let transaction = begin(&conn).await;
        transaction.execute_raw(insert(1)).await.unwrap();
        transaction.savepoint().await.unwrap();
        transaction.execute_raw(insert(2)).await.unwrap();
        if has_failed {
            transaction.execute_raw(insert(1)).await.unwrap_err();
        }
        transaction.rollback_to_savepoint().await.unwrap();
        transaction.savepoint().await.unwrap();
        transaction.execute_raw(insert(3)).await.unwrap();
        transaction.release().await.unwrap();
        transaction.commit().await.unwrap();
        drop(transaction);
        assert_eq!(numbers(&conn).await, [1, 3], "failed: {has_failed}");
        conn.execute_unprepared("DELETE FROM number").await.unwrap();
    }
}

#[tokio::test]
async fn after_a_statement_that_failed_nothing_runs_and_nothing_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let conn = connect(folder.path()).await;
    let transaction = begin(&conn).await;
    transaction.execute_raw(insert(1)).await.unwrap();
    transaction.execute_raw(insert(1)).await.unwrap_err();
    transaction.execute_raw(insert(2)).await.unwrap_err();
    transaction.query_one_raw(text("SELECT 1")).await.unwrap_err();
    transaction.query_all_raw(text("SELECT 1")).await.unwrap_err();
    transaction.commit().await.unwrap_err();
    drop(transaction);
    assert!(numbers(&conn).await.is_empty());
}

#[tokio::test]
async fn one_that_cannot_begin_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (conn, other) = (connect(folder.path()).await, connect(folder.path()).await);
    let held = begin(&other).await;
    held.execute_raw(insert(1)).await.unwrap();
    assert!(SqliteTransaction::begin(&conn).await.is_err());
    held.rollback().await.unwrap();
    assert!(numbers(&conn).await.is_empty());
    begin(&conn).await.rollback().await.unwrap();
}

#[tokio::test]
async fn a_connection_has_one_transaction_after_the_other() {
    let folder = tempfile::tempdir().unwrap();
    let conn = connect(folder.path()).await;
    let mut transaction = begin(&conn).await;
    for number in 1..4 {
        transaction.execute_raw(insert(number)).await.unwrap();
        transaction.commit().await.unwrap();
        transaction = transaction.begin_another().await.unwrap();
        transaction.execute_raw(insert(10)).await.unwrap();
        transaction.rollback().await.unwrap();
        transaction = transaction.begin_another().await.unwrap();
    }
    drop(transaction);
    assert_eq!(numbers(&conn).await, [1, 2, 3]);
}
