//! The correlation ID: in, and out in the initial metadata, the trailers, errors and the audit trail.

use http::HeaderMap;
use lanyard_client::v1::session_service_client::SessionServiceClient;
use lanyard_client::v1::{CreateSessionRequest, RevokeSessionRequest, VerifySessionRequest};
use lanyard_client::{CorrelationId, ErrorReason, Ust};
use lanyard_server::model::audit::AuditFilter;
use lanyard_tests::support::answers::{Refused, events};
use lanyard_tests::support::server::{Database, TestServer};
use lanyard_tests::{any_database, both_databases};
use tonic_types::StatusExt;

any_database!(
    the_id_of_a_call_comes_back_in_its_headers_and_in_its_trailers,
    the_id_of_a_refused_call_comes_back_too,
    a_call_without_an_id_gets_one,
    an_id_that_cannot_be_one_is_replaced_and_never_repeated,
);
both_databases!(all_that_a_call_did_is_found_in_the_trail_by_its_id);

const HEADER: &str = "x-correlation-id";

/// Sends a verification by bare HTTP/2 and returns its headers and its trailers.
async fn verify(server: &TestServer, id: Option<&[u8]>) -> (HeaderMap, HeaderMap) {
    let message = VerifySessionRequest { ust: "junk".into(), ..VerifySessionRequest::default() };
    let mut request = server.request(message);
    if let Some(id) = id {
        let value = http::HeaderValue::from_bytes(id).unwrap();
        let mut headers = std::mem::take(request.metadata_mut()).into_headers();
        headers.insert(HEADER, value);
        *request.metadata_mut() = tonic::metadata::MetadataMap::from_headers(headers);
    }
    let mut grpc = tonic::client::Grpc::new(server.channel().await);
    grpc.ready().await.unwrap();
    let path = http::uri::PathAndQuery::from_static("/lanyard.v1.SessionService/VerifySession");
    let codec = tonic_prost::ProstCodec::<VerifySessionRequest, lanyard_client::v1::VerifySessionResponse>::default();
    let response = grpc.server_streaming(request, path, codec).await.unwrap();
    let headers = response.metadata().clone().into_headers();
    let mut body = response.into_inner();
    body.message().await.unwrap().expect("an answer");
    let trailers = body.trailers().await.unwrap().expect("trailers").into_headers();
    (headers, trailers)
}

async fn the_id_of_a_call_comes_back_in_its_headers_and_in_its_trailers(database: Database) {
    let server = TestServer::start(database).await;
    let longest = "x".repeat(128);
    for id in ["order-4711", "a", "A.b_c:D-9", &longest] {
        let (headers, trailers) = verify(&server, Some(id.as_bytes())).await;
        assert_eq!((headers[HEADER].as_bytes(), trailers[HEADER].as_bytes()), (id.as_bytes(), id.as_bytes()));
    }
}

async fn the_id_of_a_refused_call_comes_back_too(database: Database) {
    let server = TestServer::start(database).await;
    let mut client = SessionServiceClient::new(server.channel().await);
    let mut request = tonic::Request::new(VerifySessionRequest::default());
    request.metadata_mut().insert(HEADER, "order-4711".parse().unwrap());
    let status = client.verify_session(request).await.unwrap_err();
    assert_eq!(status.metadata().get(HEADER).unwrap(), "order-4711");
    let details = status.get_error_details();
    assert_eq!(details.request_info().unwrap().request_id, "order-4711");
    let reason = ErrorReason::from_reason(&details.error_info().unwrap().reason);
    assert_eq!(reason, ErrorReason::CallerUnauthenticated);
}

async fn a_call_without_an_id_gets_one(database: Database) {
    let server = TestServer::start(database).await;
    let (headers, trailers) = verify(&server, None).await;
    let made: uuid::Uuid = headers[HEADER].to_str().unwrap().parse().expect("a UUID");
    assert_eq!(made.get_version_num(), 7);
    assert_eq!(trailers[HEADER], headers[HEADER]);
    let (again, _) = verify(&server, None).await;
    assert_ne!(again[HEADER], headers[HEADER]);
}

async fn an_id_that_cannot_be_one_is_replaced_and_never_repeated(database: Database) {
    let server = TestServer::start(database).await;
    let too_long = "x".repeat(129);
    for bad in ["", "with space", "a;b", "a/b", "{}", "\u{e9}", "tab\tbed", &too_long] {
        let (headers, trailers) = verify(&server, Some(bad.as_bytes())).await;
        headers[HEADER].to_str().unwrap().parse::<uuid::Uuid>().expect("a new one");
        assert_eq!(trailers[HEADER], headers[HEADER]);
        assert_eq!(headers.get_all(HEADER).iter().count(), 1);
        for value in headers.values().chain(trailers.values()) {
            assert!(bad.is_empty() || value.as_bytes() != bad.as_bytes(), "{bad:?}");
        }
    }
}

async fn all_that_a_call_did_is_found_in_the_trail_by_its_id(database: Database) {
    let server = TestServer::start(database).await;
    let by = |id: &str| server.client().with_correlation_id(id.parse::<CorrelationId>().unwrap());
    let found = async |id: &str| {
        let filter = AuditFilter { correlation_id: Some(id.to_owned()), ..AuditFilter::default() };
        let found = events(&server, filter).await;
        found.into_iter().map(|event| (event.operation, event.reason)).collect::<Vec<_>>()
    };
    let none: Vec<(String, String)> = Vec::new();
    let one = |operation: &str, reason: &str| vec![(operation.to_owned(), reason.to_owned())];
    let ust = by("login-1").log_in("alice", &server.alice.password).await.unwrap().ust;
    assert_eq!(found("login-1").await, one("session.create", ""));
    let refused = by("login-2").log_in("alice", &"wrong-password".into()).await.refusal();
    assert_eq!(refused.correlation_id.as_str(), "login-2");
    assert_eq!(found("login-2").await, one("session.create", "wrong_password"));
    by("verify-1").verify(&ust).await.unwrap().into_session().unwrap();
    assert_eq!(found("verify-1").await, none, "verifications are counted, not written down");
    by("end-1").on_behalf_of(&ust).call(RevokeSessionRequest::default()).await.unwrap();
    assert_eq!(found("end-1").await, one("session.revoke", ""));
    assert_eq!(found("end").await, none);
    let junk = by("end-2").on_behalf_of(&Ust::from("junk")).log_out().await.refusal();
    assert_eq!((junk.reason, junk.correlation_id.as_str()), (ErrorReason::SessionInvalid, "end-2"));
    let empty = by("login-3").call(CreateSessionRequest::default()).await.refusal();
    assert_eq!(empty.correlation_id.as_str(), "login-3");
}
