//! Tests of one call: correlation ID, refusals, deadline.

use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;

use super::*;

#[tokio::test]
async fn the_correlation_id_goes_to_the_handler_the_headers_and_the_trailers() {
    let server = Server::start().await;
    let client = server.connect().await;
    let answered = client.ask("ok", &[key("known"), (CORRELATION_ID_HEADER, "order:7.a_b-c")]).await;
    assert_eq!((answered.code(), answered.correlation_id()), (Code::Ok, "order:7.a_b-c"));
    assert_eq!(answered.handed_over(), "order:7.a_b-c known 127.0.0.1");
    let trailers = answered.trailers.expect("trailers");
    assert_eq!(
        (&trailers["grpc-status"], &trailers[CORRELATION_ID_HEADER]),
        (&"0".parse().unwrap(), &"order:7.a_b-c".parse().unwrap())
    );
}

#[tokio::test]
async fn a_missing_or_bad_correlation_id_is_replaced_by_a_new_one() {
    let server = Server::start().await;
    let client = server.connect().await;
    let too_long = "x".repeat(129);
    let mut seen = std::collections::BTreeSet::new();
    for bad in [None, Some(""), Some("a b"), Some("<script>"), Some(too_long.as_str())] {
        let headers: Vec<_> = [key("known")].into_iter().chain(bad.map(|bad| (CORRELATION_ID_HEADER, bad))).collect();
        let answered = client.ask("ok", &headers).await;
        let id: uuid::Uuid = answered.correlation_id().parse().expect("a UUID");
        assert_eq!(id.get_version_num(), 7, "{bad:?}");
        assert!(seen.insert(id), "each has one of its own");
    }
}

#[tokio::test]
async fn an_error_carries_the_correlation_id_and_never_its_source() {
    let server = Server::start().await;
    let answered = server.connect().await.ask("fail", &[key("known"), (CORRELATION_ID_HEADER, "order-7")]).await;
    assert_eq!((answered.code(), answered.reason().as_str()), (Code::Internal, "INTERNAL"));
    assert_eq!(answered.correlation_id(), "order-7");
    assert!(!format!("{:?}", answered.status()).contains("secret-source"));
    let conflict = server.connect().await.ask("conflict", &[key("known")]).await;
    assert_eq!((conflict.code(), conflict.reason().as_str()), (Code::Aborted, "WRITE_CONFLICT"));
    assert!(conflict.details().retry_info().is_some() && conflict.headers.contains_key("grpc-retry-pushback-ms"));
}

#[tokio::test]
async fn a_panic_is_answered_internal_and_the_next_call_works() {
    let server = Server::start().await;
    let client = server.connect().await;
    let answered = client.ask("panic", &[key("known")]).await;
    assert_eq!((answered.code(), answered.reason().as_str()), (Code::Internal, "INTERNAL"));
    assert_eq!(client.ask("ok", &[key("known")]).await.code(), Code::Ok, "on the same connection");
    assert_eq!((server.count(Code::Internal), server.count(Code::Ok)), (1, 1));
}

#[tokio::test]
async fn a_handler_that_panics_when_it_is_dropped_hurts_nobody() {
    let server = Server::start().await;
    let client = server.connect().await;
    let answered = client.ask("panic twice", &[key("known"), ("grpc-timeout", "20m")]).await;
    assert_eq!(answered.code(), Code::DeadlineExceeded);
    assert_eq!(client.ask("ok", &[key("known")]).await.code(), Code::Ok);
}

/// tonic's transport returns CANCELLED.
#[tokio::test]
async fn a_deadline_is_answered_deadline_exceeded_and_drops_the_handler() {
    let server = Server::start_with(|config| config.max_deadline = Duration::from_hours(1)).await;
    let client = server.connect().await;
    let answered = client.ask("wait", &[key("known"), ("grpc-timeout", "500m")]).await;
    assert_eq!((answered.code(), answered.reason().as_str()), (Code::DeadlineExceeded, "DEADLINE_EXCEEDED"));
    until(|| server.double.dropped() == 1).await;
    let authenticating = client.ask("ok", &[key("slow"), ("grpc-timeout", "0n")]).await;
    assert_eq!(authenticating.code(), Code::DeadlineExceeded, "authenticating the caller is within the deadline too");
}

#[tokio::test]
async fn a_call_without_a_deadline_has_the_servers() {
    let server = Server::start_with(|config| config.max_deadline = Duration::from_millis(30)).await;
    let client = server.connect().await;
    for headers in
        [&[key("known")] as &[_], &[key("known"), ("grpc-timeout", "1H")], &[key("known"), ("grpc-timeout", "rubbish")]]
    {
        assert_eq!(client.ask("wait", headers).await.code(), Code::DeadlineExceeded);
    }
    assert_eq!(server.count(Code::DeadlineExceeded), 3);
}

#[tokio::test]
async fn a_client_that_goes_away_ends_its_call() {
    let server = Server::start().await;
    let call = server.begin(&server.connect().await, "wait").await;
    call.abort();
    until(|| server.double.dropped() == 1 && server.count(Code::Cancelled) == 1).await;
}

#[tokio::test]
async fn what_cannot_be_read_is_refused_clearly_and_harms_nobody() {
    let server = Server::start().await;
    let client = server.connect().await;
    let headers = [key("known"), (CORRELATION_ID_HEADER, "order-7")];
    let not_utf8 = framed(&[0x0a, 2, 0xff, 0xfe]);
    let mut compressed = frame(&VerifySessionRequest::default()).to_vec();
    compressed[0] = 1;
    for (what, body, code) in [
        ("no bytes at all", Bytes::new(), Code::InvalidArgument),
        ("no message", framed(b"\xff\xff\xff\xff"), Code::InvalidArgument),
        ("text that is not UTF-8", not_utf8, Code::InvalidArgument),
        (
            "half a message",
            frame(&VerifySessionRequest { peek: true, ..Default::default() }).slice(..6),
            Code::InvalidArgument,
        ),
        ("an odd compression flag", Bytes::from_static(&[9, 0, 0, 0, 0]), Code::InvalidArgument),
        ("compressed without saying how", compressed.into(), Code::InvalidArgument),
        ("more than the limit", framed(&[0; LIMIT + 1]), Code::OutOfRange),
    ] {
        let answered = client.call(VERIFY, &headers, body).await;
        assert_eq!((answered.code(), answered.reason().as_str()), (code, "REQUEST_UNREADABLE"), "{what}");
        assert_eq!(answered.correlation_id(), "order-7");
        let text = answered.status().message().to_owned();
        assert!(!text.is_empty() && !text.contains("VerifySessionRequest"), "{what}: {text}");
    }
    let body = frame(&VerifySessionRequest::default());
    let gzip = client.call(VERIFY, &[key("known"), ("grpc-encoding", "gzip")], body.clone()).await;
    assert_eq!((gzip.code(), gzip.reason().as_str()), (Code::Unimplemented, "REQUEST_UNREADABLE"));
    let json = client.call(VERIFY, &[key("known"), ("content-type", "application/json")], body).await;
    assert_eq!((json.http, json.reason().as_str()), (StatusCode::UNSUPPORTED_MEDIA_TYPE, "REQUEST_UNREADABLE"));
    assert_eq!(client.ask("ok", &[key("known")]).await.code(), Code::Ok, "on the same connection");
}

#[tokio::test]
async fn a_header_list_beyond_the_limit_is_refused_and_the_connection_lives() {
    let server = Server::start().await;
    let client = server.connect().await;
    let large = "x".repeat(15 * 1024);
    let many: Vec<_> = [key("known")].into_iter().chain((0..8).map(|_| ("x-large", large.as_str()))).collect();
    let request = frame(&VerifySessionRequest::default());
    let refused = client.open(VERIFY, &many, request).await;
    assert!(refused.map_or(true, |response| response.status() == StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE));
    assert_eq!(server.connect().await.ask("ok", &[key("known")]).await.code(), Code::Ok);
}

#[tokio::test]
async fn a_method_that_is_not_there_is_unknown_whoever_asks() {
    let server = Server::start().await;
    let client = server.connect().await;
    for path in ["/lanyard.v1.SessionService/Verify", "/lanyard.v2.SessionService/VerifySession", "/", "/x"] {
        let answered = client.call(path, &[], Bytes::new()).await;
        assert_eq!((answered.code(), answered.reason().as_str()), (Code::Unimplemented, "METHOD_UNKNOWN"), "{path}");
    }
    assert_eq!(server.metrics.count("_OTHER", Code::Unimplemented as usize), 4);
    let answered = client.call("/grpc.health.v1.Health/Verify", &[], Bytes::new()).await;
    assert_eq!((answered.code(), answered.reason().as_str()), (Code::Unimplemented, "METHOD_UNKNOWN"));
}

#[tokio::test]
async fn health_and_reflection_need_no_key() {
    let server = Server::start().await;
    let client = server.connect().await;
    for service in ["", "readiness", "lanyard.v1.SessionService"] {
        let answered = client.health(service).await;
        let status = answered.message::<tonic_health::pb::HealthCheckResponse>().status;
        assert_eq!((answered.code(), status), (Code::Ok, 1), "{service}");
    }
    assert_eq!(client.health("nothing").await.code(), Code::NotFound);
    assert_eq!(client.health("nothing").await.reason(), "INVALID_FIELD");
    for version in ["v1", "v1alpha"] {
        let listed = client.call(&reflection(version), &[], list_services()).await;
        let text = String::from_utf8_lossy(&listed.body).into_owned();
        assert_eq!(listed.code(), Code::Ok, "{version}");
        assert!(text.contains("lanyard.v1.SessionService") && text.contains("grpc.health.v1.Health"), "{text}");
        let unknown = client.call(&reflection(version), &[], symbol("lanyard.v1.Nothing")).await;
        assert_eq!((unknown.code(), unknown.reason().as_str()), (Code::NotFound, "INVALID_FIELD"), "{version}");
    }
}

#[tokio::test]
async fn reflection_is_a_setting() {
    let server = Server::start_with(|config| config.reflection = false).await;
    let answered = server.connect().await.call(&reflection("v1"), &[], list_services()).await;
    assert_eq!((answered.code(), answered.reason().as_str()), (Code::Unimplemented, "METHOD_UNKNOWN"));
}

fn reflection(version: &str) -> String {
    format!("/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo")
}

fn list_services() -> Bytes {
    reflection_request(MessageRequest::ListServices("*".to_owned()))
}

fn symbol(name: &str) -> Bytes {
    reflection_request(MessageRequest::FileContainingSymbol(name.to_owned()))
}

/// Both versions have the same messages.
fn reflection_request(message_request: MessageRequest) -> Bytes {
    let message_request = Some(message_request);
    frame(&tonic_reflection::pb::v1::ServerReflectionRequest { host: String::new(), message_request })
}
