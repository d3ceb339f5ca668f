//! What no client of gRPC would send: each is refused clearly or reset, and harms nobody else.

use std::net::SocketAddr;

use bytes::{BufMut, Bytes, BytesMut};
use h2::Reason;
use http::{Method, Request, StatusCode};
use lanyard_client::secrecy::ExposeSecret;
use lanyard_client::{Client, Login, Verdict};
use lanyard_proto::v1::{ListSessionsRequest, VerifySessionRequest, VerifySessionResponse};
use lanyard_server::pipeline::METHODS;
use lanyard_tests::support::installation::{Installation, Program};
use lanyard_tests::support::raw::{Answered, Connection, Outcome, framed, get_page, grpc};
use lanyard_tests::support::server::{Database, run};
use lanyard_tests::support::{PATIENCE, eventually};
use proptest::prelude::*;
use proptest::test_runner::{Config as Cases, TestRunner};
use prost::Message;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tonic::Code;

const VERIFY: &str = "/lanyard.v1.SessionService/VerifySession";
const LIST: &str = "/lanyard.v1.SessionService/ListSessions";
const BATCH: &str = "/lanyard.v1.SessionService/BatchVerifySessions";
/// Calls that are begun and never finished.
const HALF_CALLS: usize = 100;

/// A server as a process of its own, and a user who is logged in.
struct World {
    program: Program,
    key: String,
    client: Client,
    login: Login,
    max_request_bytes: usize,
}

impl World {
    async fn new() -> Self {
        let installation = Installation::prepare(Database::Sqlite, |_| {}).await;
        let program = installation.start();
        let (client, alice) = (program.client().await, &installation.prepared.alice);
        let login = client.log_in(&alice.username, &alice.password).await.expect("alice logs in");
        let key = installation.prepared.key.expose_secret().to_owned();
        let max_request_bytes = installation.prepared.config.server.max_request_bytes;
        // The data are gone from the folder, not from the server that has them open.
        Self { program, key, client, login, max_request_bytes }
    }

    async fn connect(&self) -> Connection {
        Connection::open(self.program.addr).await
    }

    fn request(&self, path: &str) -> Request<()> {
        grpc(path, Some(&self.key))
    }

    /// What comes of these bytes as the body of a call.
    async fn send(&self, path: &str, body: Bytes) -> Answered {
        self.connect().await.call(self.request(path), body).await.answer()
    }

    /// Everybody else is served as if nothing had been, and nothing went wrong inside.
    async fn is_unharmed(&self) {
        let verdict = self.client.verify(&self.login.ust).await.expect("a verdict");
        assert!(matches!(verdict, Verdict::Active(_)), "{verdict:?}");
        let other = self.program.client().await;
        assert!(matches!(other.verify(&self.login.ust).await, Ok(Verdict::Active(_))));
        let output = self.program.process.output();
        assert!(!output.contains("panicked") && !output.contains("\"level\":\"ERROR\""), "{output}");
        let page = self.program.metrics().await;
        for code in ["INTERNAL", "UNKNOWN", "DATA_LOSS"] {
            assert!(!page.contains(&format!("code=\"{code}\"")), "{page}");
        }
    }
}

/// `INVALID_ARGUMENT`, ...: all that say that the request was not readable.
fn is_unreadable(answered: &Answered) {
    let (code, reason) = answered.refusal();
    assert_eq!(reason, "REQUEST_UNREADABLE", "{code:?}");
}

fn question(ust: &str) -> Vec<u8> {
    VerifySessionRequest { ust: ust.to_owned(), ..VerifySessionRequest::default() }.encode_to_vec()
}

/// A field that is a length and so many bytes.
fn field(number: u32, value: &[u8]) -> Vec<u8> {
    let mut field = BytesMut::new();
    prost::encoding::encode_key(number, prost::encoding::WireType::LengthDelimited, &mut field);
    prost::encoding::encode_varint(value.len() as u64, &mut field);
    field.put_slice(value);
    field.to_vec()
}

#[test]
fn a_message_that_is_none_is_called_unreadable() {
    run(async {
        let world = World::new().await;
        let no_messages: [(&str, Vec<u8>); 8] = [
            ("a key and nothing behind it", vec![0x0a]),
            ("a length that leads beyond the end", vec![0x0a, 0x7f, b'x']),
            ("a length beyond all memory", vec![0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]),
            ("a number without an end", vec![0x18, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]),
            ("the wrong kind of field", vec![0x08, 1]),
            ("field 0", vec![0x00, 1]),
            ("kind 7", vec![0x0f, 1]),
            ("a group that is not closed", vec![0x4b]),
        ];
        for (what, message) in no_messages {
            let answered = world.send(VERIFY, framed(&message)).await;
            assert_eq!(answered.http, StatusCode::OK, "{what}");
            is_unreadable(&answered);
        }
        world.is_unharmed().await;
    });
}

#[test]
fn text_that_is_not_utf8_is_called_unreadable() {
    run(async {
        let world = World::new().await;
        for bytes in [&[0xff][..], &[0xc0, 0x80], &[0xed, 0xa0, 0x80], b"lyu1_\xf5"] {
            is_unreadable(&world.send(VERIFY, framed(&field(1, bytes))).await);
            is_unreadable(&world.send(VERIFY, framed(&field(2, &field(1, bytes)))).await);
        }
        world.is_unharmed().await;
    });
}

#[test]
fn a_frame_that_is_cut_off_is_called_unreadable() {
    run(async {
        let world = World::new().await;
        let whole = framed(&question("no token"));
        for length in 0..whole.len() {
            let answered = world.send(VERIFY, whole.slice(..length)).await;
            let (code, reason) = answered.refusal();
            assert_eq!(reason, "REQUEST_UNREADABLE", "{length} bytes: {code:?}");
        }
        let mut twice = BytesMut::from(&whole[..]);
        twice.extend_from_slice(&whole);
        let outcome = world.connect().await.call(world.request(VERIFY), twice.freeze()).await;
        assert!(matches!(outcome, Outcome::Answered(_)), "a second message to a unary method: {outcome:?}");
        world.is_unharmed().await;
    });
}

#[test]
fn a_compressed_message_is_refused_and_what_would_be_understood_is_told() {
    run(async {
        let world = World::new().await;
        let mut compressed = framed(&question("x")).to_vec();
        for flag in [1, 2, 0xff] {
            compressed[0] = flag;
            let answered = world.send(VERIFY, compressed.clone().into()).await;
            answered.refusal();
        }
        for encoding in ["gzip", "zstd", "br", "nonsense"] {
            let mut request = world.request(VERIFY);
            request.headers_mut().insert("grpc-encoding", encoding.parse().expect("ASCII"));
            let answered = world.connect().await.call(request, compressed.clone().into()).await.answer();
            let (code, _) = answered.refusal();
            assert_eq!(code, Code::Unimplemented, "{encoding}");
        }
        world.is_unharmed().await;
    });
}

#[test]
fn a_request_that_is_too_large_is_refused_before_it_is_read() {
    run(async {
        let world = World::new().await;
        let limit = world.max_request_bytes;
        let fits = vec![b'x'; limit - 10];
        let verdict: VerifySessionResponse = world.send(VERIFY, framed(&field(1, &fits))).await.message();
        assert!(verdict.verdict.is_some());
        for (path, size) in [(VERIFY, limit + 1), (LIST, limit * 2), (BATCH, limit * 4 + 1)] {
            let answered = world.send(path, framed(&field(1, &vec![b'x'; size]))).await;
            let (code, reason) = answered.refusal();
            assert_eq!(reason, "REQUEST_UNREADABLE", "{path}: {code:?}");
        }
        // The head alone promises 4 GiB: nothing waits for them, and nobody sets memory aside.
        let mut promise = BytesMut::new();
        promise.put_u8(0);
        promise.put_u32(u32::MAX);
        let mut begun = world.connect().await.begin(world.request(VERIFY)).await.expect("a stream");
        begun.body.send_data(promise.freeze(), false).expect("the stream is open");
        begun.outcome().await.answer().refusal();
        world.is_unharmed().await;
    });
}

#[test]
fn a_batch_may_be_larger_but_not_longer() {
    run(async {
        let world = World::new().await;
        let one = field(1, &field(1, b"x"));
        let answered = world.send(BATCH, framed(&one.repeat(50_000))).await;
        let (code, reason) = answered.refusal();
        assert_eq!((code, reason.as_str()), (Code::InvalidArgument, "INVALID_FIELD"));
        world.is_unharmed().await;
    });
}

#[test]
fn headers_that_are_too_large_are_refused_and_the_connection_lives() {
    run(async {
        let world = World::new().await;
        let connection = world.connect().await;
        for (count, length) in [(1, 1024 * 1024), (1024, 1024), (20_000, 10), (1, 17_000), (1, 30_000)] {
            let mut request = world.request(VERIFY);
            for number in 0..count {
                let name: http::HeaderName = format!("x-{number}").parse().expect("a name");
                request.headers_mut().insert(name, "v".repeat(length).parse().expect("ASCII"));
            }
            // Our reason up to twice the limit; beyond that HTTP/2 refuses them itself, with 431 or a reset.
            match world.connect().await.call(request, framed(&question("x"))).await {
                Outcome::Answered(answered) if count * length < 32 * 1024 => is_unreadable(&answered),
                Outcome::Answered(answered) => {
                    assert_eq!(answered.http, StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "{answered:?}");
                }
                Outcome::Reset(_) => {}
            }
        }
        connection
            .call(world.request(VERIFY), framed(&question("x")))
            .await
            .answer()
            .message::<VerifySessionResponse>();
        world.is_unharmed().await;
    });
}

#[test]
fn fields_that_nobody_knows_are_skipped() {
    run(async {
        let world = World::new().await;
        let mut message = question(world.login.ust.expose());
        for number in 1000..2000 {
            message.extend(field(number, b"from the future"));
        }
        let verdict: VerifySessionResponse = world.send(VERIFY, framed(&message)).await.message();
        assert!(matches!(verdict.into(), Verdict::Active(_)));
        world.is_unharmed().await;
    });
}

#[test]
fn an_enum_value_that_nobody_knows_is_refused_in_a_filter() {
    run(async {
        let world = World::new().await;
        let root_like = world.login.ust.expose();
        for value in [5, 99, -1, i32::MAX, i32::MIN] {
            let by_state = ListSessionsRequest { ust: root_like.to_owned(), state: value, ..Default::default() };
            let by_type = ListSessionsRequest { ust: root_like.to_owned(), auth_type: value, ..Default::default() };
            for (field, request) in [("state", by_state), ("auth_type", by_type)] {
                let answered = world.send(LIST, framed(&request.encode_to_vec())).await;
                let (code, reason) = answered.refusal();
                assert_eq!((code, reason.as_str()), (Code::InvalidArgument, "INVALID_FIELD"), "{field} {value}");
                let status = answered.status.expect("a status");
                assert!(status.message().starts_with(field), "{}", status.message());
            }
        }
        world.is_unharmed().await;
    });
}

#[test]
fn nesting_without_an_end_is_called_unreadable_and_overflows_nothing() {
    run(async {
        let world = World::new().await;
        // As groups, which an unknown field may be and which cost two bytes a level; and as messages within messages.
        let groups = [vec![0x4b; 100_000], vec![0x4c; 100_000]].concat();
        is_unreadable(&world.send(VERIFY, framed(&groups)).await);
        let mut nested = Vec::new();
        while nested.len() < 200_000 {
            nested = field(2, &nested);
        }
        let answered = world.send(VERIFY, framed(&nested)).await;
        assert!(answered.status.is_some(), "{answered:?}");
        world.is_unharmed().await;
    });
}

#[test]
fn what_is_not_grpc_is_refused_as_http_has_it() {
    run(async {
        let world = World::new().await;
        let connection = world.connect().await;
        for kind in ["application/json", "text/plain", "application/grpcx", "application/grpc-web", ""] {
            let mut request = world.request(VERIFY);
            request.headers_mut().insert("content-type", kind.parse().expect("ASCII"));
            let answered = connection.call(request, framed(&question("x"))).await.answer();
            assert_eq!(answered.http, StatusCode::UNSUPPORTED_MEDIA_TYPE, "{kind}");
            answered.refusal();
        }
        for method in [Method::GET, Method::HEAD, Method::PUT, Method::DELETE, Method::OPTIONS] {
            let request = Request::builder().method(method.clone()).uri(format!("http://lanyard{VERIFY}"));
            let answered = connection.call(request.body(()).expect("a request"), Bytes::new()).await.answer();
            assert_eq!(answered.http, StatusCode::UNSUPPORTED_MEDIA_TYPE, "{method}");
        }
        world.is_unharmed().await;
    });
}

#[test]
fn methods_and_services_that_are_not_there_are_called_unknown() {
    run(async {
        let world = World::new().await;
        let long = format!("/{}/x", "s".repeat(4000));
        let paths = [
            "/",
            "/lanyard.v1.SessionService",
            "/lanyard.v1.SessionService/",
            "/lanyard.v1.SessionService/verifysession",
            "/lanyard.v1.SessionService/VerifySession/",
            "/lanyard.v1.SessionService/VerifySession/x",
            "//lanyard.v1.SessionService/VerifySession",
            "/lanyard.v2.SessionService/VerifySession",
            "/lanyard.v1.NoService/VerifySession",
            "/lanyard.v1.SessionService/%2e%2e/%00",
            "/grpc.health.v1.Health/NoMethod",
            long.as_str(),
        ];
        for path in paths {
            let connection = world.connect().await;
            for key in [None, Some(world.key.as_str())] {
                let answered = connection.call(grpc(path, key), framed(&[])).await.answer();
                let (code, reason) = answered.refusal();
                assert_eq!((code, reason.as_str()), (Code::Unimplemented, "METHOD_UNKNOWN"), "{path}");
            }
        }
        let page = world.program.metrics().await;
        assert!(!page.contains("NoService"), "strangers make no labels: {page}");
        world.is_unharmed().await;
    });
}

/// All that comes until the server closes, which it does.
async fn talk(addr: SocketAddr, bytes: &[u8]) -> Vec<u8> {
    let mut socket = TcpStream::connect(addr).await.expect("it listens");
    let _ = socket.write_all(bytes).await;
    let _ = socket.shutdown().await;
    let mut answer = Vec::new();
    // The end may be told as a reset.
    let _ = tokio::time::timeout(PATIENCE, socket.read_to_end(&mut answer)).await.expect("the server ends it");
    answer
}

#[test]
fn bytes_that_are_not_http2_end_the_connection() {
    run(async {
        let world = World::new().await;
        let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        let mut chance = fastrand::Rng::with_seed(7);
        let mut noise: Vec<Vec<u8>> = vec![
            Vec::new(),
            b"GET / HTTP/1.1\r\nhost: lanyard\r\n\r\n".to_vec(),
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(),
            preface[..10].to_vec(),
            // A SETTINGS frame of a wrong length, DATA on stream 0, a frame larger than allowed, CONTINUATION alone.
            [&preface[..], &[0, 0, 5, 4, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5]].concat(),
            [&preface[..], &[0, 0, 0, 4, 0, 0, 0, 0, 0], &[0, 0, 1, 0, 0, 0, 0, 0, 0, 7]].concat(),
            [&preface[..], &[0, 0, 0, 4, 0, 0, 0, 0, 0], &[0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 1]].concat(),
            [&preface[..], &[0, 0, 0, 4, 0, 0, 0, 0, 0], &[0, 0, 0, 9, 4, 0, 0, 0, 1]].concat(),
        ];
        for length in [1, 9, 100, 5000] {
            let random: Vec<u8> = std::iter::repeat_with(|| chance.u8(..)).take(length).collect();
            noise.push([&preface[..], &[0, 0, 0, 4, 0, 0, 0, 0, 0], &random].concat());
            noise.push(random);
        }
        for bytes in noise {
            let answer = talk(world.program.addr, &bytes).await;
            assert!(!answer.starts_with(b"HTTP/1.1 200"), "{:?}", String::from_utf8_lossy(&answer));
        }
        world.is_unharmed().await;
    });
}

#[test]
fn connections_that_say_nothing_or_half_a_call_hold_nobody_else() {
    run(async {
        let world = World::new().await;
        let mut held = Vec::new();
        for number in 0..200 {
            let mut socket = TcpStream::connect(world.program.addr).await.expect("it listens");
            if number % 2 == 0 {
                socket.write_all(b"PRI * HTTP/2.0\r\n\r\nSM").await.expect("bytes");
            }
            held.push(socket);
        }
        let mut begun = Vec::new();
        for _ in 0..HALF_CALLS {
            let connection = world.connect().await;
            let mut call = connection.begin(world.request(VERIFY)).await.expect("a stream");
            call.body.send_data(framed(&question("x")).slice(..3), false).expect("the stream is open");
            begun.push((connection, call));
        }
        // HTTP/2 drops a stream that is reset before its server has seen it: such a call never was.
        let under_way = format!("lanyard_rpc_in_flight {HALF_CALLS}\n");
        eventually("all of them are under way", async || world.program.metrics().await.contains(&under_way)).await;
        world.is_unharmed().await;
        drop((held, begun));
        let over = format!(
            "lanyard_rpc_duration_seconds_count{{method=\"SessionService/VerifySession\",code=\"CANCELLED\"}} {HALF_CALLS}\n"
        );
        eventually("calls that were given up are over", async || world.program.metrics().await.contains(&over)).await;
        assert!(world.program.metrics().await.contains("lanyard_rpc_in_flight 0\n"));
        world.is_unharmed().await;
    });
}

/// Whether the stream is reset or the whole connection breaks: a call whose caller is gone is cancelled, and its request is not
/// called unreadable.
#[test]
fn a_call_whose_connection_breaks_half_way_is_cancelled() {
    run(async {
        let world = World::new().await;
        for path in [VERIFY, LIST] {
            let connection = world.connect().await;
            let mut call = connection.begin(world.request(path)).await.expect("a stream");
            call.body.send_data(framed(&question("x")).slice(..3), false).expect("the stream is open");
            let metrics = async || world.program.metrics().await;
            eventually("it is under way", async || metrics().await.contains("lanyard_rpc_in_flight 1\n")).await;
            connection.abort().await;
            eventually("it is over", async || metrics().await.contains("lanyard_rpc_in_flight 0\n")).await;
            let name = path.strip_prefix("/lanyard.v1.").expect("a method of ours");
            let cancelled = format!("lanyard_rpc_duration_seconds_count{{method=\"{name}\",code=\"CANCELLED\"}} 1\n");
            let page = metrics().await;
            assert!(page.contains(&cancelled), "{page}");
        }
        world.is_unharmed().await;
    });
}

/// What a client without HTTP/2's state sends at once: the preface, settings, and so many streams that are opened and reset.
fn resets(count: u32) -> Vec<u8> {
    let frame = |kind: u8, flags: u8, stream: u32, payload: &[u8]| {
        let length = u32::try_from(payload.len()).expect("short").to_be_bytes();
        [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
    };
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    bytes.extend(frame(0x4, 0, 0, &[]));
    for stream in (1..).step_by(2).take(count as usize) {
        // HEADERS that end headers: POST, http, /; RST_STREAM: CANCEL.
        bytes.extend(frame(0x1, 0x4, stream, &[0x83, 0x86, 0x84]));
        bytes.extend(frame(0x3, 0, stream, &8_u32.to_be_bytes()));
    }
    bytes.extend(frame(0x6, 0, 0, b"are you?"));
    bytes
}

/// Kind, flags and payload of the next frame; none at the end.
async fn next_frame(socket: &mut TcpStream) -> Option<(u8, u8, Vec<u8>)> {
    let mut head = [0; 9];
    socket.read_exact(&mut head).await.ok()?;
    let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
    socket.read_exact(&mut payload).await.ok()?;
    Some((head[3], head[4], payload))
}

/// Is the connection alive after so many resets at once? Otherwise it was ended by a GOAWAY that says why.
///
/// Everything is sent before anything is read, and nothing after it: who goes on writing to a socket that the server has closed
/// may lose what it said before.
async fn survives_resets(addr: SocketAddr, count: u32) -> bool {
    let mut socket = TcpStream::connect(addr).await.expect("it listens");
    socket.write_all(&resets(count)).await.expect("a few bytes");
    loop {
        let next = tokio::time::timeout(PATIENCE, next_frame(&mut socket)).await.expect("an answer in time");
        match next.expect("a PING or a GOAWAY before the end") {
            (0x6, 1, payload) if payload == b"are you?" => return true,
            (0x7, _, payload) => {
                let reason = Reason::from(u32::from_be_bytes(payload[4..8].try_into().expect("4 bytes")));
                assert_eq!(reason, Reason::ENHANCE_YOUR_CALM);
                return false;
            }
            _ => {}
        }
    }
}

/// Streams that are opened and reset as fast as they can be cost a client its connection, and the others nothing.
#[test]
fn a_rapid_reset_ends_the_connection_of_who_does_it() {
    run(async {
        let world = World::new().await;
        assert!(survives_resets(world.program.addr, 32).await, "some calls may be given up");
        assert!(!survives_resets(world.program.addr, 33).await, "no more than that");
        assert!(!survives_resets(world.program.addr, 500).await);
        world.is_unharmed().await;
    });
}

#[test]
fn a_call_that_stops_half_way_is_over_at_its_deadline() {
    run(async {
        let world = World::new().await;
        let mut request = world.request(VERIFY);
        request.headers_mut().insert("grpc-timeout", "50m".parse().expect("ASCII"));
        let mut begun = world.connect().await.begin(request).await.expect("a stream");
        begun.body.send_data(framed(&question("x")).slice(..3), false).expect("the stream is open");
        let answered = begun.outcome().await.answer();
        let (code, reason) = answered.refusal();
        assert_eq!((code, reason.as_str()), (Code::DeadlineExceeded, "DEADLINE_EXCEEDED"));
        world.is_unharmed().await;
    });
}

#[test]
fn bad_credentials_and_bad_correlation_ids_are_refused_or_replaced() {
    run(async {
        let world = World::new().await;
        let connection = world.connect().await;
        let long = format!("Bearer {}", "k".repeat(10_000));
        for credential in [&b"Bearer"[..], b"Bearer ", b"Basic eDp5", b"\xff\xfe", long.as_bytes(), b"Bearer lyk1_\x80"]
        {
            let mut request = grpc(VERIFY, None);
            request.headers_mut().insert("authorization", http::HeaderValue::from_bytes(credential).expect("a header"));
            let (code, reason) = connection.call(request, framed(&question("x"))).await.answer().refusal();
            assert_eq!((code, reason.as_str()), (Code::Unauthenticated, "CALLER_UNAUTHENTICATED"));
        }
        for id in [&b"with space"[..], b"\xff", b"{\"json\":1}", &[b'x'; 129]] {
            let mut request = world.request("/lanyard.v1.SessionService/NoMethod");
            request.headers_mut().insert("x-correlation-id", http::HeaderValue::from_bytes(id).expect("a header"));
            let answered = connection.call(request, framed(&question("x"))).await.answer();
            answered.refusal();
            let told = answered.headers["x-correlation-id"].to_str().expect("ASCII");
            assert!(told.parse::<uuid::Uuid>().is_ok(), "a new one: {told}");
        }
        world.is_unharmed().await;
    });
}

/// Random bytes, and random fields that look like messages.
fn bytes_of_a_message() -> impl Strategy<Value = Vec<u8>> {
    let varint = (1u32..20, any::<u64>()).prop_map(|(number, value)| {
        let mut field = BytesMut::new();
        prost::encoding::uint64::encode(number, &value, &mut field);
        field.to_vec()
    });
    let fixed = (1u32..20, any::<u64>()).prop_map(|(number, value)| {
        let mut field = BytesMut::new();
        prost::encoding::fixed64::encode(number, &value, &mut field);
        field.to_vec()
    });
    let bytes = (1u32..20, prop::collection::vec(any::<u8>(), 0..40)).prop_map(|(number, value)| field(number, &value));
    let text = (1u32..20, "\\PC{0,40}").prop_map(|(number, value)| field(number, value.as_bytes()));
    let leaf = prop_oneof![varint, fixed, bytes, text];
    let nested = leaf.prop_recursive(4, 24, 4, |inner| {
        (1u32..20, prop::collection::vec(inner, 0..4)).prop_map(|(number, fields)| field(number, &fields.concat()))
    });
    prop_oneof![
        1 => prop::collection::vec(any::<u8>(), 0..200),
        4 => prop::collection::vec(nested, 0..6).prop_map(|fields| fields.concat()),
    ]
}

#[test]
fn random_bytes_to_any_method_are_answered_or_refused_clearly() {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(2).enable_all().build().expect("a runtime starts");
    let world = runtime.block_on(World::new());
    let connection = runtime.block_on(world.connect());
    let mut runner = TestRunner::new(Cases { failure_persistence: None, ..Cases::with_cases(48) });
    let tested = runner.run(&(bytes_of_a_message(), any::<bool>()), |(bytes, as_alice)| {
        runtime.block_on(async {
            for method in METHODS {
                // With a good token in the place where most have it, what is behind it is reached too.
                let mut message = bytes.clone();
                if as_alice && method.path != VERIFY && method.path != BATCH {
                    message.extend(field(1, world.login.ust.expose().as_bytes()));
                }
                let answered = connection.call(world.request(method.path), framed(&message)).await.answer();
                if answered.code() != Code::Ok {
                    let (code, reason) = answered.refusal();
                    prop_assert_ne!(code, Code::Internal, "{}: {}", method.path, reason);
                }
            }
            Ok(())
        })
    });
    if let Err(error) = tested {
        panic!("{error}");
    }
    runtime.block_on(async {
        let again = world.program.metrics().await;
        assert!(!again.contains("code=\"INTERNAL\""), "{again}");
        assert!(!world.program.process.output().contains("panicked"));
        assert!(get_page(world.program.admin, "/healthz").await.starts_with("HTTP/1.1 200"));
    });
}

/// A client that reads nothing of what it asked for keeps its own connection busy and no other.
#[test]
fn a_client_that_does_not_read_holds_nobody_else() {
    run(async {
        let world = World::new().await;
        let mut socket = TcpStream::connect(world.program.addr).await.expect("it listens");
        socket.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.expect("bytes");
        socket.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).await.expect("bytes");
        // Pings, whose answers nobody takes: until the server waits, or has had enough.
        let pings = [0, 0, 8, 6, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8].repeat(1000);
        while socket.try_write(&pings).is_ok() {}
        world.is_unharmed().await;
    });
}
