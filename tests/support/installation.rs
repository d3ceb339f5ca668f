//! The program `lanyard` as a process of its own, on data that were prepared before: what is killed, sent signals and
//! read the output of.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, ExitStatus};
use std::time::Duration;

use lanyard_client::secrecy::ExposeSecret;
use lanyard_client::{Client, RetryPolicy};
use lanyard_server::config::{Config, LogFormat};
use serde_json::Value;

use super::process::{self, Process};
use super::server::{Database, TestServer};
use super::{eventually, postgres};

const DEADLINE: Duration = Duration::from_secs(20);

/// Configuration, keys and a database with two users and a caller, on which a server may be started again and again.
pub struct Installation {
    /// Whose key, users and folder these are. It does not run: only one server may, on SQLite.
    pub prepared: TestServer,
}

/// A running `lanyard serve`. It is killed when dropped.
pub struct Program {
    pub process: Process,
    pub addr: SocketAddr,
    /// Where `/metrics` and `/healthz` are.
    pub admin: SocketAddr,
    url: String,
    key: String,
}

impl Installation {
    /// With the configuration of the tests, which `change` changes. Logs are JSON.
    pub async fn prepare(database: Database, change: impl FnOnce(&mut Config)) -> Self {
        let mut wanted = Config::default();
        let mut prepared = TestServer::start_with(database, |config| {
            config.log.format = LogFormat::Json;
            change(config);
            wanted = config.clone();
            // How the program ends is not how its data are prepared.
            config.server.drain_delay = Duration::ZERO;
        })
        .await;
        prepared.stop().await;
        prepared.config = wanted;
        let installation = Self { prepared };
        installation.write_config();
        installation
    }

    /// Where the configuration is.
    pub fn config_file(&self) -> PathBuf {
        self.prepared.folder().join("lanyard.toml")
    }

    /// Writes the configuration as it is now.
    ///
    /// # Panics
    /// If the folder cannot be written to.
    pub fn write_config(&self) {
        std::fs::write(self.config_file(), self.prepared.config.show()).expect("the folder can be written to");
    }

    /// `lanyard` with these words, on this configuration.
    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(process::lanyard());
        command.args(words).arg("--config").arg(self.config_file());
        // Its password does not stand in what `show` prints.
        command.env("LANYARD__DATABASE__URL", self.prepared.config.database.url.expose());
        command
    }

    /// Starts the server and waits until it serves.
    ///
    /// # Panics
    /// If it does not.
    pub fn start(&self) -> Program {
        self.start_with(&[])
    }

    /// The same with these variables in its environment.
    ///
    /// # Panics
    /// If it does not.
    pub fn start_with(&self, variables: &[(&str, &str)]) -> Program {
        let mut command = self.command(&["serve"]);
        command.envs(variables.iter().copied());
        self.serving(command)
    }

    /// The same with at most so many open files.
    ///
    /// # Panics
    /// If it does not.
    pub fn start_with_files(&self, limit: u32) -> Program {
        let serve = self.command(&["serve"]);
        let mut command = Command::new("sh");
        command.args(["-c", "ulimit -n $0 && exec \"$@\"", &limit.to_string()]);
        command.arg(serve.get_program()).args(serve.get_args());
        command.envs(serve.get_envs().filter_map(|(name, value)| Some((name, value?))));
        self.serving(command)
    }

    fn serving(&self, mut command: Command) -> Program {
        let process = Process::start(command.env("LANYARD__ADMIN__LISTEN", "127.0.0.1:0"));
        let (addr, admin) = process.wait_for_line("where it serves", serves_at);
        let scheme = if self.prepared.config.server.tls.cert.is_some() { "https" } else { "http" };
        Program {
            process,
            addr,
            admin,
            url: format!("{scheme}://{addr}"),
            key: self.prepared.key.expose_secret().to_owned(),
        }
    }
}

/// The addresses of the server and of its pages.
pub fn serves_at(line: &str) -> Option<(SocketAddr, SocketAddr)> {
    let line: Value = serde_json::from_str(line).ok()?;
    if line["message"] != "serving" {
        return None;
    }
    let address = |name: &str| line[name].as_str()?.parse().ok();
    Some((address("addr")?, address("admin_addr")?))
}

impl Program {
    /// A client of the caller that may do everything. Each has a connection of its own.
    ///
    /// # Panics
    /// If the program does not take the connection.
    pub async fn client(&self) -> Client {
        let builder = Client::builder(&self.url).api_key(self.key.clone()).deadline(DEADLINE);
        builder.retry(RetryPolicy::never()).connect().await.expect("the server takes connections")
    }

    /// The page of figures.
    ///
    /// # Panics
    /// If there is none.
    pub async fn metrics(&self) -> String {
        super::raw::get_page(self.admin, "/metrics").await
    }

    /// Waits for the end.
    ///
    /// # Panics
    /// If it does not come.
    pub async fn ended(mut self) -> (ExitStatus, String) {
        let waiting = tokio::task::spawn_blocking(move || (self.process.wait(), self.process.output()));
        waiting.await.expect("it ends in time")
    }
}

/// Locks of this database; others, made from the same template, have the same numbers.
const HERE: &str = "database = (SELECT oid FROM pg_database WHERE datname = current_database())";

/// A table of the server's database that nobody can use as long as this lives.
pub struct Stalled {
    _holder: Process,
    database: postgres::Database,
    /// Which lock it is.
    held: String,
}

impl Installation {
    /// Takes a lock on a table, which all that touch it wait for. PostgreSQL only.
    ///
    /// # Panics
    /// If it cannot be had.
    pub async fn stall(&self, table: &str) -> Stalled {
        let database = postgres::Database::at(self.prepared.config.database.url.expose());
        let lock = format!("LOCK TABLE {table}");
        let holder = Process::start(&mut database.session(&["BEGIN", &lock, "SELECT pg_sleep(3600)"]));
        let held = format!("relation = '{table}'::regclass AND mode = 'AccessExclusiveLock' AND granted");
        let stalled = Stalled { _holder: holder, database, held };
        eventually("the table is locked", async || stalled.locks(&stalled.held) == 1).await;
        stalled
    }
}

impl Stalled {
    /// Waits until so many others wait for the lock.
    ///
    /// # Panics
    /// If they never do.
    pub async fn blocks(&self, count: u32) {
        eventually("others wait for the lock", async || self.locks("NOT granted") >= count).await;
    }

    fn locks(&self, condition: &str) -> u32 {
        let found = self.database.execute(&format!("SELECT count(*) FROM pg_locks WHERE {HERE} AND {condition}"));
        found.parse().expect("a number")
    }
}

impl Drop for Stalled {
    /// PostgreSQL does not notice that a client is gone as long as it has nothing to say to it.
    fn drop(&mut self) {
        self.database
            .execute(&format!("SELECT pg_terminate_backend(pid) FROM pg_locks WHERE {HERE} AND {}", self.held));
    }
}
