//! A receiver of OTLP, by gRPC and by HTTP: it keeps what it is sent, and can be slow, silent or unwilling.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use opentelemetry_proto::tonic::collector::logs::v1::logs_service_server::{LogsService, LogsServiceServer};
use opentelemetry_proto::tonic::collector::logs::v1::{ExportLogsServiceRequest, ExportLogsServiceResponse};
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_server::{
    MetricsService, MetricsServiceServer,
};
use opentelemetry_proto::tonic::collector::metrics::v1::{ExportMetricsServiceRequest, ExportMetricsServiceResponse};
use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{TraceService, TraceServiceServer};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use opentelemetry_proto::tonic::logs::v1::LogRecord;
use opentelemetry_proto::tonic::metrics::v1::Metric;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use tokio::net::TcpListener;
use tonic::metadata::MetadataMap;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Server, ServerTlsConfig};
use tonic::{Request, Response, Status};

/// How it behaves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Behaviour {
    #[default]
    Good,
    /// Takes its time for each message.
    Slow(Duration),
    /// Never answers.
    Silent,
    /// Answers that it is not there now.
    Unavailable,
    /// Answers that it will never take this.
    Unwilling,
    /// Takes all but one span of each message.
    Picky,
}

/// What it was sent.
#[derive(Default)]
struct Kept {
    traces: Vec<ExportTraceServiceRequest>,
    logs: Vec<ExportLogsServiceRequest>,
    metrics: Vec<ExportMetricsServiceRequest>,
    /// Of each message: its headers.
    headers: Vec<HeaderMap>,
    paths: Vec<String>,
}

/// A receiver; clones are the same. It lives as long as the runtime of the test.
#[derive(Clone)]
pub struct Collector {
    addr: SocketAddr,
    scheme: &'static str,
    kept: Arc<Mutex<Kept>>,
    behaviour: Arc<Mutex<Behaviour>>,
}

impl Collector {
    fn new(addr: SocketAddr) -> Self {
        Self { addr, scheme: "http", kept: Arc::default(), behaviour: Arc::default() }
    }

    /// One that speaks gRPC.
    ///
    /// # Panics
    /// If there is no port for it.
    pub async fn grpc() -> Self {
        let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        let collector = Self::new(socket.local_addr().expect("an address"));
        tokio::spawn(serve(Server::builder(), &collector, socket));
        collector
    }

    /// The same over TLS.
    ///
    /// # Panics
    /// If the identity is of no use.
    pub async fn tls(identity: super::certificates::Identity) -> Self {
        Self::secure(identity, |tls| tls).await
    }

    /// The same, and whoever sends must have a certificate of this authority (in PEM).
    ///
    /// # Panics
    /// If the identity is of no use.
    pub async fn mutual_tls(identity: super::certificates::Identity, clients: &str) -> Self {
        let clients = tonic::transport::Certificate::from_pem(clients);
        Self::secure(identity, |tls| tls.client_ca_root(clients)).await
    }

    async fn secure(
        identity: super::certificates::Identity,
        change: impl FnOnce(ServerTlsConfig) -> ServerTlsConfig,
    ) -> Self {
        let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        let mut collector = Self::new(socket.local_addr().expect("an address"));
        collector.scheme = "https";
        let identity = tonic::transport::Identity::from_pem(identity.certificate, identity.key);
        let tls = change(ServerTlsConfig::new().identity(identity));
        let server = Server::builder().tls_config(tls).expect("an identity");
        tokio::spawn(serve(server, &collector, socket));
        collector
    }

    /// One that speaks HTTP, below `/base` and below `/`.
    ///
    /// # Panics
    /// If there is no port for it.
    pub async fn http() -> Self {
        let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
        let collector = Self::new(socket.local_addr().expect("an address"));
        let pages = Router::new().route("/{*path}", post(take_http)).with_state(collector.clone());
        tokio::spawn(async move { axum::serve(socket, pages).await });
        collector
    }

    /// Its URL.
    pub fn url(&self) -> String {
        format!("{}://{}", self.scheme, self.addr)
    }

    /// # Panics
    /// Never.
    pub fn behaves(&self, behaviour: Behaviour) {
        *self.behaviour.lock().unwrap_or_else(PoisonError::into_inner) = behaviour;
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All spans so far.
    pub fn spans(&self) -> Vec<Span> {
        let kept = self.kept();
        let scopes = kept.traces.iter().flat_map(|message| &message.resource_spans).flat_map(|from| &from.scope_spans);
        scopes.flat_map(|scope| scope.spans.clone()).collect()
    }

    /// The spans of the call with this correlation ID, and all of its trace.
    pub fn trace_of(&self, correlation_id: &str) -> Vec<Span> {
        let spans = self.spans();
        let is_it = |span: &&Span| text(&span.attributes, "lanyard.correlation_id").as_deref() == Some(correlation_id);
        let Some(call) = spans.iter().find(is_it) else { return Vec::new() };
        let trace = call.trace_id.clone();
        spans.into_iter().filter(|span| span.trace_id == trace).collect()
    }

    /// All log records so far.
    pub fn records(&self) -> Vec<LogRecord> {
        let kept = self.kept();
        let scopes = kept.logs.iter().flat_map(|message| &message.resource_logs).flat_map(|from| &from.scope_logs);
        scopes.flat_map(|scope| scope.log_records.clone()).collect()
    }

    /// The metrics of the last message, by name.
    pub fn metrics(&self) -> BTreeMap<String, Metric> {
        let kept = self.kept();
        let last = kept.metrics.last();
        let scopes = last.iter().flat_map(|message| &message.resource_metrics).flat_map(|from| &from.scope_metrics);
        let metrics = scopes.flat_map(|scope| scope.metrics.clone());
        metrics.map(|metric| (metric.name.clone(), metric)).collect()
    }

    /// The resource that spans came from.
    pub fn resource(&self) -> BTreeMap<String, String> {
        let kept = self.kept();
        let attributes = kept.traces.first().and_then(|message| message.resource_spans.first());
        let attributes = attributes.and_then(|from| from.resource.as_ref()).map(|resource| resource.attributes.clone());
        let attributes = attributes.unwrap_or_default();
        attributes.iter().map(|pair| (pair.key.clone(), shown(pair.value.as_ref()))).collect()
    }

    /// The schema URLs of all messages.
    pub fn schemas(&self) -> Vec<String> {
        let kept = self.kept();
        let traces = kept.traces.iter().flat_map(|m| m.resource_spans.iter().map(|from| from.schema_url.clone()));
        let logs = kept.logs.iter().flat_map(|m| m.resource_logs.iter().map(|from| from.schema_url.clone()));
        let metrics = kept.metrics.iter().flat_map(|m| m.resource_metrics.iter().map(|from| from.schema_url.clone()));
        traces.chain(logs).chain(metrics).collect()
    }

    /// The headers of each message.
    pub fn headers(&self) -> Vec<HeaderMap> {
        self.kept().headers.clone()
    }

    /// Where messages were sent, by HTTP.
    pub fn paths(&self) -> Vec<String> {
        self.kept().paths.clone()
    }

    /// How many messages of traces, logs and metrics it has got.
    pub fn counts(&self) -> [usize; 3] {
        let kept = self.kept();
        [kept.traces.len(), kept.logs.len(), kept.metrics.len()]
    }

    /// Everything that it has got, as bytes.
    pub fn everything(&self) -> Vec<u8> {
        let kept = self.kept();
        let mut all = Vec::new();
        kept.traces.iter().for_each(|message| all.extend(message.encode_to_vec()));
        kept.logs.iter().for_each(|message| all.extend(message.encode_to_vec()));
        kept.metrics.iter().for_each(|message| all.extend(message.encode_to_vec()));
        all
    }

    /// What it does before it takes a message.
    async fn behave(&self) -> Result<bool, Status> {
        let behaviour = *self.behaviour.lock().unwrap_or_else(PoisonError::into_inner);
        match behaviour {
            Behaviour::Good => Ok(false),
            Behaviour::Picky => Ok(true),
            Behaviour::Slow(time) => {
                tokio::time::sleep(time).await;
                Ok(false)
            }
            Behaviour::Silent => std::future::pending().await,
            Behaviour::Unavailable => Err(Status::unavailable("full")),
            Behaviour::Unwilling => Err(Status::invalid_argument("no")),
        }
    }
}

fn serve(
    mut server: Server,
    collector: &Collector,
    socket: TcpListener,
) -> impl Future<Output = Result<(), tonic::transport::Error>> + use<> {
    let router = server
        .add_service(TraceServiceServer::new(collector.clone()))
        .add_service(LogsServiceServer::new(collector.clone()))
        .add_service(MetricsServiceServer::new(collector.clone()));
    router.serve_with_incoming(TcpIncoming::from(socket))
}

/// The value of an attribute, as text.
pub fn text(attributes: &[KeyValue], key: &str) -> Option<String> {
    attributes.iter().find(|pair| pair.key == key).map(|pair| shown(pair.value.as_ref()))
}

fn shown(value: Option<&AnyValue>) -> String {
    match value.and_then(|value| value.value.as_ref()) {
        Some(any_value::Value::StringValue(text)) => text.clone(),
        Some(any_value::Value::IntValue(number)) => number.to_string(),
        Some(any_value::Value::BoolValue(is_so)) => is_so.to_string(),
        other => format!("{other:?}"),
    }
}

async fn take_http(
    State(collector): State<Collector>,
    axum::extract::Path(path): axum::extract::Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> StatusCode {
    match collector.behave().await {
        Ok(_) => {}
        Err(status) if status.code() == tonic::Code::Unavailable => return StatusCode::SERVICE_UNAVAILABLE,
        Err(_) => return StatusCode::BAD_REQUEST,
    }
    let mut kept = collector.kept();
    let taken = match path.rsplit('/').next() {
        Some("traces") => ExportTraceServiceRequest::decode(body).map(|message| kept.traces.push(message)),
        Some("logs") => ExportLogsServiceRequest::decode(body).map(|message| kept.logs.push(message)),
        _ => ExportMetricsServiceRequest::decode(body).map(|message| kept.metrics.push(message)),
    };
    kept.headers.push(headers);
    kept.paths.push(path);
    if taken.is_ok() { StatusCode::OK } else { StatusCode::BAD_REQUEST }
}

/// The headers of a request, which must say that it is gRPC: the Collector of OpenTelemetry insists on it, tonic does not.
fn grpc_headers(metadata: MetadataMap) -> Result<HeaderMap, Status> {
    let headers = metadata.into_headers();
    let is_grpc = headers.get("content-type").is_some_and(|kind| kind == "application/grpc");
    if is_grpc { Ok(headers) } else { Err(Status::invalid_argument("no content-type")) }
}

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let is_picky = self.behave().await?;
        let (metadata, _, message) = request.into_parts();
        let headers = grpc_headers(metadata)?;
        let mut kept = self.kept();
        kept.headers.push(headers);
        kept.traces.push(message);
        let one = ExportTracePartialSuccess { rejected_spans: 1, error_message: "one is ugly".to_owned() };
        Ok(Response::new(ExportTraceServiceResponse { partial_success: is_picky.then_some(one) }))
    }
}

#[tonic::async_trait]
impl LogsService for Collector {
    async fn export(
        &self,
        request: Request<ExportLogsServiceRequest>,
    ) -> Result<Response<ExportLogsServiceResponse>, Status> {
        self.behave().await?;
        let (metadata, _, message) = request.into_parts();
        let headers = grpc_headers(metadata)?;
        let mut kept = self.kept();
        kept.headers.push(headers);
        kept.logs.push(message);
        Ok(Response::new(ExportLogsServiceResponse::default()))
    }
}

#[tonic::async_trait]
impl MetricsService for Collector {
    async fn export(
        &self,
        request: Request<ExportMetricsServiceRequest>,
    ) -> Result<Response<ExportMetricsServiceResponse>, Status> {
        self.behave().await?;
        let (metadata, _, message) = request.into_parts();
        let headers = grpc_headers(metadata)?;
        let mut kept = self.kept();
        kept.headers.push(headers);
        kept.metrics.push(message);
        Ok(Response::new(ExportMetricsServiceResponse::default()))
    }
}
