//! The layers and the listener, with a real client over loopback. Behind them stands a service of the contract that does
//! what the token of a request says.

mod calls;
mod hot;
mod identity;
mod limits;
mod memo;
mod routes;
mod stopping;

use std::future::pending;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
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
use crate::app::Context;
use crate::clock::{Clock, Time};
use crate::config;
use crate::error::{Error, Result};
use crate::model::caller::{Apps, Caller, CallerCredential, Flags, Grant, Grants};
use crate::model::id::CallerId;
use crate::pipeline::*;
use crate::stop::Stop;
use crate::telemetry::metrics::Metrics;

const VERIFY: &str = "/lanyard.v1.SessionService/VerifySession";
const BATCH: &str = "/lanyard.v1.SessionService/BatchVerifySessions";
const VERIFY_NAME: &str = "SessionService/VerifySession";
const KEY: (&str, &str) = ("authorization", "Bearer known");
const LIMIT: usize = 4096;
/// How long a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(20);

/// What the service behind the layers does and has seen.
#[derive(Clone)]
struct Double(Arc<Seen>);

struct Seen {
    /// Calls that began to wait.
    waiting: AtomicU32,
    /// Calls that were dropped while they waited.
    dropped: AtomicU32,
    /// Lets those that wait go on.
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
    /// Tells what the layers handed over, as the username.
    async fn verify_session(&self, request: tonic::Request<VerifySessionRequest>) -> Reply<VerifySessionResponse> {
        let context = request.extensions().get::<Context>().expect("the layers put it there");
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
        assert!(!leaked, "the key went past the layers");
        let session = VerifiedSession { username, ..VerifiedSession::default() };
        let verdict = Some(verify_session_response::Verdict::Session(session));
        Ok(tonic::Response::new(VerifySessionResponse { verdict, ..VerifySessionResponse::default() }))
    }

    async fn batch_verify_sessions(
        &self,
        _: tonic::Request<BatchVerifySessionsRequest>,
    ) -> Reply<BatchVerifySessionsResponse> {
        Ok(tonic::Response::new(BatchVerifySessionsResponse::default()))
    }

    async fn create_session(&self, _: tonic::Request<CreateSessionRequest>) -> Reply<CreateSessionResponse> {
        not_called()
    }

    async fn get_session(&self, _: tonic::Request<GetSessionRequest>) -> Reply<GetSessionResponse> {
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

/// The callers that there are, by key or certificate. Those that begin with `slow` are not in memory.
#[derive(Clone)]
struct Callers(Arc<Vec<(&'static str, Arc<Caller>)>>);

impl Callers {
    fn new() -> Self {
        let caller = |name: &str, granted, max_in_flight| {
            Arc::new(Caller {
                id: CallerId::new(Time::from_micros(1)),
                name: name.to_owned(),
                granted,
                apps: Apps::All,
                flags: Flags::default(),
                max_in_flight,
                in_flight: Arc::default(),
            })
        };
        let verify = Grants::NONE.with(Grant::SessionVerify);
        let by_certificate = caller("mesh", verify, 100);
        Self(Arc::new(vec![
            ("known", caller("known", verify, 100)),
            ("slow", caller("slow", verify, 100)),
            ("powerless", caller("powerless", Grants::all_but(Grant::SessionVerify), 100)),
            ("mighty", caller("mighty", Grants::all(), 100)),
            ("single", caller("single", verify, 1)),
            (identity::SPIFFE_ID, by_certificate),
        ]))
    }

    fn find(&self, credential: CallerCredential<'_>) -> Option<Arc<Caller>> {
        let (CallerCredential::Key(shown) | CallerCredential::Certificate { spiffe_id: shown }) = credential;
        self.0.iter().find(|(known, _)| *known == shown).map(|(_, caller)| caller.clone())
    }
}

/// A caller that does not change.
struct Told(Arc<Caller>);

impl AsRef<Arc<Caller>> for Told {
    fn as_ref(&self) -> &Arc<Caller> {
        &self.0
    }
}

impl Authenticate for Callers {
    type Known = Told;

    fn authenticate_cached(&self, credential: CallerCredential<'_>, _: Time) -> Option<Told> {
        self.find(credential).filter(|caller| !caller.name.starts_with("slow")).map(Told)
    }

    fn is_still_known(&self, _: &Told, _: Time) -> bool {
        true
    }

    async fn authenticate(&self, credential: CallerCredential<'_>) -> Result<Arc<Caller>> {
        tokio::task::yield_now().await;
        if matches!(credential, CallerCredential::Key("never answered")) {
            pending::<()>().await;
        }
        self.find(credential).ok_or(Error::CallerUnauthenticated)
    }
}

impl Grants {
    fn all_but(grant: Grant) -> Self {
        Grant::ALL.into_iter().filter(|other| *other != grant).collect()
    }
}

/// Memory that knows nothing: all goes to the services.
fn forgetful() -> FromMemory {
    Box::new(|_, _, _, _| Ok(None))
}

/// A server on a free port.
struct Server {
    addr: SocketAddr,
    double: Double,
    health: Health,
    metrics: Arc<RpcMetrics>,
    stop: Stop,
    running: JoinHandle<std::result::Result<Ended, ServeError>>,
}

impl Server {
    async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    async fn start_with(change: impl FnOnce(&mut config::Server)) -> Self {
        let double = Double::new();
        let session = SessionServiceServer::new(double.clone()).max_decoding_message_size(LIMIT);
        let dispatch = move |_: &'static Method, request| crate::pipeline::call(&session, request);
        Self::serving(double, dispatch, forgetful(), change).await
    }

    async fn serving(
        double: Double,
        dispatch: impl Dispatch,
        from_memory: FromMemory,
        change: impl FnOnce(&mut config::Server),
    ) -> Self {
        let mut config = config::Config::default().server;
        config.listen = ([127, 0, 0, 1], 0).into();
        (config.workers, config.drain_delay) = (2, Duration::ZERO);
        change(&mut config);
        let (health, stop) = (Health::new().await, Stop::new());
        health.set_serving(true).await;
        let metrics = RpcMetrics::register(&Metrics::new());
        let parts = Parts {
            authenticate: Callers::new(),
            dispatch,
            from_memory,
            health: health.clone(),
            metrics: metrics.clone(),
            traces: Traces::of(&config::Config::default().telemetry),
            clock: Clock::system(),
        };
        let front = Arc::new(Front::new(parts, &config));
        let listener = Listener::bind(&config).await.expect("a free port");
        let (addr, told) = (listener.addr(), stop.clone());
        let running = tokio::spawn(async move { serve(listener, front, &config, &told).await });
        Self { addr, double, health, metrics, stop, running }
    }

    async fn connect(&self) -> Client {
        Client::over(TcpStream::connect(self.addr).await.expect("it listens")).await
    }

    /// Begins a call that waits in its handler, and returns when it does.
    async fn begin(&self, client: &Client, ust: &str) -> JoinHandle<Answered> {
        let before = self.double.waiting();
        let (client, ust) = (client.clone(), ust.to_owned());
        let call = tokio::spawn(async move { client.verify(&ust, &[KEY]).await });
        until(|| self.double.waiting() > before).await;
        call
    }

    fn count(&self, code: Code) -> u64 {
        self.metrics.count(VERIFY_NAME, code)
    }

    async fn ended(self) -> Ended {
        let ended = tokio::time::timeout(PATIENCE, self.running).await;
        ended.expect("the server ends").expect("it does not panic").expect("it served")
    }
}

/// A client that shows every byte and header.
#[derive(Clone)]
struct Client(SendRequest<Full<Bytes>>);

/// What came back.
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

    /// The details of a refusal; there is exactly one `ErrorInfo`, of our domain, and the correlation ID is everywhere.
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

    /// What the handler was handed: correlation ID, caller, peer.
    fn handed_over(&self) -> String {
        match self.message::<VerifySessionResponse>().verdict {
            Some(verify_session_response::Verdict::Session(session)) => session.username,
            other => panic!("no session: {other:?}"),
        }
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

/// Waits until it is so.
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
