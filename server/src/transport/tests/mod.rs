//! Tests of the listener and the pipeline, with a real client over loopback and callers in a real database. A test
//! double replaces the services: it does what the token of a `GetSession` says. The fast path is the real one.

mod calls;
mod connections;
mod credential_cache;
mod dispatch;
mod fast_path;
mod identity;
mod limits;
mod stages;
mod stopping;

use std::collections::HashMap;
use std::future::pending;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes};
use futures::future::BoxFuture;
use http::{HeaderMap, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};
use lanyard_proto::CORRELATION_ID_HEADER;
use lanyard_proto::v1::session_service_server::{SessionService, SessionServiceServer};
use lanyard_proto::v1::*;
use prost::Message;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use super::*;
use crate::app::{App, Context};
use crate::clock::{Clock, Time};
use crate::config;
use crate::crypto::{Keyring, Token, TokenKind};
use crate::error::Error;
use crate::model::caller::{Apps, Flags, Grant, Grants};
use crate::model::id::CallerId;
use crate::pipeline::dispatch::call;
use crate::pipeline::{Health, METHODS, RpcServer, rpc_labels};
use crate::serve::open_store;
use crate::stop::Stop;
use crate::store::{CallerRow, NewCallerKey, Store};
use crate::telemetry::metrics::Metrics;
use crate::telemetry::metrics::connection::ConnectionMetrics;
use crate::telemetry::metrics::rpc::RpcMetrics;

const VERIFY: &str = "/lanyard.v1.SessionService/VerifySession";
const BATCH: &str = "/lanyard.v1.SessionService/BatchVerifySessions";
const ASK: &str = "/lanyard.v1.SessionService/GetSession";
const ASK_NAME: &str = "SessionService/GetSession";
const LIMIT: usize = 4096;
/// Time limit of each wait.
const PATIENCE: Duration = Duration::from_secs(20);

/// The test double of all services.
#[derive(Clone)]
struct Double(Arc<Seen>);

struct Seen {
    /// Calls that began to wait.
    waiting: AtomicU32,
    /// Calls that were dropped while they waited.
    dropped: AtomicU32,
    /// Each permit lets one waiting call continue.
    gate: Semaphore,
}

struct Waiting<'a>(&'a Seen, bool);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if !self.1 {
            self.0.dropped.fetch_add(1, Ordering::SeqCst);
        }
    }
}

impl Double {
    fn new() -> Self {
        let (waiting, dropped) = (AtomicU32::new(0), AtomicU32::new(0));
        Self(Arc::new(Seen { waiting, dropped, gate: Semaphore::new(0) }))
    }

    async fn wait(&self) {
        let mut waiting = Waiting(&self.0, false);
        self.0.waiting.fetch_add(1, Ordering::SeqCst);
        self.0.gate.acquire().await.expect("never closed").forget();
        waiting.1 = true;
    }

    fn waiting(&self) -> u32 {
        self.0.waiting.load(Ordering::SeqCst)
    }

    fn dropped(&self) -> u32 {
        self.0.dropped.load(Ordering::SeqCst)
    }
}

type Reply<T> = std::result::Result<tonic::Response<T>, Status>;

/// The methods that no test calls.
fn not_called<T>() -> Reply<T> {
    Err(Error::internal("no test calls this").into())
}

#[tonic::async_trait]
impl SessionService for Double {
    /// Returns what the stages handed over, as the username.
    async fn get_session(&self, request: tonic::Request<GetSessionRequest>) -> Reply<GetSessionResponse> {
        let context = request.extensions().get::<Context>().expect("the stages put it there");
        let username = format!("{} {} {}", context.correlation_id, context.caller.name, context.peer);
        let leaked = request.metadata().get("authorization").is_some();
        match request.get_ref().ust.as_str() {
            "wait" => self.wait().await,
            "panic" => panic!("asked to"),
            "panic twice" => {
                let _panics_when_dropped = PanicsWhenDropped;
                pending::<()>().await;
            }
            "fail" => return Err(Error::internal("secret-source").into()),
            "conflict" => return Err(Error::WriteConflict.into()),
            _ => {}
        }
        assert!(!leaked, "the key went past the stages");
        let session = Some(UserSession { username, ..UserSession::default() });
        Ok(tonic::Response::new(GetSessionResponse { session }))
    }

    async fn verify_session(&self, _: tonic::Request<VerifySessionRequest>) -> Reply<VerifySessionResponse> {
        not_called()
    }

    async fn batch_verify_sessions(
        &self,
        _: tonic::Request<BatchVerifySessionsRequest>,
    ) -> Reply<BatchVerifySessionsResponse> {
        not_called()
    }

    async fn create_session(&self, _: tonic::Request<CreateSessionRequest>) -> Reply<CreateSessionResponse> {
        not_called()
    }

    async fn list_sessions(&self, _: tonic::Request<ListSessionsRequest>) -> Reply<ListSessionsResponse> {
        not_called()
    }

    async fn renew_session(&self, _: tonic::Request<RenewSessionRequest>) -> Reply<RenewSessionResponse> {
        not_called()
    }

    async fn revoke_session(&self, _: tonic::Request<RevokeSessionRequest>) -> Reply<RevokeSessionResponse> {
        not_called()
    }

    async fn revoke_sessions(&self, _: tonic::Request<RevokeSessionsRequest>) -> Reply<RevokeSessionsResponse> {
        not_called()
    }

    async fn get_platform_auth(&self, _: tonic::Request<GetPlatformAuthRequest>) -> Reply<GetPlatformAuthResponse> {
        not_called()
    }
}

struct PanicsWhenDropped;

impl Drop for PanicsWhenDropped {
    fn drop(&mut self) {
        assert!(std::thread::panicking(), "asked to, when dropped");
    }
}

/// The API keys of the callers, the same in all test databases.
static KEYS: LazyLock<HashMap<&'static str, (Token, String)>> = LazyLock::new(|| {
    let key = |name| {
        let token = Token::generate(TokenKind::CallerKey);
        let header = format!("Bearer {}", token.expose());
        (name, (token, header))
    };
    ["known", "slow", "powerless", "mighty", "single"].map(key).into()
});

/// The header of a caller: `known` has the grants that the tests use, `slow` too but is not cached, `powerless` has all
/// other grants, `mighty` has all, and `single` may have one call in flight.
fn key(name: &str) -> (&'static str, &'static str) {
    ("authorization", &KEYS[name].1)
}

/// An app on a database with these callers, and one with a certificate.
async fn app(config: &config::Config) -> App {
    let clock = Clock::system();
    let keyring = Arc::new(Keyring::generate(clock.now()));
    let store = open_store(config, keyring.clone(), clock.clone()).await.expect("a database");
    store.migrate(&|_, _| {}).await.expect("a schema");
    let rights = [Grant::SessionVerify, Grant::SessionRead];
    let granted: Grants = rights.into_iter().collect();
    let others = Grant::ALL.iter().copied().filter(|grant| !rights.contains(grant)).collect();
    for (name, grants, max_in_flight) in [
        ("known", granted, None),
        ("powerless", others, None),
        ("mighty", Grants::all(), None),
        ("single", granted, Some(1)),
    ] {
        add_caller(&store, name, grants, max_in_flight, None).await;
    }
    add_caller(&store, "mesh", granted, None, Some(identity::SPIFFE_ID)).await;
    let app = App::new(config, store, keyring, clock).await.expect("the rules");
    add_caller(app.store(), "slow", granted, None, None).await;
    app
}

async fn add_caller(store: &Store, name: &str, grants: Grants, max_in_flight: Option<i32>, spiffe_id: Option<&str>) {
    let now = store.clock().now();
    let id = CallerId::new(now);
    let row = CallerRow {
        caller_id: id,
        name: name.to_owned(),
        spiffe_id: spiffe_id.map(str::to_owned),
        grants: grants.to_string(),
        apps: Apps::All.to_string(),
        flags: Flags::default().to_string(),
        max_in_flight,
        created_at: now,
        revoked_at: None,
    };
    let key = KEYS.get(name).map(|(token, _)| {
        let (hash, key_id) = store.keyring().hash_token(token.as_ref());
        NewCallerKey { hash, key_id, created_at: now, expires_at: now + Duration::from_hours(1) }
    });
    let write = store.write(move |tx| {
        let row = row.clone();
        Box::pin(async move {
            tx.insert_caller(row).await?;
            match key {
                Some(key) => tx.insert_caller_key(id, key).await,
                None => Ok(()),
            }
        })
    });
    write.await.expect("a caller");
}

/// A server on a free port.
struct Server {
    addr: SocketAddr,
    double: Double,
    health: Health,
    metrics: Arc<RpcMetrics>,
    stop: Stop,
    running: JoinHandle<std::result::Result<Ended, ServeError>>,
    _folder: tempfile::TempDir,
}

impl Server {
    async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    /// With the test double.
    async fn start_with(change: impl FnOnce(&mut config::Server)) -> Self {
        Self::serving(true, change).await
    }

    async fn serving(doubled: bool, change: impl FnOnce(&mut config::Server)) -> Self {
        let folder = tempfile::tempdir().expect("a directory");
        let mut config = config::Config::dev(folder.path());
        config.server.listen = ([127, 0, 0, 1], 0).into();
        (config.server.workers, config.server.drain_delay) = (2, Duration::ZERO);
        config.server.max_request_bytes = LIMIT;
        change(&mut config.server);
        let (double, health, stop) = (Double::new(), Health::new().await, Stop::new());
        health.set_serving(true).await;
        let metrics = RpcMetrics::register(&Metrics::new(), rpc_labels());
        let background = tokio::runtime::Handle::current();
        let mut server = RpcServer::new(app(&config).await, background, health.clone(), metrics.clone(), &config);
        if doubled {
            let session = SessionServiceServer::new(double.clone()).max_decoding_message_size(LIMIT);
            server.set_test_double(Box::new(move |_, request| call(&session, request)));
        }
        let listener = Listener::bind(&config.server).await.expect("a free port");
        let (addr, told) = (listener.addr(), stop.clone());
        let connections = ConnectionMetrics::register(&Metrics::new());
        let admission = Admission::new(&config.server, config.database.max_connections, connections);
        let running =
            tokio::spawn(async move { serve(listener, Arc::new(server), &admission, &config.server, &told).await });
        Self { addr, double, health, metrics, stop, running, _folder: folder }
    }

    async fn connect(&self) -> Client {
        Client::over(TcpStream::connect(self.addr).await.expect("it listens")).await
    }

    /// Starts a call and returns once it waits in its handler.
    async fn begin(&self, client: &Client, ust: &str) -> JoinHandle<Answered> {
        let before = self.double.waiting();
        let (client, ust) = (client.clone(), ust.to_owned());
        let call = tokio::spawn(async move { client.ask(&ust, &[key("known")]).await });
        until(|| self.double.waiting() > before).await;
        call
    }

    fn count(&self, code: Code) -> u64 {
        self.metrics.count(ASK_NAME, code as usize)
    }

    async fn ended(self) -> Ended {
        let ended = tokio::time::timeout(PATIENCE, self.running).await;
        ended.expect("the server ends").expect("it does not panic").expect("it served")
    }
}

/// A client that exposes every byte and header.
#[derive(Clone)]
struct Client(SendRequest<Full<Bytes>>);

/// A response.
#[derive(Debug)]
struct Answered {
    http: StatusCode,
    headers: HeaderMap,
    body: Bytes,
    trailers: Option<HeaderMap>,
}

impl Client {
    async fn over(io: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) -> Self {
        let (sender, connection) = handshake(TokioExecutor::new(), TokioIo::new(io)).await.expect("HTTP/2");
        tokio::spawn(connection);
        Self(sender)
    }

    async fn open(&self, path: &str, headers: &[(&str, &str)], body: Bytes) -> hyper::Result<Response<Incoming>> {
        let mut request = http::Request::post(format!("http://lanyard{path}"));
        if !headers.iter().any(|(name, _)| *name == "content-type") {
            request = request.header("content-type", "application/grpc");
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut sender = self.0.clone();
        sender.ready().await?;
        sender.send_request(request.body(Full::new(body)).expect("a request")).await
    }

    async fn call(&self, path: &str, headers: &[(&str, &str)], body: Bytes) -> Answered {
        let answer = async {
            let (parts, body) = self.open(path, headers, body).await.expect("an answer").into_parts();
            (parts, body.collect().await.expect("the whole answer"))
        };
        let (parts, body) = tokio::time::timeout(PATIENCE, answer).await.expect("an answer in time");
        let trailers = body.trailers().cloned();
        Answered { http: parts.status, headers: parts.headers, body: body.to_bytes(), trailers }
    }

    /// Calls the test double.
    async fn ask(&self, ust: &str, headers: &[(&str, &str)]) -> Answered {
        let request = GetSessionRequest { ust: ust.to_owned(), ..GetSessionRequest::default() };
        self.call(ASK, headers, frame(&request)).await
    }

    async fn verify(&self, ust: &str, headers: &[(&str, &str)]) -> Answered {
        let request = VerifySessionRequest { ust: ust.to_owned(), ..VerifySessionRequest::default() };
        self.call(VERIFY, headers, frame(&request)).await
    }

    async fn health(&self, service: &str) -> Answered {
        let request = tonic_health::pb::HealthCheckRequest { service: service.to_owned() };
        self.call("/grpc.health.v1.Health/Check", &[], frame(&request)).await
    }
}

impl Answered {
    fn status(&self) -> Status {
        let of_trailers = self.trailers.as_ref().and_then(Status::from_header_map);
        Status::from_header_map(&self.headers).or(of_trailers).expect("a status")
    }

    fn code(&self) -> Code {
        self.status().code()
    }

    /// The details of an error. Asserts exactly one `ErrorInfo`, our domain, and the correlation ID.
    fn details(&self) -> ErrorDetails {
        let status = self.status();
        let all = status.check_error_details_vec().expect("readable details");
        let infos = all.iter().filter(|detail| matches!(detail, tonic_types::ErrorDetail::ErrorInfo(_)));
        assert_eq!(infos.count(), 1, "{status:?}");
        let details = status.get_error_details();
        assert_eq!(details.error_info().map(|info| info.domain.as_str()), Some("lanyard"));
        assert_eq!(details.request_info().map(|info| info.request_id.as_str()), Some(self.correlation_id()));
        details
    }

    fn reason(&self) -> String {
        self.details().error_info().map(|info| info.reason.clone()).unwrap_or_default()
    }

    fn correlation_id(&self) -> &str {
        self.headers[CORRELATION_ID_HEADER].to_str().expect("ASCII")
    }

    fn message<M: Message + Default>(&self) -> M {
        let mut body = self.body.clone();
        assert_eq!(body.get_u8(), 0, "not compressed");
        let length = body.get_u32();
        M::decode(body.split_to(length as usize)).expect("a message")
    }

    /// What the handler received: correlation ID, caller, peer.
    fn handed_over(&self) -> String {
        self.message::<GetSessionResponse>().session.expect("a session").username
    }
}

fn frame(message: &impl Message) -> Bytes {
    framed(&message.encode_to_vec())
}

fn framed(message: &[u8]) -> Bytes {
    let mut framed = vec![0];
    framed.put_u32(u32::try_from(message.len()).expect("small"));
    framed.extend_from_slice(message);
    framed.into()
}

/// Polls until `is_so`.
async fn until(is_so: impl Fn() -> bool) {
    until_async(|| Box::pin(std::future::ready(is_so()))).await;
}

async fn until_async<'a>(mut is_so: impl FnMut() -> BoxFuture<'a, bool>) {
    let waited = tokio::time::timeout(PATIENCE, async {
        while !is_so().await {
            tokio::task::yield_now().await;
        }
    });
    waited.await.expect("it comes to be so");
}
