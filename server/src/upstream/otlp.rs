//! The receiver of telemetry: one OTLP message, by gRPC or by HTTP, and what it says to it.

use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use http::header::{CONTENT_TYPE, RETRY_AFTER, TE, USER_AGENT};
use http::{HeaderMap, HeaderValue, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Collected, Full, Limited};
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;

use super::http::{Connector, read_certificates, tls, with_sources};
use crate::config::{Destination, Protocol, header};

/// The longest answer that is read.
const MAX_ANSWER: usize = 64 * 1024;
/// Before a message of gRPC: whether it is compressed, and its length.
const PREFIX: usize = 5;

/// Where one signal is sent.
pub struct Receiver {
    uri: Uri,
    protocol: Protocol,
    headers: HeaderMap,
    timeout: Duration,
    http: Client<Connector, Full<Bytes>>,
}

/// Why a message was not taken.
#[derive(Debug)]
pub enum Failure {
    /// It may be sent again, after a while that the receiver may name.
    Passing { problem: String, after: Option<Duration> },
    /// It would be refused again.
    Refused(String),
}

impl Failure {
    fn passing(problem: impl Into<String>) -> Self {
        Self::Passing { problem: problem.into(), after: None }
    }

    pub fn problem(&self) -> &str {
        match self {
            Self::Passing { problem, .. } | Self::Refused(problem) => problem,
        }
    }
}

impl Receiver {
    /// Reads the files that are named. Nothing is sent yet.
    pub fn new(destination: &Destination) -> Result<Self, String> {
        let authorities = destination.ca_file.as_deref().map(read_certificates).transpose()?;
        let identity = match &destination.client {
            Some((certificate, key)) => {
                let read = PrivateKeyDer::from_pem_file(key);
                let read = read.map_err(|problem| format!("{}: {problem}", key.display()))?;
                Some((read_certificates(certificate)?, read))
            }
            None => None,
        };
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(destination.timeout));
        let schemes = HttpsConnectorBuilder::new().with_tls_config(tls(authorities, identity)?).https_or_http();
        let is_grpc = destination.protocol == Protocol::Grpc;
        let connector = if is_grpc {
            schemes.enable_http2().wrap_connector(tcp)
        } else {
            schemes.enable_http1().wrap_connector(tcp)
        };
        let http = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .timer(TokioTimer::new())
            .http2_only(is_grpc)
            .build(connector);
        Ok(Self {
            uri: destination.uri.clone(),
            protocol: destination.protocol,
            headers: headers(destination)?,
            timeout: destination.timeout,
            http,
        })
    }

    /// Sends a message once; what is answered is a message too.
    pub async fn send(&self, message: &[u8]) -> Result<Bytes, Failure> {
        match tokio::time::timeout(self.timeout, self.exchange(message)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(Failure::passing("no answer in time")),
        }
    }

    async fn exchange(&self, message: &[u8]) -> Result<Bytes, Failure> {
        let body = match self.protocol {
            Protocol::Grpc => framed(message),
            Protocol::HttpProtobuf => Bytes::copy_from_slice(message),
        };
        let mut request = Request::post(self.uri.clone())
            .body(Full::new(body))
            .map_err(|problem| Failure::Refused(problem.to_string()))?;
        request.headers_mut().clone_from(&self.headers);
        let answer = self.http.request(request).await.map_err(|problem| Failure::passing(with_sources(&problem)))?;
        let (parts, body) = answer.into_parts();
        let body = Limited::new(body, MAX_ANSWER).collect().await;
        let body = body.map_err(|problem| Failure::passing(with_sources(&*problem)))?;
        match self.protocol {
            Protocol::Grpc => grpc_answer(parts.status, &parts.headers, body),
            Protocol::HttpProtobuf => http_answer(parts.status, &parts.headers, body.to_bytes()),
        }
    }
}

fn headers(destination: &Destination) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    if let Some(given) = &destination.headers {
        headers.extend(given.parse().map_err(|problem| format!("telemetry.headers: {problem}"))?);
    }
    if let Some(file) = &destination.headers_file {
        let shown = file.display();
        let text = std::fs::read_to_string(file).map_err(|problem| format!("{shown}: {problem}"))?;
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let (name, value) = line.split_once(':').ok_or_else(|| format!("{shown}: a line is not `name: value`"))?;
            headers.extend([header(name.trim(), value.trim()).map_err(|problem| format!("{shown}: {problem}"))?]);
        }
    }
    let kind = match destination.protocol {
        Protocol::Grpc => "application/grpc",
        Protocol::HttpProtobuf => "application/x-protobuf",
    };
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(USER_AGENT, HeaderValue::from_static(concat!("lanyard/", env!("CARGO_PKG_VERSION"))));
    if destination.protocol == Protocol::Grpc {
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
    Ok(headers)
}

fn framed(message: &[u8]) -> Bytes {
    let mut framed = BytesMut::with_capacity(PREFIX + message.len());
    framed.put_u8(0);
    framed.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    framed.put_slice(message);
    framed.freeze()
}

fn grpc_answer(status: StatusCode, headers: &HeaderMap, body: Collected<Bytes>) -> Result<Bytes, Failure> {
    if status != StatusCode::OK {
        return http_answer(status, headers, Bytes::new());
    }
    // Where nothing but a status is answered, it stands in the headers.
    let trailers = body.trailers().unwrap_or(headers);
    let text = |name| trailers.get(name).and_then(|value| value.to_str().ok());
    let Some(code) = text("grpc-status") else { return Err(Failure::passing("the answer has no status")) };
    let problem = format!("gRPC status {code}: {}", text("grpc-message").unwrap_or_default());
    match code {
        "0" => {
            let bytes = body.to_bytes();
            Ok(if bytes.len() < PREFIX { Bytes::new() } else { bytes.slice(PREFIX..) })
        }
        // Those that the specification of OTLP lets a client try again.
        "1" | "4" | "8" | "10" | "11" | "14" | "15" => Err(Failure::passing(problem)),
        _ => Err(Failure::Refused(problem)),
    }
}

fn http_answer(status: StatusCode, headers: &HeaderMap, body: Bytes) -> Result<Bytes, Failure> {
    if status.is_success() {
        return Ok(body);
    }
    let problem = format!("HTTP status {status}");
    match status.as_u16() {
        429 | 502 | 503 | 504 => {
            let seconds = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
            Err(Failure::Passing { problem, after: seconds.map(Duration::from_secs) })
        }
        _ => Err(Failure::Refused(problem)),
    }
}
