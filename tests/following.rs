//! Several servers on one database: what one changes the others take out of memory, by the change feed, within a bound that they keep
//! by themselves.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use lanyard_client::Verdict;
use lanyard_server::crypto::TokenHash;
use lanyard_server::error::Result;
use lanyard_server::model::id::UserId;
use lanyard_server::model::session::RevokeReason;
use lanyard_server::store::{Follower, SessionRow, Store, Tx, UserRow};
use lanyard_tests::on_each_database;
use lanyard_tests::support::answers::is_active;
use lanyard_tests::support::raw::get_page;
use lanyard_tests::support::server::{Database, TestServer, run};
use lanyard_tests::support::store::{Ground, Stored, add_session, add_user};
use lanyard_tests::support::{eventually, store};

const LAG: Duration = Duration::from_mins(1);

/// What somebody does to a session and its user.
type Change = fn(&Tx, SessionRow, UserRow) -> BoxFuture<'_, Result<()>>;

on_each_database!(
    what_another_server_changes_is_not_in_memory_after_the_next_look,
    memory_is_not_used_before_the_first_look,
    a_change_of_a_newer_server_empties_memory,
);

/// Looks until all is known: other tests have transactions on the same PostgreSQL, and those that run now must have ended.
async fn become_sure(follower: &mut Follower) {
    while !follower.look().await.unwrap().is_sure {
        tokio::task::yield_now().await;
    }
}

async fn follow(store: &Store) -> Follower {
    let mut follower = store.follower(LAG);
    become_sure(&mut follower).await;
    follower
}

async fn in_memory(store: &Store, session: &Stored) -> bool {
    store.session_by_token(&session.hash).await.unwrap();
    store.cached_session(&session.hash).is_some()
}

/// Changes something at another server, and returns whether the session is still in memory here, before and after a look.
async fn after<F>(here: (&Store, &mut Follower), hash: &TokenHash, change: F) -> (bool, bool)
where
    F: Future<Output = ()>,
{
    let (store, follower) = here;
    change.await;
    let before = store.cached_session(hash).is_some();
    follower.look().await.unwrap();
    (before, store.cached_session(hash).is_some())
}

async fn what_another_server_changes_is_not_in_memory_after_the_next_look(ground: Ground) {
    let there = ground.store().await;
    let here = ground.connect().await;
    let ann = add_user(&there, "ann").await;
    let bob = add_user(&there, "bob").await;
    let [session, other] = [add_session(&there, &ann).await, add_session(&there, &bob).await];
    let user: UserId = ann.user_id;
    let mut follower = follow(&here).await;

    let row = session.row.clone();
    let changes: [(&str, Change); 5] = [
        ("renewed", |tx, session, _| Box::pin(async move { tx.renew_session(&session).await })),
        ("user changed", |tx, _, user| Box::pin(async move { tx.update_user(user).await })),
        ("revoked", |tx, session, _| {
            Box::pin(async move { tx.revoke_session(&session, RevokeReason::Logout, tx.clock().now()).await })
        }),
        ("all of the user revoked", |tx, _, user| {
            let user = user.user_id;
            Box::pin(async move {
                tx.revoke_sessions_of_user(user, None, RevokeReason::Administrator, tx.clock().now()).await.map(drop)
            })
        }),
        ("user deleted", |tx, _, user| Box::pin(async move { tx.delete_user(user.user_id).await })),
    ];
    for (what, change) in changes {
        assert!(in_memory(&here, &session).await && in_memory(&here, &other).await, "{what}");
        here.links_of_user(user).await.unwrap();
        let (row, ann) = (row.clone(), ann.clone());
        let done = there.write(move |tx| change(tx, row.clone(), ann.clone()));
        let left = after((&here, &mut follower), &session.hash, async { done.await.unwrap() }).await;
        assert_eq!(left, (true, false), "{what}");
        assert!(here.cached_session(&other.hash).is_some(), "{what}: another user's session stays");
    }
    assert!(here.cached_links(user).is_none(), "a deleted user's links are shown to nobody");
    let entry = here.session_by_token(&session.hash).await.unwrap().unwrap();
    assert!(entry.revoked_at.is_some(), "what is read now is how it is");

    let everyone = there.write(|tx| {
        Box::pin(
            async move { tx.revoke_sessions_of_app(None, None, RevokeReason::Administrator, tx.clock().now()).await },
        )
    });
    let left = after((&here, &mut follower), &other.hash, async { assert_eq!(everyone.await.unwrap(), 1) }).await;
    assert_eq!(left, (true, false), "all sessions revoked");
}

async fn memory_is_not_used_before_the_first_look(ground: Ground) {
    let store = ground.store().await;
    let session = add_session(&store, &add_user(&store, "ann").await).await;
    assert!(in_memory(&store, &session).await, "the only server trusts its memory");
    let mut follower = store.follower(LAG);
    assert!(!in_memory(&store, &session).await, "nothing was heard yet");
    assert!(store.session_by_token(&session.hash).await.unwrap().is_some(), "the database is asked");
    assert!(store.cache_stats().misses_without_lease > 0);
    assert_eq!(store.revocation_lag(), None);
    become_sure(&mut follower).await;
    assert!(store.cached_session(&session.hash).is_none(), "what was read before is forgotten");
    assert!(in_memory(&store, &session).await);
    assert!(store.revocation_lag().unwrap() < LAG);
}

/// A row of the feed that speaks of a session.
fn change_of(ground: &Ground, kind: i16, session: &Stored) -> String {
    let id = session.row.session_id;
    let id = id.uuid();
    let id = if ground.is_postgres() { format!("'{id}'") } else { format!("x'{}'", id.simple()) };
    format!("INSERT INTO change (time, kind, session_id) VALUES (0, {kind}, {id})")
}

async fn a_change_of_a_newer_server_empties_memory(ground: Ground) {
    let store = ground.store().await;
    let session = add_session(&store, &add_user(&store, "ann").await).await;
    let mut follower = follow(&store).await;
    assert!(in_memory(&store, &session).await);
    ground.raw().await.execute(&change_of(&ground, 999, &session)).await;
    follower.look().await.unwrap();
    assert!(store.cached_session(&session.hash).is_none(), "nobody here knows what it was");
}

#[test]
fn a_change_that_is_committed_after_later_ones_is_not_overlooked() {
    store::run(Ground::postgres(), |ground| async move {
        let store = ground.store().await;
        let ann = add_user(&store, "ann").await;
        let [session, other] = [add_session(&store, &ann).await, add_session(&store, &ann).await];
        let mut follower = follow(&store).await;
        let slow = ground.raw().await;
        slow.execute("BEGIN").await;
        let revoke = format!(
            "UPDATE session SET revoked_at = 1, revoke_reason = 1 WHERE session_id = '{}'",
            session.row.session_id.uuid()
        );
        slow.execute(&revoke).await;
        slow.execute(&change_of(&ground, 3, &session)).await;
        // It has its number. Others take later ones and commit.
        let row = other.row.clone();
        let quick = store.write(move |tx| {
            let row = row.clone();
            Box::pin(async move { tx.revoke_session(&row, RevokeReason::Logout, tx.clock().now()).await })
        });
        quick.await.unwrap();
        for _ in 0..3 {
            assert!(in_memory(&store, &session).await && in_memory(&store, &other).await);
            follower.look().await.unwrap();
        }
        slow.execute("COMMIT").await;
        follower.look().await.unwrap();
        assert!(store.cached_session(&session.hash).is_none(), "its number is lower than those that were seen");
        assert!(store.cached_session(&other.hash).is_some(), "what was seen once is not taken out again");
    });
}

/// The promise: whoever asks later than the bound after a revocation was acknowledged is not told that the session is good. No
/// clock is waited for: the answers themselves say whether it was kept, however slow the machine is.
#[test]
fn a_session_that_was_revoked_at_one_server_is_good_at_no_other_for_longer_than_the_bound() {
    run(async {
        let bound = Duration::from_millis(100);
        let here = TestServer::start_with(Database::Postgres, |config| config.cache.max_revocation_lag = bound).await;
        let there = here.replica().await;
        for _ in 0..20 {
            let ust = here.log_in(&here.alice).await.ust;
            assert!(is_active(&there.client(), &ust).await);
            here.on_behalf_of(&ust).log_out().await.unwrap();
            let revoked_at = Instant::now();
            let client = there.client();
            eventually("the other server hears of it", async || {
                let asked_after = revoked_at.elapsed();
                match client.peek(&ust).await.unwrap() {
                    Verdict::Inactive(_) => true,
                    Verdict::Active(_) => {
                        assert!(asked_after <= bound, "good {asked_after:?} after it was revoked");
                        false
                    }
                }
            })
            .await;
        }
    });
}

#[test]
fn how_old_what_a_server_knows_is_stands_on_its_page_of_metrics() {
    run(async {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let server = TestServer::start_with(Database::Postgres, |config| config.admin.listen = Some(any)).await;
        let told = async || {
            let page = get_page(server.admin(), "/metrics").await;
            let line =
                page.lines().find_map(|line| line.strip_prefix("lanyard_revocation_lag_seconds ")?.parse::<f64>().ok());
            (line, page.contains("lanyard_max_revocation_lag_seconds 2.0"))
        };
        eventually("it has looked", async || matches!(told().await, (Some(lag), true) if lag < 2.0)).await;
        drop(server);
    });
}
