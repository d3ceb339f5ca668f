//! A server with TLS, and what a client needs to be taken by it.

use std::path::Path;

use lanyard_server::clock::Clock;
use lanyard_server::config::Tls;
use lanyard_server::model::caller::Grants;
use lanyard_tests::support::certificates::{Authority, Identity};
use lanyard_tests::support::server::{Database, TestServer};

use crate::Variables;

const CALLER: &str = "spiffe://example.org/cases";

/// A server whose port is told as `localhost`, which is what its certificate is for.
pub(crate) async fn start(variables: &mut Variables, folder: &Path) -> TestServer {
    let (servers, clients) = (Authority::new(), Authority::new());
    let file = |name: &str, content: &str| {
        let path = folder.join(name);
        std::fs::write(&path, content).expect("the folder can be written to");
        path
    };
    let Identity { certificate, key } = servers.server();
    let tls = Tls {
        cert: Some(file("server.crt", &certificate)),
        key: Some(file("server.key", &key)),
        client_ca: Some(file("clients.crt", &clients.certificate())),
    };
    let server = TestServer::start_at(Database::Sqlite, Clock::system(), |config| config.server.tls = tls).await;
    server.certified_caller("by-certificate", CALLER, Grants::all()).await;
    let Identity { certificate, key } = clients.client(&[CALLER]);
    for (name, content) in
        [("ca_file", servers.certificate()), ("client_cert_file", certificate), ("client_key_file", key)]
    {
        variables.set(format!("tls_{name}"), file(name, &content).display().to_string());
    }
    variables.set("tls_endpoint", format!("localhost:{}", server.addr().port()));
    variables.set_secret("tls_key", &server.key);
    let alice = server.add_session(&server.alice, |_| {}).await;
    variables.set("tls_ust", alice.expose());
    server
}
