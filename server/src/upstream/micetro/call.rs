//! HTTP calls, within time and size limits, over pooled connections.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio_rustls::rustls::pki_types::CertificateDer;
use tracing::{Instrument, Span};

use super::answer::{Answer, Failure};
use crate::config::{self, Origin};
use crate::upstream::http::{Connector, carry_trace, client_span, connector, read_certificates, with_sources};

/// Delay before the second attempt; doubles each time.
const BACKOFF: Duration = Duration::from_millis(100);

type Http = Client<Connector, Full<Bytes>>;

/// The client of one platform.
pub(super) struct Calls {
    name: String,
    origin: Origin,
    ca_file: Option<PathBuf>,
    connect_timeout: Duration,
    max_response_bytes: usize,
    max_attempts: u32,
    max_idle_connections: usize,
    idle_connection_timeout: Duration,
    /// Built on first use: it reads certificates.
    http: OnceLock<Http>,
    authorities: OnceLock<Arc<str>>,
}

/// A request.
#[derive(Clone)]
pub(super) struct Call {
    method: Method,
    path: &'static str,
    /// The status of success.
    expected: StatusCode,
    authorization: Option<HeaderValue>,
    body: Bytes,
}

impl Call {
    pub(super) fn new(method: Method, path: &'static str, expected: StatusCode) -> Self {
        Self { method, path, expected, authorization: None, body: Bytes::new() }
    }

    pub(super) fn get(path: &'static str) -> Self {
        Self::new(Method::GET, path, StatusCode::OK)
    }

    pub(super) fn with_body(self, json: Vec<u8>) -> Self {
        Self { body: json.into(), ..self }
    }

    /// Omits invalid values; ours are ASCII.
    pub(super) fn with_authorization(self, authorization: &str) -> Self {
        let mut value = HeaderValue::from_str(authorization).ok();
        if let Some(value) = &mut value {
            value.set_sensitive(true);
        }
        Self { authorization: value, ..self }
    }
}

impl Calls {
    pub(super) fn new(name: &str, config: &config::Platform, origin: &Origin) -> Self {
        Self {
            name: name.to_owned(),
            origin: origin.clone(),
            ca_file: config.ca_file.clone(),
            connect_timeout: config.connect_timeout,
            max_response_bytes: config.max_response_bytes,
            max_attempts: config.max_attempts,
            max_idle_connections: config.max_idle_connections,
            idle_connection_timeout: config.idle_connection_timeout,
            http: OnceLock::new(),
            authorities: OnceLock::new(),
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Makes an idempotent call, up to `max_attempts` times, with backoff.
    pub(super) async fn repeatedly(&self, call: &Call) -> Result<Answer, Failure> {
        let mut wait = BACKOFF;
        for _ in 1..self.max_attempts {
            match self.once(call).await {
                Err(failure) if failure.is_passing() => tokio::time::sleep(wait).await,
                outcome => return outcome,
            }
            wait *= 2;
        }
        self.once(call).await
    }

    /// Makes a call once. hyper retries only if a pooled connection closed before anything was sent.
    pub(super) async fn once(&self, call: &Call) -> Result<Answer, Failure> {
        let span = client_span(&call.method, self.origin.host(), self.origin.port());
        span.record("url.path", call.path).record("lanyard.platform", self.name.as_str());
        let outcome = self.exchange(call).instrument(span.clone()).await;
        if outcome.is_err() {
            span.record("error.type", "_OTHER");
        }
        outcome
    }

    async fn exchange(&self, call: &Call) -> Result<Answer, Failure> {
        let http = self.http().map_err(|problem| Failure::NotConnected(format!("{}: {problem}", self.name)))?;
        let mut request = self.request(call)?;
        carry_trace(request.headers_mut());
        let answered = http.request(request).await.map_err(|error| {
            let source = format!("{}: {}", self.name, with_sources(&error));
            if error.is_connect() { Failure::NotConnected(source) } else { Failure::Broken(source) }
        });
        let answer = self.read(answered?).await?;
        Span::current().record("http.response.status_code", answer.status.as_u16());
        tracing::debug!(platform = %self.name, path = call.path, status = answer.status.as_u16(), "called");
        if answer.status == call.expected { Ok(answer) } else { Err(Failure::of(answer.status, &answer.body)) }
    }

    fn request(&self, call: &Call) -> Result<Request<Full<Bytes>>, Failure> {
        let request = Request::builder().method(&call.method).uri(format!("{}{}", self.origin, call.path));
        let mut request = request
            .body(Full::new(call.body.clone()))
            .map_err(|problem| Failure::NotConnected(format!("{}: {problem}", self.name)))?;
        let headers = request.headers_mut();
        headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
        // A compressed body has no bound once decompressed.
        headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        headers.insert(header::USER_AGENT, HeaderValue::from_static("lanyard"));
        if !call.body.is_empty() {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        if let Some(authorization) = &call.authorization {
            headers.insert(header::AUTHORIZATION, authorization.clone());
        }
        Ok(request)
    }

    async fn read(&self, response: Response<Incoming>) -> Result<Answer, Failure> {
        let status = response.status();
        let not_micetro = |problem| Failure::NotMicetro { problem, status };
        if is_packed(response.headers()) {
            return Err(not_micetro("answers packed, which was not asked for"));
        }
        if status.is_success() && !may_be_json(response.headers()) {
            return Err(not_micetro("answers with something that is no JSON"));
        }
        let body = Limited::new(response.into_body(), self.max_response_bytes).collect().await;
        match body {
            Ok(body) => Ok(Answer { status, body: body.to_bytes() }),
            Err(error) if error.is::<LengthLimitError>() => Err(not_micetro("answers with more bytes than are read")),
            Err(error) => Err(Failure::Broken(format!("{}: {}", self.name, with_sources(&*error)))),
        }
    }

    fn http(&self) -> Result<&Http, String> {
        if let Some(http) = self.http.get() {
            return Ok(http);
        }
        let authorities = self.ca_file.as_deref().map(read_certificates).transpose()?;
        let connector = connector(authorities, Some(self.connect_timeout), !self.origin.is_https())?;
        let http = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_max_idle_per_host(self.max_idle_connections)
            .pool_idle_timeout(self.idle_connection_timeout)
            .build(connector);
        Ok(self.http.get_or_init(|| http))
    }

    /// The certificates of `ca_file`, without its other content.
    pub(super) fn authorities(&self) -> Result<Option<Arc<str>>, String> {
        let Some(file) = &self.ca_file else { return Ok(None) };
        if let Some(known) = self.authorities.get() {
            return Ok(Some(Arc::clone(known)));
        }
        let pem: String = read_certificates(file)?.iter().map(pem).collect();
        Ok(Some(Arc::clone(self.authorities.get_or_init(|| pem.into()))))
    }
}

fn is_packed(headers: &HeaderMap) -> bool {
    headers.get_all(header::CONTENT_ENCODING).iter().any(|encoding| encoding != "identity")
}

/// Without a content type, the body decides.
fn may_be_json(headers: &HeaderMap) -> bool {
    let Some(kind) = headers.get(header::CONTENT_TYPE) else { return true };
    let kind = kind.to_str().unwrap_or_default().split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    kind == "application/json" || kind.ends_with("+json")
}

fn pem(certificate: &CertificateDer<'static>) -> String {
    let encoded = BASE64.encode(certificate);
    let mut text = "-----BEGIN CERTIFICATE-----\n".to_owned();
    for line in encoded.as_bytes().chunks(64) {
        text.extend(line.iter().map(|byte| char::from(*byte)));
        text.push('\n');
    }
    text.push_str("-----END CERTIFICATE-----\n");
    text
}
