//! Tests that TLS authenticates the server that provides keys.

use std::net::{Ipv4Addr, SocketAddr};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

use super::*;

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 11\r\nconnection: close\r\n\r\n{\"keys\":[]}";

/// Starts a server with a self-signed certificate; returns its address.
async fn self_made() -> SocketAddr {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let (acceptor, listener) =
        (TlsAcceptor::from(Arc::new(config)), TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap());
    let addr = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let Ok(mut stream) = acceptor.accept(socket).await else { continue };
            let _ = stream.read(&mut [0; 4096]).await;
            let _ = stream.write_all(ANSWER).await;
        }
    });
    addr
}

fn jwks(allow_http: bool) -> Jwks {
    let mut config = config::Config::default().jwt;
    config.allow_http_jwks = allow_http;
    Jwks::new(config, Clock::manual(Time::from_micros(1_700_000_000_000_000)))
}

async fn failure(jwks: &Jwks, url: &str) -> String {
    match jwks.keys(url, |_| true).await {
        Err(Error::KeysUnavailable { source, .. }) => source.to_string(),
        Err(other) => panic!("{other:?}"),
        Ok(_) => panic!("there are no keys"),
    }
}

#[tokio::test]
async fn who_cannot_prove_who_they_are_gives_no_keys() {
    let addr = self_made().await;
    for jwks in [jwks(false), jwks(true)] {
        let said = failure(&jwks, &format!("https://localhost:{}/keys", addr.port())).await;
        // A system without CA certificates trusts nobody.
        assert!(said.contains("UnknownIssuer") || said.contains("certificates of the system"), "{said}");
    }
}

#[tokio::test]
async fn without_permission_nothing_is_fetched_over_http() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let url = format!("http://{}/keys", listener.local_addr().unwrap());
    let jwks = jwks(false);
    assert_eq!(jwks.check_url(&url), Err("must begin with https://"));
    failure(&jwks, &url).await;
    let nobody = tokio::time::timeout(Duration::from_millis(1), listener.accept()).await;
    assert!(nobody.is_err(), "nobody knocked");
}

#[tokio::test]
async fn what_a_failure_says_for_the_log_names_the_host_only() {
    let said = failure(&jwks(true), "http://localhost:9/keys?token=hidden").await;
    assert!(said.contains("localhost") && !said.contains("hidden"), "{said}");
}
