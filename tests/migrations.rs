//! The schema: many servers start together, and one that is too old is refused.

use std::sync::atomic::{AtomicUsize, Ordering};

use lanyard_server::serve::{Schema, Server, StartError};
use lanyard_tests::on_each_database;
use lanyard_tests::support::store::{Ground, add_user};

on_each_database!(
    six_that_migrate_at_once_all_succeed_and_each_migration_is_applied_once,
    a_server_refuses_a_schema_that_lacks_migrations,
    progress_tells_what_is_done_of_what,
);

async fn six_that_migrate_at_once_all_succeed_and_each_migration_is_applied_once(ground: Ground) {
    let applied = AtomicUsize::new(0);
    let one = async || {
        // Connecting is part of starting: on SQLite it makes the file.
        let store = ground.connect().await;
        applied.fetch_add(store.migrate(&|_, _| {}).await.unwrap(), Ordering::SeqCst);
        assert_eq!(store.pending_migrations().await.unwrap(), 0);
        store
    };
    let (store, ..) = tokio::join!(one(), one(), one(), one(), one(), one());
    let recorded = ground.raw().await.count("seaql_migrations").await;
    assert!(recorded > 0);
    assert_eq!(i64::try_from(applied.load(Ordering::SeqCst)).unwrap(), recorded);
    // What stands there can be used.
    add_user(&store, "ann").await;
    assert_eq!(store.migrate(&|_, _| {}).await.unwrap(), 0, "nothing is left to do");
}

async fn a_server_refuses_a_schema_that_lacks_migrations(mut ground: Ground) {
    ground.config.server.listen = ([127, 0, 0, 1], 0).into();
    ground.keyring.save(&ground.config.keys.file).unwrap();
    let bind = async |schema| Server::bind(ground.config.clone(), ground.clock.clone(), schema).await;

    let all = match bind(Schema::Check).await {
        Err(StartError::SchemaOutdated { pending }) => pending,
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("it started without a schema"),
    };
    let store = ground.connect().await;
    assert_eq!(store.pending_migrations().await.unwrap(), all);
    let tables = if ground.is_postgres() {
        "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"
    } else {
        "SELECT count(*) FROM sqlite_master"
    };
    assert_eq!(ground.raw().await.number(tables).await, 0, "looking writes nothing");

    assert_eq!(store.migrate(&|_, _| {}).await.unwrap(), all);
    assert!(bind(Schema::Check).await.is_ok());
    // As if a newer version with one more migration had been installed.
    ground.raw().await.execute("DELETE FROM seaql_migrations").await;
    assert!(matches!(bind(Schema::Check).await, Err(StartError::SchemaOutdated { .. })));
}

async fn progress_tells_what_is_done_of_what(ground: Ground) {
    let store = ground.connect().await;
    let told = std::sync::Mutex::new(Vec::new());
    let applied = store.migrate(&|done, total| told.lock().unwrap().push((done, total))).await.unwrap();
    let expected: Vec<_> = (0..=applied).map(|done| (done, applied)).collect();
    assert_eq!(*told.lock().unwrap(), expected);
}
