//! A full disk and a read-only one: what was acknowledged is stored, nothing else is, and the writer recovers when the
//! disk does.

use std::sync::Arc;
use std::time::Duration;

use sea_orm::{ConnectionTrait, Statement};

use super::super::entity::user;
use super::{Store, StoreConfig};
use crate::clock::{Clock, Time};
use crate::config::Config;
use crate::crypto::Keyring;
use crate::error::{Error, Result};
use crate::model::audit::{AuditEvent, Operation};
use crate::model::id::UserId;
use crate::model::user::ApprovalStatus;

async fn store(folder: &std::path::Path) -> Store {
    let mut config = Config::dev(folder);
    config.database.statement_timeout = Duration::from_millis(100);
    let keyring = Arc::new(Keyring::generate(Time::default()));
    let store = Store::connect(StoreConfig::of(&config), keyring, Clock::manual(Time::default())).await.unwrap();
    store.migrate(&|_, _| {}).await.unwrap();
    store
}

fn large_user(number: usize) -> user::Model {
    user::Model {
        user_id: UserId::new(Time::default()),
        username: format!("user{number}"),
        username_key: format!("user{number}"),
        display_name: "n".repeat(3_000),
        email: String::new(),
        search_text: String::new(),
        is_super_user: false,
        is_locked: false,
        approval_status: ApprovalStatus::Approved,
        password_hash: None,
        password_must_change: false,
        password_expires_at: None,
        totp_secret: None,
        is_totp_enabled: false,
        totp_last_step: 0,
        allowed_networks: String::new(),
        created_at: Time::default(),
        updated_at: Time::default(),
        version: 1,
    }
}

fn event(number: usize) -> AuditEvent {
    AuditEvent {
        time: Time::default(),
        correlation_id: format!("cid{number}"),
        operation: Operation::UserCreate,
        reason: None,
        caller: String::new(),
        subject: None,
        target: None,
        session: None,
        app: String::new(),
        remote_addr: String::new(),
        detail: String::new(),
    }
}

async fn add(store: &Store, number: usize) -> Result<UserId> {
    let row = large_user(number);
    let user = row.user_id;
    let added = store.write(move |tx| {
        let row = row.clone();
        Box::pin(async move {
            tx.insert_user(row).await?;
            tx.record_event(event(number));
            Ok(())
        })
    });
    added.await.map(|()| user)
}

/// Runs on the writer's connection.
async fn pragma(store: &Store, pragma: &str) -> i64 {
    let conn = store.shared.writer.conn();
    let statement = Statement::from_string(conn.get_database_backend(), format!("PRAGMA {pragma}"));
    conn.query_one_raw(statement).await.unwrap().map_or(0, |row| row.try_get_by_index(0).unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_loses_nothing_that_was_acknowledged_and_does_not_stop_the_writer() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path()).await;
    let (mut acknowledged, mut refused) = (0, 0);
    for round in 0..5 {
        let pages = pragma(&store, "page_count").await;
        assert_eq!(pragma(&store, &format!("max_page_count = {}", pages + 12)).await, pages + 12);
        // Concurrent, so that they share commits, and more than fit.
        let adding: Vec<_> = (0..40)
            .map(|number| {
                let store = store.clone();
                tokio::spawn(async move { (number, add(&store, round * 100 + number).await) })
            })
            .collect();
        for added in adding {
            let (number, added) = added.await.unwrap();
            let found = store.user_by_name(&format!("user{}", round * 100 + number)).await.unwrap();
            match added {
                Ok(user) => {
                    acknowledged += 1;
                    assert_eq!(found.map(|found| found.user_id), Some(user));
                }
                Err(Error::StoreUnavailable { .. } | Error::WriteConflict) => {
                    refused += 1;
                    assert!(found.is_none(), "it was refused and is there");
                }
                Err(other) => panic!("{other:?}"),
            }
        }
        // The writer has a new connection by now, without stale transactions and without the limit.
        assert!(pragma(&store, "max_page_count").await > pages + 12);
        add(&store, round * 100 + 50).await.unwrap();
        acknowledged += 1;
        let (events, problems) = store.verify_audit(&|_, _| {}).await.unwrap();
        assert_eq!((events, problems), (acknowledged, vec![]));
    }
    assert!(refused > 0, "the disk was never full");
}

#[tokio::test]
async fn a_disk_that_may_not_be_written_to_is_unavailable_and_can_be_read() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path()).await;
    let ann = add(&store, 1).await.unwrap();
    pragma(&store, "query_only = ON").await;
    let refused = add(&store, 2).await;
    assert!(matches!(refused, Err(Error::StoreUnavailable { .. })), "{refused:?}");
    assert!(store.user(ann).await.unwrap().is_some());
    pragma(&store, "query_only = OFF").await;
    add(&store, 2).await.unwrap();
    assert_eq!(store.verify_audit(&|_, _| {}).await.unwrap(), (2, vec![]));
}
