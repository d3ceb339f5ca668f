//! Whoever has no key cannot keep out those who have one, whatever they open, send or hold.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use h2::SendStream;
use h2::client::SendRequest;
use lanyard_client::{Ust, Verdict};
use lanyard_tests::support::installation::{Installation, Program};
use lanyard_tests::support::raw::grpc;
use lanyard_tests::support::server::{Database, run};
use lanyard_tests::support::{PATIENCE, eventually};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::timeout;

const OPEN_FILES: u32 = 1024;
const IDLE_CONNECTIONS: usize = 1100;
/// How long a connection may take to be accepted.
const CONNECT_LIMIT: Duration = Duration::from_secs(1);
const VERIFY: &str = "/lanyard.v1.SessionService/VerifySession";
const REFLECTION: &str = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
const WATCH: &str = "/grpc.health.v1.Health/Watch";
/// More than `server.unauthenticated.max_refused_calls` and `server.public_services.max_calls_per_connection` let live.
const STREAMS: usize = 32;
/// What all connections without a key may hold together.
const MAX_KIB: u64 = 64 * 1024;

/// A socket of a loopback address that is not that of the clients.
async fn connect_from(from: Ipv4Addr, addr: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind((from, 0).into())?;
    timeout(CONNECT_LIMIT, socket.connect(addr)).await?
}

/// A user who is logged in.
async fn log_in(program: &Program, installation: &Installation) -> Ust {
    let alice = &installation.prepared.alice;
    let client = program.client().await;
    client.log_in(&alice.username, &alice.password).await.expect("alice logs in").ust
}

/// A client verifies on a new connection, and the admin port answers.
async fn serves_others(program: &Program, installation: &Installation, ust: &Ust) {
    let client = timeout(PATIENCE, program.client()).await.expect("a connection in time");
    let verdict = timeout(PATIENCE, client.verify(ust)).await.expect("a verdict in time");
    assert!(matches!(verdict, Ok(Verdict::Active(_))), "{verdict:?}");
    let page = timeout(PATIENCE, program.metrics()).await.expect("the admin port answers in time");
    let line = page.lines().find_map(|line| line.strip_prefix("lanyard_connections_unauthenticated "));
    let unauthenticated: usize = line.and_then(|count| count.parse().ok()).expect("a number");
    assert!(unauthenticated <= installation.prepared.config.server.unauthenticated.max_connections, "{page}");
}

/// Serves others while strangers hold more connections than there are files; `from`: the address of each connection.
async fn serves_while_held(from: impl Fn(usize) -> Ipv4Addr) {
    let installation = Installation::prepare(Database::Sqlite, |_| {}).await;
    let program = installation.start_with_files(OPEN_FILES);
    let ust = log_in(&program, &installation).await;
    let mut held = Vec::new();
    for number in 0..IDLE_CONNECTIONS {
        // Some are refused at once.
        held.extend(connect_from(from(number), program.addr).await);
    }
    serves_others(&program, &installation, &ust).await;
}

#[test]
fn serves_clients_while_a_stranger_holds_more_connections_than_there_are_files() {
    run(serves_while_held(|_| Ipv4Addr::new(127, 0, 0, 2)));
}

#[test]
fn serves_clients_while_strangers_from_everywhere_hold_connections() {
    run(serves_while_held(|number| Ipv4Addr::new(127, 0, 1, u8::try_from(number % 200).expect("below 200") + 1)));
}

/// A connection without a key that holds as much as it can.
struct Greedy {
    _sender: SendRequest<Bytes>,
    _driver: JoinHandle<Result<(), h2::Error>>,
    _calls: Vec<(SendStream<Bytes>, h2::client::ResponseFuture)>,
}

/// Opens streams with long headers and messages that never end, and reads no response.
async fn greedy(from: Ipv4Addr, addr: SocketAddr) -> Option<Greedy> {
    let socket = connect_from(from, addr).await.ok()?;
    let mut client = h2::client::Builder::new();
    client.initial_window_size(0).initial_connection_window_size(65_535);
    let (sender, connection) = timeout(PATIENCE, client.handshake(socket)).await.ok()?.ok()?;
    let driver = tokio::spawn(connection);
    let mut message = BytesMut::new();
    message.put_u8(0);
    message.put_u32(4 * 1024);
    message.put_bytes(b'x', 3 * 1024);
    let message = message.freeze();
    let mut calls = Vec::new();
    for number in 0..STREAMS {
        let path = [REFLECTION, WATCH, VERIFY][number % 3];
        let mut request = grpc(path, None);
        request.headers_mut().insert("x-long", "x".repeat(8 * 1024).parse().expect("ASCII"));
        let Ok(Ok(mut ready)) = timeout(PATIENCE, sender.clone().ready()).await else { break };
        let Ok((response, mut body)) = ready.send_request(request, false) else { break };
        let _ = body.send_data(message.clone(), false);
        calls.push((body, response));
    }
    Some(Greedy { _sender: sender, _driver: driver, _calls: calls })
}

/// Resident memory of the program.
fn resident_kib(program: &Program) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", program.process.id())).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("its memory");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

#[test]
fn holds_little_memory_for_all_connections_without_a_key() {
    run(async {
        let installation = Installation::prepare(Database::Sqlite, |config| config.server.reflection = true).await;
        let program = installation.start();
        let ust = log_in(&program, &installation).await;
        serves_others(&program, &installation, &ust).await;
        let before = resident_kib(&program);
        let mut held = Vec::new();
        for number in 0..150_u16 {
            let from = Ipv4Addr::new(127, 0, 2, u8::try_from(number % 20).expect("below 20") + 1);
            held.extend(greedy(from, program.addr).await);
        }
        let grown = resident_kib(&program).saturating_sub(before);
        println!("{} connections without a key: {grown} KiB", held.len());
        assert!(grown <= MAX_KIB, "{grown} KiB");
        serves_others(&program, &installation, &ust).await;
        drop(held);
        let none = "lanyard_connections_unauthenticated 0\n";
        eventually("they are gone", async || program.metrics().await.contains(none)).await;
    });
}
