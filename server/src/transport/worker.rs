//! One worker: serves the connections assigned to it, within their limits.

use std::future::pending;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until, timeout, timeout_at};
use tokio_rustls::TlsAcceptor;
use tokio_util::task::TaskTracker;

use super::admission::Admitted;
use super::listen::Phase;
use super::tls;
use crate::config;
use crate::pipeline::RpcServer;
use crate::pipeline::connection::{ConnectionService, Progress};
use crate::pipeline::peer::{ClientCertificate, Peer};
use crate::telemetry::metrics::connection::{ConnectionLimit, ConnectionMetrics};

/// TCP keepalive finds a vanished client within a minute. HTTP/2 pings would cost each call a lock and two clock reads.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(30);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEPALIVE_PROBES: u32 = 3;
/// Streams that a client may open and reset before the server has processed them (rapid reset).
const MAX_PENDING_RESETS: usize = 32;
const MAX_LOCAL_RESETS: usize = 1024;
/// Flow-control window of a connection, and of each stream, in bytes: requests are small.
const WINDOW_BYTES: u32 = 64 * 1024;
/// Time to send the responses to refused calls before their connection is closed.
const REFUSED_GRACE: Duration = Duration::from_secs(1);
/// Multiple of `server.max_header_bytes` beyond which hyper answers 431. In between, the pipeline refuses the call and
/// says why.
const HEADER_FACTOR: u32 = 2;

pub(super) struct Accepted {
    pub(super) stream: std::net::TcpStream,
    pub(super) peer: SocketAddr,
    pub(super) admitted: Admitted,
    pub(super) number: usize,
}

/// State of one worker.
#[derive(Clone)]
pub(super) struct Worker {
    server: Arc<RpcServer>,
    http: http2::Builder<TokioExecutor>,
    tls: Option<TlsAcceptor>,
    config: config::Server,
    metrics: ConnectionMetrics,
    phase: Phase,
}

impl Worker {
    pub(super) fn new(
        server: Arc<RpcServer>,
        tls: Option<TlsAcceptor>,
        config: &config::Server,
        metrics: ConnectionMetrics,
        phase: &Phase,
    ) -> Self {
        let mut http = http2::Builder::new(TokioExecutor::new());
        http.timer(TokioTimer::new())
            .max_concurrent_streams(config.max_concurrent_streams)
            .max_header_list_size(config.max_header_bytes.saturating_mul(HEADER_FACTOR))
            .initial_stream_window_size(WINDOW_BYTES)
            .initial_connection_window_size(WINDOW_BYTES)
            .max_pending_accept_reset_streams(MAX_PENDING_RESETS)
            .max_local_error_reset_streams(MAX_LOCAL_RESETS)
            // gRPC does not use it.
            .auto_date_header(false);
        Self { server, http, tls, config: config.clone(), metrics, phase: phase.clone() }
    }

    /// Serves connections until GOAWAY, then until all of them have ended or `abort` drops them.
    pub(super) async fn run(self, mut accepted: mpsc::UnboundedReceiver<Accepted>) {
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
        let Accepted { stream, peer, admitted, number } = accepted;
        // Fails if the runtime cannot register it.
        let Ok(stream) = TcpStream::from_std(stream) else { return };
        // Fails on a broken socket, which the next read reports.
        let _ = configure(&stream);
        let connection = Connection {
            worker: &self,
            admitted,
            first_call_by: Instant::now() + self.config.unauthenticated.first_call_timeout,
            max_age: spread(self.config.max_connection_age, number),
        };
        let Some(tls) = &self.tls else {
            return connection.serve(stream, Peer::new(peer.ip(), ClientCertificate::None)).await;
        };
        if let Some((stream, client)) = connection.shake_hands(tls, stream).await {
            connection.serve(stream, Peer::new(peer.ip(), client)).await;
        }
    }

    fn limited(&self, limit: ConnectionLimit) {
        self.metrics.limited(limit).inc();
        tracing::debug!(?limit, "a connection was closed by a limit");
    }
}

/// A connection and its limits.
struct Connection<'a> {
    worker: &'a Worker,
    admitted: Admitted,
    first_call_by: Instant,
    max_age: Option<Duration>,
}

/// How a connection should end.
enum End {
    /// At once.
    Now,
    /// By GOAWAY; calls in flight finish within the time.
    Within(Duration),
}

impl Connection<'_> {
    /// `None` on failure, timeout, eviction or shutdown.
    async fn shake_hands(
        &self,
        tls: &TlsAcceptor,
        stream: TcpStream,
    ) -> Option<(tokio_rustls::server::TlsStream<TcpStream>, ClientCertificate)> {
        tokio::select! {
            done = timeout_at(self.first_call_by, tls::accept(tls, stream)) => {
                done.inspect_err(|_| self.worker.limited(ConnectionLimit::FirstCallTimeout)).ok()?
            }
            () = self.admitted.evicted.cancelled() => None,
            () = self.worker.phase.going_away.cancelled() => None,
        }
    }

    async fn serve(&self, io: impl AsyncRead + AsyncWrite + Send + Unpin + 'static, peer: Peer) {
        let max_age = self.max_age(&peer);
        let service = ConnectionService::new(self.worker.server.clone(), peer);
        let progress = service.progress();
        let mut http = pin!(self.worker.http.serve_connection(TokioIo::new(io), service));
        let end = tokio::select! {
            result = http.as_mut() => return log_end(result),
            end = self.end(&progress, max_age) => end,
        };
        let End::Within(grace) = end else { return };
        http.as_mut().graceful_shutdown();
        match timeout(grace, http).await {
            Ok(result) => log_end(result),
            Err(_) => self.worker.limited(ConnectionLimit::Grace),
        }
    }

    /// At most until the client certificate expires.
    fn max_age(&self, peer: &Peer) -> Option<Duration> {
        let now = self.worker.server.now();
        let certificate = peer.certificate_expires().map(|expires| expires.since(now));
        self.max_age.into_iter().chain(certificate).min()
    }

    /// Waits until the connection should end.
    async fn end(&self, progress: &Progress, max_age: Option<Duration>) -> End {
        let going_away = self.worker.phase.going_away.cancelled();
        let grown_old = async {
            match max_age {
                Some(age) => sleep(age).await,
                None => pending().await,
            }
        };
        let unauthenticated = async {
            tokio::select! {
                &() = progress.authenticated.wait() => {}
                end = self.end_unauthenticated(progress) => return end,
            }
            self.admitted.authenticated();
            pending().await
        };
        tokio::select! {
            () = going_away => self.gracefully(),
            () = grown_old => self.gracefully(),
            end = unauthenticated => end,
        }
    }

    fn gracefully(&self) -> End {
        End::Within(self.worker.config.max_connection_grace.max(self.worker.config.max_deadline))
    }

    /// The limits of a connection on which no caller has authenticated.
    async fn end_unauthenticated(&self, progress: &Progress) -> End {
        let too_old = async {
            if timeout_at(self.first_call_by, progress.first_call.wait()).await.is_err() {
                self.worker.limited(ConnectionLimit::FirstCallTimeout);
                return End::Now;
            }
            let limits = &self.worker.config.unauthenticated;
            sleep_until(self.first_call_by + limits.max_age.saturating_sub(limits.first_call_timeout)).await;
            self.worker.limited(ConnectionLimit::UnauthenticatedAge);
            self.gracefully()
        };
        tokio::select! {
            &() = progress.refused_too_often.wait() => {
                self.worker.limited(ConnectionLimit::RefusedCalls);
                End::Within(REFUSED_GRACE)
            }
            () = self.admitted.evicted.cancelled() => End::Now,
            end = too_old => end,
        }
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

/// The maximum age of a connection: `age` ± 10%, so that connections opened together do not end together. The golden
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
    use tokio::net::TcpListener;

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
