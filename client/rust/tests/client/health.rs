//! Health, which needs no key.

use lanyard_client::{Client, Code};
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::Server;
use tonic_health::ServingStatus;

#[tokio::test]
async fn health_is_told_for_the_server_and_for_a_service_and_an_unknown_one_is_an_error() {
    let (reporter, service) = tonic_health::server::health_reporter();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(Server::builder().add_service(service).serve_with_incoming(TcpListenerStream::new(listener)));
    let client = Client::builder(endpoint).connect().await.unwrap();

    assert!(client.is_serving("").await.unwrap());
    reporter.set_service_status("shop", ServingStatus::NotServing).await;
    assert!(!client.is_serving("shop").await.unwrap());
    assert_eq!(client.is_serving("nobody").await.unwrap_err().code, Code::NotFound);
}

#[tokio::test]
async fn a_server_that_is_not_there_is_unavailable() {
    let client = Client::builder("http://127.0.0.1:1").connect_lazy().unwrap();
    assert!(client.is_serving("").await.unwrap_err().is_unavailable());
}
