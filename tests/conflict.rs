//! Transactions against others, and a database that does not do its part: what can be tried again is, and happens once; what
//! cannot is told as what it is, and never as a verdict.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use lanyard_server::app::App;
use lanyard_server::app::Context;
use lanyard_server::app::client::ClientInput;
use lanyard_server::config::{CacheMode, DatabaseUrl};
use lanyard_server::correlation::CorrelationId;
use lanyard_server::crypto::{Keyring, Token, TokenKind};
use lanyard_server::error::{Error, Result};
use lanyard_server::model::audit::Operation;
use lanyard_server::model::caller::{Apps, Caller, Flags, Grants};
use lanyard_server::model::id::{CallerId, SessionId, UserId};
use lanyard_server::model::session::RevokeReason;
use lanyard_server::model::verdict::{Inactive, Verdict};
use lanyard_server::store::{SessionTokenRow, Store, StoreConfig, Tx, UserRow};
use lanyard_tests::support::store::{
    Ground, Raw, add_session, add_user, all_at_once, event, run, session_row, user_row,
};
use lanyard_tests::support::{eventually, postgres};
use tokio::sync::{Barrier, Notify};

fn on_sqlite<F: Future<Output = ()>>(test: impl FnOnce(Ground) -> F) {
    run(Ground::sqlite(), test);
}

fn on_postgres<F: Future<Output = ()>>(test: impl FnOnce(Ground) -> F) {
    run(Ground::postgres(), test);
}

/// Counts up the version of a user and writes an event, as a verb does.
async fn count_up(tx: &Tx, user: UserId) -> Result<()> {
    let mut row = tx.user(user).await?.ok_or(Error::UserNotFound)?;
    row.version += 1;
    tx.update_user(row).await?;
    tx.record_event(event(Operation::UserUpdate, "cid", tx.clock().now()));
    Ok(())
}

async fn version(store: &Store, user: &UserRow) -> i64 {
    store.user(user.user_id).await.unwrap().unwrap().version
}

#[test]
fn two_that_deadlock_both_succeed_and_each_happens_once() {
    on_postgres(|ground| async move {
        let store = ground.store().await;
        let users = [add_user(&store, "ann").await, add_user(&store, "bob").await];
        let [ann, bob] = users.each_ref().map(|user| user.user_id);
        let (runs, both_hold_one) = (Arc::new(AtomicU32::new(0)), Arc::new(Barrier::new(2)));
        let work = [(ann, bob), (bob, ann)].map(|(first, second)| {
            let (store, runs, both_hold_one) = (store.clone(), Arc::clone(&runs), Arc::clone(&both_hold_one));
            async move {
                let work = store.write(move |tx| {
                    let is_first_run = runs.fetch_add(1, Ordering::SeqCst) < 2;
                    let both_hold_one = Arc::clone(&both_hold_one);
                    Box::pin(async move {
                        tx.lock_user(first).await?;
                        if is_first_run {
                            both_hold_one.wait().await;
                        }
                        tx.lock_user(second).await?;
                        count_up(tx, first).await?;
                        count_up(tx, second).await
                    })
                });
                work.await
            }
        });
        for end in all_at_once(work).await {
            end.unwrap();
        }
        assert_eq!(runs.load(Ordering::SeqCst), 3, "one of them had to try again");
        assert_eq!([version(&store, &users[0]).await, version(&store, &users[1]).await], [3, 3]);
        assert_eq!(ground.raw().await.count("audit_event").await, 4);
        assert_eq!(store.verify_audit(&|_, _| {}).await.unwrap(), (4, vec![]));
    });
}

#[test]
fn what_cannot_be_put_in_a_row_is_tried_again_and_happens_once_or_not_at_all() {
    on_postgres(|ground| async move {
        ground.store().await.close().await.unwrap();
        let name = ground.postgres.as_ref().unwrap().name().to_owned();
        let serializable = format!("ALTER DATABASE {name} SET default_transaction_isolation = 'serializable'");
        ground.raw().await.execute(&serializable).await;
        let store = ground.connect().await;
        let ann = add_user(&store, "ann").await;
        let user = ann.user_id;
        let runs = Arc::new(AtomicU32::new(0));
        let work = (0..12).map(|_| {
            let (store, runs) = (store.clone(), Arc::clone(&runs));
            async move {
                let work = store.write(move |tx| {
                    runs.fetch_add(1, Ordering::SeqCst);
                    Box::pin(async move { count_up(tx, user).await })
                });
                work.await
            }
        });
        let mut done = 0;
        for end in all_at_once(work).await {
            match end {
                Ok(()) => done += 1,
                Err(Error::WriteConflict) => {}
                Err(other) => panic!("{other:?}"),
            }
        }
        assert!(done > 1 && runs.load(Ordering::SeqCst) > 12, "{done} of {runs:?}: some had to try again");
        assert_eq!(version(&store, &ann).await, 1 + done);
        assert_eq!(ground.raw().await.count("audit_event").await, done);
        assert_eq!(store.verify_audit(&|_, _| {}).await.unwrap().1, []);
    });
}

#[test]
fn another_program_that_holds_sqlite_for_a_moment_is_waited_for() {
    on_sqlite(|mut ground| async move {
        ground.config.database.statement_timeout = Duration::from_millis(50);
        let store = ground.store().await;
        let ann = add_user(&store, "ann").await;
        let user = ann.user_id;
        let raw = ground.raw().await;
        raw.execute("BEGIN IMMEDIATE").await;
        let work = tokio::spawn({
            let store = store.clone();
            async move { store.write(move |tx| Box::pin(async move { count_up(tx, user).await })).await }
        });
        // How long the other program takes: longer than one try, shorter than all.
        tokio::time::sleep(Duration::from_millis(120)).await;
        assert!(!work.is_finished());
        raw.execute("COMMIT").await;
        work.await.unwrap().unwrap();
        assert_eq!(version(&store, &ann).await, 2);

        raw.execute("BEGIN IMMEDIATE").await;
        let lost = store.write(move |tx| Box::pin(async move { count_up(tx, user).await })).await;
        assert!(matches!(lost, Err(Error::WriteConflict)), "{lost:?}");
        assert_eq!(version(&store, &ann).await, 2, "readers do not wait for it");
        raw.execute("COMMIT").await;
        store.write(move |tx| Box::pin(async move { count_up(tx, user).await })).await.unwrap();
        assert_eq!(version(&store, &ann).await, 3);
        assert_eq!(store.verify_audit(&|_, _| {}).await.unwrap(), (2, vec![]));
    });
}

/// Waits until as many transactions wait for a lock.
async fn until_waiting(ground: &Ground, count: i64) {
    let raw = ground.raw().await;
    let waiting =
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
    eventually("somebody waits for a lock", async || raw.number(waiting).await == count).await;
}

/// A rotation that has its new token but has not committed; then `change`, which must wait for it; then both end. Returns
/// what the cache knows of the new token.
async fn rotate_under_way<T: Send + 'static>(
    ground: &Ground,
    store: &Store,
    user: &UserRow,
    change: impl Fn(&Tx) -> std::pin::Pin<Box<dyn Future<Output = Result<T>> + Send + '_>> + Send + Sync + 'static,
) -> Arc<lanyard_server::model::session::SessionEntry> {
    let session = add_session(store, user).await;
    let (rotated, may_commit) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (new, key_id) = store.keyring().hash_token(Token::generate(TokenKind::Ust).as_ref());
    let rotating = tokio::spawn({
        let (store, rotated, may_commit) = (store.clone(), Arc::clone(&rotated), Arc::clone(&may_commit));
        async move {
            let work = store.write(move |tx| {
                let (rotated, may_commit) = (Arc::clone(&rotated), Arc::clone(&may_commit));
                Box::pin(async move {
                    let (token, mut row) = tx.lock_session_by_token(&session.hash).await?.expect("it is there");
                    row.generation += 1;
                    let (session_id, generation) = (row.session_id, row.generation);
                    tx.replace_token(&token, tx.clock().now(), vec![]).await?;
                    let (grace_until, successor, token_hash) = (None, None, new);
                    let key_id = i32::from(key_id);
                    let token = SessionTokenRow { token_hash, key_id, session_id, generation, grace_until, successor };
                    tx.insert_token(token).await?;
                    tx.renew_session(&row).await?;
                    rotated.notify_one();
                    may_commit.notified().await;
                    Ok(())
                })
            });
            work.await
        }
    });
    rotated.notified().await;
    let (changed, may_end) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let changing = tokio::spawn({
        let (store, changed, may_end) = (store.clone(), Arc::clone(&changed), Arc::clone(&may_end));
        let change = Arc::new(change);
        async move {
            let work = store.write(move |tx| {
                let (changed, may_end) = (Arc::clone(&changed), Arc::clone(&may_end));
                let change = Arc::clone(&change);
                Box::pin(async move {
                    change(tx).await?;
                    changed.notify_one();
                    may_end.notified().await;
                    Ok(())
                })
            });
            work.await
        }
    });
    until_waiting(ground, 1).await;
    may_commit.notify_one();
    rotating.await.unwrap().unwrap();
    changed.notified().await;
    // The change is made but not committed: what is read now goes into the cache, and must not stay there.
    let before = store.session_by_token(&new).await.unwrap().unwrap();
    assert!(before.revoked_at.is_none() && !before.is_super_user);
    may_end.notify_one();
    changing.await.unwrap().unwrap();
    store.session_by_token(&new).await.unwrap().unwrap()
}

#[test]
fn a_token_of_a_rotation_under_way_is_ended_with_the_others() {
    on_postgres(|mut ground| async move {
        ground.config.cache.mode = CacheMode::On;
        let store = ground.store().await;
        let ann = add_user(&store, "ann").await;
        let user: UserId = ann.user_id;
        let ended = rotate_under_way(&ground, &store, &ann, move |tx| {
            Box::pin(async move {
                tx.lock_user(user).await?;
                tx.revoke_sessions_of_user(user, None, RevokeReason::Administrator, tx.clock().now()).await
            })
        });
        assert!(ended.await.revoked_at.is_some());
    });
}

#[test]
fn a_token_of_a_rotation_under_way_shows_what_its_user_became() {
    on_postgres(|mut ground| async move {
        ground.config.cache.mode = CacheMode::On;
        let store = ground.store().await;
        let ann = add_user(&store, "ann").await;
        let promoted = UserRow { is_super_user: true, ..ann.clone() };
        let after = rotate_under_way(&ground, &store, &ann, move |tx| {
            let row = promoted.clone();
            Box::pin(async move {
                tx.lock_user(row.user_id).await?;
                tx.update_user(row).await
            })
        });
        assert!(after.await.is_super_user);
    });
}

/// Makes commits that wrote this event wait until `raw` ends its transaction.
async fn hold_commits_of(raw: &Raw, correlation_id: &str) {
    raw.execute("CREATE FUNCTION hold() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_advisory_xact_lock(42); RETURN NULL; END'")
        .await;
    raw.execute(&format!(
        "CREATE CONSTRAINT TRIGGER hold AFTER INSERT ON audit_event DEFERRABLE INITIALLY DEFERRED FOR EACH ROW \
         WHEN (NEW.correlation_id = '{correlation_id}') EXECUTE FUNCTION hold()"
    ))
    .await;
    raw.execute("BEGIN").await;
    raw.execute("SELECT pg_advisory_xact_lock(42)").await;
}

#[test]
fn writers_do_not_wait_for_each_others_commits() {
    on_postgres(|ground| async move {
        let (one, other) = (ground.store().await, ground.connect().await);
        let write = |store: &Store, correlation_id: &'static str| {
            let (store, now) = (store.clone(), ground.clock.now());
            async move {
                let work = store.write(move |tx| {
                    tx.record_event(event(Operation::UserUpdate, correlation_id, now));
                    Box::pin(async { Ok(()) })
                });
                work.await.unwrap();
            }
        };
        write(&one, "first").await;
        write(&other, "first").await;
        let raw = ground.raw().await;
        hold_commits_of(&raw, "slow").await;
        let slow = tokio::spawn(write(&one, "slow"));
        until_waiting(&ground, 1).await;
        for number in 0..10 {
            // The same replica and another one go on, also with one that opens a chain.
            write(if number % 2 == 0 { &one } else { &other }, "quick").await;
        }
        assert!(!slow.is_finished());
        raw.execute("COMMIT").await;
        slow.await.unwrap();
        assert_eq!(one.verify_audit(&|_, _| {}).await.unwrap(), (13, vec![]));
        assert_eq!(raw.count("audit_chain").await, 3);
    });
}

#[test]
fn replicas_that_open_chains_at_once_all_succeed_and_leave_no_gap() {
    on_postgres(|ground| async move {
        ground.store().await.close().await.unwrap();
        let mut stores = Vec::new();
        for _ in 0..4 {
            stores.push(ground.connect().await);
        }
        let now = ground.clock.now();
        let work = (0..40).map(|number: usize| {
            let store = stores[number % 4].clone();
            async move {
                let work = store.write(move |tx| {
                    tx.record_event(event(Operation::UserUpdate, format!("cid{number}"), now));
                    Box::pin(async { Ok(()) })
                });
                work.await.unwrap();
            }
        });
        all_at_once(work).await;
        assert_eq!(stores[0].verify_audit(&|_, _| {}).await.unwrap(), (40, vec![]));
        let raw = ground.raw().await;
        let chains = raw.count("audit_chain").await;
        assert!(chains >= 4, "{chains}");
        assert_eq!(raw.number("SELECT max(number) FROM audit_chain").await, chains);
    });
}

fn context(ground: &Ground) -> Context {
    let caller = Caller {
        id: CallerId::new(ground.clock.now()),
        name: "shop".to_owned(),
        granted: Grants::all(),
        apps: Apps::All,
        flags: Flags::default(),
        max_in_flight: 100,
        in_flight: Arc::default(),
    };
    let correlation_id = CorrelationId::new(ground.clock.now());
    Context { correlation_id, caller: Arc::new(caller), peer: [192, 0, 2, 7].into() }
}

#[test]
fn while_postgresql_is_away_there_is_no_verdict_and_afterwards_the_right_one() {
    let cluster = postgres::PrivateCluster::start();
    run(Ground::on(cluster.database()), |mut ground| async move {
        ground.config.database.acquire_timeout = Duration::from_millis(500);
        ground.config.cache.mode = CacheMode::Off;
        let store = ground.store().await;
        let app =
            App::new(&ground.config, store.clone(), Arc::clone(&ground.keyring), ground.clock.clone()).await.unwrap();
        let ann = user_row("ann", ground.clock.now());
        let tokens = store.seed(1, 1, &ann, &session_row(&ann, ground.clock.now()), &|_| {}).await.unwrap();
        let unknown = Token::generate(TokenKind::Ust);
        let context = context(&ground);
        let client = app.client(&context, ClientInput::default()).unwrap();
        let verify = async |token: &Token| app.verify_session(&client, token.expose(), true, None).await;
        assert!(matches!(verify(&tokens[0]).await, Ok(Verdict::Active(_))));

        cluster.stop();
        for token in [&tokens[0], &unknown, &tokens[0]] {
            let verdict = verify(token).await;
            assert!(matches!(verdict, Err(Error::StoreUnavailable { .. })), "{verdict:?}");
        }
        let row = user_row("bob", ground.clock.now());
        let written = store.write(move |tx| {
            let row = row.clone();
            Box::pin(async move { tx.insert_user(row).await })
        });
        let written = written.await;
        assert!(matches!(written, Err(Error::StoreUnavailable { .. })), "{written:?}");
        let ping = store.ping().await;
        assert!(matches!(ping, Err(Error::StoreUnavailable { .. })), "{ping:?}");

        cluster.resume();
        eventually("the database answers again", async || verify(&tokens[0]).await.is_ok()).await;
        assert!(matches!(verify(&tokens[0]).await, Ok(Verdict::Active(_))));
        assert!(matches!(verify(&unknown).await, Ok(Verdict::Inactive(Inactive::Unknown))));
        add_user(&store, "bob").await;
        assert_eq!(store.verify_audit(&|_, _| {}).await.unwrap().1, []);
    });
}

#[test]
fn a_database_that_is_not_there_is_unavailable() {
    on_postgres(|ground| async move {
        let connect = async |url: String| {
            let mut config = ground.config.clone();
            config.database.url = DatabaseUrl::new(url);
            config.database.acquire_timeout = Duration::from_millis(500);
            Store::connect(StoreConfig::of(&config), Arc::clone(&ground.keyring), ground.clock.clone()).await
        };
        let nobody = lanyard_tests::support::refusing_address();
        let problem = connect(format!("postgres://lanyard:secret-word@{nobody}/lanyard")).await.unwrap_err();
        assert!(matches!(problem, Error::StoreUnavailable { .. }), "{problem:?}");
        assert!(!format!("{problem:?}").contains("secret-word"));
        let problem = connect("sqlite:///proc/lanyard/no.db".to_owned()).await.unwrap_err();
        assert!(matches!(problem, Error::StoreUnavailable { .. }), "{problem:?}");
    });
}

#[test]
fn a_statement_that_takes_too_long_is_given_up() {
    on_postgres(|mut ground| async move {
        ground.config.database.statement_timeout = Duration::from_millis(200);
        let store = ground.store().await;
        let ann = add_user(&store, "ann").await;
        let user = ann.user_id;
        let raw = ground.raw().await;
        raw.execute("BEGIN").await;
        raw.execute(r#"SELECT 1 FROM "user" FOR UPDATE"#).await;
        let given_up = store.write(move |tx| Box::pin(async move { tx.lock_user(user).await.map(drop) })).await;
        assert!(matches!(given_up, Err(Error::StoreUnavailable { .. })), "{given_up:?}");
        raw.execute("COMMIT").await;
        store.write(move |tx| Box::pin(async move { tx.lock_user(user).await.map(drop) })).await.unwrap();
    });
}

#[test]
fn when_all_connections_are_taken_it_is_not_waited_for_ever() {
    on_postgres(|mut ground| async move {
        ground.config.database.max_connections = 1;
        ground.config.database.acquire_timeout = Duration::from_millis(200);
        let store = ground.store().await;
        let (begun, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let work = tokio::spawn({
            let (store, begun, go_on) = (store.clone(), Arc::clone(&begun), Arc::clone(&go_on));
            async move {
                let work = store.write(move |_| {
                    let (begun, go_on) = (Arc::clone(&begun), Arc::clone(&go_on));
                    Box::pin(async move {
                        begun.notify_one();
                        go_on.notified().await;
                        Ok(())
                    })
                });
                work.await
            }
        });
        begun.notified().await;
        let refused = store.session(SessionId::new(ground.clock.now())).await;
        assert!(matches!(refused, Err(Error::StoreUnavailable { .. })), "{refused:?}");
        go_on.notify_one();
        work.await.unwrap().unwrap();
        assert!(store.session(SessionId::new(ground.clock.now())).await.unwrap().is_none());
    });
}

#[test]
fn a_standby_that_cannot_be_written_to_is_unavailable_and_can_be_read() {
    on_postgres(|ground| async move {
        let store = ground.store().await;
        let ann = add_user(&store, "ann").await;
        store.close().await.unwrap();
        let name = ground.postgres.as_ref().unwrap().name().to_owned();
        ground.raw().await.execute(&format!("ALTER DATABASE {name} SET default_transaction_read_only = on")).await;
        let standby = ground.connect().await;
        let user = ann.user_id;
        assert!(standby.user(user).await.unwrap().is_some());
        let refused = standby.write(move |tx| Box::pin(async move { count_up(tx, user).await })).await;
        assert!(matches!(refused, Err(Error::StoreUnavailable { .. })), "{refused:?}");
    });
}

#[test]
fn a_file_that_is_no_database_is_no_verdict() {
    on_sqlite(|ground| async move {
        let elsewhere = ground.file().with_file_name("other.db");
        std::fs::write(&elsewhere, "this is not a database, but it is long enough to be taken for one".repeat(100))
            .unwrap();
        let connected = connect_to(&ground, &elsewhere).await;
        assert!(connected.is_err(), "{connected:?}");
    });
}

async fn connect_to(ground: &Ground, file: &Path) -> Result<Store> {
    let mut config = ground.config.clone();
    config.database.url = DatabaseUrl::sqlite(file);
    let keyring: Arc<Keyring> = Arc::clone(&ground.keyring);
    Store::connect(StoreConfig::of(&config), keyring, ground.clock.clone()).await
}
