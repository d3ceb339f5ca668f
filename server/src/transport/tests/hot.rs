//! What memory answers, and what it leaves to the services.

use futures::{StreamExt, stream};
use http_body::Frame;
use http_body_util::StreamBody;
use parking_lot::Mutex;

use super::*;

/// Memory that knows the token `known`, refuses `refused`, and remembers what it was asked.
#[derive(Clone, Default)]
struct Memory(Arc<Mutex<Vec<String>>>);

impl Memory {
    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock())
    }

    fn answers(&self) -> FromMemory {
        let asked = self.0.clone();
        Box::new(move |hot, context, message, _| {
            let Ok(message) = VerifySessionRequest::decode(message) else { return Ok(None) };
            asked.lock().push(message.ust.clone());
            assert_eq!(hot, Hot::Verify);
            match message.ust.as_str() {
                "refused" => Err(Error::invalid("ust", "was refused")),
                "panic" => panic!("asked to"),
                known if known.starts_with("known") => {
                    let username = format!("{} {} {}", context.correlation_id, context.caller.name, context.peer);
                    let session = VerifiedSession { username, ..VerifiedSession::default() };
                    let verdict = Some(verify_session_response::Verdict::Session(session));
                    Ok(Some(frame(&VerifySessionResponse { verdict, ..VerifySessionResponse::default() })))
                }
                _ => Ok(None),
            }
        })
    }

    async fn serve(&self) -> Server {
        let double = Double::new();
        let session = SessionServiceServer::new(double.clone()).max_decoding_message_size(LIMIT);
        let dispatch = move |_: &'static Method, request| crate::pipeline::call(&session, request);
        Server::serving(double, dispatch, self.answers(), |_| {}).await
    }
}

#[tokio::test]
async fn what_memory_knows_is_answered_without_the_service_and_looks_the_same() {
    let memory = Memory::default();
    let server = memory.serve().await;
    let client = server.connect().await;
    let headers = [KEY, (CORRELATION_ID_HEADER, "order-7")];
    let mut seen = Vec::new();
    for ust in ["known", "not known"] {
        let answered = client.verify(ust, &headers).await;
        assert_eq!(answered.handed_over(), "order-7 known 127.0.0.1", "{ust}");
        seen.push((answered.http, answered.headers, answered.body, answered.trailers));
    }
    assert_eq!(seen[0], seen[1]);
    assert_eq!(memory.asked(), ["known", "not known"]);
    assert_eq!(server.count(Code::Ok), 2);
    let slow = client.verify("known", &[("authorization", "Bearer slow")]).await;
    assert!(slow.handed_over().ends_with("slow 127.0.0.1"), "also when the caller is not in memory");
}

#[tokio::test]
async fn what_memory_refuses_is_refused_with_its_reason() {
    let server = Memory::default().serve().await;
    let client = server.connect().await;
    let answered = client.verify("refused", &[KEY, (CORRELATION_ID_HEADER, "order-7")]).await;
    assert_eq!((answered.code(), answered.reason().as_str()), (Code::InvalidArgument, "INVALID_FIELD"));
    assert_eq!(answered.correlation_id(), "order-7");
    assert_eq!(client.verify("panic", &[KEY]).await.reason(), "INTERNAL");
    assert_eq!(client.verify("known", &[KEY]).await.code(), Code::Ok, "on the same connection");
}

#[tokio::test]
async fn memory_is_asked_by_nobody_without_the_right() {
    let memory = Memory::default();
    let client = memory.serve().await.connect().await;
    for (headers, code) in [
        (&[] as &[_], Code::Unauthenticated),
        (&[("authorization", "Bearer unknown")], Code::Unauthenticated),
        (&[("authorization", "Bearer powerless")], Code::PermissionDenied),
    ] {
        assert_eq!(client.verify("known", headers).await.code(), code);
    }
    assert!(memory.asked().is_empty());
}

/// The same refusals as without memory: the tests of `calls` have their texts.
#[tokio::test]
async fn memory_is_not_asked_about_anything_but_one_whole_message() {
    let memory = Memory::default();
    let client = memory.serve().await.connect().await;
    let whole = frame(&VerifySessionRequest { ust: "known".to_owned(), ..VerifySessionRequest::default() });
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
        let answered = client.call(VERIFY, &[KEY], body).await;
        assert_eq!((answered.code(), answered.reason().as_str()), (code, "REQUEST_UNREADABLE"), "{what}");
    }
    let gzip = client.call(VERIFY, &[KEY, ("grpc-encoding", "gzip")], whole.clone()).await;
    assert_eq!((gzip.code(), gzip.reason().as_str()), (Code::Unimplemented, "REQUEST_UNREADABLE"));
    assert!(memory.asked().is_empty());
    assert_eq!(client.call(VERIFY, &[KEY, ("grpc-encoding", "identity")], whole).await.code(), Code::Ok);
}

type Pieces = StreamBody<stream::BoxStream<'static, std::result::Result<Frame<Bytes>, std::io::Error>>>;

/// Sends a body piece by piece, one more each time that `go_on` is given a permit.
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
        .header(KEY.0, KEY.1)
        .header("grpc-timeout", "10S")
        .body(StreamBody::new(pieces.boxed()))
        .expect("a request");
    let (parts, body) = sender.send_request(request).await.expect("an answer").into_parts();
    let body = body.collect().await.expect("the whole answer");
    let trailers = body.trailers().cloned();
    Answered { http: parts.status, headers: parts.headers, body: body.to_bytes(), trailers }
}

#[tokio::test]
async fn a_request_in_pieces_is_put_together_for_memory_and_for_the_service() {
    let memory = Memory::default();
    let server = memory.serve().await;
    for ust in ["known for long", "not known"] {
        let body = frame(&VerifySessionRequest { ust: ust.to_owned(), ..VerifySessionRequest::default() });
        let pieces = body.chunks(3).map(Bytes::copy_from_slice).collect();
        let answered = send_in_pieces(&server, pieces, Arc::new(Semaphore::new(100))).await;
        assert!(answered.handed_over().ends_with("known 127.0.0.1"), "{ust}");
    }
    assert_eq!(memory.asked(), ["known for long", "not known"]);
}

#[tokio::test]
async fn a_request_that_does_not_end_meets_its_deadline() {
    let server = Memory::default().serve().await;
    let body = frame(&VerifySessionRequest { ust: "known".to_owned(), ..VerifySessionRequest::default() });
    let client = server.connect().await;
    let never = StreamBody::new(stream::iter([Ok(Frame::data(body))]).chain(stream::pending()).boxed());
    let stream = TcpStream::connect(server.addr).await.expect("it listens");
    let (mut sender, connection) =
        handshake::<_, _, Pieces>(TokioExecutor::new(), TokioIo::new(stream)).await.expect("HTTP/2");
    tokio::spawn(connection);
    let request = http::Request::post(format!("http://lanyard{VERIFY}"))
        .header("content-type", "application/grpc")
        .header(KEY.0, KEY.1)
        .header("grpc-timeout", "50m")
        .body(never)
        .expect("a request");
    let answer = sender.send_request(request).await.expect("an answer");
    let status = Status::from_header_map(answer.headers()).expect("a status");
    assert_eq!(status.code(), Code::DeadlineExceeded);
    assert_eq!(client.verify("known", &[KEY]).await.code(), Code::Ok);
}
