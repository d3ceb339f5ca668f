//! TLS: the server's certificate, client certificates as an alternative to keys, and what is refused.

use std::path::Path;

use lanyard_client::secrecy::SecretString;
use lanyard_client::{Client, ClientBuilder, Code, ConnectError, ErrorReason, RetryPolicy, Verdict};
use lanyard_server::app::caller::operator;
use lanyard_server::config::{Config, Tls};
use lanyard_server::model::caller::{Grant, Grants};
use lanyard_tests::support::certificates::{Authority, Identity};
use lanyard_tests::support::installation::Installation;
use lanyard_tests::support::raw;
use lanyard_tests::support::server::{Database, TestServer, run};
use lanyard_tests::support::{eventually, temporary_folder};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const BILLING: &str = "spiffe://example.org/billing";

/// A server with a certificate, and who vouches for it and for its clients.
struct World {
    server: TestServer,
    servers: Authority,
    clients: Authority,
    _files: TempDir,
}

impl World {
    async fn new() -> Self {
        let (servers, clients, files) = (Authority::new(), Authority::new(), temporary_folder());
        let tls = tls_files(files.path(), &servers, Some(&clients));
        let server = TestServer::start_with(Database::Sqlite, |config| config.server.tls = tls).await;
        Self { server, servers, clients, _files: files }
    }

    fn builder(&self) -> ClientBuilder {
        let endpoint = format!("https://localhost:{}", self.server.addr().port());
        Client::builder(endpoint).ca(self.servers.certificate()).retry(RetryPolicy::never())
    }

    /// A client with a key, a certificate, both or neither.
    async fn connect(&self, key: Option<&SecretString>, identity: Option<&Identity>) -> Result<Client, ConnectError> {
        let mut builder = self.builder();
        if let Some(key) = key {
            builder = builder.api_key(key.clone());
        }
        if let Some(identity) = identity {
            builder = builder.identity(&identity.certificate, &identity.key);
        }
        builder.connect().await
    }

    async fn client(&self, key: Option<&SecretString>, identity: Option<&Identity>) -> Client {
        self.connect(key, identity).await.expect("the server takes the connection")
    }

    /// Makes a caller that has a certificate and no key.
    async fn certified_caller(&self, spiffe_id: &str, grants: Grants) {
        self.server.certified_caller("billing", spiffe_id, grants).await;
    }
}

/// The files of a server's TLS.
fn tls_files(folder: &Path, servers: &Authority, clients: Option<&Authority>) -> Tls {
    let Identity { certificate, key } = servers.server();
    let file = |name: &str, content: &str| {
        let path = folder.join(name);
        std::fs::write(&path, content).expect("the folder can be written to");
        path
    };
    Tls {
        cert: Some(file("tls.crt", &certificate)),
        key: Some(file("tls.key", &key)),
        client_ca: clients.map(|clients| file("clients.crt", &clients.certificate())),
    }
}

/// What a client without a good credential hears.
async fn refusal(client: &Client) -> (Code, ErrorReason) {
    let refusal = client.peek(&"junk".into()).await.expect_err("nobody answers strangers");
    (refusal.code, refusal.reason)
}

const STRANGER: (Code, ErrorReason) = (Code::Unauthenticated, ErrorReason::CallerUnauthenticated);

#[test]
fn a_key_is_enough_over_tls_and_nothing_at_all_is_not() {
    run(async {
        let world = World::new().await;
        let client = world.client(Some(&world.server.key), None).await;
        let login = client.log_in("alice", &world.server.alice.password).await.expect("alice logs in");
        assert!(matches!(client.verify(&login.ust).await, Ok(Verdict::Active(_))));
        assert_eq!(refusal(&world.client(None, None).await).await, STRANGER);
    });
}

#[test]
fn a_certificate_with_one_spiffe_id_is_as_good_as_a_key() {
    run(async {
        let world = World::new().await;
        let identity = world.clients.client(&[BILLING]);
        let client = world.client(None, Some(&identity)).await;
        assert_eq!(refusal(&client).await, STRANGER, "a good certificate of nobody");
        world.certified_caller(BILLING, [Grant::SessionCreate, Grant::SessionVerify].into_iter().collect()).await;
        let login = client.log_in("alice", &world.server.alice.password).await.expect("alice logs in");
        assert!(matches!(client.verify(&login.ust).await, Ok(Verdict::Active(_))));
        let beyond = client.on_behalf_of(&login.ust).log_out().await.expect_err("it has no such grant");
        assert_eq!((beyond.code, beyond.reason), (Code::PermissionDenied, ErrorReason::CallerForbidden));
        let event = lanyard_tests::support::answers::events_of(&world.server, "session.create").await.swap_remove(0);
        assert_eq!(event.caller, "billing");
    });
}

#[test]
fn a_certificate_that_names_nobody_or_two_is_nobodys() {
    run(async {
        let world = World::new().await;
        world.certified_caller(BILLING, Grants::all()).await;
        let other = "spiffe://example.org/other";
        let prefixed = format!("{BILLING}/x");
        let unknown: [&[&str]; 6] =
            [&[], &[BILLING, other], &[BILLING, BILLING], &["https://example.org/billing"], &[other], &[&prefixed]];
        for uris in unknown {
            let client = world.client(None, Some(&world.clients.client(uris))).await;
            assert_eq!(refusal(&client).await, STRANGER, "{uris:?}");
            let with_key = world.client(Some(&world.server.key), Some(&world.clients.client(uris))).await;
            assert!(with_key.peek(&"junk".into()).await.is_ok(), "the key was chosen for the call: {uris:?}");
        }
    });
}

#[test]
fn a_bad_key_is_not_mended_by_a_good_certificate() {
    run(async {
        let world = World::new().await;
        world.certified_caller(BILLING, Grants::all()).await;
        let identity = world.clients.client(&[BILLING]);
        let client = world.client(Some(&"lyk1_junk".into()), Some(&identity)).await;
        assert_eq!(refusal(&client).await, STRANGER);
        assert!(world.client(None, Some(&identity)).await.peek(&"junk".into()).await.is_ok());
    });
}

#[test]
fn a_certificate_of_an_unknown_authority_is_not_let_in() {
    run(async {
        let world = World::new().await;
        world.certified_caller(BILLING, Grants::all()).await;
        for stranger in [Authority::new(), Authority::new()] {
            let identity = stranger.client(&[BILLING]);
            // In TLS 1.3 the client learns it with its first call.
            let told = match world.connect(Some(&world.server.key), Some(&identity)).await {
                Ok(client) => client.peek(&"junk".into()).await.expect_err("not with this certificate").code,
                Err(_) => Code::Unavailable,
            };
            assert_eq!(told, Code::Unavailable);
        }
        let of_servers = world.servers.client(&[BILLING]);
        let told = match world.connect(None, Some(&of_servers)).await {
            Ok(client) => client.peek(&"junk".into()).await.expect_err("this authority is for servers").code,
            Err(_) => Code::Unavailable,
        };
        assert_eq!(told, Code::Unavailable);
        assert!(world.client(Some(&world.server.key), None).await.peek(&"junk".into()).await.is_ok());
    });
}

#[test]
fn a_client_that_does_not_know_the_servers_authority_does_not_connect() {
    run(async {
        let world = World::new().await;
        let connected = world.builder().ca(Authority::new().certificate()).api_key(world.server.key.clone()).connect();
        assert!(matches!(connected.await, Err(ConnectError::Unreachable(_))));
    });
}

#[test]
fn a_revoked_caller_is_refused_on_the_connection_it_has() {
    run(async {
        let world = World::new().await;
        world.certified_caller(BILLING, Grants::all()).await;
        let client = world.client(None, Some(&world.clients.client(&[BILLING]))).await;
        assert!(client.peek(&"junk".into()).await.is_ok());
        let context = operator(&world.server.config, world.server.clock.now());
        let revoked = world.server.within(|app| async move { app.revoke_caller(&context, "billing").await }).await;
        revoked.expect("it can be revoked");
        assert_eq!(refusal(&client).await, STRANGER);
        let again = world.client(None, Some(&world.clients.client(&[BILLING]))).await;
        assert_eq!(refusal(&again).await, STRANGER);
    });
}

#[test]
fn plaintext_to_a_port_with_tls_fails_clearly_and_harms_nobody() {
    run(async {
        let world = World::new().await;
        let addr = world.server.addr();
        let client = Client::builder(format!("http://{addr}")).api_key(world.server.key.clone());
        if let Ok(client) = client.retry(RetryPolicy::never()).connect().await {
            let told = client.peek(&"junk".into()).await.expect_err("there is no plaintext");
            // INTERNAL is what gRPC calls bytes that are no HTTP/2: here, an alert of TLS.
            assert!(matches!(told.code, Code::Unavailable | Code::Internal), "{told}");
            assert_eq!(told.reason, ErrorReason::Unspecified, "no word of Lanyard's: {told}");
        }
        // What the port answers is an alert of TLS, and then the end: not silence.
        let mut socket = TcpStream::connect(addr).await.expect("it listens");
        socket.write_all(b"GET /metrics HTTP/1.1\r\nhost: lanyard\r\n\r\n").await.expect("a request");
        let mut answer = Vec::new();
        // The server ends the connection with what it did not read, which may be told as a reset.
        let _ = socket.read_to_end(&mut answer).await;
        assert!(answer.is_empty() || answer[0] == 21, "{answer:?}");
        assert!(world.client(Some(&world.server.key), None).await.peek(&"junk".into()).await.is_ok());
    });
}

#[test]
fn a_handshake_that_stops_half_way_holds_nobody_else() {
    run(async {
        let world = World::new().await;
        let mut half = Vec::new();
        for _ in 0..20 {
            let mut socket = TcpStream::connect(world.server.addr()).await.expect("it listens");
            // The head of a ClientHello whose rest never comes.
            socket.write_all(&[22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3]).await.expect("bytes");
            half.push(socket);
        }
        let client = world.client(Some(&world.server.key), None).await;
        assert!(client.peek(&"junk".into()).await.is_ok());
    });
}

/// Without `client_ca` certificates are not asked for: only keys count.
#[test]
fn without_an_authority_of_clients_a_certificate_says_nothing() {
    run(async {
        let (servers, clients, files) = (Authority::new(), Authority::new(), temporary_folder());
        let tls = tls_files(files.path(), &servers, None);
        let server = TestServer::start_with(Database::Sqlite, |config| config.server.tls = tls).await;
        let world = World { server, servers, clients, _files: files };
        world.certified_caller(BILLING, Grants::all()).await;
        let client = world.client(None, Some(&world.clients.client(&[BILLING]))).await;
        assert_eq!(refusal(&client).await, STRANGER);
        assert!(world.client(Some(&world.server.key), None).await.peek(&"junk".into()).await.is_ok());
    });
}

fn everywhere(config: &mut Config) {
    config.server.listen = ([0, 0, 0, 0], 0).into();
}

#[test]
fn beyond_loopback_the_program_refuses_to_listen_without_tls_unless_a_proxy_does_it() {
    run(async {
        let mut installation = Installation::prepare(Database::Sqlite, |_| {}).await;
        everywhere(&mut installation.prepared.config);
        installation.write_config();
        let refused = installation.command(&["serve"]).output().expect("it runs");
        let told = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert_eq!(refused.status.code(), Some(78), "{told}");
        assert!(told.contains("server.listen") && told.contains("plaintext_behind_proxy"), "{told}");

        installation.prepared.config.server.plaintext_behind_proxy = true;
        installation.write_config();
        let program = installation.start();
        let addr = ([127, 0, 0, 1], program.addr.port()).into();
        let request = raw::grpc("/lanyard.v1.SessionService/VerifySession", None);
        let answer = raw::Connection::open(addr).await.call(request, raw::framed(&[])).await.answer();
        assert_eq!(answer.refusal().1, "CALLER_UNAUTHENTICATED");
    });
}

/// The program with TLS on all addresses, and a client of its certificate: what `deploy` describes.
#[test]
fn beyond_loopback_the_program_listens_with_tls() {
    run(async {
        let (servers, clients, files) = (Authority::new(), Authority::new(), temporary_folder());
        let mut installation = Installation::prepare(Database::Sqlite, |_| {}).await;
        everywhere(&mut installation.prepared.config);
        installation.prepared.config.server.tls = tls_files(files.path(), &servers, Some(&clients));
        installation.write_config();
        let program = installation.start();
        let endpoint = format!("https://localhost:{}", program.addr.port());
        let client = Client::builder(endpoint).ca(servers.certificate()).api_key(installation.prepared.key.clone());
        let client = client.connect().await.expect("the server takes the connection");
        eventually("it answers", async || client.peek(&"junk".into()).await.is_ok()).await;
    });
}
