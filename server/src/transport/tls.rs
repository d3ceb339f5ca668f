//! TLS: the server certificate, and the CAs of client certificates.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::danger::ClientCertVerifier;
use tokio_rustls::rustls::server::{NoClientAuth, WebPkiClientVerifier};
use tokio_rustls::rustls::{RootCertStore, ServerConfig};
use tokio_rustls::server::TlsStream;
use x509_parser::parse_x509_certificate;
use x509_parser::time::ASN1Time;

use super::listen::ServeError;
use super::spiffe::client_certificate;
use crate::clock::Time;
use crate::config;
use crate::pipeline::peer::ClientCertificate;

/// The TLS configuration of the server; `None` without a certificate.
pub(crate) fn acceptor(tls: &config::Tls) -> Result<Option<TlsAcceptor>, ServeError> {
    let (Some(cert), Some(key)) = (&tls.cert, &tls.key) else { return Ok(None) };
    let chain = certificates(cert)?;
    let private_key = PrivateKeyDer::from_pem_file(key).map_err(|error| unusable(key, &error))?;
    let clients: Arc<dyn ClientCertVerifier> = match &tls.client_ca {
        Some(file) => client_verifier(file)?,
        None => Arc::new(NoClientAuth),
    };
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| unusable(cert, &error))?
        .with_client_cert_verifier(clients)
        .with_single_cert(chain, private_key)
        .map_err(|error| unusable(cert, &error))?;
    config.alpn_protocols.push(b"h2".to_vec());
    Ok(Some(TlsAcceptor::from(Arc::new(config))))
}

/// A configured certificate, for operators.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFacts {
    pub file: PathBuf,
    pub subject: String,
    pub not_before: Time,
    pub not_after: Time,
}

/// Loads certificate, key and CAs as the server does at startup, and returns the validity of each certificate.
pub fn examine_tls(tls: &config::Tls) -> Result<Vec<CertificateFacts>, ServeError> {
    acceptor(tls)?;
    let mut found = Vec::new();
    for file in [&tls.cert, &tls.client_ca].into_iter().flatten() {
        for der in certificates(file)? {
            found.push(facts(file, &der)?);
        }
    }
    Ok(found)
}

fn facts(file: &Path, der: &[u8]) -> Result<CertificateFacts, ServeError> {
    let (_, certificate) = parse_x509_certificate(der).map_err(|error| unusable(file, &error))?;
    let time = |time: ASN1Time| Time::from_unix(time.timestamp(), 0).unwrap_or(Time::MAX);
    let validity = certificate.validity();
    Ok(CertificateFacts {
        file: file.to_owned(),
        subject: certificate.subject().to_string(),
        not_before: time(validity.not_before),
        not_after: time(validity.not_after),
    })
}

/// Verifies a client certificate if there is one; callers may use an API key instead.
fn client_verifier(file: &Path) -> Result<Arc<dyn ClientCertVerifier>, ServeError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(file)? {
        roots.add(certificate).map_err(|error| unusable(file, &error))?;
    }
    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::new(ring::default_provider()))
        .allow_unauthenticated()
        .build()
        .map_err(|error| unusable(file, &error))
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, ServeError> {
    let read = || CertificateDer::pem_file_iter(file)?.collect::<Result<Vec<_>, _>>();
    let found = read().map_err(|error| unusable(file, &error))?;
    if found.is_empty() { Err(unusable(file, &"holds no certificate")) } else { Ok(found) }
}

/// Performs the handshake and returns the client's identity; `None` if it failed.
pub(crate) async fn accept(
    acceptor: &TlsAcceptor,
    socket: TcpStream,
) -> Option<(TlsStream<TcpStream>, ClientCertificate)> {
    let handshake = acceptor.accept(socket).await;
    let stream = handshake.inspect_err(|error| tracing::debug!(%error, "a TLS handshake failed")).ok()?;
    let chain = stream.get_ref().1.peer_certificates();
    let client = match chain.and_then(<[_]>::first) {
        Some(certificate) => client_certificate(certificate),
        None => ClientCertificate::None,
    };
    Some((stream, client))
}

fn unusable(file: &Path, problem: &dyn ToString) -> ServeError {
    ServeError::Tls { file: file.to_owned(), problem: problem.to_string() }
}
