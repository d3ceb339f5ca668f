//! Services without authentication: health, for probes without a key, and reflection of the public contract.

use std::sync::Arc;

use tokio::sync::{Mutex, Semaphore, watch};
use tonic_health::ServingStatus;
use tonic_health::pb::health_server::HealthServer;
use tonic_health::server::{HealthReporter, HealthService};

use super::dispatch::call;
use super::{Request, ServiceFuture};
use crate::config;

type Serve = Arc<dyn Fn(Request) -> ServiceFuture + Send + Sync>;

/// Names of the health service: `""` (the server accepts calls), readiness, and each service, which equals readiness.
const HEALTH_NAMES: [&str; 8] = [
    "",
    "readiness",
    "lanyard.v1.SessionService",
    "lanyard.v1.UserService",
    "lanyard.v1.AttributeService",
    "lanyard.v1.AuditService",
    "lanyard.v1.DefinitionService",
    "lanyard.v1.LinkedAuthService",
];

/// The state that gRPC health and the admin port report. Not serving until [`Self::set_serving`].
#[derive(Clone, Debug)]
pub struct Health {
    reporter: HealthReporter,
    state: watch::Sender<HealthState>,
    /// Held while the state is changed and reported: keeps reports in order.
    reporting: Arc<Mutex<()>>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HealthState {
    /// The server accepts calls: it has started and is not stopping.
    pub is_serving: bool,
    is_database_silent: bool,
}

impl HealthState {
    /// The server accepts calls, and its database answers.
    pub const fn is_ready(self) -> bool {
        self.is_serving && !self.is_database_silent
    }
}

impl Health {
    pub async fn new() -> Self {
        let state = watch::Sender::new(HealthState::default());
        let health = Self { reporter: HealthReporter::new(), state, reporting: Arc::default() };
        health.set_serving(false).await;
        health
    }

    pub async fn set_serving(&self, serving: bool) {
        self.change(|state| state.is_serving = serving).await;
    }

    /// `answers`: the database has answered within `database.ready_within`.
    pub async fn set_database_answers(&self, answers: bool) {
        self.change(|state| state.is_database_silent = !answers).await;
    }

    /// Follows the latest state.
    pub fn state(&self) -> watch::Receiver<HealthState> {
        self.state.subscribe()
    }

    async fn change(&self, change: impl FnOnce(&mut HealthState)) {
        let _in_order = self.reporting.lock().await;
        self.state.send_modify(change);
        let state = *self.state.borrow();
        for name in HEALTH_NAMES {
            let is_good = if name.is_empty() { state.is_serving } else { state.is_ready() };
            let status = if is_good { ServingStatus::Serving } else { ServingStatus::NotServing };
            self.reporter.set_service_status(name, status).await;
        }
    }
}

/// The services without authentication.
pub(crate) struct PublicServices {
    health: HealthServer<HealthService>,
    reflection: Option<(Serve, Serve)>,
    calls: Arc<Semaphore>,
    max_calls_per_connection: usize,
}

/// A public service, named by a path.
pub(crate) enum PublicService {
    Health,
    ReflectionV1,
    ReflectionV1Alpha,
}

impl PublicService {
    pub(crate) fn find(path: &str) -> Option<Self> {
        let (service, _) = path.strip_prefix('/')?.split_once('/')?;
        match service {
            "grpc.health.v1.Health" => Some(Self::Health),
            "grpc.reflection.v1.ServerReflection" => Some(Self::ReflectionV1),
            "grpc.reflection.v1alpha.ServerReflection" => Some(Self::ReflectionV1Alpha),
            _ => None,
        }
    }
}

impl PublicServices {
    pub(crate) fn new(health: &Health, server: &config::Server) -> Self {
        let limits = &server.public_services;
        let health = HealthServer::new(HealthService::from_health_reporter(health.reporter.clone()));
        Self {
            health: health.max_decoding_message_size(limits.max_request_bytes),
            reflection: server.reflection.then(|| reflection_services(limits.max_request_bytes)),
            calls: Arc::new(Semaphore::new(limits.max_calls as usize)),
            max_calls_per_connection: limits.max_calls_per_connection as usize,
        }
    }

    /// The concurrency limit of all connections.
    pub(crate) fn calls(&self) -> &Arc<Semaphore> {
        &self.calls
    }

    pub(crate) fn max_calls_per_connection(&self) -> usize {
        self.max_calls_per_connection
    }

    /// `None` if `server.reflection` is off.
    pub(crate) fn call(&self, service: &PublicService, request: Request) -> Option<ServiceFuture> {
        match service {
            PublicService::Health => Some(call(&self.health, request)),
            PublicService::ReflectionV1 => self.reflection.as_ref().map(|(v1, _)| v1(request)),
            PublicService::ReflectionV1Alpha => self.reflection.as_ref().map(|(_, v1alpha)| v1alpha(request)),
        }
    }
}

/// Versions 1 and 1alpha: grpcurl up to 1.8 and grpcio know only the older.
fn reflection_services(max_request_bytes: usize) -> (Serve, Serve) {
    const VALID: &str = "our descriptors are valid: a test calls reflection";
    let builder = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(lanyard_proto::FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
            // Lets grpcurl and similar tools decode our error details.
            .register_encoded_file_descriptor_set(tonic_types::pb::FILE_DESCRIPTOR_SET)
    };
    let v1 = builder().build_v1().expect(VALID).max_decoding_message_size(max_request_bytes);
    let v1alpha = builder().build_v1alpha().expect(VALID).max_decoding_message_size(max_request_bytes);
    (Arc::new(move |request| call(&v1, request)), Arc::new(move |request| call(&v1alpha, request)))
}
