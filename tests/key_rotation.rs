//! Keys are rotated while two servers serve: no call fails, whichever server made what the call brings.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use lanyard_client::v1::{AttributeToSet, ListAttributesRequest};
use lanyard_client::{Client, Ust};
use lanyard_tests::support::eventually;
use lanyard_tests::support::installation::{Installation, Program};
use lanyard_tests::support::server::{Database, Person, in_background, run};
use serde_json::Value;
use tokio::sync::RwLock;

/// The servers that take calls: one that is being restarted does not, as a balancer sees by its health.
type Serving = Arc<RwLock<[Option<Client>; 2]>>;

/// Some server that takes calls.
async fn any(serving: &Serving, turn: usize) -> Client {
    let serving = serving.read().await;
    let other = serving[1 - turn % 2].clone();
    serving[turn % 2].clone().or(other).expect("one of two serves")
}

/// What a user does all day, each time on another server.
async fn work(serving: Serving, person: Person, stop: Arc<AtomicBool>, calls: Arc<AtomicUsize>, mut turn: usize) {
    let mut next = async || {
        turn += 1;
        calls.fetch_add(1, Ordering::Relaxed);
        any(&serving, turn / 2 + turn).await
    };
    let log_in = async |client: Client| client.log_in(&person.username, &person.password).await.expect("a login").ust;
    let mut ust = log_in(next().await).await;
    let mut count = 0;
    while !stop.load(Ordering::SeqCst) {
        count += 1;
        must_be_good(&next().await, &ust).await;
        let value = format!("value {count}");
        let sealed =
            AttributeToSet { name: "note".into(), value: value.clone(), seal: true, ..AttributeToSet::default() };
        next().await.on_behalf_of(&ust).set_attributes(None, vec![sealed]).await.expect("it is set");
        let read = next().await.on_behalf_of(&ust).call(ListAttributesRequest::default()).await.expect("it is read");
        assert_eq!(read.attributes[0].value, value);
        ust = next().await.on_behalf_of(&ust).rotate().await.expect("it is renewed").ust.expect("a new token");
        if count % 8 == 0 {
            ust = log_in(next().await).await;
        }
    }
    must_be_good(&next().await, &ust).await;
}

async fn must_be_good(client: &Client, ust: &Ust) {
    let verdict = client.verify(ust).await.expect("an answer");
    assert!(matches!(verdict, lanyard_client::Verdict::Active(_)), "{verdict:?}");
}

/// Takes a server out, restarts it on the keys as they are now, and puts it back.
async fn restart(installation: &Installation, serving: &Serving, place: usize, program: Program) -> Program {
    serving.write().await[place] = None;
    program.process.terminate();
    let (status, output) = program.ended().await;
    assert!(status.success(), "{output}");
    let program = installation.start();
    serving.write().await[place] = Some(program.client().await);
    program
}

async fn keys(installation: &Installation, words: &[&str]) -> Value {
    let mut command = installation.command(&[&["keys"], words, &["--json"]].concat());
    let output = in_background(move || command.output().expect("it runs")).await;
    assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

#[test]
fn all_keys_are_rotated_under_load_and_no_call_fails() {
    run(async {
        let installation = Installation::prepare(Database::Postgres, |_| {}).await;
        let (mut a, mut b) = (installation.start(), installation.start());
        let serving: Serving = Arc::new(RwLock::new([Some(a.client().await), Some(b.client().await)]));
        let (stop, calls) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        // One worker for each user: each has one note.
        let users = [installation.prepared.alice.clone(), installation.prepared.root.clone()];
        let working: Vec<_> = users
            .into_iter()
            .enumerate()
            .map(|(turn, person)| tokio::spawn(work(serving.clone(), person, stop.clone(), calls.clone(), turn)))
            .collect();
        let more = async || {
            let done = calls.load(Ordering::SeqCst) + 20;
            let all_work = || working.iter().all(|worker| !worker.is_finished());
            eventually("calls go on", async || calls.load(Ordering::SeqCst) >= done || !all_work()).await;
            assert!(all_work(), "a call failed");
        };
        let purposes = ["token", "seal", "audit"];
        for verb in [&["rotate", "--stage"][..], &["promote"]] {
            for purpose in purposes {
                assert_eq!(keys(&installation, &[verb, &["--purpose", purpose]].concat()).await["key_id"], 2);
            }
            more().await;
            a = restart(&installation, &serving, 0, a).await;
            more().await;
            b = restart(&installation, &serving, 1, b).await;
            more().await;
        }
        stop.store(true, Ordering::SeqCst);
        for worker in working {
            worker.await.expect("no call failed");
        }
        let listed = keys(&installation, &["list"]).await;
        let current = listed["keys"].as_array().expect("a list").iter().filter(|key| key["is_current"] == true);
        assert!(current.into_iter().all(|key| key["key_id"] == 2), "{listed}");
        drop((a, b));
        let verified = installation.command(&["audit", "verify"]).output().expect("it runs");
        assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stdout));
        let healthy = installation.command(&["doctor"]).output().expect("it runs");
        assert!(healthy.status.success(), "{}", String::from_utf8_lossy(&healthy.stdout));
    });
}

#[test]
fn a_key_is_staged_once_and_promoted_only_if_it_is() {
    run(async {
        let installation = Installation::prepare(Database::Sqlite, |_| {}).await;
        let refused = |words: &[&str]| {
            let output = installation.command(&[&["keys"], words, &["--purpose", "seal"]].concat()).output();
            let output = output.expect("it runs");
            assert_eq!(output.status.code(), Some(1));
            String::from_utf8_lossy(&output.stderr).into_owned()
        };
        assert!(refused(&["promote"]).contains("no seal key is staged"));
        let staged = keys(&installation, &["rotate", "--stage", "--purpose", "seal"]).await;
        assert_eq!((&staged["key_id"], &staged["is_staged"]), (&2.into(), &true.into()));
        for words in [&["rotate", "--stage"][..], &["rotate"]] {
            assert!(refused(words).contains("seal key 2 is staged"));
        }
        let told = installation.command(&["doctor"]).output().expect("it runs");
        assert!(String::from_utf8_lossy(&told.stdout).contains("`lanyard keys promote --purpose seal`"));
        assert_eq!(keys(&installation, &["promote", "--purpose", "seal"]).await["is_staged"], false);
    });
}
