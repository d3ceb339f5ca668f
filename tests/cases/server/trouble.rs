//! Servers that are in trouble, each for good.

use std::net::SocketAddr;
use std::time::Duration;

use lanyard_client::secrecy::{ExposeSecret, SecretString};
use lanyard_client::{Client, ErrorReason, RetryPolicy};
use lanyard_server::app::caller::CallerToCreate;
use lanyard_server::clock::Clock;
use lanyard_server::config::Config;
use lanyard_tests::support::raw::{Begun, Connection, grpc};
use lanyard_tests::support::server::{Database, TestServer, all_powerful};
use lanyard_tests::support::store::Raw;
use lanyard_tests::support::{eventually_some, within};

use crate::Variables;

const VERIFY: &str = "/lanyard.v1.SessionService/VerifySession";
const FOR_EVER: Duration = Duration::from_hours(24);

/// What keeps the trouble up.
pub(crate) struct Trouble {
    _calls: [Unfinished; 2],
    _lock: Raw,
    _servers: Vec<TestServer>,
}

/// A call whose request never ends.
struct Unfinished {
    _connection: Connection,
    _begun: Begun,
}

pub(crate) async fn start(variables: &mut Variables, people: &TestServer) -> Trouble {
    let limited = all_powerful("limited");
    let limited = people.caller(CallerToCreate { max_in_flight: Some(1), ..limited }).await;
    variables.set_secret("limited_key", &limited);
    let of_caller = unfinished(people.addr(), &limited, ErrorReason::CallerLimited).await;

    let overloaded = server(|config| {
        (config.server.max_in_flight, config.server.max_deadline) = (1, FOR_EVER);
        config.server.max_connection_age = Duration::ZERO;
    });
    let overloaded = overloaded.await;
    tell(variables, "overloaded", &overloaded).await;
    let of_server = unfinished(overloaded.addr(), &overloaded.key, ErrorReason::Overloaded).await;

    let slow = slow(variables).await;
    let broken = server(|_| {}).await;
    tell(variables, "broken", &broken).await;
    Raw::beside(&broken.config).await.execute("DROP TABLE attribute").await;

    let contended = server(|config| config.database.statement_timeout = Duration::from_millis(10)).await;
    tell(variables, "contended", &contended).await;
    let lock = Raw::beside(&contended.config).await;
    lock.execute("BEGIN IMMEDIATE").await;

    let away = server(|_| {}).await;
    tell(variables, "away", &away).await;
    away.within(|app| async move { app.store().close().await }).await.expect("it can be closed");

    Trouble { _calls: [of_caller, of_server], _lock: lock, _servers: vec![overloaded, slow, broken, contended, away] }
}

async fn server(change: impl FnOnce(&mut Config)) -> TestServer {
    TestServer::start_at(Database::Sqlite, Clock::system(), change).await
}

/// Its limit is shorter than what a password takes.
async fn slow(variables: &mut Variables) -> TestServer {
    let slow = server(|config| {
        config.server.max_deadline = Duration::from_millis(20);
        (config.password.memory_kib, config.password.iterations) = (64 * 1024, 8);
    });
    let slow = slow.await;
    variables.set("slow_endpoint", slow.addr().to_string());
    variables.set_secret("slow_key", &slow.key);
    slow
}

/// Where it is, the key of a caller and the token of its super-user.
async fn tell(variables: &mut Variables, name: &str, server: &TestServer) {
    variables.set(format!("{name}_endpoint"), server.addr().to_string());
    variables.set_secret(format!("{name}_key"), &server.key);
    variables.set(format!("{name}_ust"), server.log_in(&server.root).await.ust.expose());
}

/// Takes the one place there is, and waits until others are told so.
async fn unfinished(addr: SocketAddr, key: &SecretString, told: ErrorReason) -> Unfinished {
    let connection = Connection::open(addr).await;
    let client = Client::builder(format!("http://{addr}")).api_key(key.clone()).retry(RetryPolicy::never());
    let client = client.connect().await.expect("the server takes connections");
    let is_told = async || client.peek(&"junk".into()).await.is_err_and(|error| error.reason == told).then_some(());
    // Each time anew: a look that comes to the server first has the place, and the call is refused.
    let taken = async || {
        let begun = connection.begin(grpc(VERIFY, Some(key.expose_secret()))).await.expect("the server takes calls");
        within(Duration::from_secs(1), is_told).await.map(|()| begun)
    };
    let begun = eventually_some("the place is taken", taken).await;
    Unfinished { _connection: connection, _begun: begun }
}
