//! Deadlines and second attempts.

use std::io;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use lanyard_client::secrecy::SecretString;
use lanyard_client::{Channel, Client, Code, Error, ErrorReason, RetryPolicy, Ust};
use tokio::io::DuplexStream;
use tokio::net::TcpListener;
use tokio::time::Instant;
use tonic::Status;
use tonic::transport::Endpoint;
use tonic_types::{ErrorDetails, StatusExt as _};

use crate::support::Fake;

fn client(channel: Channel) -> Client {
    Client::builder("http://fake").over(channel).unwrap()
}

fn impatient(channel: Channel, attempts: u32) -> Client {
    let policy = RetryPolicy { attempts, initial_backoff: Duration::ZERO, max_backoff: Duration::ZERO };
    Client::builder("http://fake").retry(policy).over(channel).unwrap()
}

fn unavailable() -> Status {
    Status::unavailable("not now")
}

fn ust() -> Ust {
    Ust::from("lyu1_alice")
}

async fn log_in(client: &Client) -> Error {
    client.log_in("alice", &SecretString::from("secret")).await.unwrap_err()
}

#[tokio::test]
async fn a_read_that_finds_the_server_unavailable_is_tried_again() {
    let (fake, channel) = Fake::start();
    fake.refuse(2, &unavailable());
    let verdict = impatient(channel, 4).verify(&ust()).await.unwrap();
    assert!(verdict.into_session().is_err());
    assert_eq!(fake.times_asked(), 3);
}

#[tokio::test]
async fn a_read_is_sent_as_often_as_the_policy_says_and_no_oftener() {
    let (fake, channel) = Fake::start();
    fake.refuse(9, &unavailable());
    let error = impatient(channel, 3).verify(&ust()).await.unwrap_err();
    assert!(error.is_unavailable());
    assert_eq!(fake.times_asked(), 3);
}

#[tokio::test]
async fn a_write_is_never_tried_again() {
    let (fake, channel) = Fake::start();
    let client = impatient(channel, 4);
    let alice = client.on_behalf_of(&ust());
    fake.refuse(4, &unavailable());
    assert!(log_in(&client).await.is_unavailable());
    assert!(alice.rotate().await.unwrap_err().is_unavailable());
    assert!(alice.log_out().await.unwrap_err().is_unavailable());
    assert!(alice.log_out_elsewhere().await.unwrap_err().is_unavailable());
    assert_eq!(fake.times_asked(), 4);
}

#[tokio::test]
async fn only_unavailable_is_tried_again() {
    let (fake, channel) = Fake::start();
    let client = impatient(channel, 4);
    for code in [Code::Aborted, Code::ResourceExhausted, Code::Internal, Code::Unauthenticated, Code::Cancelled] {
        fake.refuse(1, &Status::new(code, "no"));
        assert_eq!(client.verify(&ust()).await.unwrap_err().code, code);
    }
    assert_eq!(fake.times_asked(), 5);
}

#[tokio::test]
async fn a_read_is_tried_again_when_its_connection_breaks_and_a_write_is_not() {
    let (fake, channel) = Fake::start();
    let client = impatient(channel, 4);
    fake.break_connection();
    client.verify(&ust()).await.map(drop).unwrap();
    assert_eq!(fake.times_asked(), 2);

    fake.break_connection();
    let error = log_in(&client).await;
    assert_eq!((error.code, error.reason), (Code::Unavailable, ErrorReason::Unspecified), "{error:?}");
    assert_eq!(fake.times_asked(), 3);
}

#[tokio::test]
async fn an_exhausted_budget_stops_second_attempts_for_all_clones_until_calls_succeed_again() {
    let (fake, channel) = Fake::start();
    let client = impatient(channel, 2);
    fake.refuse(5, &unavailable());
    for _ in 0..2 {
        client.verify(&ust()).await.unwrap_err();
    }
    assert_eq!(fake.times_asked(), 4);
    client.clone().verify(&ust()).await.unwrap_err();
    assert_eq!(fake.times_asked(), 5, "5 tokens of 10 are left: no second attempt");

    for _ in 0..11 {
        client.verify(&ust()).await.map(drop).unwrap();
    }
    fake.refuse(1, &unavailable());
    client.verify(&ust()).await.map(drop).unwrap();
    assert_eq!(fake.times_asked(), 5 + 11 + 2);
}

#[tokio::test(start_paused = true)]
async fn the_delay_that_the_server_asks_for_is_waited_out() {
    let (fake, channel) = Fake::start();
    let details = ErrorDetails::with_retry_info(Some(Duration::from_millis(700)));
    fake.refuse(1, &Status::with_error_details(Code::Unavailable, "overloaded", details));
    let began = Instant::now();
    client(channel).verify(&ust()).await.map(drop).unwrap();
    let waited = began.elapsed();
    assert!(waited >= Duration::from_millis(725) && waited <= Duration::from_millis(760), "{waited:?}");
    assert_eq!(fake.times_asked(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_delay_beyond_the_deadline_is_not_waited_for() {
    let (fake, channel) = Fake::start();
    let details = ErrorDetails::with_retry_info(Some(Duration::from_secs(2)));
    fake.refuse(1, &Status::with_error_details(Code::Unavailable, "overloaded", details));
    let began = Instant::now();
    let error = client(channel).verify(&ust()).await.unwrap_err();
    assert!(error.is_unavailable());
    assert_eq!(error.retry_after, Some(Duration::from_secs(2)));
    assert!(began.elapsed() < Duration::from_millis(100), "{:?}", began.elapsed());
    assert_eq!(fake.times_asked(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_does_not_answer_is_given_up_at_the_deadline() {
    let (fake, channel) = Fake::start();
    fake.hang();
    let began = Instant::now();
    let error = client(channel).verify(&ust()).await.unwrap_err();
    assert_eq!((error.code, error.reason), (Code::DeadlineExceeded, ErrorReason::DeadlineExceeded), "{error:?}");
    let waited = began.elapsed();
    assert!(waited >= Duration::from_millis(1_999) && waited <= Duration::from_millis(2_001), "{waited:?}");
    assert_eq!(fake.metadata("grpc-timeout"), [Some("2000000u".to_owned())]);
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_never_stands_is_given_up_at_the_deadline() {
    let connector = tower::service_fn(|_| std::future::pending::<io::Result<TokioIo<DuplexStream>>>());
    let channel = Endpoint::from_static("http://fake").connect_with_connector_lazy(connector);
    let began = Instant::now();
    let error = client(channel).verify(&ust()).await.unwrap_err();
    assert_eq!((error.code, error.reason), (Code::DeadlineExceeded, ErrorReason::DeadlineExceeded), "{error:?}");
    assert!(began.elapsed() <= Duration::from_millis(2_001), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn the_deadline_is_one_for_all_attempts_and_each_is_told_what_is_left() {
    let (fake, channel) = Fake::start();
    let client = client(channel).with_deadline(Duration::from_secs(1));
    let details = ErrorDetails::with_retry_info(Some(Duration::from_millis(600)));
    fake.refuse(1, &Status::with_error_details(Code::Unavailable, "overloaded", details));
    fake.hang();
    let began = Instant::now();
    let error = client.verify(&ust()).await.unwrap_err();
    assert_eq!(error.code, Code::DeadlineExceeded);
    assert!(began.elapsed() <= Duration::from_millis(1_001), "{:?}", began.elapsed());

    let told = fake.metadata("grpc-timeout");
    assert_eq!(told[0].as_deref(), Some("1000000u"));
    let left: u64 = told[1].as_deref().unwrap().trim_end_matches('u').parse().unwrap();
    assert!((340_000..=375_000).contains(&left), "{left}");
}

#[tokio::test(start_paused = true)]
async fn a_deadline_without_end_is_a_day() {
    let (fake, channel) = Fake::start();
    let client = client(channel).with_deadline(Duration::MAX);
    client.verify(&ust()).await.map(drop).unwrap();
    assert_eq!(fake.metadata("grpc-timeout"), [Some("86400000m".to_owned())]);
}

#[tokio::test]
async fn a_server_that_cannot_be_reached_is_unavailable_and_says_why() {
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let client = Client::builder(format!("http://{nobody}")).retry(RetryPolicy::never()).connect_lazy().unwrap();
    let error = client.verify(&ust()).await.unwrap_err();
    assert_eq!((error.code, error.reason), (Code::Unavailable, ErrorReason::Unspecified), "{error:?}");
    let chain: Vec<String> = std::iter::successors(std::error::Error::source(&error), |error| error.source())
        .map(ToString::to_string)
        .collect();
    assert!(chain.iter().any(|cause| cause.contains("refused")), "{chain:?}");
}
