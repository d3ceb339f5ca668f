//! The store on its own: whole transactions, their retries and their ends, purging, the feed, and what goes wrong.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use lanyard_server::app::App;
use lanyard_server::clock::Time;
use lanyard_server::error::Error;
use lanyard_server::model::audit::Operation;
use lanyard_server::model::id::UserId;
use lanyard_server::model::session::RevokeReason;
use lanyard_server::store::{AttributeRow, SessionFilter, Store, UserFilter};
use lanyard_tests::on_each_database;
use lanyard_tests::support::eventually;
use lanyard_tests::support::store::{
    ABSOLUTE, Ground, IDLE, add_session, add_user, all_at_once, event, session_row, user_row,
};
use tokio::sync::Notify;

on_each_database!(
    a_panic_takes_back_its_transaction_and_no_more,
    refused_work_takes_only_itself_back,
    work_whose_caller_goes_away_runs_to_its_end,
    work_that_keeps_losing_is_told_so,
    what_was_changed_is_seen_by_the_next_look,
    each_change_is_told_to_the_feed,
    purging_takes_what_is_old_enough_and_its_attributes,
    purging_goes_in_batches,
    purging_clears_what_a_replaced_token_yielded_when_its_grace_is_over,
    an_idle_session_is_purged_when_it_would_have_ended_in_any_case,
    one_replica_at_a_time_purges_until_nothing_is_left,
    a_lease_has_one_holder_at_a_time,
    reads_that_come_faster_than_they_are_written_wait_and_none_is_lost,
    closing_writes_the_events_of_reads_that_wait,
    activity_is_written_in_batches_and_only_forwards,
    a_seeded_database_has_good_tokens,
    a_search_takes_wildcards_as_they_are,
);

async fn a_panic_takes_back_its_transaction_and_no_more(ground: Ground) {
    let store = ground.store().await;
    let row = user_row("bob", ground.clock.now());
    let panicking = store.write::<()>(move |tx| {
        let row = row.clone();
        Box::pin(async move {
            tx.insert_user(row).await?;
            panic!("a bug");
        })
    });
    let before_it_begins = store.write::<()>(|_| panic!("a bug before anything is awaited"));
    let (panicked, ann, too) = tokio::join!(panicking, add_user(&store, "ann"), before_it_begins);
    assert!(matches!(panicked, Err(Error::Internal { .. })), "{panicked:?}");
    assert!(matches!(too, Err(Error::Internal { .. })), "{too:?}");
    assert!(store.user(ann.user_id).await.unwrap().is_some());
    assert!(store.user_by_name("bob").await.unwrap().is_none());
    add_user(&store, "bob").await;
}

async fn refused_work_takes_only_itself_back(ground: Ground) {
    let store = ground.store().await;
    let work = (0..60).map(|number| {
        let (store, row) = (store.clone(), user_row(&format!("user{number}"), ground.clock.now()));
        async move {
            let work = store.write(move |tx| {
                let row = row.clone();
                Box::pin(async move {
                    tx.insert_user(row).await?;
                    tx.record_event(event(Operation::UserCreate, format!("cid{number}"), tx.clock().now()));
                    if number % 3 == 0 { Err(Error::UserNotFound) } else { Ok(number) }
                })
            });
            (number, work.await)
        }
    });
    let ends = all_at_once(work).await;
    for (number, end) in ends {
        match end {
            Ok(returned) => assert!(number % 3 != 0 && returned == number),
            Err(Error::UserNotFound) => assert_eq!(number % 3, 0),
            Err(other) => panic!("{other:?}"),
        }
    }
    let raw = ground.raw().await;
    assert_eq!(raw.count(r#""user""#).await, 40);
    assert_eq!(raw.count("audit_event").await, 40);
    assert_eq!(store.verify_audit(&|_, _| {}).await.unwrap(), (40, vec![]));
}

async fn work_whose_caller_goes_away_runs_to_its_end(ground: Ground) {
    let store = ground.store().await;
    let (begun, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let row = user_row("ann", ground.clock.now());
    let (has_begun, may_go_on) = (Arc::clone(&begun), Arc::clone(&go_on));
    let work = store.write(move |tx| {
        let (row, begun, go_on) = (row.clone(), Arc::clone(&has_begun), Arc::clone(&may_go_on));
        Box::pin(async move {
            begun.notify_one();
            go_on.notified().await;
            tx.insert_user(row).await
        })
    });
    tokio::select! {
        _ = work => panic!("it ended before it could"),
        () = begun.notified() => {}
    }
    // The caller is gone now.
    go_on.notify_one();
    eventually("the user is there", async || store.user_by_name("ann").await.unwrap().is_some()).await;
}

async fn work_that_keeps_losing_is_told_so(ground: Ground) {
    let store = ground.store().await;
    let runs = Arc::new(AtomicU32::new(0));
    let row = user_row("ann", ground.clock.now());
    let counted = Arc::clone(&runs);
    let lost = store.write::<()>(move |tx| {
        let row = row.clone();
        counted.fetch_add(1, Ordering::SeqCst);
        Box::pin(async move {
            tx.insert_user(row).await?;
            Err(Error::WriteConflict)
        })
    });
    assert!(matches!(lost.await, Err(Error::WriteConflict)));
    assert_eq!(runs.load(Ordering::SeqCst), 5);
    assert!(store.user_by_name("ann").await.unwrap().is_none());
}

async fn what_was_changed_is_seen_by_the_next_look(ground: Ground) {
    let store = ground.store().await;
    let ann = add_user(&store, "ann").await;
    let user: UserId = ann.user_id;
    let sessions = [add_session(&store, &ann).await, add_session(&store, &ann).await];
    let look = async || {
        let found = [&sessions[0], &sessions[1]].map(|session| store.session_by_token(&session.hash));
        let [one, other] = found;
        [one.await.unwrap().unwrap(), other.await.unwrap().unwrap()]
    };
    look().await;
    assert_eq!(store.cache_stats().entries, 2);

    let mut promoted = ann.clone();
    (promoted.is_super_user, promoted.username) = (true, "anna".to_owned());
    promoted.allowed_networks.push_str("192.0.2.0/24");
    let changed = store.write(move |tx| {
        let row = promoted.clone();
        Box::pin(async move {
            tx.lock_user(row.user_id).await?;
            tx.update_user(row).await
        })
    });
    changed.await.unwrap();
    let bob = add_user(&store, "bob").await.user_id;
    assert_eq!(store.super_users_among([user, bob]).await.unwrap(), [user].into());
    assert!(store.super_users_among([]).await.unwrap().is_empty());
    for entry in look().await {
        assert!(entry.is_super_user && &*entry.username == "anna" && entry.allowed_networks.len() == 1);
    }

    let [first, _] = &sessions;
    let row = first.row.clone();
    let revoked = store.write(move |tx| {
        let row = row.clone();
        Box::pin(async move { tx.revoke_session(&row, RevokeReason::Logout, tx.clock().now()).await })
    });
    revoked.await.unwrap();
    let [one, other] = look().await;
    assert!(one.revoked_at.is_some() && other.revoked_at.is_none());

    let revoked = store.write(move |tx| {
        Box::pin(
            async move { tx.revoke_sessions_of_user(user, None, RevokeReason::Administrator, tx.clock().now()).await },
        )
    });
    assert_eq!(revoked.await.unwrap(), 1, "one was live");
    let [one, other] = look().await;
    assert_eq!(
        (one.revoke_reason, other.revoke_reason),
        (RevokeReason::Logout, RevokeReason::Administrator),
        "the first reason stays"
    );

    let deleted = store.write(move |tx| Box::pin(async move { tx.delete_user(user).await }));
    deleted.await.unwrap();
    assert!(look().await.iter().all(|entry| entry.revoked_at.is_some()));

    let eve = add_user(&store, "eve").await;
    let session = add_session(&store, &eve).await;
    assert!(store.session_by_token(&session.hash).await.unwrap().unwrap().revoked_at.is_none());
    let everyone = store.write(|tx| {
        Box::pin(
            async move { tx.revoke_sessions_of_app(None, None, RevokeReason::Administrator, tx.clock().now()).await },
        )
    });
    assert_eq!(everyone.await.unwrap(), 1);
    assert!(store.session_by_token(&session.hash).await.unwrap().unwrap().revoked_at.is_some());
}

async fn each_change_is_told_to_the_feed(ground: Ground) {
    let store = ground.store().await;
    let raw = ground.raw().await;
    let told = async || raw.column::<i16>("SELECT kind FROM change ORDER BY sequence").await;
    let ann = add_user(&store, "ann").await;
    let session = add_session(&store, &ann).await;
    let other = add_session(&store, &ann).await;
    let user: UserId = ann.user_id;
    let id = session.id();
    let work = store.write(move |tx| {
        let (ann, session, other) = (ann.clone(), session.row.clone(), other.row.clone());
        Box::pin(async move {
            tx.update_user(ann).await?;
            tx.renew_session(&session).await?;
            tx.attributes_changed(None, Some(id));
            tx.revoke_session(&other, RevokeReason::Logout, tx.clock().now()).await?;
            tx.revoke_sessions_of_user(user, None, RevokeReason::Administrator, tx.clock().now()).await?;
            tx.delete_user(user).await
        })
    });
    work.await.unwrap();
    // User and two sessions; user changed; renewed; attributes; one revoked; all of the user; user deleted.
    assert_eq!(told().await, [5, 1, 1, 5, 2, 7, 3, 4, 6]);
    let of_user = format!("SELECT count(*) FROM change WHERE {}", raw_id(&ground, "user_id", user.uuid()));
    assert_eq!(raw.number(&of_user).await, 8);

    let refused = store.write::<()>(move |tx| {
        Box::pin(async move {
            tx.revoke_sessions_of_user(user, None, RevokeReason::Administrator, tx.clock().now()).await?;
            Err(Error::UserNotFound)
        })
    });
    assert!(refused.await.is_err());
    assert_eq!(told().await.len(), 9, "what did not happen is not told");
}

/// A condition on a column of IDs, as each database writes them.
fn raw_id(ground: &Ground, column: &str, id: uuid::Uuid) -> String {
    if ground.is_postgres() { format!("{column} = '{id}'") } else { format!("{column} = x'{}'", id.simple()) }
}

async fn purging_takes_what_is_old_enough_and_its_attributes(ground: Ground) {
    let store = ground.store().await;
    let raw = ground.raw().await;
    let ann = add_user(&store, "ann").await;
    let (idle, revoked) = (add_session(&store, &ann).await, add_session(&store, &ann).await);
    let row = revoked.row.clone();
    let now = ground.clock.now();
    let work = store.write(move |tx| {
        let row = row.clone();
        Box::pin(async move { tx.revoke_session(&row, RevokeReason::Logout, now).await })
    });
    work.await.unwrap();
    for owner in [idle.row.session_id.uuid(), revoked.row.session_id.uuid(), ann.user_id.uuid()] {
        put_attribute(&store, owner, "color", None).await;
    }
    put_attribute(&store, ann.user_id.uuid(), "gone", Some(now + IDLE)).await;
    ground.clock.advance(IDLE);
    let purge = async |retention: Duration| {
        let now = ground.clock.now();
        store.purge_batch(now - retention, now - retention, 100).await.unwrap()
    };

    let early = purge(Duration::from_hours(1)).await;
    assert_eq!((early.sessions, early.changes), (0, 0), "nothing is old enough");
    assert_eq!(early.attributes, 0, "an attribute ends at its time and is purged after it");

    ground.clock.advance(Duration::from_micros(1));
    let in_time = purge(Duration::ZERO).await;
    assert_eq!((in_time.sessions, in_time.attributes), (1, 1));
    assert!(store.session(revoked.id()).await.unwrap().is_none());
    assert!(store.session(idle.id()).await.unwrap().is_some(), "it stays until it would have ended in any case");
    assert_eq!(raw.count("session_token").await, 1, "tokens go with their sessions");
    assert_eq!(raw.count("attribute").await, 2, "so do attributes; those of sessions that stay do too");
    assert_eq!(raw.count("change").await, 0);
    assert_eq!(purge(Duration::ZERO).await.total(), 0);
}

async fn put_attribute(store: &Store, owner_id: uuid::Uuid, name: &str, expires_at: Option<Time>) {
    let now = store.clock().now();
    let row = AttributeRow {
        owner_id,
        name: name.to_owned(),
        value: b"blue".to_vec(),
        is_sealed: false,
        expires_at,
        created_at: now,
        updated_at: now,
        version: 1,
    };
    let work = store.write(move |tx| {
        let row = row.clone();
        Box::pin(async move { tx.put_attribute(row).await })
    });
    work.await.unwrap();
}

async fn purging_goes_in_batches(ground: Ground) {
    let store = ground.store().await;
    let ann = user_row("ann", ground.clock.now());
    store.seed(5, 5, &ann, &session_row(&ann, ground.clock.now()), &|_| {}).await.unwrap();
    ground.clock.advance(ABSOLUTE + Duration::from_secs(1));
    let now = ground.clock.now();
    let mut left = 25;
    while left > 0 {
        let purged = store.purge_batch(now, now, 10).await.unwrap();
        assert_eq!(purged.sessions, left.min(10));
        left -= purged.sessions;
        assert_eq!(ground.raw().await.count("session").await, i64::try_from(left).unwrap());
    }
    assert_eq!(store.purge_batch(now, now, 10).await.unwrap().total(), 0);
}

async fn purging_clears_what_a_replaced_token_yielded_when_its_grace_is_over(ground: Ground) {
    let store = ground.store().await;
    let ann = add_user(&store, "ann").await;
    let session = add_session(&store, &ann).await;
    let (hash, start, grace) = (session.hash, ground.clock.now(), Duration::from_secs(10));
    let replaced = store.write(move |tx| {
        Box::pin(async move {
            let (token, _) = tx.lock_session_by_token(&hash).await?.expect("it is there");
            tx.replace_token(&token, start + grace, b"sealed".to_vec()).await
        })
    });
    replaced.await.unwrap();
    let purge = async || store.purge_batch(start, start, 10).await.unwrap().successors;
    ground.clock.advance(grace);
    assert_eq!(purge().await, 0);
    ground.clock.advance(Duration::from_micros(1));
    assert_eq!((purge().await, purge().await), (1, 0));
    let raw = ground.raw().await;
    assert_eq!(raw.number("SELECT count(*) FROM session_token WHERE successor IS NULL").await, 1);
    assert_eq!(raw.column::<i64>("SELECT grace_until FROM session_token").await, [(start + grace).micros()]);
}

async fn an_idle_session_is_purged_when_it_would_have_ended_in_any_case(ground: Ground) {
    let store = ground.store().await;
    let ann = add_user(&store, "ann").await;
    let session = add_session(&store, &ann).await;
    ground.clock.advance(ABSOLUTE);
    let now = ground.clock.now();
    assert_eq!(store.purge_batch(now, now, 10).await.unwrap().sessions, 0);
    assert!(store.session_by_token(&session.hash).await.unwrap().is_some());
    let later = now + Duration::from_micros(1);
    assert_eq!(store.purge_batch(later, later, 10).await.unwrap().sessions, 1);
}

async fn reads_that_come_faster_than_they_are_written_wait_and_none_is_lost(ground: Ground) {
    let store = ground.store().await;
    let now = ground.clock.now();
    // More than the queue holds.
    let readers = (0..10).map(|reader| {
        let store = store.clone();
        async move {
            for number in 0..1_700 {
                store.record_read(event(Operation::LinkList, format!("read-{reader}-{number}"), now)).await.unwrap();
            }
        }
    });
    all_at_once(readers).await;
    store.flush_reads(Duration::from_mins(1)).await;
    assert_eq!(ground.raw().await.count("audit_event").await, 17_000);
}

async fn closing_writes_the_events_of_reads_that_wait(ground: Ground) {
    let store = ground.store().await;
    for number in 0..100 {
        assert!(store.try_record_read(event(Operation::LinkList, format!("read-{number}"), ground.clock.now())));
    }
    store.close().await.unwrap();
    assert_eq!(ground.raw().await.count("audit_event").await, 100);
}

async fn one_replica_at_a_time_purges_until_nothing_is_left(mut ground: Ground) {
    ground.config.purge.batch = 10;
    let store = ground.store().await;
    let ann = user_row("ann", ground.clock.now());
    store.seed(5, 5, &ann, &session_row(&ann, ground.clock.now()), &|_| {}).await.unwrap();
    let replica =
        async || App::new(&ground.config, ground.connect().await, ground.keyring.clone(), ground.clock.clone()).await;
    let (one, other) = (replica().await.unwrap(), replica().await.unwrap());
    let [a, b] = [1, 2].map(uuid::Uuid::from_u128);
    assert_eq!(one.purge(a).await.unwrap().total(), 0, "nothing has ended");
    ground.clock.advance(ABSOLUTE + ground.config.session.retention + Duration::from_secs(1));
    assert!(store.acquire_lease("purge", b, ground.config.purge.interval).await.unwrap(), "the first holder's ran out");
    assert_eq!(one.purge(a).await.unwrap().total(), 0, "another one holds it");
    assert_eq!(other.purge(b).await.unwrap().sessions, 25, "in as many batches as it takes");
    ground.clock.advance(ground.config.purge.interval * 2);
    assert_eq!(one.purge(a).await.unwrap().total(), 0, "nothing is left");
}

async fn a_lease_has_one_holder_at_a_time(ground: Ground) {
    let (one, other) = (ground.store().await, ground.connect().await);
    let [a, b] = [1, 2].map(uuid::Uuid::from_u128);
    let minute = Duration::from_mins(1);
    let (first, second) = tokio::join!(one.acquire_lease("purge", a, minute), other.acquire_lease("purge", b, minute));
    let (first, second) = (first.unwrap(), second.unwrap());
    assert!(first != second, "one of two has it");
    let (holder, waiting) = if first { (a, b) } else { (b, a) };
    assert!(one.acquire_lease("purge", holder, minute).await.unwrap(), "its holder extends it");
    assert!(!other.acquire_lease("purge", waiting, minute).await.unwrap());
    assert!(other.acquire_lease("tidy", waiting, minute).await.unwrap(), "another lease is free");
    ground.clock.advance(minute.saturating_sub(Duration::from_micros(1)));
    assert!(!other.acquire_lease("purge", waiting, minute).await.unwrap());
    ground.clock.advance(Duration::from_micros(1));
    assert!(other.acquire_lease("purge", waiting, minute).await.unwrap(), "it ran out");
    assert!(!one.acquire_lease("purge", holder, minute).await.unwrap());
}

async fn activity_is_written_in_batches_and_only_forwards(ground: Ground) {
    let store = ground.store().await;
    let ann = user_row("ann", ground.clock.now());
    let start = ground.clock.now();
    // More than one batch.
    store.seed(1, 450, &ann, &session_row(&ann, start), &|_| {}).await.unwrap();
    let rows = store.sessions(&SessionFilter::default(), None, 1_000).await.unwrap();
    assert_eq!(rows.len(), 450);
    for row in &rows {
        store.activity().record(row.session_id, start + IDLE / 2);
        store.activity().record(row.session_id, start);
    }
    let revoked = rows[7].clone();
    let work = store.write(move |tx| {
        let row = revoked.clone();
        Box::pin(async move { tx.revoke_session(&row, RevokeReason::Logout, tx.clock().now()).await })
    });
    work.await.unwrap();
    // Two at once write the same and do not get in each other's way.
    let (one, other) = tokio::join!(store.flush_activity(), store.flush_activity());
    one.and(other).unwrap();
    assert!(store.activity().is_empty());
    let written = store.sessions(&SessionFilter::default(), None, 1_000).await.unwrap();
    for row in &written {
        let (active, expires) = if row.session_id == rows[7].session_id {
            (start, start + IDLE)
        } else {
            (start + IDLE / 2, start + IDLE / 2 + IDLE)
        };
        assert_eq!((row.last_active_at, row.expires_at), (active, expires));
    }
    let late = rows[0].session_id;
    store.activity().record(late, start + ABSOLUTE);
    store.flush_activity().await.unwrap();
    let row = store.session(late).await.unwrap().unwrap();
    assert_eq!(row.expires_at, row.absolute_expires_at, "never past the absolute limit");
}

async fn a_seeded_database_has_good_tokens(ground: Ground) {
    let store = ground.store().await;
    let ann = user_row("ann", ground.clock.now());
    let told = AtomicU32::new(0);
    let progress = |done: u64| told.store(u32::try_from(done).unwrap(), Ordering::SeqCst);
    let tokens = store.seed(30, 50, &ann, &session_row(&ann, ground.clock.now()), &progress).await.unwrap();
    assert_eq!((tokens.len(), told.load(Ordering::SeqCst)), (1_500, 1_500));
    let hashes: Vec<_> = tokens.iter().map(|token| store.keyring().hash_token(token.as_ref()).0).collect();
    let mut found = 0;
    for some in hashes.chunks(500) {
        found += store.sessions_by_token(some).await.unwrap().len();
    }
    assert_eq!(found, 1_500);
    let entry = store.session_by_token(&hashes[1_499]).await.unwrap().unwrap();
    assert_eq!(&*entry.username, "ann29");
    let of_one = SessionFilter { user: Some(entry.user_id), ..SessionFilter::default() };
    assert_eq!(store.sessions(&of_one, None, 1_000).await.unwrap().len(), 50);
}

async fn a_search_takes_wildcards_as_they_are(ground: Ground) {
    let store = ground.store().await;
    for name in ["ann_1", "annx1", "100%", r"back\slash"] {
        add_user(&store, name).await;
        // Users are listed in the order in which they came, to the millisecond.
        ground.clock.advance(Duration::from_millis(1));
    }
    for (search, expected) in
        [("n_1", &["ann_1"][..]), ("%", &["100%"]), (r"\", &[r"back\slash"]), ("ann", &["ann_1", "annx1"]), ("'", &[])]
    {
        let filter = UserFilter { search: Some(search.to_owned()), ..UserFilter::default() };
        let found = store.users(&filter, None, 10).await.unwrap();
        let names: Vec<_> = found.iter().map(|user| user.username.as_str()).collect();
        assert_eq!(names, expected, "{search}");
    }
}
