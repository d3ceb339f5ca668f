//! A PostgreSQL server of our own, from `initdb` to its end.

use std::fs;
use std::io::Read;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{self, Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};

use crate::database::{Database, Server};
use crate::install::{self, Account};

const SUPERUSER: &str = "lanyard";

/// Below the range that outgoing connections draw from: a stopped cluster finds its port free again.
const PORTS: std::ops::Range<u16> = 20_000..32_000;
const PORTS_TRIED: u32 = 20;

/// What a test's server needs not do: survive the machine. It does survive its own death, so commits stay synchronous.
const SETTINGS: &str = "
fsync = off
full_page_writes = off
jit = off
max_connections = 300
shared_buffers = 64MB
unix_socket_directories = ''
listen_addresses = '127.0.0.1'
timezone = 'UTC'
";

/// A cluster of the test's own, which it may stop and start; the data stay. Gone when dropped.
pub struct PrivateCluster {
    // The watchdog stops the server and removes the folder; declared first, it is dropped first.
    _watchdog: Watchdog,
    programs: PathBuf,
    account: Account,
    folder: PathBuf,
    port: u16,
    password: String,
}

impl PrivateCluster {
    /// A cluster that is ready to be used.
    ///
    /// # Panics
    /// If it cannot be; the message says what to install.
    pub fn start() -> Self {
        Self::try_start().unwrap_or_else(|problem| panic!("no PostgreSQL for this test: {problem}"))
    }

    pub(crate) fn try_start() -> Result<Self, String> {
        let programs = install::server_programs()?;
        let account = Account::choose()?;
        let folder = account.folder()?;
        let watchdog = Watchdog::start(&programs, account, folder.path())?;
        // From here on the watchdog removes it, even if we are killed.
        let folder = folder.keep();
        let password = random_word()?;
        initialise(&programs, account, &folder, &password)?;
        let mut cluster = Self { _watchdog: watchdog, programs, account, folder, port: 0, password };
        let mut problem = String::new();
        for _ in 0..PORTS_TRIED {
            cluster.port = free_port()?;
            match cluster.try_resume() {
                Ok(()) => return Ok(cluster),
                Err(e) => problem = e,
            }
        }
        Err(problem)
    }

    /// Starts the stopped server again, on the same port.
    ///
    /// # Panics
    /// If it does not start.
    pub fn resume(&self) {
        self.try_resume().unwrap_or_else(|problem| panic!("PostgreSQL did not start again: {problem}"));
    }

    /// Stops the server at once, as a crash would: connections break, what was committed stays.
    ///
    /// # Panics
    /// If it does not stop.
    pub fn stop(&self) {
        self.pg_ctl(&["stop", "--mode=immediate"])
            .unwrap_or_else(|problem| panic!("PostgreSQL did not stop: {problem}"));
    }

    pub fn restart(&self) {
        self.stop();
        self.resume();
    }

    /// A new and empty database.
    pub fn database(&self) -> Database {
        self.server().create(None)
    }

    /// Where it listens, on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The URL of its superuser, of the database `postgres`: what `LANYARD_TEST_POSTGRES_URL` would hold.
    pub fn url(&self) -> String {
        format!("postgres://{SUPERUSER}:{}@127.0.0.1:{}/postgres", self.password, self.port)
    }

    pub(crate) fn server(&self) -> Server {
        Server::own(&self.url()).expect("our own URL is well formed")
    }

    fn try_resume(&self) -> Result<(), String> {
        self.pg_ctl(&["start", &format!("--options=-p {}", self.port), "--log=log"]).map_err(|problem| {
            let log = fs::read_to_string(self.folder.join("log")).unwrap_or_default();
            format!("{problem}\n{log}")
        })
    }

    fn pg_ctl(&self, arguments: &[&str]) -> Result<(), String> {
        let mut command = Command::new(self.programs.join("pg_ctl"));
        command.args(arguments).args(["--pgdata=data", "--wait", "--timeout=60", "--silent"]);
        run(self.account.apply(command.current_dir(&self.folder)), &self.folder)
    }
}

fn initialise(programs: &Path, account: Account, folder: &Path, password: &str) -> Result<(), String> {
    let password_file = folder.join("password");
    fs::write(&password_file, password)
        .and_then(|()| account.give(&password_file))
        .map_err(|e| format!("{}: {e}", password_file.display()))?;
    // The collation that production databases commonly have, so that nothing relies on the order of bytes unawares.
    let mut command = Command::new(programs.join("initdb"));
    command
        .args(["--pgdata=data", "--pwfile=password", "--auth=password", "--no-sync", "--encoding=UTF8", "--locale=C"])
        .args(["--locale-provider=icu", "--icu-locale=en-US", "--username", SUPERUSER]);
    run(account.apply(command.current_dir(folder)), folder)?;
    let settings = folder.join("data/postgresql.auto.conf");
    fs::write(&settings, SETTINGS).map_err(|e| format!("{}: {e}", settings.display()))
}

/// Runs to the end. What it prints goes to a file: a pipe would stay open as long as the server that it starts.
fn run(command: &mut Command, folder: &Path) -> Result<(), String> {
    let path = folder.join("output");
    let file = fs::File::create(&path).map_err(|e| format!("{}: {e}", path.display()))?;
    let also = file.try_clone().map_err(|e| format!("{}: {e}", path.display()))?;
    let status = command.stdin(Stdio::null()).stdout(file).stderr(also).status();
    let program = command.get_program().display().to_string();
    let status = status.map_err(|e| format!("{program}: {e}"))?;
    if status.success() {
        return Ok(());
    }
    Err(format!("{program}: {status}: {}", fs::read_to_string(&path).unwrap_or_default().trim()))
}

/// A password that nobody guesses.
fn random_word() -> Result<String, String> {
    let mut bytes = [0; 16];
    let read = fs::File::open("/dev/urandom").and_then(|mut source| source.read_exact(&mut bytes));
    read.map_err(|e| format!("/dev/urandom: {e}"))?;
    Ok(format!("{:032x}", u128::from_ne_bytes(bytes)))
}

/// A port on which nobody listens now. Whoever takes it before us costs one more try.
fn free_port() -> Result<u16, String> {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let size = PORTS.end - PORTS.start;
    // Processes that run at the same time begin at different places.
    let first = u16::try_from(process::id() % u32::from(size)).unwrap_or_default();
    for _ in 0..size {
        let offset = first.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % size;
        let port = PORTS.start + offset;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return Ok(port);
        }
    }
    Err(format!("no free port in {PORTS:?}"))
}

/// A shell that waits for the end of its input, which is our end: it comes when we close it, return from main, are
/// killed or crash. Then it stops the server and removes the folder.
struct Watchdog {
    child: Child,
}

impl Watchdog {
    fn start(programs: &Path, account: Account, folder: &Path) -> Result<Self, String> {
        const SCRIPT: &str = r#"
            trap '' INT TERM HUP
            read -r _
            "$1/pg_ctl" stop --pgdata=data --mode=immediate --wait --silent
            cd / && rm -rf "$2""#;
        let mut command = Command::new("sh");
        command.args(["-c", SCRIPT, "sh"]).arg(programs).arg(folder).current_dir(folder);
        // A group of its own, so that an interrupt at the terminal does not reach it; and no output, which would keep
        // the reader of ours waiting.
        command.process_group(0).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = account.apply(&mut command).spawn().map_err(|e| format!("sh: {e}"))?;
        Ok(Self { child })
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        // It cannot be told what to do about a failure, and nor can we.
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use super::*;

    fn listens(port: u16) -> bool {
        TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok()
    }

    #[test]
    fn a_private_cluster_keeps_what_was_committed_when_it_is_stopped_and_started() {
        let cluster = PrivateCluster::start();
        let database = cluster.database();
        database.execute("CREATE TABLE passes (id int); INSERT INTO passes VALUES (7)");
        cluster.stop();
        assert!(!listens(cluster.port()));
        cluster.resume();
        assert_eq!(database.execute("SELECT id FROM passes"), "7");
        cluster.restart();
        assert_eq!(database.execute("SELECT id FROM passes"), "7");
    }

    #[test]
    fn a_cluster_that_is_dropped_leaves_nothing_behind() {
        let cluster = PrivateCluster::start();
        let (port, folder) = (cluster.port(), cluster.folder.clone());
        assert!(listens(port) && folder.exists());
        drop(cluster);
        assert!(!listens(port) && !folder.exists());
    }

    #[test]
    fn nobody_gets_in_without_the_password() {
        let cluster = PrivateCluster::start();
        let url = format!("postgres://{SUPERUSER}:guess@127.0.0.1:{}/postgres", cluster.port());
        let problem = Server::external(&url).err().unwrap();
        assert!(problem.contains("password authentication failed"), "{problem}");
    }
}
