//! Accepts connections, distributes them over worker threads and shuts them down in order.
//!
//! Each worker has a runtime of its own with one thread: on the same core it serves half as much again as a runtime of
//! many threads. Connections are dealt to the workers in turn; `SO_REUSEPORT` would leave it to chance, and a gRPC
//! connection lives long.

use std::convert::Infallible;
use std::future::pending;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use hyper::server::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::tls;
use crate::config;
use crate::pipeline::RpcServer;
use crate::pipeline::call::ConnectionService;
use crate::pipeline::peer::{ClientCertificate, Peer};
use crate::stop::Stop;

/// TCP keepalive finds a vanished client within a minute. HTTP/2 pings would cost each call a lock and two clock reads.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(30);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEPALIVE_PROBES: u32 = 3;
/// Streams that a client may open and reset before the server has processed them (rapid reset).
const MAX_PENDING_RESETS: usize = 32;
const MAX_LOCAL_RESETS: usize = 1024;
/// Pause after a failed `accept`, for instance without free descriptors: the next would fail too.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// How long to wait for a worker that was told to drop everything.
const ABORT_LIMIT: Duration = Duration::from_secs(1);

/// Why the server cannot serve, or stopped serving.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    #[error("cannot listen on {addr}: {source}")]
    Listen { addr: SocketAddr, source: io::Error },
    #[error("{}: {problem}", file.display())]
    Tls { file: PathBuf, problem: String },
    #[error("cannot start a worker: {0}")]
    Worker(io::Error),
    #[error("a worker ended before it was told to")]
    WorkerDied,
}

/// How the server ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// All calls were answered.
    Drained,
    /// Calls were cut off: `drain_timeout` was over, or a hard stop was requested.
    CutOff,
}

/// A listening socket, with TLS if it is configured.
pub struct Listener {
    socket: TcpListener,
    addr: SocketAddr,
    tls: Option<TlsAcceptor>,
}

impl Listener {
    /// Binds `server.listen`. With port 0 the system picks one; see [`Self::addr`].
    pub async fn bind(config: &config::Server) -> Result<Self, ServeError> {
        let failed = |source| ServeError::Listen { addr: config.listen, source };
        let socket = TcpListener::bind(config.listen).await.map_err(failed)?;
        let addr = socket.local_addr().map_err(failed)?;
        Ok(Self { socket, addr, tls: tls::acceptor(&config.tls)? })
    }

    pub fn addr(&self) -> SocketAddr {
        self.addr
    }
}

/// The phases of a shutdown; every worker and connection watches them.
#[derive(Clone, Default)]
struct Phase {
    /// No new connections; GOAWAY on existing ones.
    going_away: CancellationToken,
    /// Drop everything.
    abort: CancellationToken,
}

/// Serves until `stop`, then shuts down in order: health reports `NOT_SERVING`; during `drain_delay` calls are still accepted while
/// load balancers notice; then no new connections, streams end, GOAWAY; calls in flight finish within `drain_timeout`; the rest is
/// cut off. A hard stop skips to the end.
pub async fn serve(
    listener: Listener,
    server: Arc<RpcServer>,
    config: &config::Server,
    stop: &Stop,
) -> Result<Ended, ServeError> {
    let phase = Phase::default();
    // The workers end however this function ends, also when it is dropped.
    let _guard = (phase.going_away.clone().drop_guard(), phase.abort.clone().drop_guard());
    let worker = Worker::new(server.clone(), listener.tls, config, &phase);
    let workers = Workers::start(&worker, config.worker_count())?;
    tokio::select! {
        never = accept(&listener.socket, &workers) => match never {},
        () = workers.one_ended.cancelled() => return Err(ServeError::WorkerDied),
        () = drain_delay(&server, config, stop) => {}
    }
    drop(listener.socket);
    server.end_streams();
    phase.going_away.cancel();
    let ended = tokio::select! {
        () = workers.running.wait() => return Ok(Ended::Drained),
        () = sleep(config.drain_timeout) => Ended::CutOff,
        () = stop.asked_hard() => Ended::CutOff,
    };
    tracing::warn!(calls = server.in_flight(), "calls under way are cut off");
    phase.abort.cancel();
    // A worker that does not end must not keep the process alive.
    let _ = timeout(ABORT_LIMIT, workers.running.wait()).await;
    Ok(ended)
}

/// Waits for the stop signal, reports `NOT_SERVING` and gives load balancers time to notice.
async fn drain_delay(server: &RpcServer, config: &config::Server, stop: &Stop) {
    stop.asked().await;
    server.stop_serving().await;
    tokio::select! {
        () = sleep(config.drain_delay) => {}
        () = stop.asked_hard() => {}
    }
}

async fn accept(socket: &TcpListener, workers: &Workers) -> Infallible {
    let mut number = 0;
    loop {
        // The socket is registered with the runtime of the worker instead.
        match socket.accept().await.and_then(|(stream, peer)| Ok((stream.into_std()?, peer))) {
            Ok((stream, peer)) => workers.deal(Accepted { stream, peer, number }),
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                sleep(ACCEPT_PAUSE).await;
            }
        }
        number += 1;
    }
}

struct Accepted {
    stream: std::net::TcpStream,
    peer: SocketAddr,
    number: usize,
}

/// Threads that serve connections.
struct Workers {
    queues: Vec<mpsc::UnboundedSender<Accepted>>,
    running: TaskTracker,
    one_ended: CancellationToken,
}

impl Workers {
    fn start(worker: &Worker, count: usize) -> Result<Self, ServeError> {
        let mut workers = Self { queues: Vec::new(), running: TaskTracker::new(), one_ended: CancellationToken::new() };
        for number in 0..count {
            let runtime = runtime::Builder::new_current_thread().enable_all().build().map_err(ServeError::Worker)?;
            let (queue, accepted) = mpsc::unbounded_channel();
            let (worker, until_end) =
                (worker.clone(), (workers.running.token(), workers.one_ended.clone().drop_guard()));
            let body = move || {
                runtime.block_on(worker.run(accepted));
                // Its tasks end with the runtime, and only then has the worker ended.
                drop(runtime);
                drop(until_end);
            };
            thread::Builder::new().name(format!("grpc-{number}")).spawn(body).map_err(ServeError::Worker)?;
            workers.queues.push(queue);
        }
        workers.running.close();
        Ok(workers)
    }

    fn deal(&self, accepted: Accepted) {
        // A worker that ended stops the server; `serve` detects it.
        let _ = self.queues[accepted.number % self.queues.len()].send(accepted);
    }
}

/// State of one worker.
#[derive(Clone)]
struct Worker {
    server: Arc<RpcServer>,
    http: http2::Builder<TokioExecutor>,
    tls: Option<TlsAcceptor>,
    max_age: Duration,
    phase: Phase,
}

impl Worker {
    fn new(server: Arc<RpcServer>, tls: Option<TlsAcceptor>, config: &config::Server, phase: &Phase) -> Self {
        let mut http = http2::Builder::new(TokioExecutor::new());
        http.timer(TokioTimer::new())
            .max_concurrent_streams(config.max_concurrent_streams)
            .max_header_list_size(config.max_header_bytes)
            .max_pending_accept_reset_streams(MAX_PENDING_RESETS)
            .max_local_error_reset_streams(MAX_LOCAL_RESETS)
            // gRPC does not use it.
            .auto_date_header(false);
        Self { server, http, tls, max_age: config.max_connection_age, phase: phase.clone() }
    }

    /// Serves accepted connections until the shutdown, and until each of them has ended or is to be dropped.
    async fn run(self, mut accepted: mpsc::UnboundedReceiver<Accepted>) {
        let connections = TaskTracker::new();
        let (going_away, abort) = (self.phase.going_away.clone(), self.phase.abort.clone());
        let worker = Arc::new(self);
        while let Some(Some(accepted)) = going_away.run_until_cancelled(accepted.recv()).await {
            connections.spawn(worker.clone().serve(accepted));
        }
        connections.close();
        abort.run_until_cancelled(connections.wait()).await;
    }

    async fn serve(self: Arc<Self>, accepted: Accepted) {
        let Accepted { stream, peer, number } = accepted;
        // The socket was closed meanwhile.
        let Ok(stream) = TcpStream::from_std(stream) else { return };
        // Fails on a broken socket, which the next read reports.
        let _ = configure(&stream);
        let age = spread(self.max_age, number);
        let Some(tls) = &self.tls else {
            return self.drive(stream, Peer::new(peer.ip(), ClientCertificate::None), age).await;
        };
        let handshake = tls::accept(tls, stream);
        if let Some(Some((stream, client))) = self.phase.going_away.run_until_cancelled(handshake).await {
            self.drive(stream, Peer::new(peer.ip(), client), age).await;
        }
    }

    /// Serves one connection. When it reaches its maximum age or the server shuts down, GOAWAY asks the client to open a new one; calls
    /// in flight finish here.
    async fn drive(&self, io: impl AsyncRead + AsyncWrite + Send + Unpin + 'static, peer: Peer, age: Option<Duration>) {
        let service = ConnectionService::new(self.server.clone(), peer);
        let mut connection = pin!(self.http.serve_connection(TokioIo::new(io), service));
        tokio::select! {
            result = connection.as_mut() => return log_end(result),
            () = grown_old(age) => {}
            () = self.phase.going_away.cancelled() => {}
        }
        connection.as_mut().graceful_shutdown();
        log_end(connection.await);
    }
}

async fn grown_old(age: Option<Duration>) {
    match age {
        Some(age) => sleep(age).await,
        None => pending().await,
    }
}

/// Sends responses without delay and detects vanished clients.
fn configure(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let keepalive =
        TcpKeepalive::new().with_time(KEEPALIVE_IDLE).with_interval(KEEPALIVE_INTERVAL).with_retries(KEEPALIVE_PROBES);
    let socket = SockRef::from(stream);
    socket.set_tcp_keepalive(&keepalive)?;
    // Keepalive probes are sent on idle connections only; this covers unacknowledged data.
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(Some(KEEPALIVE_IDLE + KEEPALIVE_INTERVAL * KEEPALIVE_PROBES))?;
    Ok(())
}

/// The maximum age of a connection: `age`, a tenth more or less, so that connections opened together do not end together. The golden
/// ratio spreads consecutive numbers evenly.
fn spread(age: Duration, number: usize) -> Option<Duration> {
    const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;
    if age.is_zero() {
        return None;
    }
    let place = (number as u64).wrapping_mul(GOLDEN) >> 32;
    let fraction = f64::from(u32::try_from(place).unwrap_or(u32::MAX)) / f64::from(u32::MAX);
    Some(age.mul_f64(0.9 + 0.2 * fraction))
}

fn log_end(result: hyper::Result<()>) {
    if let Err(error) = result {
        tracing::debug!(%error, "a connection ended");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_client_that_vanished_is_noticed_within_a_minute() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let addr = listener.local_addr().expect("an address");
        let (accepted, _client) = tokio::join!(listener.accept(), TcpStream::connect(addr));
        let (accepted, _) = accepted.expect("a connection");
        configure(&accepted).expect("options");
        let socket = SockRef::from(&accepted);
        assert!(accepted.nodelay().expect("an option") && socket.keepalive().expect("an option"));
        let idle = socket.tcp_keepalive_time().expect("an option");
        let probes = socket.tcp_keepalive_retries().expect("an option");
        let dead_after = idle + socket.tcp_keepalive_interval().expect("an option") * probes;
        assert!(dead_after <= Duration::from_mins(1), "{dead_after:?}");
        #[cfg(target_os = "linux")]
        assert_eq!(socket.tcp_user_timeout().expect("an option"), Some(dead_after));
    }

    #[test]
    fn connections_made_together_do_not_end_together() {
        let age = Duration::from_secs(100);
        let mut ages: Vec<Duration> = (0..10).filter_map(|number| spread(age, number)).collect();
        ages.sort_unstable();
        assert!(ages.iter().all(|age| (90..=110).contains(&age.as_secs())), "{ages:?}");
        assert!(ages.windows(2).all(|pair| pair[0] + Duration::from_millis(500) < pair[1]), "{ages:?}");
        assert_eq!(spread(Duration::ZERO, 3), None);
    }
}
