//! What a test needs around the server: a place to write, a database, certificates, a process, patience.

pub mod answers;
pub mod cases;
pub mod certificates;
pub mod databases;
pub mod external;
pub mod http;
pub mod installation;
pub mod issuer;
pub mod links;
pub mod micetro;
pub mod otlp;
pub mod platform;
pub mod principal;
pub mod process;
pub mod raw;
pub mod secrets;
pub mod server;
pub mod signing;
pub mod store;
pub mod vendor;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

pub use lanyard_test_postgres as postgres;
use tokio::net::TcpSocket;

/// How long a test waits for what must come. Only a test that fails waits this long.
pub const PATIENCE: Duration = Duration::from_secs(30);

const BETWEEN_LOOKS: Duration = Duration::from_millis(10);

/// Returns as soon as `condition` holds.
///
/// # Panics
/// If it does not hold within [`PATIENCE`]. `what` says what was waited for.
pub async fn eventually(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    eventually_some(what, async || condition().await.then_some(())).await;
}

/// Returns what `look` finds as soon as it finds it.
///
/// # Panics
/// If it finds nothing within [`PATIENCE`]. `what` says what was waited for.
pub async fn eventually_some<T>(what: &str, look: impl AsyncFnMut() -> Option<T>) -> T {
    within(PATIENCE, look).await.unwrap_or_else(|| panic!("waited {PATIENCE:?} in vain: {what}"))
}

/// What `look` finds in the given time.
pub async fn within<T>(limit: Duration, mut look: impl AsyncFnMut() -> Option<T>) -> Option<T> {
    let end = Instant::now() + limit;
    loop {
        if let Some(found) = look().await {
            return Some(found);
        }
        if Instant::now() >= end {
            return None;
        }
        tokio::time::sleep(BETWEEN_LOOKS).await;
    }
}

/// An address on loopback that refuses connections, as long as the tests run: its port is taken, and nobody listens there. A
/// server gets port 0 instead, and tells what it got: a port that was found free may be somebody's before it is used.
///
/// # Panics
/// If the machine has no free port.
pub fn refusing_address() -> SocketAddr {
    static HELD: Mutex<Vec<TcpSocket>> = Mutex::new(Vec::new());
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).expect("loopback has a free port");
    let addr = socket.local_addr().expect("a bound socket has an address");
    HELD.lock().unwrap_or_else(PoisonError::into_inner).push(socket);
    addr
}

/// A folder that is removed when it is dropped.
///
/// # Panics
/// If it cannot be made.
pub fn temporary_folder() -> tempfile::TempDir {
    tempfile::Builder::new().prefix("lanyard-test-").tempdir().expect("the temporary folder can be written to")
}

/// The root of the repository.
///
/// # Panics
/// Never: this crate lies below it.
pub fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ lies in the repository")
}

/// The file at `path` below the root of the repository.
pub fn repository_file(path: &str) -> PathBuf {
    repository().join(path)
}
