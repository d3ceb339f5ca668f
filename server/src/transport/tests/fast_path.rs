//! Tests of what the fast path answers and what it leaves to the services.

use futures::{StreamExt, stream};
use http_body::Frame;
use http_body_util::StreamBody;
use lanyard_proto::v1::verify_session_response::Verdict;

use super::*;

impl Answered {
    /// Why a token is inactive.
    fn inactive(&self) -> InactiveReason {
        match self.message::<VerifySessionResponse>().verdict {
            Some(Verdict::Inactive(inactive)) => inactive.reason(),
            other => panic!("a verdict that nobody could give: {other:?}"),
        }
    }
}

fn unknown_token() -> String {
    Token::generate(TokenKind::Ust).expose().to_owned()
}

#[tokio::test]
async fn an_answer_of_the_fast_path_looks_like_one_of_a_service() {
    let server = Server::start().await;
    let client = server.connect().await;
    let headers = [key("known"), (CORRELATION_ID_HEADER, "order-7")];
    let asked = client.ask("ok", &headers).await;
    for (ust, reason) in
        [("no token".to_owned(), InactiveReason::Malformed), (unknown_token(), InactiveReason::Unknown)]
    {
        let answered = client.verify(&ust, &headers).await;
        assert_eq!(answered.inactive(), reason, "the double is not asked");
        assert_eq!((answered.http, &answered.headers), (asked.http, &asked.headers));
        assert_eq!(answered.trailers, asked.trailers);
    }
    let slow = client.verify("no token", &[key("slow")]).await;
    assert_eq!(slow.inactive(), InactiveReason::Malformed, "also when the caller is not in memory");
    assert_eq!(server.metrics.count("SessionService/VerifySession", Code::Ok as usize), 3);
}

#[tokio::test]
async fn the_fast_path_refuses_with_a_reason_and_the_next_call_works() {
    let server = Server::start().await;
    let client = server.connect().await;
    let client_info = Some(ClientInfo { current_app: "nowhere".to_owned(), ..ClientInfo::default() });
    for ust in ["no token".to_owned(), unknown_token()] {
        let request = VerifySessionRequest { ust, client: client_info.clone(), ..VerifySessionRequest::default() };
        let headers = [key("known"), (CORRELATION_ID_HEADER, "order-7")];
        let answered = client.call(VERIFY, &headers, frame(&request)).await;
        assert_eq!((answered.code(), answered.reason().as_str()), (Code::InvalidArgument, "APP_UNKNOWN"));
        assert_eq!(answered.correlation_id(), "order-7");
    }
    assert_eq!(client.verify("no token", &[key("known")]).await.code(), Code::Ok, "on the same connection");
}

#[tokio::test]
async fn nobody_without_the_right_reaches_the_fast_path() {
    let client = Server::start().await.connect().await;
    for (headers, code) in [
        (&[] as &[_], Code::Unauthenticated),
        (&[("authorization", "Bearer unknown")], Code::Unauthenticated),
        (&[key("powerless")], Code::PermissionDenied),
    ] {
        assert_eq!(client.verify("no token", headers).await.code(), code);
    }
}

/// The errors are the same as without it; `calls` tests their texts.
#[tokio::test]
async fn the_fast_path_takes_one_whole_message_and_nothing_else() {
    let client = Server::start().await.connect().await;
    let whole = frame(&VerifySessionRequest { ust: "no token".to_owned(), ..VerifySessionRequest::default() });
    let mut compressed = whole.to_vec();
    compressed[0] = 1;
    for (what, body, code) in [
        ("nothing", Bytes::new(), Code::InvalidArgument),
        ("no message", framed(b"\xff\xff\xff\xff"), Code::InvalidArgument),
        ("half a message", whole.slice(..whole.len() - 1), Code::InvalidArgument),
        ("compressed", compressed.into(), Code::InvalidArgument),
        ("more than the limit", framed(&vec![0; LIMIT + 1]), Code::OutOfRange),
        ("far more than the limit", framed(&vec![0; 100 * LIMIT]), Code::OutOfRange),
    ] {
        let answered = client.call(VERIFY, &[key("known")], body).await;
        assert_eq!((answered.code(), answered.reason().as_str()), (code, "REQUEST_UNREADABLE"), "{what}");
    }
    let gzip = client.call(VERIFY, &[key("known"), ("grpc-encoding", "gzip")], whole.clone()).await;
    assert_eq!((gzip.code(), gzip.reason().as_str()), (Code::Unimplemented, "REQUEST_UNREADABLE"));
}

/// The slow path costs three times as much.
#[tokio::test]
async fn the_fast_path_takes_a_message_that_is_said_to_be_not_compressed() {
    let client = Server::start().await.connect().await;
    let answered = client.verify("no token", &[key("known"), ("grpc-encoding", "identity")]).await;
    assert_eq!(answered.inactive(), InactiveReason::Malformed, "the double is not asked");
}

type Pieces = StreamBody<stream::BoxStream<'static, std::result::Result<Frame<Bytes>, std::io::Error>>>;

/// Sends a body in pieces, one for each permit of `go_on`.
async fn send_in_pieces(server: &Server, pieces: Vec<Bytes>, go_on: Arc<Semaphore>) -> Answered {
    let stream = TcpStream::connect(server.addr).await.expect("it listens");
    let (mut sender, connection) =
        handshake::<_, _, Pieces>(TokioExecutor::new(), TokioIo::new(stream)).await.expect("HTTP/2");
    tokio::spawn(connection);
    let pieces = stream::iter(pieces).then(move |piece| {
        let go_on = go_on.clone();
        async move {
            go_on.acquire().await.expect("never closed").forget();
            Ok(Frame::data(piece))
        }
    });
    let request = http::Request::post(format!("http://lanyard{VERIFY}"))
        .header("content-type", "application/grpc")
        .header(key("known").0, key("known").1)
        .header("grpc-timeout", "10S")
        .body(StreamBody::new(pieces.boxed()))
        .expect("a request");
    let (parts, body) = sender.send_request(request).await.expect("an answer").into_parts();
    let body = body.collect().await.expect("the whole answer");
    let trailers = body.trailers().cloned();
    Answered { http: parts.status, headers: parts.headers, body: body.to_bytes(), trailers }
}

#[tokio::test]
async fn a_request_in_pieces_is_put_together() {
    let server = Server::start().await;
    for (ust, reason) in
        [("no token".to_owned(), InactiveReason::Malformed), (unknown_token(), InactiveReason::Unknown)]
    {
        let body = frame(&VerifySessionRequest { ust, ..VerifySessionRequest::default() });
        let pieces = body.chunks(3).map(Bytes::copy_from_slice).collect();
        let answered = send_in_pieces(&server, pieces, Arc::new(Semaphore::new(100))).await;
        assert_eq!(answered.inactive(), reason);
    }
}

#[tokio::test]
async fn a_request_that_does_not_end_meets_its_deadline() {
    let server = Server::start().await;
    let body = frame(&VerifySessionRequest { ust: "no token".to_owned(), ..VerifySessionRequest::default() });
    let client = server.connect().await;
    let never = StreamBody::new(stream::iter([Ok(Frame::data(body))]).chain(stream::pending()).boxed());
    let stream = TcpStream::connect(server.addr).await.expect("it listens");
    let (mut sender, connection) =
        handshake::<_, _, Pieces>(TokioExecutor::new(), TokioIo::new(stream)).await.expect("HTTP/2");
    tokio::spawn(connection);
    let request = http::Request::post(format!("http://lanyard{VERIFY}"))
        .header("content-type", "application/grpc")
        .header(key("known").0, key("known").1)
        .header("grpc-timeout", "50m")
        .body(never)
        .expect("a request");
    let answer = sender.send_request(request).await.expect("an answer");
    let status = Status::from_header_map(answer.headers()).expect("a status");
    assert_eq!(status.code(), Code::DeadlineExceeded);
    assert_eq!(client.verify("no token", &[key("known")]).await.code(), Code::Ok);
}
