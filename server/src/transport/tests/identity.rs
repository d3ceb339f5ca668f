//! Tests of API keys and client certificates.

use std::path::PathBuf;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, SanType};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::*;

pub(crate) const SPIFFE_ID: &str = "spiffe://example.org/billing";

#[tokio::test]
async fn a_call_without_a_good_key_is_refused() {
    let server = Server::start().await;
    let client = server.connect().await;
    let token = key("known").1.strip_prefix("Bearer ").expect("a key");
    let basic = format!("Basic {token}");
    for key in [None, Some("Bearer unknown"), Some(&basic), Some(token), Some("Bearer "), Some("")] {
        let headers: Vec<_> = key.map(|key| ("authorization", key)).into_iter().collect();
        let answered = client.ask("ok", &headers).await;
        assert_eq!(answered.code(), Code::Unauthenticated, "{key:?}");
        assert_eq!(answered.reason(), "CALLER_UNAUTHENTICATED");
    }
    assert_eq!(server.count(Code::Unauthenticated), 6, "refusals are counted");
}

#[tokio::test]
async fn a_caller_that_is_not_in_memory_is_asked_for() {
    let server = Server::start().await;
    let answered =
        server.connect().await.ask("ok", &[("authorization", &key("slow").1.replace("Bearer", "bearer"))]).await;
    assert_eq!(answered.handed_over().split(' ').nth(1), Some("slow"));
}

#[tokio::test]
async fn a_caller_without_the_grant_is_refused_and_told_which() {
    let server = Server::start().await;
    let answered = server.connect().await.ask("ok", &[key("powerless")]).await;
    assert_eq!((answered.code(), answered.reason().as_str()), (Code::PermissionDenied, "CALLER_FORBIDDEN"));
    assert!(answered.status().message().contains("session.read"), "{:?}", answered.status());
    let known = server.connect().await.call("/lanyard.v1.UserService/LockUser", &[key("known")], Bytes::new()).await;
    assert_eq!(known.reason(), "CALLER_FORBIDDEN", "before the request is read");
}

/// A CA, and the files of a TLS server that trusts its client certificates.
struct Pki {
    issuer: CertifiedIssuer<'static, KeyPair>,
    dir: tempfile::TempDir,
}

impl Pki {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("parameters");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("an authority");
        Self { issuer, dir: tempfile::tempdir().expect("a directory") }
    }

    fn issue(&self, names: &[SanType]) -> (rcgen::Certificate, KeyPair) {
        let mut params = CertificateParams::new(Vec::new()).expect("parameters");
        params.subject_alt_names = names.to_vec();
        let key = KeyPair::generate().expect("a key");
        (params.signed_by(&key, &self.issuer).expect("a certificate"), key)
    }

    fn file(&self, name: &str, pem: &str) -> PathBuf {
        let path = self.dir.path().join(name);
        std::fs::write(&path, pem).expect("a file");
        path
    }

    async fn server(&self) -> Server {
        let (cert, key) = self.issue(&[SanType::DnsName("lanyard".try_into().expect("a name"))]);
        let tls = config::Tls {
            cert: Some(self.file("cert.pem", &cert.pem())),
            key: Some(self.file("key.pem", &key.serialize_pem())),
            client_ca: Some(self.file("ca.pem", &self.issuer.pem())),
        };
        Server::start_with(|config| config.tls = tls).await
    }

    /// Connects with a certificate for these URI SANs, or without one.
    async fn connect(&self, server: &Server, uris: Option<&[&str]>) -> Client {
        let mut roots = RootCertStore::empty();
        roots.add(self.issuer.der().clone()).expect("an authority");
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots);
        let mut config = match uris {
            None => config.with_no_client_auth(),
            Some(uris) => {
                let names: Vec<_> = uris.iter().map(|uri| SanType::URI((*uri).try_into().expect("ASCII"))).collect();
                let (cert, key) = self.issue(&names);
                let key = PrivateKeyDer::try_from(key.serialize_der()).expect("a key");
                config.with_client_auth_cert(vec![CertificateDer::clone(cert.der())], key).expect("an identity")
            }
        };
        config.alpn_protocols.push(b"h2".to_vec());
        let socket = TcpStream::connect(server.addr).await.expect("it listens");
        let name = "lanyard".try_into().expect("a name");
        Client::over(TlsConnector::from(Arc::new(config)).connect(name, socket).await.expect("TLS")).await
    }
}

#[tokio::test]
async fn a_client_certificate_with_one_spiffe_uri_proves_a_caller() {
    let pki = Pki::new();
    let server = pki.server().await;
    let client = pki.connect(&server, Some(&[SPIFFE_ID])).await;
    assert_eq!(client.ask("ok", &[]).await.handed_over().split(' ').nth(1), Some("mesh"));
    let with_key = client.ask("ok", &[key("known")]).await;
    assert_eq!(with_key.handed_over().split(' ').nth(1), Some("known"), "a key that was sent decides");
    assert_eq!(client.ask("ok", &[("authorization", "Bearer unknown")]).await.code(), Code::Unauthenticated);
}

#[tokio::test]
async fn no_other_certificate_proves_anything_and_keys_go_on_working() {
    let pki = Pki::new();
    let server = pki.server().await;
    for uris in [None, Some(&[] as &[&str]), Some(&["spiffe://example.org/other"]), Some(&[SPIFFE_ID, "spiffe://x/y"])]
    {
        let client = pki.connect(&server, uris).await;
        assert_eq!(client.ask("ok", &[]).await.reason(), "CALLER_UNAUTHENTICATED", "{uris:?}");
        assert_eq!(client.ask("ok", &[key("known")]).await.code(), Code::Ok, "{uris:?}");
    }
}

#[tokio::test]
async fn a_handshake_that_fails_concerns_its_client_only() {
    let pki = Pki::new();
    let server = pki.server().await;
    let mut plain = TcpStream::connect(server.addr).await.expect("it listens");
    tokio::io::AsyncWriteExt::write_all(&mut plain, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.expect("bytes");
    assert_eq!(pki.connect(&server, None).await.ask("ok", &[key("known")]).await.code(), Code::Ok);
    server.stop.softly();
    drop(plain);
    server.ended().await;
}

#[tokio::test]
async fn files_that_are_no_certificates_are_refused_by_name() {
    let pki = Pki::new();
    let (cert, key) = pki.issue(&[]);
    let (cert, key) = (pki.file("cert.pem", &cert.pem()), pki.file("key.pem", &key.serialize_pem()));
    let bad = pki.file("bad.pem", "rubbish");
    for (cert, key, client_ca) in
        [(&bad, &key, None), (&cert, &bad, None), (&cert, &key, Some(bad.clone())), (&cert, &cert, None)]
    {
        let mut config = config::Config::default().server;
        config.listen = ([127, 0, 0, 1], 0).into();
        config.tls = config::Tls { cert: Some(cert.clone()), key: Some(key.clone()), client_ca };
        let error = Listener::bind(&config).await.err().expect("refused").to_string();
        assert!(error.contains(".pem"), "{error}");
    }
}
