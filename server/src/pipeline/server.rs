//! What serves the calls of all connections: the way of one call is in [`super::call`].

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use http::Response;
use hyper::body::Incoming;
use tokio_util::sync::CancellationToken;

use super::authenticate::{Authenticate, Memo};
use super::call::Call;
use super::fast_path::FromMemory;
use super::limits::InFlight;
use super::method::Method;
use super::observe::RpcMetrics;
use super::peer::Peer;
use super::public_services::Open;
use super::request_body::Inbound;
use super::response_body::Answer;
use super::trace::Traces;
use super::{Answering, Health, Request};
use crate::clock::Clock;
use crate::config;

/// From a row of the table of methods to the service that answers it: [`mod@super::routes`].
pub trait Dispatch: Fn(&'static Method, Request) -> Answering + Send + Sync + 'static {}

impl<D> Dispatch for D where D: Fn(&'static Method, Request) -> Answering + Send + Sync + 'static {}

/// What every call needs.
pub struct Front<A, D> {
    pub(crate) authenticate: A,
    pub(crate) dispatch: D,
    pub(crate) from_memory: FromMemory,
    pub(crate) open: Open,
    pub(crate) in_flight: InFlight,
    pub(crate) metrics: Arc<RpcMetrics>,
    pub(crate) traces: Traces,
    pub(crate) clock: Clock,
    pub(crate) max_deadline: Duration,
    max_request_bytes: usize,
    pub(crate) health: Health,
    /// Ends what has no end of its own.
    pub(crate) streams_end: CancellationToken,
}

/// The parts of a [`Front`].
pub struct Parts<A, D> {
    pub authenticate: A,
    pub dispatch: D,
    pub from_memory: FromMemory,
    pub health: Health,
    pub metrics: Arc<RpcMetrics>,
    pub traces: Traces,
    pub clock: Clock,
}

impl<A: Authenticate, D: Dispatch> Front<A, D> {
    pub fn new(parts: Parts<A, D>, config: &config::Server) -> Self {
        Self {
            open: Open::new(&parts.health, config.reflection),
            authenticate: parts.authenticate,
            dispatch: parts.dispatch,
            from_memory: parts.from_memory,
            in_flight: InFlight::new(config.max_in_flight),
            metrics: parts.metrics,
            traces: parts.traces,
            clock: parts.clock,
            max_deadline: config.max_deadline,
            max_request_bytes: config.max_request_bytes,
            health: parts.health,
            streams_end: CancellationToken::new(),
        }
    }

    /// How long a message of `method` may be.
    pub(crate) fn max_request_bytes(&self, method: &Method) -> usize {
        self.max_request_bytes.saturating_mul(method.size_factor())
    }
}

impl<A, D> Front<A, D> {
    /// Calls under way.
    pub fn in_flight(&self) -> u32 {
        self.in_flight.now()
    }
}

/// The service of one connection.
pub(crate) struct Connection<A: Authenticate, D>(Arc<Shared<A, D>>);

/// Shared by the calls of one connection only: counting its references disturbs no other thread.
pub(crate) struct Shared<A: Authenticate, D> {
    pub(crate) front: Arc<Front<A, D>>,
    pub(crate) peer: Peer,
    pub(crate) memo: Memo<A::Known>,
}

impl<A: Authenticate, D> Connection<A, D> {
    pub(crate) fn new(front: Arc<Front<A, D>>, peer: Peer) -> Self {
        Self(Arc::new(Shared { front, peer, memo: Memo::default() }))
    }
}

impl<A: Authenticate, D: Dispatch> hyper::service::Service<http::Request<Incoming>> for Connection<A, D> {
    type Response = Response<Answer>;
    type Error = Infallible;
    type Future = Call<A, D>;

    fn call(&self, request: http::Request<Incoming>) -> Call<A, D> {
        Call::new(self.0.clone(), request.map(Inbound::new))
    }
}
