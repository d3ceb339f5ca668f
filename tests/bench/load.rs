//! The load generator: gRPC calls straight on HTTP/2, over loopback, without the cost of a full client.
//!
//! *Closed loop*: so many calls are always under way; the next one starts when one ends. It finds the throughput.
//! *Open loop*: calls start by a fixed schedule, whatever becomes of the earlier ones, and latency counts from the
//! time at which a call was due, not from the time at which it could be sent. It finds the latency; a server that
//! stalls cannot hide it by slowing the generator down (coordinated omission).

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::{BufMut, Bytes, BytesMut};
use h2::client::SendRequest;
use hdrhistogram::Histogram;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method, Request, Uri, header};
use prost::Message;
use rustix::time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::Result;

/// Calls under way in an open loop beyond which the server is taken to be drowned and no more are added to it.
const MOST_UNDER_WAY: usize = 100_000;
const WINDOW: u32 = 1 << 24;
/// Length of the prefix of a gRPC message: a flag and the size.
const PREFIX: usize = 5;

/// What a call came to, if not to an accepted answer.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The server said that it has too much to do (`UNAVAILABLE`, `RESOURCE_EXHAUSTED`).
    Refused(String),
    /// Anything else: it should not have happened.
    Broken(String),
}

impl From<h2::Error> for Failure {
    fn from(problem: h2::Error) -> Self {
        Self::Broken(problem.to_string())
    }
}

/// One kind of call, with many bodies to choose from, and what a good answer looks like.
pub(crate) struct Call {
    path: &'static str,
    bodies: Vec<Bytes>,
    accept: fn(&[u8]) -> bool,
}

impl Call {
    /// `accept` sees the encoded message of each answer.
    pub(crate) fn new<M: Message>(
        path: &'static str,
        requests: impl IntoIterator<Item = M>,
        accept: fn(&[u8]) -> bool,
    ) -> Arc<Self> {
        let bodies: Vec<Bytes> = requests.into_iter().map(|request| frame(&request)).collect();
        assert!(!bodies.is_empty(), "{path}: a call needs a body");
        Arc::new(Self { path, bodies, accept })
    }

    /// The bodies in an order that looks like chance and is the same in each run.
    fn body(&self, turn: usize) -> Bytes {
        let scattered = (turn as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 20;
        let index = scattered % self.bodies.len() as u64;
        self.bodies[usize::try_from(index).unwrap_or(0)].clone()
    }
}

/// What a run of one loop came to.
pub(crate) struct Outcome {
    pub(crate) answered: u64,
    pub(crate) refused: u64,
    pub(crate) broken: u64,
    pub(crate) first_problem: Option<String>,
    pub(crate) elapsed: Duration,
    /// Nanoseconds, of the answered calls.
    pub(crate) latency: Histogram<u64>,
}

impl Outcome {
    pub(crate) fn per_second(&self) -> f64 {
        self.answered as f64 / self.elapsed.as_secs_f64()
    }
}

pub(crate) fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 120_000_000_000, 3).expect("the bounds are in order")
}

/// Counted by all tasks of one loop.
struct Tally {
    answered: AtomicU64,
    refused: AtomicU64,
    broken: AtomicU64,
    first_problem: Mutex<Option<String>>,
    latency: Mutex<Histogram<u64>>,
}

impl Tally {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            answered: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            broken: AtomicU64::new(0),
            first_problem: Mutex::new(None),
            latency: Mutex::new(histogram()),
        })
    }

    fn count(&self, result: &std::result::Result<(), Failure>, took: Duration) {
        let first = || self.first_problem.lock().unwrap_or_else(PoisonError::into_inner);
        match result {
            Ok(()) => {
                self.answered.fetch_add(1, Ordering::Relaxed);
                let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
                self.latency.lock().unwrap_or_else(PoisonError::into_inner).saturating_record(nanos);
            }
            Err(Failure::Refused(problem)) => {
                self.refused.fetch_add(1, Ordering::Relaxed);
                first().get_or_insert_with(|| problem.clone());
            }
            // Tells more than a refusal.
            Err(Failure::Broken(problem)) if self.broken.fetch_add(1, Ordering::Relaxed) == 0 => {
                *first() = Some(problem.clone());
            }
            Err(Failure::Broken(_)) => {}
        }
    }

    fn reset(&self) {
        self.answered.store(0, Ordering::Relaxed);
        self.latency.lock().unwrap_or_else(PoisonError::into_inner).reset();
    }

    fn outcome(&self, elapsed: Duration) -> Outcome {
        Outcome {
            answered: self.answered.load(Ordering::Relaxed),
            refused: self.refused.load(Ordering::Relaxed),
            broken: self.broken.load(Ordering::Relaxed),
            first_problem: self.first_problem.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            elapsed,
            latency: self.latency.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }
}

/// Connections to one server.
pub(crate) struct Client {
    senders: Vec<SendRequest<Bytes>>,
    addr: SocketAddr,
    headers: HeaderMap,
}

/// What all calls of one kind have in common.
struct Head {
    uri: Uri,
    headers: HeaderMap,
}

impl Client {
    pub(crate) async fn connect(addr: SocketAddr, connections: usize, caller_key: Option<&str>) -> Result<Self> {
        let mut senders = Vec::with_capacity(connections);
        for _ in 0..connections {
            let stream = TcpStream::connect(addr).await?;
            stream.set_nodelay(true)?;
            let (sender, connection) = h2::client::Builder::new()
                .initial_window_size(WINDOW)
                .initial_connection_window_size(WINDOW)
                .enable_push(false)
                .handshake(stream)
                .await?;
            // An error of the connection is seen by every call on it.
            tokio::spawn(connection);
            senders.push(sender);
        }
        let mut headers = HeaderMap::new();
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        if let Some(key) = caller_key {
            headers.insert(header::AUTHORIZATION, HeaderValue::try_from(format!("Bearer {key}"))?);
        }
        Ok(Self { senders, addr, headers })
    }

    fn head(&self, path: &'static str) -> Arc<Head> {
        let uri = Uri::builder()
            .scheme("http")
            .authority(self.addr.to_string())
            .path_and_query(PathAndQuery::from_static(path))
            .build()
            .expect("an address and a path make a URI");
        Arc::new(Head { uri, headers: self.headers.clone() })
    }

    /// One call, for preparations.
    pub(crate) async fn rpc<Q: Message, A: Message + Default>(&self, path: &'static str, request: &Q) -> Result<A> {
        let head = self.head(path);
        let mut sender = self.senders[0].clone().ready().await?;
        let answer =
            unary(&mut sender, &head, frame(request)).await.map_err(|failure| format!("{path}: {failure:?}"))?;
        Ok(A::decode(message(&answer))?)
    }

    /// So many calls always under way, for so long. `cpu` is asked at both ends of what is counted.
    pub(crate) async fn closed(
        &self,
        call: &Arc<Call>,
        streams: usize,
        length: Duration,
        cpu: impl Fn() -> Duration,
    ) -> Result<(Outcome, Duration)> {
        let tally = Tally::new();
        let stop = Arc::new(AtomicBool::new(false));
        let turns = Arc::new(AtomicUsize::new(0));
        let mut tasks = JoinSet::new();
        for number in 0..streams {
            let mut sender = self.senders[number % self.senders.len()].clone();
            let (call, head) = (Arc::clone(call), self.head(call.path));
            let (tally, stop, turns) = (Arc::clone(&tally), Arc::clone(&stop), Arc::clone(&turns));
            tasks.spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    let body = call.body(turns.fetch_add(1, Ordering::Relaxed));
                    let start = Instant::now();
                    let result = checked(&mut sender, &head, body, call.accept).await;
                    tally.count(&result, start.elapsed());
                    if matches!(result, Err(Failure::Broken(_))) {
                        return;
                    }
                }
            });
        }
        tokio::time::sleep(length / 5).await;
        tally.reset();
        let (start, cpu_before) = (Instant::now(), cpu());
        tokio::time::sleep(length).await;
        let outcome = tally.outcome(start.elapsed());
        let used = cpu().saturating_sub(cpu_before);
        stop.store(true, Ordering::Relaxed);
        while tasks.join_next().await.is_some() {}
        Ok((outcome, used))
    }

    /// Calls by a fixed schedule, for so long; the first fifth is for warming up and not recorded.
    pub(crate) async fn open(&self, call: &Arc<Call>, per_second: f64, length: Duration) -> Result<Outcome> {
        let tally = Tally::new();
        let mut tasks = JoinSet::new();
        let head = self.head(call.path);
        let interval = Duration::from_secs_f64(1.0 / per_second.max(0.1));
        let total = (length.as_secs_f64() * 1.2 * per_second).ceil() as u32;
        let warm = total / 6;
        let ticker = Ticker::start(interval)?;
        let start = Instant::now();
        let mut next = 0;
        while next < total && tasks.len() < MOST_UNDER_WAY {
            while next < total && start + interval * next <= Instant::now() {
                let due = start + interval * next;
                let mut sender = self.senders[next as usize % self.senders.len()].clone();
                let (call, head, tally) = (Arc::clone(call), Arc::clone(&head), Arc::clone(&tally));
                let recorded = next >= warm;
                tasks.spawn(async move {
                    let result = checked(&mut sender, &head, call.body(next as usize), call.accept).await;
                    if recorded {
                        tally.count(&result, due.elapsed());
                    }
                });
                next += 1;
            }
            while tasks.try_join_next().is_some() {}
            ticker.tick().await?;
        }
        let elapsed = start.elapsed();
        // Even of a server that drowned the calls are waited for: to abandon so many would look like an attack to it.
        while tasks.join_next().await.is_some() {}
        if next < total {
            return Err(format!("{}: drowned at {per_second:.0} calls a second", call.path).into());
        }
        Ok(tally.outcome(elapsed.mul_f64(f64::from(total - warm) / f64::from(total))))
    }

    /// Each body once, in order; ends early if one breaks.
    pub(crate) async fn sweep(&self, call: &Arc<Call>, streams: usize) -> Result<Outcome> {
        let tally = Tally::new();
        let mut tasks = JoinSet::new();
        let start = Instant::now();
        for (number, body) in call.bodies.iter().enumerate() {
            if tally.broken.load(Ordering::Relaxed) > 0 {
                break;
            }
            if tasks.len() >= streams {
                tasks.join_next().await;
            }
            let mut sender = self.senders[number % self.senders.len()].clone();
            let (head, tally, accept, body) = (self.head(call.path), Arc::clone(&tally), call.accept, body.clone());
            tasks.spawn(async move {
                let start = Instant::now();
                let result = checked(&mut sender, &head, body, accept).await;
                tally.count(&result, start.elapsed());
            });
        }
        while tasks.join_next().await.is_some() {}
        Ok(tally.outcome(start.elapsed()))
    }
}

async fn checked(
    sender: &mut SendRequest<Bytes>,
    head: &Head,
    body: Bytes,
    accept: fn(&[u8]) -> bool,
) -> std::result::Result<(), Failure> {
    // Waits only where the connection has as many streams as the server allows.
    std::future::poll_fn(|context| sender.poll_ready(context)).await?;
    let answer = unary(sender, head, body).await?;
    if accept(message(&answer)) {
        return Ok(());
    }
    Err(Failure::Broken(format!("{}: the answer is not the expected one", head.uri.path())))
}

async fn unary(sender: &mut SendRequest<Bytes>, head: &Head, body: Bytes) -> std::result::Result<Bytes, Failure> {
    let mut request = Request::new(());
    *request.method_mut() = Method::POST;
    *request.uri_mut() = head.uri.clone();
    *request.headers_mut() = head.headers.clone();
    let (response, mut stream) = sender.send_request(request, false)?;
    stream.send_data(body, true)?;
    let (parts, mut stream) = response.await?.into_parts();
    let mut answer = Bytes::new();
    while let Some(chunk) = stream.data().await {
        let chunk = chunk?;
        stream.flow_control().release_capacity(chunk.len())?;
        answer = if answer.is_empty() { chunk } else { [answer, chunk].concat().into() };
    }
    // An error without a message has its status in the headers.
    let trailers =
        if parts.headers.contains_key("grpc-status") { Some(parts.headers) } else { stream.trailers().await? };
    let trailers = trailers.ok_or_else(|| Failure::Broken(format!("HTTP {} without a status", parts.status)))?;
    status(&trailers).map(|()| answer)
}

fn status(trailers: &HeaderMap) -> std::result::Result<(), Failure> {
    let text = |name| trailers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    match text("grpc-status") {
        "0" => Ok(()),
        code @ ("8" | "14") => Err(Failure::Refused(format!("status {code}: {}", text("grpc-message")))),
        code => Err(Failure::Broken(format!("status {code}: {}", text("grpc-message")))),
    }
}

/// A message as it stands in the body of a call.
fn frame(message: &impl Message) -> Bytes {
    let size = message.encoded_len();
    let mut frame = BytesMut::with_capacity(PREFIX + size);
    frame.put_u8(0);
    frame.put_u32(u32::try_from(size).expect("a message of the bench is small"));
    message.encode(&mut frame).expect("the buffer has room");
    frame.freeze()
}

fn message(body: &[u8]) -> &[u8] {
    body.get(PREFIX..).unwrap_or_default()
}

/// A timer of the kernel: the runtime's own has a grain of a millisecond, in which a hundred calls fit.
struct Ticker(AsyncFd<std::os::fd::OwnedFd>);

impl Ticker {
    fn start(interval: Duration) -> Result<Self> {
        let timer = rustix::time::timerfd_create(
            TimerfdClockId::Monotonic,
            TimerfdFlags::NONBLOCK.union(TimerfdFlags::CLOEXEC),
        )?;
        let interval =
            Timespec { tv_sec: i64::try_from(interval.as_secs())?, tv_nsec: i64::from(interval.subsec_nanos()) };
        let setting = Itimerspec { it_interval: interval, it_value: interval };
        rustix::time::timerfd_settime(&timer, TimerfdTimerFlags::empty(), &setting)?;
        #[expect(
            deprecated,
            reason = "its successor is unsafe; what that asks for holds: the timer is owned, never exchanged"
        )]
        Ok(Self(AsyncFd::with_interest(timer, Interest::READABLE)?))
    }

    async fn tick(&self) -> Result<()> {
        let mut ready = self.0.readable().await?;
        let mut expirations = [0; 8];
        match rustix::io::read(&self.0, &mut expirations) {
            Err(rustix::io::Errno::AGAIN) => ready.clear_ready(),
            read => drop(read?),
        }
        Ok(())
    }
}
