//! The audit trail: whatever happens to it behind the server's back is found and named, and nothing else is.

use std::sync::Arc;

use lanyard_server::crypto::{KeyPurpose, Keyring};
use lanyard_server::error::Error;
use lanyard_server::model::audit::{AuditFilter, AuditPosition, Operation, Outcome, Reason};
use lanyard_server::model::id::{SessionId, UserId};
use lanyard_server::store::{AuditProblem, Store};
use lanyard_tests::on_each_database;
use lanyard_tests::support::store::{Ground, Raw, all_at_once, event, user_row};

on_each_database!(
    thousands_of_writes_and_rollbacks_leave_a_whole_trail,
    a_trail_that_is_written_to_is_whole_at_each_moment,
    what_is_done_to_an_event_is_found_and_named,
    what_is_done_to_a_chain_is_found_and_named,
    after_a_restart_new_chains_follow,
    chains_of_an_older_audit_key_are_whole_and_without_it_cannot_be_checked,
    a_chain_that_was_removed_under_a_running_server_does_not_stop_it,
    events_are_found_by_what_they_say_page_by_page,
    users_and_sessions_are_found_in_all_segments_of_all_chains,
);

async fn problems(store: &Store) -> Vec<AuditProblem> {
    store.verify_audit(&|_, _| {}).await.unwrap().1
}

/// Writes `count` events one after the other.
async fn write(store: &Store, operation: Operation, count: usize) {
    for number in 0..count {
        let note = event(operation, format!("cid{number}"), store.clock().now());
        let written = store.write(move |tx| {
            tx.record_event(note.clone());
            Box::pin(async { Ok(()) })
        });
        written.await.unwrap();
    }
}

async fn thousands_of_writes_and_rollbacks_leave_a_whole_trail(ground: Ground) {
    let mut stores = vec![ground.store().await];
    if ground.is_postgres() {
        stores.push(ground.connect().await);
    }
    let clock = ground.clock.clone();
    let work = (0..40).map(|worker: usize| {
        let (store, clock) = (stores[worker % stores.len()].clone(), clock.clone());
        async move {
            let mut written = 0;
            for number in 0..60 {
                let events: Vec<_> = (0..number % 4)
                    .map(|_| event(Operation::SessionRenew, format!("{worker}.{number}"), clock.now()))
                    .collect();
                let (count, row) = (events.len(), user_row(&format!("user{worker}.{number}"), clock.now()));
                let outcome = store.write(move |tx| {
                    for event in &events {
                        tx.record_event(event.clone());
                    }
                    let row = row.clone();
                    Box::pin(async move {
                        tx.insert_user(row).await?;
                        match number % 5 {
                            0 => Err(Error::UserNotFound),
                            1 if worker == 7 => panic!("a bug"),
                            _ => Ok(()),
                        }
                    })
                });
                written += if outcome.await.is_ok() { count as u64 } else { 0 };
            }
            written
        }
    });
    let written: u64 = all_at_once(work).await.into_iter().sum();
    assert!(written > 2_000, "{written}");
    let (seen, problems) = stores[0].verify_audit(&|_, _| {}).await.unwrap();
    assert_eq!((seen, problems), (written, vec![]));
    let raw = ground.raw().await;
    let chains = raw.count("audit_chain").await;
    if ground.is_postgres() {
        let at_most = 2 * i64::from(ground.config.database.max_connections);
        assert!((3..=at_most).contains(&chains), "each replica has a few, not one for each transaction: {chains}");
    } else {
        assert_eq!(chains, 1);
    }
    assert_eq!(raw.number("SELECT max(number) FROM audit_chain").await, chains, "without gaps");
}

async fn a_trail_that_is_written_to_is_whole_at_each_moment(ground: Ground) {
    let store = ground.store().await;
    write(&store, Operation::SessionCreate, 1).await;
    let writing = tokio::spawn({
        let store = store.clone();
        async move { write(&store, Operation::SessionRenew, 300).await }
    });
    let mut looks = 0;
    while !writing.is_finished() {
        assert_eq!(problems(&store).await, []);
        looks += 1;
    }
    writing.await.unwrap();
    assert!(looks > 1, "it was looked at while it was written to: {looks}");
    assert_eq!(store.verify_audit(&|_, _| {}).await.unwrap(), (301, vec![]));
}

/// Three chains of five events, as three servers left them one after the other; and a copy of all.
async fn three_chains(ground: &Ground) -> (Store, Raw) {
    ground.store().await.close().await.unwrap();
    for operation in [Operation::UserCreate, Operation::SessionCreate, Operation::SessionRevoke] {
        let store = ground.connect().await;
        write(&store, operation, 5).await;
        store.close().await.unwrap();
    }
    let raw = ground.raw().await;
    for table in ["audit_event", "audit_chain"] {
        raw.execute(&format!("CREATE TABLE saved_{table} AS SELECT * FROM {table}")).await;
    }
    (ground.connect().await, raw)
}

async fn restore(raw: &Raw) {
    for table in ["audit_event", "audit_chain"] {
        raw.execute(&format!("DELETE FROM {table}")).await;
        raw.execute(&format!("INSERT INTO {table} SELECT * FROM saved_{table}")).await;
    }
}

fn changed(chain: i64, sequence: i64) -> AuditProblem {
    let operation = [Operation::UserCreate, Operation::SessionCreate, Operation::SessionRevoke]
        [usize::try_from(chain - 1).unwrap()];
    AuditProblem::EventChanged { chain, sequence, operation: operation.name().to_owned() }
}

/// Does harm, looks for it, and repairs it.
async fn expect(store: &Store, raw: &Raw, harm: &str, expected: &[AuditProblem]) {
    assert!(raw.execute(harm).await > 0, "{harm}: it does nothing");
    assert_eq!(problems(store).await, expected, "{harm}");
    restore(raw).await;
    assert_eq!(problems(store).await, [], "repaired after {harm}");
}

fn bytes(ground: &Ground, hex: &str) -> String {
    if ground.is_postgres() { format!(r"'\x{hex}'::bytea") } else { format!("x'{hex}'") }
}

fn some_id(ground: &Ground) -> String {
    let id = "0190000000007000800000000000abcd";
    if ground.is_postgres() { format!("'{id}'::uuid") } else { format!("x'{id}'") }
}

async fn what_is_done_to_an_event_is_found_and_named(ground: Ground) {
    let (store, raw) = three_chains(&ground).await;
    let third = "WHERE chain_number = 2 AND sequence = 3";
    let id = some_id(&ground);
    let values = [
        ("time", "time + 1"),
        ("correlation_id", "'cid2 '"),
        ("outcome", "2"),
        ("reason", "'-'"),
        ("caller", "'shop2'"),
        ("subject_user_id", &id),
        ("subject_user_id", "NULL"),
        ("target_user_id", "NULL"),
        ("target_user_id", "subject_user_id"),
        ("session_id", "NULL"),
        ("app", "'CRM'"),
        ("remote_addr", "'192.0.2.8'"),
        ("detail", "''"),
    ];
    for (column, value) in values {
        expect(&store, &raw, &format!("UPDATE audit_event SET {column} = {value} {third}"), &[changed(2, 3)]).await;
    }
    let renamed = AuditProblem::EventChanged { chain: 2, sequence: 3, operation: "session.delete".to_owned() };
    expect(&store, &raw, &format!("UPDATE audit_event SET operation = 'session.delete' {third}"), &[renamed]).await;
    // A text that moves from one column to its neighbour reads as another row.
    let moved = format!("UPDATE audit_event SET app = app || remote_addr, remote_addr = '' {third}");
    expect(&store, &raw, &moved, &[changed(2, 3)]).await;
    let mac = bytes(&ground, &"ab".repeat(32));
    let harm = format!("UPDATE audit_event SET mac = {mac} {third}");
    expect(&store, &raw, &harm, &[changed(2, 3), changed(2, 4)]).await;
    let harm = format!("UPDATE audit_event SET mac = {mac} WHERE chain_number = 2 AND sequence = 5");
    expect(&store, &raw, &harm, &[changed(2, 5)]).await;

    let missing = |sequence| AuditProblem::EventMissing { chain: 2, sequence };
    let added = |chain, sequence| AuditProblem::EventAdded { chain, sequence };
    let delete = |which: &str| format!("DELETE FROM audit_event WHERE chain_number = 2 AND sequence {which}");
    expect(&store, &raw, &delete("= 3"), &[missing(3)]).await;
    expect(&store, &raw, &delete("= 1"), &[missing(1)]).await;
    expect(&store, &raw, &delete("= 5"), &[missing(5)]).await;
    expect(&store, &raw, &delete("IN (2, 3)"), &[missing(2), missing(3)]).await;
    expect(&store, &raw, &delete("> 0"), &[1, 2, 3, 4, 5].map(missing)).await;

    let columns = "time, correlation_id, operation, outcome, reason, caller, subject_user_id, target_user_id, \
                   session_id, app, remote_addr, detail, mac";
    let insert = |chain: i64, sequence: i64| {
        format!(
            "INSERT INTO audit_event (chain_number, sequence, {columns}) SELECT {chain}, {sequence}, {columns} \
             FROM audit_event {third}"
        )
    };
    expect(&store, &raw, &insert(2, 6), &[added(2, 6)]).await;
    expect(&store, &raw, &insert(2, 0), &[added(2, 0)]).await;
    expect(&store, &raw, &insert(3, i64::MAX), &[added(3, i64::MAX)]).await;
    expect(&store, &raw, &insert(9, 1), &[AuditProblem::ChainMissing { chain: 9 }]).await;
    expect(&store, &raw, &insert(0, 1), &[AuditProblem::ChainMissing { chain: 0 }]).await;

    let moved = format!("UPDATE audit_event SET chain_number = 3, sequence = 6 {third}");
    expect(&store, &raw, &moved, &[missing(3), added(3, 6)]).await;
    raw.execute(&format!("UPDATE audit_event SET sequence = 100 {third}")).await;
    raw.execute("UPDATE audit_event SET sequence = 3 WHERE chain_number = 2 AND sequence = 4").await;
    let swapped = "UPDATE audit_event SET sequence = 4 WHERE chain_number = 2 AND sequence = 100";
    expect(&store, &raw, swapped, &[changed(2, 3), changed(2, 4), changed(2, 5)]).await;
}

async fn what_is_done_to_a_chain_is_found_and_named(ground: Ground) {
    let (store, raw) = three_chains(&ground).await;
    let head_changed = AuditProblem::ChainChanged { chain: 2 };
    let id = some_id(&ground);
    let mac = bytes(&ground, &"ab".repeat(32));
    let values = [
        ("chain_id", id.as_str()),
        ("created_at", "created_at + 1"),
        ("length", "length + 1"),
        ("length", "length - 1"),
        ("length", "9000000000000000000"),
        ("length", "-1"),
        ("head_mac", &mac),
        ("head_mac", "first_mac"),
        ("last_mac", &mac),
    ];
    for (column, value) in values {
        let harm = format!("UPDATE audit_chain SET {column} = {value} WHERE number = 2");
        expect(&store, &raw, &harm, std::slice::from_ref(&head_changed)).await;
    }
    // The first event and the next chain stand on it.
    let harm = format!("UPDATE audit_chain SET first_mac = {mac} WHERE number = 2");
    expect(&store, &raw, &harm, &[changed(2, 1), head_changed.clone(), AuditProblem::ChainChanged { chain: 3 }]).await;
    let key_missing = AuditProblem::KeyMissing { chain: 2, key_id: 7 };
    expect(&store, &raw, "UPDATE audit_chain SET key_id = 7 WHERE number = 2", &[key_missing]).await;

    // The last event goes, and the length with it.
    raw.execute("DELETE FROM audit_event WHERE chain_number = 2 AND sequence = 5").await;
    let cut = "UPDATE audit_chain SET length = 4, last_mac = (SELECT mac FROM audit_event WHERE chain_number = 2 \
               AND sequence = 4) WHERE number = 2";
    expect(&store, &raw, cut, std::slice::from_ref(&head_changed)).await;

    let missing = |chain| AuditProblem::ChainMissing { chain };
    for chain in [1, 2] {
        raw.execute(&format!("DELETE FROM audit_event WHERE chain_number = {chain}")).await;
        expect(&store, &raw, &format!("DELETE FROM audit_chain WHERE number = {chain}"), &[missing(chain)]).await;
    }
    for chain in [1, 2, 3] {
        // Its events alone say that it was there.
        expect(&store, &raw, &format!("DELETE FROM audit_chain WHERE number = {chain}"), &[missing(chain)]).await;
    }
    let moved = "UPDATE audit_chain SET number = 9000000000000000000 WHERE number = 3";
    let far = AuditProblem::ChainChanged { chain: 9_000_000_000_000_000_000 };
    expect(&store, &raw, moved, &[far, missing(3)]).await;
    // Two chains change places, with their events.
    for table_and_column in ["audit_chain SET number", "audit_event SET chain_number"] {
        let column = table_and_column.rsplit(' ').next().unwrap();
        for (from, to) in [(1, 100), (2, 1)] {
            raw.execute(&format!("UPDATE {table_and_column} = {to} WHERE {column} = {from}")).await;
        }
    }
    raw.execute("UPDATE audit_event SET chain_number = 2 WHERE chain_number = 100").await;
    raw.execute("UPDATE audit_chain SET number = 2 WHERE number = 100").await;
    let found = problems(&store).await;
    for chain in [1, 2] {
        assert!(found.contains(&AuditProblem::ChainChanged { chain }), "{found:?}");
    }
}

async fn after_a_restart_new_chains_follow(ground: Ground) {
    let (store, raw) = three_chains(&ground).await;
    write(&store, Operation::UserUpdate, 2).await;
    assert_eq!(raw.column::<i64>("SELECT number FROM audit_chain ORDER BY number").await, [1, 2, 3, 4]);
    assert_eq!(raw.column::<i64>("SELECT length FROM audit_chain ORDER BY number").await, [5, 5, 5, 2]);
    assert_eq!(store.verify_audit(&|_, _| {}).await.unwrap(), (17, vec![]));
}

async fn chains_of_an_older_audit_key_are_whole_and_without_it_cannot_be_checked(mut ground: Ground) {
    let first = ground.store().await;
    write(&first, Operation::UserCreate, 3).await;
    ground.keyring.save(&ground.config.keys.file).unwrap();
    let mut rotated = Keyring::load(&ground.config.keys.file).unwrap();
    rotated.rotate(KeyPurpose::Audit, ground.clock.now());
    let old = std::mem::replace(&mut ground.keyring, Arc::new(rotated));
    let second = ground.connect().await;
    write(&second, Operation::SessionCreate, 3).await;
    assert_eq!(second.verify_audit(&|_, _| {}).await.unwrap(), (6, vec![]));
    ground.keyring = old;
    let without = ground.connect().await;
    assert_eq!(problems(&without).await, [AuditProblem::KeyMissing { chain: 2, key_id: 2 }]);
}

async fn a_chain_that_was_removed_under_a_running_server_does_not_stop_it(ground: Ground) {
    let (store, raw) = three_chains(&ground).await;
    write(&store, Operation::UserUpdate, 2).await;
    raw.execute("DELETE FROM audit_chain WHERE number = 4").await;
    let note = event(Operation::UserUpdate, "cid", ground.clock.now());
    let refused = store.write(move |tx| {
        tx.record_event(note.clone());
        Box::pin(async { Ok(()) })
    });
    assert!(refused.await.is_err(), "nothing is done that cannot be written down");
    write(&store, Operation::UserUpdate, 2).await;
    assert_eq!(problems(&store).await, [AuditProblem::ChainMissing { chain: 4 }]);
}

async fn events_are_found_by_what_they_say_page_by_page(ground: Ground) {
    let store = ground.store().await;
    let start = ground.clock.now();
    let mut written = Vec::new();
    for number in 0..30 {
        let operation = [Operation::UserCreate, Operation::UserLock, Operation::SessionRevoke][number % 3];
        let mut note = event(operation, format!("cid{number}"), ground.clock.now());
        note.reason = (number % 5 == 0).then_some(Reason::SuperUserRequired);
        written.push(note.clone());
        let work = store.write(move |tx| {
            tx.record_event(note.clone());
            Box::pin(async { Ok(()) })
        });
        work.await.unwrap();
        // Three at each moment.
        if number % 3 == 2 {
            ground.clock.advance(std::time::Duration::from_secs(1));
        }
    }
    // A noun that begins like another, as some other version may have written it.
    let rename = "UPDATE audit_event SET operation = 'userx.lock' WHERE operation = 'session.revoke'";
    ground.raw().await.execute(rename).await;
    let all = AuditFilter::default;
    let found = async |filter: AuditFilter| found(&store, &filter).await;
    let expected = |which: &dyn Fn(usize) -> bool| -> Vec<String> {
        (0..30).rev().filter(|number| which(*number)).map(|number| format!("cid{number}")).collect()
    };
    let at = |number: usize| written[number].time;
    assert_eq!(found(all()).await, expected(&|_| true), "newest first, each once");
    let user = AuditFilter { operation: Some("user.".to_owned()), ..all() };
    assert_eq!(found(user).await, expected(&|number| number % 3 != 2));
    let lock = AuditFilter { operation: Some("user.lock".to_owned()), ..all() };
    assert_eq!(found(lock).await, expected(&|number| number % 3 == 1));
    let refused = AuditFilter { outcome: Some(Outcome::Refused), ..all() };
    assert_eq!(found(refused).await, expected(&|number| number % 5 == 0));
    let some_time = AuditFilter { start: Some(at(9)), end: Some(at(18)), ..all() };
    assert_eq!(found(some_time).await, expected(&|number| (9..18).contains(&number)));
    let subject = AuditFilter { user: written[7].subject, ..all() };
    assert_eq!(found(subject).await, ["cid7"]);
    let target = AuditFilter { user: written[8].target, ..all() };
    assert_eq!(found(target).await, ["cid8"]);
    let session = AuditFilter { session: written[9].session, ..all() };
    assert_eq!(found(session).await, ["cid9"]);
    let by_id = AuditFilter { correlation_id: Some("cid10".to_owned()), ..all() };
    assert_eq!(found(by_id).await, ["cid10"]);
    let by_caller = AuditFilter { caller: Some("shop".to_owned()), start: Some(start), ..all() };
    assert_eq!(found(by_caller).await.len(), 30);
    let nobody = AuditFilter { caller: Some("other".to_owned()), ..all() };
    assert!(found(nobody).await.is_empty());
}

async fn users_and_sessions_are_found_in_all_segments_of_all_chains(ground: Ground) {
    ground.store().await.close().await.unwrap();
    let now = ground.clock.now();
    let (ann, bob, session) = (UserId::new(now), UserId::new(now), SessionId::new(now));
    let (mut of_ann, mut of_bob, mut of_session) = (Vec::new(), Vec::new(), Vec::new());
    // One chain of two segments, and one of the next server.
    for length in [8_300, 9] {
        let store = ground.connect().await;
        let mut events = Vec::new();
        for number in 0..length {
            let id = format!("{length}.{number}");
            let mut note = event(Operation::SessionRenew, id.clone(), ground.clock.now());
            (note.subject, note.target) = match number % 1_000 {
                0 => (Some(ann), Some(ann)),
                1 => (Some(bob), Some(ann)),
                2 => (Some(ann), None),
                3 => (None, Some(ann)),
                _ => (note.subject, note.target),
            };
            if [note.subject, note.target].contains(&Some(ann)) {
                of_ann.push(id.clone());
            }
            if note.subject == Some(bob) {
                of_bob.push(id.clone());
            }
            if number % 1_000 == 4 {
                note.session = Some(session);
                of_session.push(id);
            }
            events.push(note);
            ground.clock.advance(std::time::Duration::from_micros(1));
        }
        let written = store.write(move |tx| {
            for event in &events {
                tx.record_event(event.clone());
            }
            Box::pin(async { Ok(()) })
        });
        written.await.unwrap();
        store.close().await.unwrap();
    }
    let store = ground.connect().await;
    let all = AuditFilter::default;
    for (filter, mut expected) in [
        (AuditFilter { user: Some(ann), ..all() }, of_ann.clone()),
        (AuditFilter { user: Some(bob), ..all() }, of_bob.clone()),
        (AuditFilter { session: Some(session), ..all() }, of_session),
        (AuditFilter { user: Some(bob), operation: Some("session.".to_owned()), ..all() }, of_bob),
        (AuditFilter { user: Some(ann), operation: Some("user.".to_owned()), ..all() }, Vec::new()),
        (AuditFilter { user: Some(ann), session: Some(session), ..all() }, Vec::new()),
    ] {
        expected.reverse();
        assert_eq!(found(&store, &filter).await, expected, "{filter:?}");
    }
    assert_eq!(store.verify_audit(&|_, _| {}).await.unwrap(), (8_309, vec![]));
}

/// Page by page.
async fn found(store: &Store, filter: &AuditFilter) -> Vec<String> {
    let mut ids = Vec::new();
    let mut after: Option<AuditPosition> = None;
    loop {
        let page = store.audit_events(filter, after, 4).await.unwrap();
        let Some(last) = page.last() else { return ids };
        after = Some(last.position);
        ids.extend(page.into_iter().map(|event| event.correlation_id));
    }
}
