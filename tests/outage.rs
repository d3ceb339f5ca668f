//! PostgreSQL that goes away and comes back under load: UNAVAILABLE meanwhile, never a wrong verdict, and no restart.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use lanyard_client::{Client, Code, Error, ErrorReason, InactiveReason, RevokeReason, Ust, Verdict};
use lanyard_server::config::{CacheMode, DatabaseUrl};
use lanyard_server::crypto::{Token, TokenKind};
use lanyard_tests::support::answers::{is_active, revoked, why_inactive};
use lanyard_tests::support::eventually;
use lanyard_tests::support::installation::Installation;
use lanyard_tests::support::postgres;
use lanyard_tests::support::postgres::PrivateCluster;
use lanyard_tests::support::raw::get_page;
use lanyard_tests::support::server::{Database, Person, TestServer, run};
use tokio::task::JoinSet;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

const OUTAGES: u32 = 3;
/// Answers of each kind of call that are waited for, while PostgreSQL is away and after it came back.
const ANSWERS: u64 = 5;
const GOOD: usize = 4;

#[test]
fn without_a_cache_every_answer_of_an_outage_is_that_the_store_is_unavailable() {
    run(outages(CacheMode::Off));
}

#[test]
fn with_a_cache_what_is_known_stays_right_and_the_rest_is_unavailable() {
    run(outages(CacheMode::On));
}

/// What all tasks of the load share.
struct Load {
    client: Client,
    /// Logs in again and again; each login beyond the quota ends an older session.
    often: Person,
    /// Logs in and out.
    once: Person,
    good: Vec<Ust>,
    gone: Vec<Ust>,
    kinds: [Kind; 6],
    is_over: AtomicBool,
    /// Even: PostgreSQL is there. Odd: it is certainly away. Moves on before it starts to come back.
    phase: AtomicU64,
    cache_is_on: bool,
}

/// Calls of one kind, counted since the phase began.
#[derive(Default)]
struct Kind {
    good: AtomicU64,
    unavailable: AtomicU64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum What {
    Verify,
    VerifyGone,
    LogIn,
    Renew,
    Revoke,
    List,
}

const ALL: [What; 6] = [What::Verify, What::VerifyGone, What::LogIn, What::Renew, What::Revoke, What::List];

impl Load {
    fn counts(&self, of: impl Fn(&Kind) -> &AtomicU64) -> Vec<u64> {
        self.kinds.iter().map(|kind| of(kind).load(Ordering::SeqCst)).collect()
    }

    fn begin_phase(&self, phase: u64) {
        for kind in &self.kinds {
            kind.good.store(0, Ordering::SeqCst);
            kind.unavailable.store(0, Ordering::SeqCst);
        }
        self.phase.store(phase, Ordering::SeqCst);
    }

    /// Counts an answer. What was asked and answered while PostgreSQL was away cannot be right but from the cache.
    fn count(&self, what: What, began: u64, answer: Result<(), Error>) {
        let kind = &self.kinds[what as usize];
        match answer {
            Ok(()) => {
                let was_away = began % 2 == 1 && self.phase.load(Ordering::SeqCst) == began;
                let may_be_known = self.cache_is_on && matches!(what, What::Verify | What::VerifyGone);
                assert!(!was_away || may_be_known, "an answer from a database that is away");
                kind.good.fetch_add(1, Ordering::SeqCst);
            }
            Err(error) => {
                let told = (error.code, error.reason);
                assert_eq!(told, (Code::Unavailable, ErrorReason::StoreUnavailable), "{error}");
                assert!(error.retry_after.is_some(), "{error}");
                kind.unavailable.fetch_add(1, Ordering::SeqCst);
            }
        }
    }

    /// Makes calls of one kind until it is over.
    async fn make(self: Arc<Self>, what: What) {
        let mut chance = fastrand::Rng::new();
        let mut own = None;
        while !self.is_over.load(Ordering::SeqCst) {
            let began = self.phase.load(Ordering::SeqCst);
            let answer = match what {
                What::Verify => self.verify(&self.good[chance.usize(..GOOD)]).await,
                What::VerifyGone => self.verify_gone(&self.gone[chance.usize(..GOOD)]).await,
                What::LogIn => self.log_in(&self.often).await.map(drop),
                What::Renew => self.client.on_behalf_of(&self.good[0]).renew().await.map(drop),
                What::Revoke => self.log_in_and_out(&mut own).await,
                What::List => self.list().await,
            };
            self.count(what, began, answer);
        }
    }

    async fn verify(&self, ust: &Ust) -> Result<(), Error> {
        match self.client.verify(ust).await? {
            Verdict::Active(_) => Ok(()),
            Verdict::Inactive(inactive) => panic!("a good token was told to be {inactive}"),
        }
    }

    async fn verify_gone(&self, ust: &Ust) -> Result<(), Error> {
        match self.client.verify(ust).await? {
            Verdict::Active(_) => panic!("a revoked token was told to be good"),
            Verdict::Inactive(inactive) => {
                assert_eq!((inactive.reason, inactive.revoke_reason), revoked(RevokeReason::Logout));
                Ok(())
            }
        }
    }

    async fn log_in(&self, person: &Person) -> Result<Ust, Error> {
        let login = self.client.log_in(&person.username, &person.password).await?;
        Ok(login.ust)
    }

    /// Once a revocation is acknowledged, the token is never good again; until then it is as it was.
    async fn log_in_and_out(&self, own: &mut Option<Ust>) -> Result<(), Error> {
        let ust = match own.take() {
            Some(ust) => ust,
            None => self.log_in(&self.once).await?,
        };
        match self.client.on_behalf_of(&ust).log_out().await {
            Ok(_) => {}
            // An earlier answer was lost, and it did happen.
            Err(error) if error.reason == ErrorReason::SessionInvalid => {}
            Err(error) => {
                *own = Some(ust);
                return Err(error);
            }
        }
        self.verify_gone(&ust).await
    }

    async fn list(&self) -> Result<(), Error> {
        let answer = self.client.batch_peek(&self.gone).await?;
        assert!(answer.iter().all(|verdict| matches!(verdict, Verdict::Inactive(_))), "a revoked token is good");
        self.client.on_behalf_of(&self.good[1]).current_session().await.map(drop)
    }
}

async fn outages(cache: CacheMode) {
    let cluster = tokio::task::spawn_blocking(PrivateCluster::start).await.expect("PostgreSQL starts");
    let database = cluster.database();
    let server = server_on(&database, cache, 20).await;
    let load = Arc::new(load_on(&server).await);
    let mut tasks = JoinSet::new();
    for what in ALL {
        tasks.spawn(Arc::clone(&load).make(what));
    }
    for outage in 0..OUTAGES {
        load.begin_phase(u64::from(outage) * 2);
        everything_is(&load, &mut tasks, "good", |kind| &kind.good).await;
        cluster.stop();
        load.begin_phase(u64::from(outage) * 2 + 1);
        everything_is(&load, &mut tasks, "unavailable", |kind| &kind.unavailable).await;
        is_ready(&server, false).await;
        load.phase.fetch_add(1, Ordering::SeqCst);
        cluster.resume();
    }
    load.begin_phase(u64::from(OUTAGES) * 2);
    everything_is(&load, &mut tasks, "good", |kind| &kind.good).await;
    load.is_over.store(true, Ordering::SeqCst);
    tasks.join_all().await;
    is_ready(&server, true).await;
    assert!(server.verify_audit().await > 0);
}

/// What the cache knows is not unavailable, and that is the point of it.
async fn everything_is(load: &Load, tasks: &mut JoinSet<()>, word: &str, of: impl Fn(&Kind) -> &AtomicU64) {
    let known = [What::Verify as usize, What::VerifyGone as usize];
    eventually(word, async || {
        if let Some(ended) = tasks.try_join_next() {
            ended.expect("the load finds nothing wrong");
        }
        let counts = load.counts(&of);
        let good = load.counts(|kind| &kind.good);
        let enough = |kind: usize| {
            counts[kind] >= ANSWERS || (load.cache_is_on && known.contains(&kind) && good[kind] >= ANSWERS)
        };
        (0..counts.len()).all(enough)
    })
    .await;
}

async fn server_on(database: &postgres::Database, cache: CacheMode, quota: u32) -> TestServer {
    TestServer::start_with(Database::Sqlite, |config| {
        config.database.url = DatabaseUrl::new(database.url());
        config.database.acquire_timeout = Duration::from_millis(300);
        config.database.ready_within = Duration::from_secs(2);
        config.cache.mode = cache;
        // Longer than any outage here.
        config.cache.max_revocation_lag = Duration::from_hours(1);
        config.admin.listen = Some(SocketAddr::from(([127, 0, 0, 1], 0)));
        config.session.quota = quota;
    })
    .await
}

async fn load_on(server: &TestServer) -> Load {
    let mut good = Vec::new();
    let mut gone = Vec::new();
    for _ in 0..GOOD {
        good.push(server.log_in(&server.alice).await.ust);
        let ust = server.log_in(&server.alice).await.ust;
        server.on_behalf_of(&ust).log_out().await.expect("it is live");
        gone.push(ust);
    }
    Load {
        client: server.client(),
        often: server.root.clone(),
        once: server.add_user("once", false).await,
        good,
        gone,
        kinds: Default::default(),
        is_over: AtomicBool::new(false),
        phase: AtomicU64::new(0),
        cache_is_on: server.config.cache_is_on(),
    }
}

/// Readiness follows the database; liveness does not: no restart mends an outage.
async fn is_ready(server: &TestServer, ready: bool) {
    let mut health = HealthClient::new(server.channel().await);
    let mut status = async |service: &str| {
        let answer = health.check(HealthCheckRequest { service: service.to_owned() }).await.expect("an answer");
        answer.into_inner().status()
    };
    let expected = if ready { ServingStatus::Serving } else { ServingStatus::NotServing };
    eventually("readiness follows the database", async || {
        status("readiness").await == expected && status("lanyard.v1.SessionService").await == expected
    })
    .await;
    assert_eq!(status("").await, ServingStatus::Serving);
    assert!(get_page(server.admin(), "/livez").await.starts_with("HTTP/1.1 200"));
    let page = get_page(server.admin(), "/readyz").await;
    assert!(page.starts_with(if ready { "HTTP/1.1 200" } else { "HTTP/1.1 503" }), "{page}");
    let metric = format!("lanyard_ready {}\n", u8::from(ready));
    assert!(get_page(server.admin(), "/metrics").await.contains(&metric), "{metric}");
}

/// A token that nobody has ever seen needs the database to be called unknown; junk needs nothing.
#[test]
fn only_what_needs_no_database_is_told_without_one() {
    run(async {
        let cluster = tokio::task::spawn_blocking(PrivateCluster::start).await.expect("PostgreSQL starts");
        let database = cluster.database();
        let server = server_on(&database, CacheMode::On, 20).await;
        let elsewhere = TestServer::start(Database::Sqlite).await;
        let unknown = Ust::from(Token::generate(TokenKind::Ust).expose());
        let (client, ust) = (server.client(), server.log_in(&server.alice).await.ust);
        uses_memory(&server).await;
        assert!(is_active(&client, &ust).await);
        cluster.stop();
        assert!(is_active(&client, &ust).await, "its row is in memory");
        let junk = why_inactive(&client, &Ust::from("junk")).await;
        assert_eq!(junk.0, InactiveReason::Malformed);
        let refusal = client.peek(&unknown).await.expect_err("nobody can know");
        assert_eq!((refusal.code, refusal.reason), (Code::Unavailable, ErrorReason::StoreUnavailable));
        let batch = client.batch_peek([&ust, &unknown]).await.expect_err("one verdict is missing");
        assert_eq!(batch.reason, ErrorReason::StoreUnavailable);
        let stranger = server.client_of(&"lyk1_junk".into());
        let told = stranger.peek(&ust).await.expect_err("junk is no key").reason;
        assert_eq!(told, ErrorReason::CallerUnauthenticated);
        let stranger = server.client_of(&elsewhere.key);
        let told = stranger.peek(&ust).await.expect_err("nobody can know whose key this is").reason;
        assert_eq!(told, ErrorReason::StoreUnavailable);
        // The clock goes on without the database: what is in memory ends in its time.
        server.clock.advance(server.config.session.absolute);
        let reason = why_inactive(&client, &ust).await.0;
        assert_eq!(reason, InactiveReason::AbsoluteExpired);
        cluster.resume();
        eventually("the database is back", async || client.peek(&unknown).await.is_ok()).await;
    });
}

async fn uses_memory(server: &TestServer) {
    eventually("memory is used", async || {
        server.within(|app| async move { app.store().revocation_lag().is_some() }).await
    })
    .await;
}

/// Nobody can know what was revoked meanwhile.
#[test]
fn memory_is_not_used_for_longer_than_the_bound_without_the_database() {
    run(async {
        let cluster = tokio::task::spawn_blocking(PrivateCluster::start).await.expect("PostgreSQL starts");
        let database = cluster.database();
        let server = TestServer::start_with(Database::Sqlite, |config| {
            config.database.url = DatabaseUrl::new(database.url());
            config.database.acquire_timeout = Duration::from_millis(300);
            config.cache.max_revocation_lag = Duration::from_millis(500);
        })
        .await;
        let (client, ust) = (server.client(), server.log_in(&server.alice).await.ust);
        assert!(is_active(&client, &ust).await);
        cluster.stop();
        eventually("the bound is reached", async || client.peek(&ust).await.is_err()).await;
        let refusal = client.peek(&ust).await.expect_err("memory is too old");
        assert_eq!((refusal.code, refusal.reason), (Code::Unavailable, ErrorReason::StoreUnavailable));
        assert_eq!(client.batch_peek([&ust]).await.expect_err("the same").reason, ErrorReason::StoreUnavailable);
        cluster.resume();
        eventually("the database is back", async || client.peek(&ust).await.is_ok()).await;
        assert!(is_active(&client, &ust).await);
    });
}

/// A login whose commit was cut off is there or not, and nothing in between.
#[test]
fn what_was_under_way_when_the_database_went_is_done_or_not_done() {
    run(async {
        let cluster = Arc::new(tokio::task::spawn_blocking(PrivateCluster::start).await.expect("PostgreSQL starts"));
        let database = cluster.database();
        let server = server_on(&database, CacheMode::Off, u32::MAX).await;
        let mut acknowledged = Vec::new();
        for _ in 0..5 {
            let mut logins = JoinSet::new();
            for _ in 0..8 {
                let (client, person) = (server.client(), server.alice.clone());
                logins.spawn(async move {
                    let mut tokens = Vec::new();
                    loop {
                        match client.log_in(&person.username, &person.password).await {
                            Ok(login) => tokens.push(login.ust),
                            Err(error) => {
                                assert_eq!(error.reason, ErrorReason::StoreUnavailable, "{error}");
                                return tokens;
                            }
                        }
                    }
                });
            }
            let stopping = Arc::clone(&cluster);
            tokio::task::spawn_blocking(move || stopping.stop()).await.expect("it stops");
            acknowledged.extend(logins.join_all().await.into_iter().flatten());
            cluster.resume();
            let client = server.client();
            let unknown = Ust::from(Token::generate(TokenKind::Ust).expose());
            eventually("the database is back", async || client.peek(&unknown).await.is_ok()).await;
        }
        for tokens in acknowledged.chunks(500) {
            let verdicts = server.client().batch_peek(tokens).await.expect("verdicts");
            assert!(verdicts.iter().all(|verdict| matches!(verdict, Verdict::Active(_))), "a login is lost");
        }
        let stored = "SELECT count(*) FROM session s LEFT JOIN session_token t USING (session_id) WHERE t IS NULL";
        assert_eq!(database.execute(stored), "0", "a session without a token is half a login");
        server.verify_audit().await;
    });
}

/// A lock that somebody holds, a disk that does not answer: the statement's own limit ends the wait, or the call's.
#[test]
fn a_database_that_hangs_is_unavailable_in_time_and_holds_nothing_for_ever() {
    run(async {
        let limit = Duration::from_millis(200);
        let installation = Installation::prepare(Database::Postgres, |config| {
            config.database.statement_timeout = limit;
            config.database.max_connections = 2;
        })
        .await;
        let program = installation.start();
        let (client, alice) = (program.client().await, &installation.prepared.alice);
        let ust = client.log_in(&alice.username, &alice.password).await.expect("alice logs in").ust;
        let stalled = installation.stall("session").await;
        for _ in 0..2 * installation.prepared.config.database.max_connections {
            let refusal = client.peek(&ust).await.expect_err("nobody can know");
            assert_eq!((refusal.code, refusal.reason), (Code::Unavailable, ErrorReason::StoreUnavailable), "{refusal}");
            let refusal = client.on_behalf_of(&ust).rotate().await.expect_err("it cannot be written");
            assert_eq!((refusal.code, refusal.reason), (Code::Unavailable, ErrorReason::StoreUnavailable), "{refusal}");
            let hasty = client.with_deadline(limit / 4);
            assert_eq!(hasty.peek(&ust).await.expect_err("too late").reason, ErrorReason::DeadlineExceeded);
        }
        drop(stalled);
        eventually("the database answers again", async || client.peek(&ust).await.is_ok()).await;
        assert!(is_active(&client, &ust).await);
        client.on_behalf_of(&ust).rotate().await.expect("it can be written again");
    });
}
