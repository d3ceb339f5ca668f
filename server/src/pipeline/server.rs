//! State shared by the calls of all connections. [`super::call`] runs one call.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use tokio::runtime::Handle;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::dispatch::Services;
use super::limits::InFlight;
use super::method::Method;
use super::public_services::{Health, PublicServices};
use super::response_body::StreamEnd;
use super::trace::Traces;
use crate::app::App;
use crate::clock::Time;
use crate::config::Config;
use crate::error::Error;
use crate::service::Handler;
use crate::telemetry::metrics::rpc::RpcMetrics;

/// State shared by all calls.
pub struct RpcServer {
    pub(super) handler: Handler,
    pub(super) services: Services,
    pub(super) public: PublicServices,
    pub(super) in_flight: InFlight,
    pub(super) metrics: Arc<RpcMetrics>,
    pub(super) traces: Traces,
    pub(super) max_deadline: Duration,
    pub(super) max_header_bytes: usize,
    /// Per connection, before a caller authenticates.
    pub(super) max_refused_calls: u32,
    max_request_bytes: usize,
    max_stream_age: Duration,
    health: Health,
    /// Ends open-ended streams.
    streams_end: CancellationToken,
}

impl RpcServer {
    /// `background` runs whatever the caches cannot answer: connection threads never wait for the database.
    pub fn new(app: App, background: Handle, health: Health, metrics: Arc<RpcMetrics>, config: &Config) -> Self {
        let handler = Handler::new(app, background);
        let server = &config.server;
        Self {
            services: Services::new(&handler, server.max_request_bytes),
            handler,
            public: PublicServices::new(&health, server),
            in_flight: InFlight::new(server.max_in_flight),
            metrics,
            traces: Traces::of(&config.telemetry),
            max_deadline: server.max_deadline,
            max_header_bytes: usize::try_from(server.max_header_bytes).unwrap_or(usize::MAX),
            max_refused_calls: server.unauthenticated.max_refused_calls,
            max_request_bytes: server.max_request_bytes,
            max_stream_age: server.public_services.max_stream_age,
            health,
            streams_end: CancellationToken::new(),
        }
    }

    #[cfg(test)]
    pub(crate) fn set_test_double(&mut self, double: super::dispatch::TestDouble) {
        self.services.test_double = Some(double);
    }

    /// Calls in progress.
    pub fn in_flight(&self) -> u32 {
        self.in_flight.now()
    }

    /// The server accepts calls, and its database answers.
    pub fn is_ready(&self) -> bool {
        self.health.state().borrow().is_ready()
    }

    /// Reports `NOT_SERVING` to health checks.
    pub(crate) async fn stop_serving(&self) {
        self.health.set_serving(false).await;
    }

    /// Ends open-ended streams, for shutdown.
    pub(crate) fn end_streams(&self) {
        self.streams_end.cancel();
    }

    /// Ends a stream of a public service: at shutdown, or at `max_stream_age`.
    pub(super) fn stream_end(&self) -> StreamEnd {
        let (stopped, age) = (self.streams_end.clone().cancelled_owned(), sleep(self.max_stream_age));
        async move {
            tokio::select! {
                () = stopped => Error::ShuttingDown,
                () = age => Error::DeadlineExceeded,
            }
        }
        .boxed()
    }

    pub(crate) fn now(&self) -> Time {
        self.app().clock().now()
    }

    pub(super) fn app(&self) -> &App {
        self.handler.app()
    }

    /// The longest message that `method` accepts, in bytes.
    pub(super) fn max_request_bytes(&self, method: &Method) -> usize {
        self.max_request_bytes.saturating_mul(method.size_factor())
    }
}
