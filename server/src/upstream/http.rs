//! The HTTP/1.1 client of all adapters, with configurable CAs, without proxies and redirects.

use std::path::Path;
use std::time::Duration;

use http::{HeaderMap, HeaderName, Method};
use hyper_rustls::{ConfigBuilderExt, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use opentelemetry::propagation::Injector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};
use tracing::Span;
use tracing::field::Empty;

pub type Connector = HttpsConnector<HttpConnector>;

/// A connector that trusts `authorities`, or the system's CAs. `allow_http` permits plaintext for `http://` URLs.
pub(super) fn connector(
    authorities: Option<Vec<CertificateDer<'static>>>,
    connect_timeout: Option<Duration>,
    allow_http: bool,
) -> Result<Connector, String> {
    let tls = HttpsConnectorBuilder::new().with_tls_config(tls(authorities, None)?);
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_connect_timeout(connect_timeout);
    let schemes = if allow_http { tls.https_or_http() } else { tls.https_only() };
    Ok(schemes.enable_http1().wrap_connector(tcp))
}

/// A certificate chain and its key.
pub(super) type Identity = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

/// TLS that trusts `authorities`, or the system's CAs, and presents `identity` as client certificate.
pub(super) fn tls(
    authorities: Option<Vec<CertificateDer<'static>>>,
    identity: Option<Identity>,
) -> Result<ClientConfig, String> {
    let config = ClientConfig::builder_with_provider(ring::default_provider().into())
        .with_safe_default_protocol_versions()
        .map_err(|problem| problem.to_string())?;
    let config = match authorities {
        Some(authorities) => config.with_root_certificates(trusting(authorities)?),
        None => config.with_native_roots().map_err(|problem| format!("certificates of the system: {problem}"))?,
    };
    match identity {
        Some((certificates, key)) => {
            config.with_client_auth_cert(certificates, key).map_err(|problem| format!("client certificate: {problem}"))
        }
        None => Ok(config.with_no_client_auth()),
    }
}

fn trusting(authorities: Vec<CertificateDer<'static>>) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for authority in authorities {
        roots.add(authority).map_err(|problem| format!("certificate of an authority: {problem}"))?;
    }
    Ok(roots)
}

/// The certificates of a PEM file; at least one.
pub(super) fn read_certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let read = || CertificateDer::pem_file_iter(file)?.collect::<Result<Vec<_>, _>>();
    let found = read().map_err(|problem| format!("{}: {problem}", file.display()))?;
    if found.is_empty() { Err(format!("{}: holds no certificate", file.display())) } else { Ok(found) }
}

/// Request headers, for the propagator.
struct Outgoing<'a>(&'a mut HeaderMap);

impl Injector for Outgoing<'_> {
    fn set(&mut self, key: &str, value: String) {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(key), value.parse()) {
            self.0.insert(name, value);
        }
    }
}

/// Propagates the trace of the call: adds `traceparent` and `tracestate`.
pub(super) fn carry_trace(headers: &mut HeaderMap) {
    let context = opentelemetry::Context::current();
    opentelemetry::global::get_text_map_propagator(|propagator| {
        propagator.inject_context(&context, &mut Outgoing(headers));
    });
}

/// The span of a request to another server.
pub(super) fn client_span(method: &Method, host: &str, port: u16) -> Span {
    tracing::debug_span!(
        "request",
        otel.name = method.as_str(),
        otel.kind = "client",
        http.request.method = method.as_str(),
        server.address = host,
        server.port = port,
        http.response.status_code = Empty,
        url.path = Empty,
        lanyard.platform = Empty,
        "error.type" = Empty,
    )
}

/// Appends the sources: the client's own text is only "connect error".
pub fn with_sources(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}
