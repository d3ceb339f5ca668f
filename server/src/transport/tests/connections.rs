//! Tests of the limits of connections, above all of unauthenticated ones.

use http_body_util::BodyExt;
use hyper::client::conn::http2;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

const SOON: Duration = Duration::from_millis(50);

impl Server {
    async fn socket(&self) -> TcpStream {
        TcpStream::connect(self.addr).await.expect("it listens")
    }

    /// A client with a window of 0: no body can be sent to it.
    async fn connect_without_window(&self) -> Client {
        let mut http = http2::Builder::new(TokioExecutor::new());
        http.initial_stream_window_size(0);
        let (sender, connection) = http.handshake(TokioIo::new(self.socket().await)).await.expect("HTTP/2");
        tokio::spawn(connection);
        Client(sender)
    }
}

/// Waits until the server has closed the connection.
async fn closed(mut socket: TcpStream) {
    let mut sent = Vec::new();
    // A reset counts too.
    let _ = tokio::time::timeout(PATIENCE, socket.read_to_end(&mut sent)).await.expect("it is closed in time");
}

/// Waits until the connection takes no more calls.
async fn asked_to_end(client: &Client) {
    until_async(|| {
        let client = client.clone();
        Box::pin(async move { client.open(ASK, &[], Bytes::new()).await.is_err() })
    })
    .await;
}

fn watch_request() -> Bytes {
    frame(&tonic_health::pb::HealthCheckRequest::default())
}

const WATCH: &str = "/grpc.health.v1.Health/Watch";

#[tokio::test]
async fn closes_a_connection_that_makes_no_call() {
    let server = Server::start_with(|config| config.unauthenticated.first_call_timeout = SOON).await;
    let silent = server.socket().await;
    let mut halting = server.socket().await;
    halting.write_all(b"PRI * HTTP/2.0\r\n\r\nSM").await.expect("half a preface");
    tokio::join!(closed(silent), closed(halting));
}

#[tokio::test]
async fn asks_a_connection_without_a_key_to_end_at_its_age() {
    let server = Server::start_with(|config| {
        config.unauthenticated.first_call_timeout = SOON;
        config.unauthenticated.max_age = SOON * 2;
    })
    .await;
    let (probe, known) = (server.connect().await, server.connect().await);
    assert_eq!(known.ask("ok", &[key("known")]).await.code(), Code::Ok);
    assert_eq!(probe.health("").await.code(), Code::Ok);
    asked_to_end(&probe).await;
    assert_eq!(known.ask("ok", &[key("known")]).await.code(), Code::Ok, "a caller stays");
}

#[tokio::test]
async fn closes_a_connection_whose_calls_were_all_refused() {
    let server = Server::start_with(|config| config.unauthenticated.max_refused_calls = 2).await;
    let known = server.connect().await;
    for header in [key("known"), ("x", "no key"), ("x", "no key"), ("x", "no key"), key("known")] {
        let expected = if header == key("known") { Code::Ok } else { Code::Unauthenticated };
        assert_eq!(known.ask("ok", &[header]).await.code(), expected, "a caller has authenticated");
    }
    let stranger = server.connect().await;
    for _ in 0..2 {
        assert_eq!(stranger.ask("ok", &[]).await.code(), Code::Unauthenticated, "told, and then closed");
    }
    asked_to_end(&stranger).await;
}

#[tokio::test]
async fn closes_the_oldest_connection_without_a_caller_for_a_new_one() {
    let server = Server::start_with(|config| {
        (config.unauthenticated.max_connections, config.unauthenticated.max_connections_per_peer) = (2, 2);
    })
    .await;
    let known = server.connect().await;
    assert_eq!(known.ask("ok", &[key("known")]).await.code(), Code::Ok);
    let (first, _second) = (server.socket().await, server.socket().await);
    let third = server.connect().await;
    closed(first).await;
    assert_eq!(third.ask("ok", &[key("known")]).await.code(), Code::Ok);
    assert_eq!(known.ask("ok", &[key("known")]).await.code(), Code::Ok);
}

/// A client that ignores GOAWAY, and reads nothing.
#[tokio::test]
async fn closes_a_connection_that_goes_on_after_its_age() {
    let server = Server::start_with(|config| {
        config.max_connection_age = SOON * 4;
        (config.max_connection_grace, config.max_deadline) = (SOON, SOON);
    })
    .await;
    let slow = server.connect_without_window().await;
    let head = slow.open(ASK, &[key("known")], frame(&GetSessionRequest::default())).await.expect("a response head");
    let body = tokio::time::timeout(PATIENCE, head.into_body().collect()).await.expect("an end");
    assert!(body.is_err(), "{body:?}");
}

#[tokio::test]
async fn counts_a_call_until_its_response_was_read() {
    let server = Server::start().await;
    let slow = server.connect_without_window().await;
    let single = key("single");
    let response = slow.open(ASK, &[single], frame(&GetSessionRequest::default())).await.expect("a response head");
    let other = server.connect().await;
    assert_eq!(other.ask("ok", &[single]).await.reason(), "CALLER_LIMITED");
    drop((response, slow));
    until_async(|| {
        let other = other.clone();
        Box::pin(async move { other.ask("ok", &[single]).await.code() == Code::Ok })
    })
    .await;
}

#[tokio::test]
async fn limits_calls_of_public_services_on_one_connection() {
    let server = Server::start_with(|config| config.public_services.max_calls_per_connection = 1).await;
    let client = server.connect().await;
    let watch = client.open(WATCH, &[], watch_request()).await.expect("a stream");
    let refused = client.health("").await;
    assert_eq!((refused.code(), refused.reason().as_str()), (Code::Unavailable, "OVERLOADED"));
    assert_eq!(server.connect().await.health("").await.code(), Code::Ok);
    assert_eq!(client.ask("ok", &[key("known")]).await.code(), Code::Ok, "callers have limits of their own");
    drop(watch);
    until_async(|| {
        let client = client.clone();
        Box::pin(async move { client.health("").await.code() == Code::Ok })
    })
    .await;
}

#[tokio::test]
async fn limits_calls_of_public_services_on_all_connections() {
    let server = Server::start_with(|config| {
        (config.public_services.max_calls, config.public_services.max_calls_per_connection) = (1, 1);
    })
    .await;
    let client = server.connect().await;
    let _watch = client.open(WATCH, &[], watch_request()).await.expect("a stream");
    assert_eq!(server.connect().await.health("").await.reason(), "OVERLOADED");
}

#[tokio::test]
async fn ends_a_public_stream_at_its_age() {
    let server = Server::start_with(|config| config.public_services.max_stream_age = SOON).await;
    let watch = server.connect().await.open(WATCH, &[], watch_request()).await.expect("a stream");
    let collected = tokio::time::timeout(PATIENCE, watch.into_body().collect()).await.expect("an end");
    let trailers = collected.expect("the whole stream").trailers().cloned().expect("trailers");
    let status = Status::from_header_map(&trailers).expect("a status");
    assert_eq!(status.code(), Code::DeadlineExceeded);
}

#[tokio::test]
async fn refuses_a_long_message_to_a_public_service() {
    let server = Server::start().await;
    let limit = config::Config::default().server.public_services.max_request_bytes;
    let client = server.connect().await;
    assert_eq!(client.health(&"x".repeat(limit / 2)).await.reason(), "INVALID_FIELD", "read, and unknown");
    assert_eq!(client.health(&"x".repeat(limit)).await.reason(), "REQUEST_UNREADABLE");
}

#[tokio::test]
async fn refuses_long_headers_with_a_reason() {
    let server = Server::start().await;
    let client = server.connect().await;
    let limit = config::Config::default().server.max_header_bytes as usize;
    let answered = client.ask("ok", &[key("known"), ("x-long", &"x".repeat(limit))]).await;
    assert_eq!((answered.code(), answered.reason().as_str()), (Code::ResourceExhausted, "REQUEST_UNREADABLE"));
    assert_eq!(client.ask("ok", &[key("known"), ("x-long", &"x".repeat(limit / 2))]).await.code(), Code::Ok);
}
