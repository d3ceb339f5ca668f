//! The end of the program: softly, in order and without losing anything; or at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use lanyard_client::prost_types::Timestamp;
use lanyard_client::secrecy::ExposeSecret;
use lanyard_client::{Client, Error, ErrorReason, Ust, Verdict};
use lanyard_proto::v1::{VerifySessionRequest, VerifySessionResponse};
use lanyard_tests::support::installation::{Installation, Program};
use lanyard_tests::support::raw::{Begun, Connection, framed, get_page, grpc};
use lanyard_tests::support::server::{Database, run};
use lanyard_tests::support::{PATIENCE, eventually};
use prost::Message;
use rustix::process::Signal;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tonic::Streaming;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

const NEVER: Duration = Duration::from_hours(1);
const TASKS: usize = 6;

/// Of a load: the tokens of all acknowledged logins, and which were acknowledged to have ended.
#[derive(Default)]
struct Acknowledged {
    live: Vec<Ust>,
    ended: Vec<Ust>,
}

#[test]
fn a_soft_stop_under_load_loses_nothing_that_was_acknowledged() {
    run(async {
        let installation = Installation::prepare(Database::Sqlite, |config| {
            config.session.quota = u32::MAX;
            config.server.drain_delay = Duration::from_millis(300);
        })
        .await;
        let program = installation.start();
        let mut health = watch_health(&program).await;
        assert_eq!(next_status(&mut health).await, Some(ServingStatus::Serving));
        let load = Arc::new(Load::default());
        let mut tasks = JoinSet::new();
        for _ in 0..TASKS {
            let (client, load) = (program.client().await, Arc::clone(&load));
            let person = installation.prepared.alice.clone();
            tasks.spawn(async move { load.log_in_and_out(&client, &person).await });
        }
        eventually("the load is under way", async || load.done.load(Ordering::SeqCst) > 20).await;
        program.process.terminate();
        assert_eq!(next_status(&mut health).await, Some(ServingStatus::NotServing), "health is the first to say it");
        assert!(!load.is_refused.load(Ordering::SeqCst), "calls are taken until balancers have noticed");
        assert!(get_page(program.admin, "/healthz").await.starts_with("HTTP/1.1 503"));
        let acknowledged = tasks.join_all().await;
        assert_eq!(next_status(&mut health).await, None, "the stream ends with the server");
        let (status, output) = program.ended().await;
        assert_eq!(status.code(), Some(0), "{output}");
        assert!(output.contains("Drained"), "{output}");

        let program = installation.start();
        let client = program.client().await;
        for Acknowledged { live, ended } in acknowledged {
            assert!(verdicts(&client, &live).await.iter().all(is_good), "a login is lost");
            assert!(!verdicts(&client, &ended).await.iter().any(is_good), "a logout is lost");
        }
    });
}

#[derive(Default)]
struct Load {
    done: AtomicU32,
    is_refused: AtomicBool,
}

impl Load {
    /// Until the server is gone.
    async fn log_in_and_out(&self, client: &Client, person: &lanyard_tests::support::server::Person) -> Acknowledged {
        let mut acknowledged = Acknowledged::default();
        loop {
            let done = async {
                let ust = client.log_in(&person.username, &person.password).await?.ust;
                if !self.done.fetch_add(1, Ordering::SeqCst).is_multiple_of(3) {
                    acknowledged.live.push(ust);
                    return Ok(());
                }
                client.on_behalf_of(&ust).log_out().await?;
                acknowledged.ended.push(ust);
                Ok::<(), Error>(())
            };
            if let Err(error) = done.await {
                self.is_refused.store(true, Ordering::SeqCst);
                let may_be = [ErrorReason::Unspecified, ErrorReason::ShuttingDown].contains(&error.reason);
                assert!(error.is_unavailable() && may_be, "{error}");
                return acknowledged;
            }
        }
    }
}

async fn verdicts(client: &Client, tokens: &[Ust]) -> Vec<Verdict> {
    let mut verdicts = Vec::new();
    for tokens in tokens.chunks(500) {
        verdicts.extend(client.batch_peek(tokens).await.expect("verdicts"));
    }
    verdicts
}

fn is_good(verdict: &Verdict) -> bool {
    matches!(verdict, Verdict::Active(_))
}

async fn watch_health(program: &Program) -> Streaming<HealthCheckResponse> {
    let channel = tonic::transport::Endpoint::from_shared(format!("http://{}", program.addr)).expect("an address");
    let mut health = HealthClient::new(channel.connect().await.expect("the server takes connections"));
    let request = HealthCheckRequest { service: "readiness".to_owned() };
    health.watch(request).await.expect("a stream").into_inner()
}

/// What is told next; nothing when the stream has ended.
async fn next_status(health: &mut Streaming<HealthCheckResponse>) -> Option<ServingStatus> {
    let next = tokio::time::timeout(PATIENCE, health.message()).await.expect("something is told in time");
    next.ok().flatten().map(|told| told.status())
}

/// A call that is under way as long as the test likes: the server waits for the rest of the request.
async fn half_a_call(installation: &Installation, program: &Program) -> (Connection, Begun) {
    let connection = Connection::open(program.addr).await;
    let key = installation.prepared.key.expose_secret();
    let mut begun =
        connection.begin(grpc("/lanyard.v1.SessionService/VerifySession", Some(key))).await.expect("a stream");
    begun.body.send_data(framed(&question())[..3].to_vec().into(), false).expect("the stream is open");
    let in_time = VerifySessionRequest::default().encode_to_vec();
    // A whole call on the same connection: when it is answered, the half one is known too.
    let whole = connection.call(grpc("/lanyard.v1.SessionService/VerifySession", Some(key)), framed(&in_time)).await;
    whole.answer().message::<VerifySessionResponse>();
    (connection, begun)
}

fn question() -> Vec<u8> {
    VerifySessionRequest { ust: "no token".to_owned(), ..VerifySessionRequest::default() }.encode_to_vec()
}

async fn no_longer_listens(program: &Program) {
    eventually("it takes no new connections", async || TcpStream::connect(program.addr).await.is_err()).await;
}

#[test]
fn a_call_under_way_finishes_and_its_connection_is_told_to_go() {
    run(async {
        let installation = Installation::prepare(Database::Sqlite, |config| config.server.drain_timeout = NEVER).await;
        let program = installation.start();
        let (connection, mut begun) = half_a_call(&installation, &program).await;
        program.process.terminate();
        no_longer_listens(&program).await;
        let key = installation.prepared.key.expose_secret();
        eventually("GOAWAY", async || {
            connection.begin(grpc("/lanyard.v1.SessionService/VerifySession", Some(key))).await.is_err()
        })
        .await;
        begun.body.send_data(framed(&question())[3..].to_vec().into(), true).expect("the stream is still open");
        begun.outcome().await.answer().message::<VerifySessionResponse>();
        connection.ended().await.expect("it ends without an error");
        let (status, output) = program.ended().await;
        assert_eq!(status.code(), Some(0), "{output}");
    });
}

#[test]
fn a_call_that_never_ends_is_cut_off_when_the_time_is_over() {
    run(async {
        let limit = Duration::from_millis(200);
        let installation = Installation::prepare(Database::Sqlite, |config| config.server.drain_timeout = limit).await;
        let program = installation.start();
        let (_connection, begun) = half_a_call(&installation, &program).await;
        program.process.terminate();
        let outcome = begun.outcome().await;
        let (status, output) = program.ended().await;
        assert_eq!(status.code(), Some(0), "{outcome:?}\n{output}");
        assert!(output.contains("CutOff") && output.contains("calls under way are cut off"), "{output}");
    });
}

#[test]
fn a_second_signal_stops_at_once() {
    for again in [Signal::TERM, Signal::INT] {
        run(async {
            let installation = Installation::prepare(Database::Sqlite, |config| {
                (config.server.drain_delay, config.server.drain_timeout) = (NEVER, NEVER);
            })
            .await;
            let program = installation.start();
            let (_connection, _begun) = half_a_call(&installation, &program).await;
            let mut health = watch_health(&program).await;
            assert_eq!(next_status(&mut health).await, Some(ServingStatus::Serving));
            program.process.terminate();
            assert_eq!(next_status(&mut health).await, Some(ServingStatus::NotServing));
            program.process.signal(again);
            let (_, output) = program.ended().await;
            assert!(output.contains("\"stopped\""), "it ends in order all the same: {output}");
        });
    }
}

/// A database that does not answer, not even an error, must not hold the process.
#[test]
fn a_database_that_hangs_does_not_hold_the_stop() {
    run(async {
        let limit = Duration::from_millis(200);
        let installation = Installation::prepare(Database::Postgres, |config| {
            (config.server.drain_timeout, config.server.max_deadline) = (limit, NEVER);
            (config.database.statement_timeout, config.database.acquire_timeout) = (NEVER, NEVER);
        })
        .await;
        let program = installation.start();
        let client = program.client().await.with_deadline(NEVER);
        let (alice, root) = (&installation.prepared.alice, &installation.prepared.root);
        let ust = client.log_in(&alice.username, &alice.password).await.expect("alice logs in").ust;
        let stalled = installation.stall("session").await;
        let mut calls = JoinSet::new();
        for _ in 0..2 {
            let (verify, log_in) = (client.clone(), client.clone());
            let (ust, root) = (ust.clone(), root.clone());
            calls.spawn(async move { verify.verify(&ust).await.map(drop) });
            calls.spawn(async move { log_in.log_in(&root.username, &root.password).await.map(drop) });
        }
        stalled.blocks(2).await;
        let begin = Instant::now();
        program.process.terminate();
        let (status, output) = program.ended().await;
        assert_eq!(status.code(), Some(0), "{output}");
        assert!(begin.elapsed() < PATIENCE / 2, "it took {:?}", begin.elapsed());
        for call in calls.join_all().await {
            assert!(call.expect_err("nobody could answer").is_unavailable());
        }
    });
}

#[test]
fn activity_that_was_only_noted_is_written_before_the_end() {
    run(async {
        let installation = Installation::prepare(Database::Sqlite, |config| {
            config.session.activity_granularity = Duration::from_millis(1);
            config.session.activity_flush = NEVER;
        })
        .await;
        let alice = &installation.prepared.alice;
        let program = installation.start();
        let client = program.client().await;
        let ust = client.log_in(&alice.username, &alice.password).await.expect("alice logs in").ust;
        let idle_expire_time = async |client: &Client| {
            let verified = client.peek(&ust).await.expect("a verdict").into_session().expect("it is good");
            micros(verified.idle_expire_time.expect("a time"))
        };
        let at_login = idle_expire_time(&client).await;
        eventually("the activity is noted", async || {
            client.verify(&ust).await.expect("a verdict").into_session().expect("it is good");
            idle_expire_time(&client).await > at_login
        })
        .await;
        let noted = idle_expire_time(&client).await;
        program.process.terminate();
        let (status, output) = program.ended().await;
        assert_eq!(status.code(), Some(0), "{output}");
        let program = installation.start();
        assert_eq!(idle_expire_time(&program.client().await).await, noted);
    });
}

fn micros(time: Timestamp) -> i64 {
    time.seconds * 1_000_000 + i64::from(time.nanos) / 1000
}
