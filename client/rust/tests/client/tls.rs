//! Certificates instead of keys.

use lanyard_client::{Client, ConnectError, RetryPolicy, Ust};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::{Certificate, Identity, Server, ServerTlsConfig};

use crate::support::Fake;

/// An authority that signs certificates for `localhost`.
struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new([]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).unwrap().pem();
        Self { pem, issuer: Issuer::new(params, key) }
    }

    /// Certificate and key.
    fn sign(&self) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(["localhost".to_owned()]).unwrap();
        (params.signed_by(&key, &self.issuer).unwrap().pem(), key.serialize_pem())
    }
}

/// A server that takes only clients of this authority; its endpoint.
async fn serve(authority: &Authority) -> String {
    let (certificate, key) = authority.sign();
    let tls = ServerTlsConfig::new()
        .identity(Identity::from_pem(certificate, key))
        .client_ca_root(Certificate::from_pem(&authority.pem));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("https://{}", listener.local_addr().unwrap());
    let server = Server::builder().tls_config(tls).unwrap().add_service(Fake::default().service());
    tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
    endpoint
}

#[tokio::test]
async fn a_client_with_a_certificate_is_let_in_and_one_without_is_not() {
    let authority = Authority::new();
    let endpoint = serve(&authority).await;
    let builder = || Client::builder(&endpoint).ca(&authority.pem).server_name("localhost").retry(RetryPolicy::never());
    let (certificate, key) = authority.sign();
    let client = builder().identity(certificate, key).connect().await.unwrap();
    client.verify(&Ust::from("lyu1_alice")).await.map(drop).unwrap();

    let stranger = builder().connect_lazy().unwrap();
    assert!(stranger.verify(&Ust::from("lyu1_alice")).await.unwrap_err().is_unavailable());
}

#[tokio::test]
async fn a_server_of_another_authority_is_not_trusted() {
    let authority = Authority::new();
    let endpoint = serve(&authority).await;
    let (certificate, key) = authority.sign();
    let other = Authority::new();
    let builder = Client::builder(&endpoint).ca(&other.pem).server_name("localhost").identity(certificate, key);
    assert!(matches!(builder.connect().await, Err(ConnectError::Unreachable(_))));
}
