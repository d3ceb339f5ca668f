//! The exporters of `opentelemetry-otlp` over our own connections, with TLS, headers and timeouts from the
//! configuration, whatever variables the exporters read themselves.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, USER_AGENT};
use http::uri::Scheme;
use http::{Extensions, HeaderMap, HeaderValue, Request, Response, Uri};
use opentelemetry_http::{HttpClient, HttpError};
use opentelemetry_otlp::{
    ExporterBuildError, LogExporter, RetryPolicy, SpanExporter, WithExportConfig, WithHttpConfig, WithTonicConfig,
};
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_client::MetricsServiceClient;
use opentelemetry_proto::tonic::collector::metrics::v1::{ExportMetricsServiceRequest, ExportMetricsServiceResponse};
use prost::Message;
use tonic::metadata::MetadataMap;
use tonic::service::Interceptor;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request as GrpcRequest, Status};
use tower::{Service, service_fn};

use super::delivery::Delivery;
use crate::config::{Destination, Protocol, header};
use crate::upstream::{Connector, HttpReceiver, connector, with_sources};

const AGENT: &str = concat!("lanyard/", env!("CARGO_PKG_VERSION"));

/// The receiver of one signal.
pub(super) enum Receiver {
    Grpc(Grpc),
    Http(Http),
}

impl Receiver {
    /// Reads the files that `to` names; connects later. Call it on the runtime that drives the connections.
    pub(super) fn new(to: Destination, delivery: Arc<Delivery>) -> Result<Self, String> {
        let connector = connector(&to)?;
        let mut headers = headers(&to)?;
        Ok(match to.protocol {
            Protocol::Grpc => {
                let channel = channel(connector, &to, delivery.clone())?;
                Self::Grpc(Grpc { channel, metadata: Metadata(MetadataMap::from_headers(headers)), delivery })
            }
            Protocol::HttpProtobuf => {
                headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
                headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
                let receiver = HttpReceiver::new(connector, headers, to.timeout);
                Self::Http(Http { client: Arc::new(Client { receiver, delivery }), uri: to.uri })
            }
        })
    }

    pub(super) fn span_exporter(self) -> Result<SpanExporter, ExporterBuildError> {
        match self {
            Self::Grpc(grpc) => grpc.configure(SpanExporter::builder().with_tonic()).build(),
            Self::Http(http) => http.configure(SpanExporter::builder().with_http()).build(),
        }
    }

    pub(super) fn log_exporter(self) -> Result<LogExporter, ExporterBuildError> {
        match self {
            Self::Grpc(grpc) => grpc.configure(LogExporter::builder().with_tonic()).build(),
            Self::Http(http) => http.configure(LogExporter::builder().with_http()).build(),
        }
    }

    /// Sends metrics once; the SDK's exporter takes only what the SDK has measured.
    pub(super) async fn export_metrics(&self, metrics: ExportMetricsServiceRequest) -> Result<(), String> {
        let (response, delivery) = match self {
            Self::Grpc(Grpc { channel, metadata, delivery }) => {
                let request = GrpcRequest::from_parts(metadata.0.clone(), Extensions::new(), metrics);
                let response = MetricsServiceClient::new(channel.clone()).export(request).await;
                let response = response.map_err(|status| format!("gRPC status {:?}", status.code()))?;
                (response.into_inner(), delivery)
            }
            Self::Http(Http { client, uri }) => {
                let request = Request::post(uri.clone()).body(metrics.encode_to_vec().into());
                let request = request.map_err(|problem| problem.to_string())?;
                let response = client.send_bytes(request).await.map_err(|problem| with_sources(&*problem))?;
                if !response.status().is_success() {
                    return Err(format!("HTTP status {}", response.status()));
                }
                (ExportMetricsServiceResponse::decode(response.into_body()).unwrap_or_default(), &client.delivery)
            }
        };
        if response.partial_success.is_some_and(|partial| partial.rejected_data_points > 0) {
            delivery.reject(1);
        }
        Ok(())
    }
}

/// Retries until the export times out.
fn retries() -> RetryPolicy {
    RetryPolicy::recommended().with_max_retries(usize::MAX)
}

pub(super) struct Grpc {
    channel: Channel,
    metadata: Metadata,
    delivery: Arc<Delivery>,
}

impl Grpc {
    fn configure<B: WithTonicConfig + WithExportConfig>(self, builder: B) -> B {
        let builder = builder.with_channel(self.channel).with_interceptor(self.metadata);
        builder.with_retry_policy(retries()).with_timeout(self.delivery.export_timeout())
    }
}

/// The scheme is `http` for the channel, because `connector` does TLS.
fn channel(connector: Connector, to: &Destination, delivery: Arc<Delivery>) -> Result<Channel, String> {
    let uri = to.uri.clone();
    let mut plain = uri.clone().into_parts();
    plain.scheme = Some(Scheme::HTTP);
    let plain = Uri::from_parts(plain).map_err(|problem| problem.to_string())?;
    let endpoint = Endpoint::from(plain).origin(uri.clone()).timeout(to.timeout);
    let endpoint = endpoint.user_agent(AGENT).map_err(|problem| with_sources(&problem))?;
    Ok(endpoint.connect_with_connector_lazy(service_fn(move |_: Uri| {
        let connection = connector.clone().call(uri.clone());
        let delivery = delivery.clone();
        async move { connection.await.inspect_err(|problem| delivery.warn(&with_sources(&**problem))) }
    })))
}

/// Replaces the headers that the exporter may have read from the environment.
#[derive(Clone)]
struct Metadata(MetadataMap);

impl Interceptor for Metadata {
    fn call(&mut self, mut request: GrpcRequest<()>) -> Result<GrpcRequest<()>, Status> {
        request.metadata_mut().clone_from(&self.0);
        Ok(request)
    }
}

pub(super) struct Http {
    client: Arc<Client>,
    uri: Uri,
}

impl Http {
    fn configure<B: WithHttpConfig + WithExportConfig>(self, builder: B) -> B {
        let export_timeout = self.client.delivery.export_timeout();
        let builder = builder.with_shared_http_client(self.client).with_retry_policy(retries());
        let builder = builder.with_protocol(opentelemetry_otlp::Protocol::HttpBinary);
        builder.with_endpoint(self.uri.to_string()).with_timeout(export_timeout)
    }
}

#[derive(Debug)]
struct Client {
    receiver: HttpReceiver,
    delivery: Arc<Delivery>,
}

#[async_trait]
impl HttpClient for Client {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        self.receiver.send(request).await.inspect_err(|problem| self.delivery.warn(&with_sources(&**problem)))
    }
}

fn headers(to: &Destination) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    if let Some(given) = &to.headers {
        headers.extend(given.parse().map_err(|problem| format!("telemetry.headers: {problem}"))?);
    }
    if let Some(file) = &to.headers_file {
        let shown = file.display();
        let text = std::fs::read_to_string(file).map_err(|problem| format!("{shown}: {problem}"))?;
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let (name, value) = line.split_once(':').ok_or_else(|| format!("{shown}: a line is not `name: value`"))?;
            headers.extend([header(name.trim(), value.trim()).map_err(|problem| format!("{shown}: {problem}"))?]);
        }
    }
    Ok(headers)
}
