//! Accepts connections, distributes them over worker threads and shuts them down in order.
//!
//! Each worker has its own single-threaded runtime, which serves 50% more calls per core than a multi-threaded one.
//! Connections are assigned round-robin: `SO_REUSEPORT` assigns at random, and gRPC connections are long-lived.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use tokio::net::TcpListener;
use tokio::runtime;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::admission::Admission;
use super::tls;
use super::worker::{Accepted, Worker};
use crate::config;
use crate::pipeline::RpcServer;
use crate::stop::Stop;

/// Pause after a failed `accept`: without free descriptors, for instance, a retry fails at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// How long to wait for workers to end after an abort.
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
    /// All calls finished.
    Drained,
    /// Calls were cut off: `drain_timeout` expired, or a hard stop was requested.
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
pub(super) struct Phase {
    /// No new connections; GOAWAY on existing ones.
    pub(super) going_away: CancellationToken,
    /// Drop everything.
    pub(super) abort: CancellationToken,
}

/// Serves until `stop`, then shuts down in order: health reports `NOT_SERVING`; during `drain_delay` calls are still
/// accepted while load balancers notice; then no new connections, streams end, GOAWAY; calls in flight finish within
/// `drain_timeout`; the rest is cut off. A hard stop skips to the end.
pub async fn serve(
    listener: Listener,
    server: Arc<RpcServer>,
    admission: &Arc<Admission>,
    config: &config::Server,
    stop: &Stop,
) -> Result<Ended, ServeError> {
    let phase = Phase::default();
    // Stops the workers however this function ends, even if it is dropped.
    let _guard = (phase.going_away.clone().drop_guard(), phase.abort.clone().drop_guard());
    let worker = Worker::new(server.clone(), listener.tls, config, admission.metrics().clone(), &phase);
    let workers = Workers::start(&worker, config.worker_count())?;
    tokio::select! {
        never = accept(&listener.socket, admission, &workers) => match never {},
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

async fn accept(socket: &TcpListener, admission: &Arc<Admission>, workers: &Workers) -> Infallible {
    let mut number = 0;
    loop {
        // The worker registers the socket with its own runtime.
        match socket.accept().await.and_then(|(stream, peer)| Ok((stream.into_std()?, peer))) {
            Ok((stream, peer)) => {
                if let Some(admitted) = admission.admit(peer.ip(), Instant::now()) {
                    workers.deal(Accepted { stream, peer, admitted, number });
                }
            }
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                sleep(ACCEPT_PAUSE).await;
            }
        }
        number += 1;
    }
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
                // The worker has ended only once its runtime has dropped all tasks.
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
