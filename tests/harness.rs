//! The harness itself: what the other tests rely on.

use std::process::Command;
use std::time::Duration;

use lanyard_tests::support::certificates::Authority;
use lanyard_tests::support::process::{Process, lanyard};
use lanyard_tests::support::{
    eventually, eventually_some, refusing_address, repository_file, temporary_folder, within,
};
use tokio::net::TcpListener;
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint, Identity, Server, ServerTlsConfig};

fn shell(script: &str) -> Process {
    Process::start(Command::new("sh").args(["-c", script]))
}

#[test]
fn a_process_is_heard_on_both_streams_and_reports_how_it_ended() {
    let mut process = shell("echo out; echo port=7 >&2; exit 3");
    let port = process.wait_for_line("its port", |line| line.strip_prefix("port=").map(str::to_owned));
    assert_eq!(port, "7");
    assert_eq!(process.wait().code(), Some(3));
    assert!(process.output().contains("out"));
}

#[test]
fn a_process_that_is_asked_to_stop_may_tidy_up() {
    let mut process = shell("trap 'echo tidy; exit 0' TERM; echo ready; while :; do :; done");
    process.wait_for_line("ready", |line| (line == "ready").then_some(()));
    process.terminate();
    assert!(process.wait().success());
    assert!(process.output().contains("tidy"));
}

#[test]
#[should_panic(expected = "did not print its port")]
fn waiting_for_a_line_that_never_comes_ends_with_the_process() {
    shell("echo something else").wait_for_line("its port", |line| line.strip_prefix("port=").map(str::to_owned));
}

#[test]
fn the_program_under_test_is_the_one_that_these_sources_make() {
    let program = lanyard();
    let help = Command::new(program).arg("--help").output().unwrap();
    assert!(help.status.success(), "{}", String::from_utf8_lossy(&help.stderr));
}

#[tokio::test]
async fn patience_ends_when_the_condition_holds_and_not_before() {
    let mut looks = 0;
    eventually("the third look", async || {
        looks += 1;
        looks == 3
    })
    .await;
    assert_eq!(looks, 3);
    assert_eq!(eventually_some("a number", async || Some(7)).await, 7);
    assert_eq!(within(Duration::ZERO, async || None::<()>).await, None);
}

#[test]
fn places_to_work_in_exist_and_addresses_that_refuse_do() {
    assert!(repository_file("proto/lanyard/v1/session.proto").is_file());
    assert!(temporary_folder().path().is_dir());
    let refused = std::net::TcpStream::connect(refusing_address()).expect_err("nobody listens");
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
}

/// A server with a certificate of `authority`, which asks for one of the client; a health service stands for ours.
async fn tls_server(authority: &Authority) -> String {
    let identity = authority.server();
    let tls = ServerTlsConfig::new()
        .identity(Identity::from_pem(identity.certificate, identity.key))
        .client_ca_root(Certificate::from_pem(authority.certificate()));
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut server = Server::builder().tls_config(tls).unwrap();
    let router = server.add_routes(tonic::service::Routes::default());
    let incoming = tonic::transport::server::TcpIncoming::from(listener);
    tokio::spawn(router.serve_with_incoming(incoming));
    format!("https://localhost:{port}")
}

async fn connects(url: &str, trusted: &Authority, client: Option<&Authority>) -> bool {
    let mut tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(trusted.certificate()));
    if let Some(issuer) = client {
        let identity = issuer.client(&["spiffe://example.org/shop"]);
        tls = tls.identity(Identity::from_pem(identity.certificate, identity.key));
    }
    let endpoint = Endpoint::from_shared(url.to_owned()).unwrap().tls_config(tls).unwrap();
    let Ok(channel) = endpoint.connect().await else { return false };
    // TLS 1.3 refuses a client's certificate after the client believes that it is connected.
    let mut client = tonic::client::Grpc::new(channel);
    if client.ready().await.is_err() {
        return false;
    }
    let path = tonic::codegen::http::uri::PathAndQuery::from_static("/nobody/here");
    let codec = tonic_prost::ProstCodec::<(), ()>::default();
    let answer = client.unary(tonic::Request::new(()), path, codec).await;
    answer.is_err_and(|status| status.code() == tonic::Code::Unimplemented)
}

#[tokio::test]
async fn certificates_are_good_with_their_own_authority_and_with_no_other() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    let url = tls_server(&ours).await;
    assert!(connects(&url, &ours, Some(&ours)).await, "an authority vouches for server and client");
    assert!(!connects(&url, &theirs, Some(&ours)).await, "the server is vouched for by somebody else");
    assert!(!connects(&url, &ours, Some(&theirs)).await, "the client is vouched for by somebody else");
    assert!(!connects(&url, &ours, None).await, "the client shows nothing");
}
