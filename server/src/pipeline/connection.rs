//! The state that the calls of a connection share.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use http::Response;
use hyper::body::Incoming;
use tokio::sync::{Semaphore, SetOnce};

use super::authenticate::CredentialCache;
use super::call::CallFuture;
use super::peer::Peer;
use super::request_body::RequestBody;
use super::response_body::ResponseBody;
use super::server::RpcServer;

/// The service of one connection: starts a [`CallFuture`] for each request.
pub(crate) struct ConnectionService(Arc<Connection>);

/// Shared by the calls of one connection only, so threads do not contend for its reference count.
pub(crate) struct Connection {
    pub(super) server: Arc<RpcServer>,
    pub(super) peer: Peer,
    pub(super) credentials: CredentialCache,
    pub(super) progress: Arc<Progress>,
    /// Concurrency limit of public services on this connection.
    pub(super) public_calls: Arc<Semaphore>,
}

/// The progress of a connection. The worker that serves it waits for this.
#[derive(Default)]
pub(crate) struct Progress {
    /// A call has arrived, valid or not.
    pub(crate) first_call: SetOnce<()>,
    /// A caller has authenticated.
    pub(crate) authenticated: SetOnce<()>,
    /// `max_refused_calls` calls were refused before a caller authenticated.
    pub(crate) refused_too_often: SetOnce<()>,
    refused: AtomicU32,
}

impl ConnectionService {
    pub(crate) fn new(server: Arc<RpcServer>, peer: Peer) -> Self {
        let public_calls = Arc::new(Semaphore::new(server.public.max_calls_per_connection()));
        let (credentials, progress) = (CredentialCache::default(), Arc::default());
        Self(Arc::new(Connection { server, peer, credentials, progress, public_calls }))
    }

    pub(crate) fn progress(&self) -> Arc<Progress> {
        self.0.progress.clone()
    }
}

impl hyper::service::Service<http::Request<Incoming>> for ConnectionService {
    type Response = Response<ResponseBody>;
    type Error = Infallible;
    type Future = CallFuture;

    fn call(&self, request: http::Request<Incoming>) -> CallFuture {
        set(&self.0.progress.first_call);
        CallFuture::new(self.0.clone(), request.map(RequestBody::new))
    }
}

impl Progress {
    pub(super) fn set_authenticated(&self) {
        set(&self.authenticated);
    }

    /// Counts a refused call; `limit`: the count that sets `refused_too_often`.
    pub(super) fn count_refused(&self, limit: u32) {
        if !self.authenticated.initialized() && self.refused.fetch_add(1, Ordering::Relaxed) + 1 >= limit {
            set(&self.refused_too_often);
        }
    }
}

/// Reads first: it is nearly always set already.
fn set(once: &SetOnce<()>) {
    if !once.initialized() {
        // Fails only if it was set meanwhile.
        let _ = once.set(());
    }
}
