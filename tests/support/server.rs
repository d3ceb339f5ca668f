//! A whole server inside the test's process: real gRPC on a port of its own, a database of its own, a clock that the test
//! moves.
//!
//! A test is an `async fn(Database)` that starts its server; [`both_databases!`](crate::both_databases) makes one test of it
//! for each database:
//!
//! ```ignore
//! async fn a_login_makes_a_session(database: Database) {
//!     let server = TestServer::start(database).await;
//!     let login = server.log_in(&server.alice).await;
//!     ...
//! }
//! both_databases!(a_login_makes_a_session);
//! ```

use std::future::Future;
use std::net::SocketAddr;
use std::path::Path;
use std::thread::JoinHandle;
use std::time::Duration;

use lanyard_client::secrecy::{ExposeSecret, SecretString};
use lanyard_client::{Client, Login, RetryPolicy, Subject, Ust};
use lanyard_server::app::App;
use lanyard_server::app::caller::{CallerToCreate, operator};
use lanyard_server::app::user::UserChange;
use lanyard_server::clock::{Clock, Time};
use lanyard_server::config::{Config, DatabaseUrl};
use lanyard_server::crypto::Keyring;
use lanyard_server::model::caller::{Apps, Flags, Grants};
use lanyard_server::serve::{Schema, Server};
use lanyard_server::stop::Stop;
use tempfile::TempDir;
use tokio::sync::oneshot;

pub use super::databases::{Database, run};
use super::{postgres, temporary_folder};

/// When the clock of every test begins: 2026-01-01T00:00:00Z.
pub const START: Time = Time::from_micros(1_767_225_600_000_000);

const DEADLINE: Duration = Duration::from_secs(30);
/// The lifetime of a caller's key where a test does not say otherwise: longer than any test moves the clock.
pub const KEY_LIFETIME: Duration = Duration::from_hours(24 * 3650);

/// A user of the server under test.
#[derive(Clone, Debug)]
pub struct Person {
    pub user_id: String,
    pub username: String,
    pub password: SecretString,
}

/// A server that runs until it is dropped.
pub struct TestServer {
    /// Moves the server's time, and nothing else does.
    pub clock: Clock,
    /// A super-user.
    pub root: Person,
    /// A regular user.
    pub alice: Person,
    /// The key of a caller that may do everything.
    pub key: SecretString,
    pub config: Config,
    running: Option<Running>,
    // Dropped after the server has ended.
    _database: Option<postgres::Database>,
    folder: TempDir,
}

/// The thread of a server, and how to end it.
struct Running {
    stop: Stop,
    addr: SocketAddr,
    admin: Option<SocketAddr>,
    app: App,
    runtime: tokio::runtime::Handle,
    thread: JoinHandle<()>,
}

impl TestServer {
    /// A server with the configuration of the tests.
    pub async fn start(database: Database) -> Self {
        Self::start_with(database, |_| {}).await
    }

    /// A server with a configuration that `change` changes: the apps are `default` and `CRM`, hashing is cheap, nothing
    /// is delayed at the end.
    ///
    /// # Panics
    /// If it does not start.
    pub async fn start_with(database: Database, change: impl FnOnce(&mut Config)) -> Self {
        Self::start_at(database, Clock::manual(START), change).await
    }

    /// The same with another clock.
    ///
    /// # Panics
    /// If it does not start.
    pub async fn start_at(database: Database, clock: Clock, change: impl FnOnce(&mut Config)) -> Self {
        let folder = temporary_folder();
        let postgres = match database {
            Database::Sqlite => None,
            Database::Postgres => Some(in_background(|| postgres::shared().database()).await),
        };
        let mut config = test_config(folder.path());
        if let Some(database) = &postgres {
            config.database.url = DatabaseUrl::new(database.url());
        }
        change(&mut config);
        Keyring::generate(clock.now()).save(&config.keys.file).expect("the keys can be written");
        let running = Running::start(config.clone(), clock.clone()).await;
        let nobody = || Person { user_id: String::new(), username: String::new(), password: "".into() };
        let mut server = Self {
            clock,
            root: nobody(),
            alice: nobody(),
            key: "".into(),
            config,
            running: Some(running),
            _database: postgres,
            folder,
        };
        server.key = server.caller(all_powerful("tests")).await;
        server.root = server.add_user("root", true).await;
        server.alice = server.add_user("alice", false).await;
        server
    }

    /// One more server on the same database with the same keys, clock and people, which must end before this one does.
    ///
    /// # Panics
    /// If it does not start.
    pub async fn replica(&self) -> Self {
        let (root, alice) = (self.root.clone(), self.alice.clone());
        let (clock, config, key) = (self.clock.clone(), self.config.clone(), self.key.clone());
        let running = Some(Running::start(config.clone(), clock.clone()).await);
        Self { clock, root, alice, key, config, running, _database: None, folder: temporary_folder() }
    }

    fn running(&self) -> &Running {
        self.running.as_ref().expect("it runs")
    }

    pub fn addr(&self) -> SocketAddr {
        self.running().addr
    }

    /// Where `/metrics` and `/healthz` are.
    ///
    /// # Panics
    /// If the configuration asks for none.
    pub fn admin(&self) -> SocketAddr {
        self.running().admin.expect("admin.listen is set")
    }

    pub fn is_postgres(&self) -> bool {
        self.config.database.url.is_postgres()
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.addr())
    }

    /// The folder of its data: the database (`lanyard.db`, if it is SQLite) and the keys.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// What needs no runtime of the rules; see [`Self::within`].
    pub fn app(&self) -> &App {
        &self.running().app
    }

    /// Runs something with the rules, on the server's own threads: connections to the database belong to them.
    ///
    /// # Panics
    /// If `work` does.
    pub async fn within<F>(&self, work: impl FnOnce(App) -> F) -> F::Output
    where
        F: Future<Output: Send> + Send + 'static,
    {
        let running = self.running();
        running.runtime.spawn(work(running.app.clone())).await.expect("what runs within the server does not panic")
    }

    /// A client of the caller that may do everything.
    pub fn client(&self) -> Client {
        self.client_of(&self.key)
    }

    /// A client of the caller whose key this is.
    ///
    /// # Panics
    /// If the key has characters that no key has.
    pub fn client_of(&self, key: &SecretString) -> Client {
        let builder = Client::builder(self.url()).api_key(key.clone()).deadline(DEADLINE);
        builder.retry(RetryPolicy::never()).connect_lazy().expect("a client of a local server")
    }

    /// A client without any credential.
    ///
    /// # Panics
    /// Never.
    pub fn client_without_key(&self) -> Client {
        Client::builder(self.url()).retry(RetryPolicy::never()).connect_lazy().expect("a client of a local server")
    }

    /// A connection for generated clients.
    ///
    /// # Panics
    /// If there is none.
    pub async fn channel(&self) -> tonic::transport::Channel {
        let endpoint = tonic::transport::Endpoint::from_shared(self.url()).expect("an address");
        endpoint.connect().await.expect("the server takes connections")
    }

    /// A request of a generated client, with the key of the caller that may do everything.
    ///
    /// # Panics
    /// Never.
    pub fn request<M>(&self, message: M) -> tonic::Request<M> {
        let mut request = tonic::Request::new(message);
        let bearer = format!("Bearer {}", self.key.expose_secret());
        request.metadata_mut().insert("authorization", bearer.parse().expect("a key is ASCII"));
        request
    }

    /// Logs in.
    ///
    /// # Panics
    /// If that fails.
    pub async fn log_in(&self, person: &Person) -> Login {
        self.client().log_in(&person.username, &person.password).await.expect("the login succeeds")
    }

    /// The super-user, logged in.
    pub async fn as_root(&self) -> Subject {
        self.acting_for(&self.root).await
    }

    /// The regular user, logged in.
    pub async fn as_alice(&self) -> Subject {
        self.acting_for(&self.alice).await
    }

    /// Somebody, logged in.
    pub async fn acting_for(&self, person: &Person) -> Subject {
        self.on_behalf_of(&self.log_in(person).await.ust)
    }

    /// Who holds the token.
    pub fn on_behalf_of(&self, ust: &Ust) -> Subject {
        self.client().on_behalf_of(ust)
    }

    /// Adds a user `name` with the password `name-password`.
    ///
    /// # Panics
    /// If that fails.
    pub async fn add_user(&self, name: &str, is_super_user: bool) -> Person {
        let context = operator(&self.config, self.clock.now());
        let changes = vec![UserChange::Username(name.to_owned()), UserChange::IsSuperUser(is_super_user)];
        let password = format!("{name}-password");
        let given = password.clone().into();
        let user = self.within(|app| async move { app.create_user_by_operator(&context, changes, given).await }).await;
        let user_id = user.expect("the user can be made").user_id.to_string();
        Person { user_id, username: name.to_owned(), password: password.into() }
    }

    /// Adds a caller and returns its key.
    ///
    /// # Panics
    /// If that fails.
    pub async fn caller(&self, caller: CallerToCreate) -> SecretString {
        let context = operator(&self.config, self.clock.now());
        let made = self.within(|app| async move { app.create_caller(&context, caller).await }).await;
        made.expect("the caller can be made").1.expect("it has a key").expose().into()
    }

    /// Adds a caller that has a certificate with this SPIFFE ID, and no key.
    ///
    /// # Panics
    /// If that fails.
    pub async fn certified_caller(&self, name: &str, spiffe_id: &str, grants: Grants) {
        let spiffe_id = Some(spiffe_id.to_owned());
        let caller =
            CallerToCreate { spiffe_id, grants, flags: Flags::default(), key_lifetime: None, ..all_powerful(name) };
        let context = operator(&self.config, self.clock.now());
        let made = self.within(|app| async move { app.create_caller(&context, caller).await }).await;
        assert!(made.expect("the caller can be made").1.is_none(), "it has no key");
    }

    /// Stops softly and starts again on the same data.
    ///
    /// # Panics
    /// If either fails.
    pub async fn restart(&mut self) {
        self.stop().await;
        self.resume().await;
    }

    /// Starts again on the same data, once it has been stopped.
    ///
    /// # Panics
    /// If it does not start.
    pub async fn resume(&mut self) {
        self.running = Some(Running::start(self.config.clone(), self.clock.clone()).await);
    }

    /// Stops softly; the data stay.
    ///
    /// # Panics
    /// If it does not run, or does not end in order.
    pub async fn stop(&mut self) {
        let running = self.running.take().expect("it runs");
        running.stop.softly();
        in_background(move || running.thread.join()).await.expect("the server ends in order");
    }

    /// How many audit events there are, all of them as they were written.
    ///
    /// # Panics
    /// If one was changed, removed or put elsewhere.
    pub async fn verify_audit(&self) -> u64 {
        let verified = self.within(|app| async move { app.store().verify_audit(&|_, _| {}).await }).await;
        let (count, problems) = verified.expect("the trail can be read");
        assert!(problems.is_empty(), "{problems:?}");
        count
    }
}

impl Running {
    async fn start(config: Config, clock: Clock) -> Self {
        let stop = Stop::new();
        let (bound, when_bound) = oneshot::channel();
        let thread = std::thread::spawn({
            let stop = stop.clone();
            move || serve(config, clock, stop, bound)
        });
        let Ok((addr, admin, app, runtime)) = when_bound.await else {
            panic!("the server does not start: {:?}", thread.join().expect_err("it told why"))
        };
        Self { stop, addr, admin, app, runtime, thread }
    }
}

/// What is known once a server listens.
type Bound = (SocketAddr, Option<SocketAddr>, App, tokio::runtime::Handle);

/// The whole life of a server.
fn serve(config: Config, clock: Clock, stop: Stop, bound: oneshot::Sender<Bound>) {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(2).enable_all().build().expect("a runtime starts");
    let handle = runtime.handle().clone();
    runtime.block_on(async move {
        let server = Server::bind(config, clock, Schema::Migrate).await.unwrap_or_else(|error| panic!("{error}"));
        let _ = bound.send((server.addr(), server.admin_addr(), server.app().clone(), handle));
        if let Err(error) = server.run(stop).await {
            panic!("the server ended: {error}");
        }
    });
}

impl Drop for TestServer {
    fn drop(&mut self) {
        let Some(running) = self.running.take() else { return };
        running.stop.hard();
        drop(running.app);
        let ended = running.thread.join();
        assert!(ended.is_ok() || std::thread::panicking(), "the server panicked");
    }
}

/// A caller that may do everything.
pub fn all_powerful(name: &str) -> CallerToCreate {
    CallerToCreate {
        name: name.to_owned(),
        spiffe_id: None,
        grants: Grants::all(),
        apps: Apps::All,
        flags: Flags { may_assert_client_address: true, may_relay_super_users: true },
        max_in_flight: None,
        key_lifetime: Some(KEY_LIFETIME),
    }
}

fn test_config(folder: &Path) -> Config {
    let mut config = Config::dev(folder);
    config.server.listen = SocketAddr::from(([127, 0, 0, 1], 0));
    config.server.workers = 1;
    config.server.drain_delay = Duration::ZERO;
    config.server.max_deadline = DEADLINE;
    // Many servers share one PostgreSQL, and the machine is slow when all its cores test.
    config.database.max_connections = 4;
    config.database.acquire_timeout = DEADLINE;
    config.database.statement_timeout = DEADLINE;
    // The cheapest there is: what hashing costs is none of these tests' business.
    config.password.memory_kib = 8;
    config.password.iterations = 1;
    config.password.hash_threads = 1;
    config
}

/// What blocks must not keep the test's other tasks from running.
pub async fn in_background<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.expect("what runs in the background does not panic")
}
