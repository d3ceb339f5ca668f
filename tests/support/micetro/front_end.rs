//! Where requests come in: a thread with a runtime of its own, so that it can go away with all its connections.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;

use axum::Router;
use axum::body::{Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::response::Response;
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::server::TlsStream;

use super::{Identity, Seen, Shared, api};

/// Larger than any request that a test sends.
const MAX_BODY: usize = 4 << 20;

pub(super) struct FrontEnd {
    number: usize,
    address: SocketAddr,
    tls: Option<TlsAcceptor>,
    shared: Arc<Shared>,
    running: Option<(oneshot::Sender<()>, JoinHandle<()>)>,
}

impl FrontEnd {
    pub(super) fn start(number: usize, listen: SocketAddr, tls: Option<TlsAcceptor>, shared: Arc<Shared>) -> Self {
        let mut front_end = Self { number, address: listen, tls, shared, running: None };
        front_end.resume();
        front_end
    }

    pub(super) fn url(&self) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.address)
    }

    pub(super) fn resume(&mut self) {
        let listener = TcpListener::bind(self.address).expect("the address is free");
        self.address = listener.local_addr().expect("an address");
        let (stop, stopped) = oneshot::channel();
        let serving = serve(listener, self.tls.clone(), (self.number, Arc::clone(&self.shared)));
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime starts").block_on(async {
                tokio::select! {
                    () = serving => {}
                    _ = stopped => {}
                }
            });
        });
        self.running = Some((stop, thread));
    }

    pub(super) fn stop(&mut self) {
        if let Some((stop, thread)) = self.running.take() {
            drop(stop);
            let ended = thread.join();
            assert!(ended.is_ok() || std::thread::panicking(), "the fake panicked");
        }
    }
}

impl Drop for FrontEnd {
    fn drop(&mut self) {
        self.stop();
    }
}

pub(super) fn acceptor(identity: &Identity) -> TlsAcceptor {
    let chain = CertificateDer::pem_slice_iter(identity.certificate.as_bytes()).collect::<Result<_, _>>();
    let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).expect("a private key");
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring knows them")
        .with_no_client_auth()
        .with_single_cert(chain.expect("certificates"), key)
        .expect("a certificate and its key");
    TlsAcceptor::from(Arc::new(config))
}

async fn serve(listener: TcpListener, tls: Option<TlsAcceptor>, state: (usize, Arc<Shared>)) {
    listener.set_nonblocking(true).expect("a listener can wait");
    let listener = tokio::net::TcpListener::from_std(listener).expect("a runtime is there");
    let router = Router::new().fallback(answer).with_state(state);
    let served = match tls {
        Some(tls) => axum::serve(TlsListener::new(listener, tls), router).await,
        None => axum::serve(listener, router).await,
    };
    served.expect("it serves until it is stopped");
}

async fn answer(State((number, shared)): State<(usize, Arc<Shared>)>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body: Bytes = to_bytes(body, MAX_BODY).await.unwrap_or_default();
    shared.seen().push(Seen::new(number, &parts, body.clone()));

    let path = parts.uri.path();
    let below = path.strip_prefix(api::BASE).unwrap_or(path);
    let fault = shared.state().injections.iter_mut().find_map(|injection| injection.take(parts.method.as_str(), below));
    let Some(fault) = fault else { return api::answer(&shared, &parts, &body) };
    let path_and_query = parts.uri.path_and_query().map_or(path, |whole| whole.as_str());
    match fault.instead(path_and_query).await {
        Some(response) => response,
        None => fault.spoil(api::answer(&shared, &parts, &body)).await,
    }
}

/// Connections whose handshakes succeeded. Those that stall keep nobody waiting.
struct TlsListener {
    address: SocketAddr,
    accepted: mpsc::Receiver<(TlsStream<TcpStream>, SocketAddr)>,
}

impl TlsListener {
    fn new(listener: tokio::net::TcpListener, tls: TlsAcceptor) -> Self {
        let address = listener.local_addr().expect("an address");
        let (sender, accepted) = mpsc::channel(16);
        tokio::spawn(async move {
            while let Ok((connection, peer)) = listener.accept().await {
                let (tls, sender) = (tls.clone(), sender.clone());
                tokio::spawn(async move {
                    if let Ok(stream) = tls.accept(connection).await {
                        let _ = sender.send((stream, peer)).await;
                    }
                });
            }
        });
        Self { address, accepted }
    }
}

impl axum::serve::Listener for TlsListener {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        match self.accepted.recv().await {
            Some(accepted) => accepted,
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> std::io::Result<Self::Addr> {
        Ok(self.address)
    }
}
