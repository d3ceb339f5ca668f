//! What a transaction of SQLite puts off, takes back and leaves.

use std::path::Path;

use sea_orm::{ConnectOptions, Database};

use super::*;
use crate::store::transaction::Transaction;

/// One connection, and what is numbered there once.
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

async fn begin(conn: &DatabaseConnection) -> Transaction {
    Transaction::Sqlite(SqliteTransaction::begin(conn).await.unwrap())
}

fn of_sqlite(transaction: &Transaction) -> &SqliteTransaction {
    let Transaction::Sqlite(transaction) = transaction else { panic!("it is none of SQLite") };
    transaction
}

#[tokio::test]
async fn what_is_put_off_is_there_for_the_next_statement_and_after_the_commit() {
    let folder = tempfile::tempdir().unwrap();
    let conn = connect(folder.path()).await;
    let transaction = begin(&conn).await;
    transaction.defer(vec![insert(1), insert(2)]).await.unwrap();
    assert_eq!(of_sqlite(&transaction).inner.lock().await.round_trips, 0, "nobody needs it yet");
    assert_eq!(numbers(&transaction).await, [1, 2]);
    transaction.defer(vec![insert(3)]).await.unwrap();
    let one = transaction.query_one_raw(text("SELECT max(n) FROM number")).await.unwrap().unwrap();
    assert_eq!(one.try_get_by_index::<i64>(0).unwrap(), 3);
    transaction.defer(vec![insert(4)]).await.unwrap();
    transaction.commit(vec![insert(5)]).await.unwrap();
    assert_eq!(numbers(&conn).await, [1, 2, 3, 4, 5]);
}

#[tokio::test]
async fn more_than_fit_in_one_text_are_run_in_their_order() {
    let folder = tempfile::tempdir().unwrap();
    let conn = connect(folder.path()).await;
    let transaction = begin(&conn).await;
    transaction.defer((0..20).map(insert).collect()).await.unwrap();
    let delete = transaction.execute_unprepared("DELETE FROM number WHERE n >= 18").await.unwrap();
    assert_eq!(delete.rows_affected(), 2, "what was put off is not counted");
    transaction.defer(vec![insert(20)]).await.unwrap();
    let delete = transaction.execute_unprepared("DELETE FROM number WHERE n < 3").await.unwrap();
    assert_eq!(delete.rows_affected(), 3);
    transaction.commit((30..50).map(insert).collect()).await.unwrap();
    assert_eq!(numbers(&conn).await, (3..18).chain([20]).chain(30..50).collect::<Vec<_>>());
}

#[tokio::test]
async fn what_is_taken_back_or_dropped_is_not_there() {
    let folder = tempfile::tempdir().unwrap();
    let conn = connect(folder.path()).await;
    for is_needed in [false, true] {
        for is_dropped in [false, true] {
            let transaction = begin(&conn).await;
            transaction.defer(vec![insert(1)]).await.unwrap();
            if is_needed {
                assert_eq!(numbers(&transaction).await, [1]);
            }
            if is_dropped {
                drop(transaction);
            } else {
                transaction.rollback().await.unwrap();
            }
            assert!(numbers(&conn).await.is_empty(), "needed: {is_needed}, dropped: {is_dropped}");
        }
    }
}

#[tokio::test]
async fn a_part_is_taken_back_alone() {
    let folder = tempfile::tempdir().unwrap();
    let conn = connect(folder.path()).await;
    for visited_before in [false, true] {
        for visited_after in [false, true] {
            let transaction = begin(&conn).await;
            let sqlite = of_sqlite(&transaction);
            transaction.defer(vec![insert(1)]).await.unwrap();
            if visited_before {
                numbers(&transaction).await;
            }
            let savepoint = sqlite.savepoint().await;
            transaction.defer(vec![insert(2)]).await.unwrap();
            if visited_after {
                transaction.execute_raw(insert(1)).await.unwrap_err();
            }
            sqlite.take_back(savepoint).await.unwrap();
            sqlite.savepoint().await;
            transaction.defer(vec![insert(3)]).await.unwrap();
            sqlite.release().await.unwrap();
            transaction.commit(Vec::new()).await.unwrap();
            assert_eq!(numbers(&conn).await, [1, 3], "visited before {visited_before}, after {visited_after}");
            conn.execute_unprepared("DELETE FROM number").await.unwrap();
        }
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
    transaction.commit(vec![insert(3)]).await.unwrap_err();
    assert!(numbers(&conn).await.is_empty());

    let transaction = begin(&conn).await;
    transaction.defer(vec![insert(1), insert(1)]).await.unwrap();
    transaction.commit(Vec::new()).await.unwrap_err();
    assert!(numbers(&conn).await.is_empty());
}

#[tokio::test]
async fn one_that_cannot_begin_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (conn, other) = (connect(folder.path()).await, connect(folder.path()).await);
    let held = begin(&other).await;
    held.execute_raw(insert(1)).await.unwrap();
    let transaction = begin(&conn).await;
    transaction.execute_raw(insert(2)).await.unwrap_err();
    held.rollback().await.unwrap();
    // The lock is free now: this would be a change of its own.
    transaction.execute_raw(insert(3)).await.unwrap_err();
    transaction.rollback().await.unwrap_err();
    assert!(numbers(&conn).await.is_empty());
}

#[tokio::test]
async fn a_connection_has_one_transaction_after_the_other() {
    let folder = tempfile::tempdir().unwrap();
    let conn = connect(folder.path()).await;
    let mut transaction = SqliteTransaction::begin(&conn).await.unwrap();
    for number in 1..4 {
        Transaction::Sqlite(transaction.clone()).commit(vec![insert(number)]).await.unwrap();
        transaction = transaction.begin_another().await;
        transaction.execute_raw(insert(10)).await.unwrap();
        Transaction::Sqlite(transaction.clone()).rollback().await.unwrap();
        transaction = transaction.begin_another().await;
    }
    drop(transaction);
    assert_eq!(numbers(&conn).await, [1, 2, 3]);
}
