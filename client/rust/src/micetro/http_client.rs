//! The connections to platforms. They belong to the [`Client`](crate::Client), so that they are used again by all sessions.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// More settings than anybody has platforms; beyond it they are forgotten, and made anew.
const MOST: usize = 64;
/// Shorter than what servers and load balancers commonly allow.
const IDLE: Duration = Duration::from_secs(50);

pub(super) type Http = Client<HttpsConnector<HttpConnector>, Full<Bytes>>;

/// One client for each way to connect.
#[derive(Debug, Default)]
pub(crate) struct HttpClients(Mutex<HashMap<Way, Http>>);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Way {
    /// PEM; empty: those of the system.
    pub(super) ca_certificates: String,
    pub(super) connect_timeout: Duration,
}

impl HttpClients {
    pub(super) fn client(&self, way: &Way) -> io::Result<Http> {
        let mut clients = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = clients.get(way) {
            return Ok(client.clone());
        }
        let client = make(way)?;
        if clients.len() >= MOST {
            clients.clear();
        }
        clients.insert(way.clone(), client.clone());
        Ok(client)
    }
}

fn make(way: &Way) -> io::Result<Http> {
    let mut connector = HttpConnector::new();
    connector.enforce_http(false);
    connector.set_nodelay(true);
    connector.set_connect_timeout(Some(way.connect_timeout));
    let tls = HttpsConnectorBuilder::new();
    let tls = if way.ca_certificates.is_empty() {
        tls.with_provider_and_native_roots(ring::default_provider())?
    } else {
        tls.with_tls_config(trusting(&way.ca_certificates)?)
    };
    // Whether a platform may be called in the clear, its configuration in Lanyard says.
    let connector = tls.https_or_http().enable_http1().wrap_connector(connector);
    let mut builder = Client::builder(TokioExecutor::new());
    builder.pool_timer(TokioTimer::new()).pool_idle_timeout(IDLE);
    Ok(builder.build(connector))
}

fn trusting(pem: &str) -> io::Result<ClientConfig> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        roots.add(certificate.map_err(io::Error::other)?).map_err(io::Error::other)?;
    }
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let config = config.with_safe_default_protocol_versions().map_err(io::Error::other)?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}
