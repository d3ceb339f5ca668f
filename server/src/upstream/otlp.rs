//! The connection to an OTLP receiver.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, Full, Limited};
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;

use super::http::{Connector, read_certificates, tls};
use crate::config::{Destination, Protocol};

/// Response size limit, in bytes.
const MAX_RESPONSE: usize = 64 * 1024;

type Error = Box<dyn std::error::Error + Send + Sync>;

/// Builds a connector; reads the files that `destination` names.
pub fn connector(destination: &Destination) -> Result<Connector, String> {
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
    Ok(match destination.protocol {
        Protocol::Grpc => schemes.enable_http2().wrap_connector(tcp),
        Protocol::HttpProtobuf => schemes.enable_http1().wrap_connector(tcp),
    })
}

/// Sends OTLP over HTTP.
#[derive(Debug)]
pub struct HttpReceiver {
    client: Client<Connector, Full<Bytes>>,
    headers: HeaderMap,
    timeout: Duration,
}

impl HttpReceiver {
    pub fn new(connector: Connector, headers: HeaderMap, timeout: Duration) -> Self {
        let client = Client::builder(TokioExecutor::new()).pool_timer(TokioTimer::new()).build(connector);
        Self { client, headers, timeout }
    }

    /// Sends a request with the configured headers only.
    pub async fn send(&self, mut request: Request<Bytes>) -> Result<Response<Bytes>, Error> {
        request.headers_mut().clone_from(&self.headers);
        let exchange = async {
            let (head, body) = self.client.request(request.map(Full::new)).await?.into_parts();
            let body = Limited::new(body, MAX_RESPONSE).collect().await?.to_bytes();
            Ok(Response::from_parts(head, body))
        };
        tokio::time::timeout(self.timeout, exchange).await?
    }
}
