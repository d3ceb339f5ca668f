//! What all adapters call with: HTTP/1.1 over the authorities of one's choice, without proxies and redirects.

use std::time::Duration;

use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

pub(super) type Connector = HttpsConnector<HttpConnector>;

/// A connector that trusts `authorities`, or those of the system. With `allow_http` it connects in the open too, where a URL says
/// so.
pub(super) fn connector(
    authorities: Option<Vec<CertificateDer<'static>>>,
    connect_timeout: Option<Duration>,
    allow_http: bool,
) -> Result<Connector, String> {
    let tls = match authorities {
        Some(authorities) => HttpsConnectorBuilder::new().with_tls_config(trusting(authorities)?),
        None => HttpsConnectorBuilder::new()
            .with_provider_and_native_roots(ring::default_provider())
            .map_err(|problem| format!("certificates of the system: {problem}"))?,
    };
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_connect_timeout(connect_timeout);
    let schemes = if allow_http { tls.https_or_http() } else { tls.https_only() };
    Ok(schemes.enable_http1().wrap_connector(tcp))
}

fn trusting(authorities: Vec<CertificateDer<'static>>) -> Result<ClientConfig, String> {
    let mut roots = RootCertStore::empty();
    for authority in authorities {
        roots.add(authority).map_err(|problem| format!("certificate of an authority: {problem}"))?;
    }
    let config = ClientConfig::builder_with_provider(ring::default_provider().into())
        .with_safe_default_protocol_versions()
        .map_err(|problem| problem.to_string())?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}

/// The client says "connect error" only; its sources say which.
pub(super) fn with_sources(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}
