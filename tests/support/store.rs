//! A store without a server around it: on SQLite or PostgreSQL, with a clock that the test moves, and with a way to look at
//! the tables and to do harm to them behind the store's back.
//!
//! A test is an `async fn(Ground)`; [`on_each_database!`](crate::on_each_database) makes one test of it for each database.

use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use lanyard_server::clock::{Clock, Time};
use lanyard_server::config::{AddressBinding, Config, DatabaseUrl};
use lanyard_server::crypto::{Keyring, Token, TokenHash, TokenKind};
use lanyard_server::model::audit::{AuditEvent, Operation};
use lanyard_server::model::id::{SessionId, UserId};
use lanyard_server::model::session::AuthType;
use lanyard_server::model::user::ApprovalStatus;
use lanyard_server::store::{NewSession, SessionRow, Store, StoreConfig, UserRow};
use sea_orm::{ConnectionTrait, Database, DatabaseConnection, Statement, TryGetable};

use super::{postgres, temporary_folder};

/// When the clock of every test begins: 2026-01-01T00:00:00Z.
const START: Time = Time::from_micros(1_767_225_600_000_000);
/// How long a session lasts: [`session_row`].
pub const IDLE: Duration = Duration::from_mins(30);
pub const ABSOLUTE: Duration = Duration::from_hours(12);

/// Makes, of each named `async fn(Ground)`, the tests `name::on_sqlite` and `name::on_postgres`.
#[macro_export]
macro_rules! on_each_database {
    ($($name:ident),+ $(,)?) => {
        $(mod $name {
            use $crate::support::store::{Ground, run};

            #[test]
            fn on_sqlite() {
                run(Ground::sqlite(), super::$name);
            }

            #[test]
            fn on_postgres() {
                run(Ground::postgres(), super::$name);
            }
        })+
    };
}

/// Runs a test to its end, on threads of its own: much in it happens at once.
///
/// # Panics
/// If the test does.
pub fn run<F: Future<Output = ()>>(ground: Ground, test: impl FnOnce(Ground) -> F) {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.worker_threads(2).enable_all().build().expect("a runtime starts");
    runtime.block_on(test(ground));
}

/// An empty database, and what stores on it share.
pub struct Ground {
    pub config: Config,
    pub keyring: Arc<Keyring>,
    pub clock: Clock,
    pub postgres: Option<postgres::Database>,
    folder: tempfile::TempDir,
}

impl Ground {
    /// On SQLite, which has no schema yet.
    pub fn sqlite() -> Self {
        Self::new(None)
    }

    /// On PostgreSQL, which has no schema yet.
    pub fn postgres() -> Self {
        Self::new(Some(postgres::shared().database()))
    }

    /// On a database of PostgreSQL of the test's choice.
    pub fn on(database: postgres::Database) -> Self {
        Self::new(Some(database))
    }

    fn new(postgres: Option<postgres::Database>) -> Self {
        let folder = temporary_folder();
        let mut config = Config::dev(folder.path());
        if let Some(database) = &postgres {
            config.database.url = DatabaseUrl::new(database.url());
        }
        (config.password.memory_kib, config.password.iterations) = (64, 1);
        config.password.hash_threads = 1;
        let keyring = Arc::new(Keyring::generate(START));
        Self { config, keyring, clock: Clock::manual(START), postgres, folder }
    }

    pub fn is_postgres(&self) -> bool {
        self.postgres.is_some()
    }

    /// The file of SQLite.
    pub fn file(&self) -> PathBuf {
        self.folder.path().join("lanyard.db")
    }

    /// One more store on the database, as another replica has it. The schema is as it is.
    ///
    /// # Panics
    /// If it cannot be connected to.
    pub async fn connect(&self) -> Store {
        self.connect_with(&self.config).await
    }

    /// The same with another configuration.
    ///
    /// # Panics
    /// If it cannot be connected to.
    pub async fn connect_with(&self, config: &Config) -> Store {
        let connected = Store::connect(StoreConfig::of(config), Arc::clone(&self.keyring), self.clock.clone()).await;
        connected.unwrap_or_else(|problem| panic!("{problem:?}"))
    }

    /// A store on an up-to-date schema.
    ///
    /// # Panics
    /// If there is none to be had.
    pub async fn store(&self) -> Store {
        let store = self.connect().await;
        store.migrate(&|_, _| {}).await.unwrap_or_else(|problem| panic!("{problem:?}"));
        store
    }

    /// A connection of nobody's, to look and to do harm.
    ///
    /// # Panics
    /// If there is none to be had.
    pub async fn raw(&self) -> Raw {
        Raw::beside(&self.config).await
    }
}

/// See [`Ground::raw`]. One connection: what is begun on it can be ended on it.
pub struct Raw(DatabaseConnection);

impl Raw {
    /// A connection beside a server, to its database.
    ///
    /// # Panics
    /// If there is none to be had.
    pub async fn beside(config: &Config) -> Self {
        Self::connect(config.database.url.expose()).await
    }

    /// A connection to a database of anybody's.
    ///
    /// # Panics
    /// If there is none to be had.
    pub async fn connect(url: &str) -> Self {
        let mut options = sea_orm::ConnectOptions::new(url);
        options.max_connections(1).sqlx_logging(false);
        Self(Database::connect(options).await.expect("the database can be reached"))
    }

    /// Returns how many rows were changed.
    ///
    /// # Panics
    /// With the database's words, if it refuses.
    pub async fn execute(&self, sql: &str) -> u64 {
        let done = self.0.execute_unprepared(sql).await;
        done.unwrap_or_else(|problem| panic!("{sql}: {problem}")).rows_affected()
    }

    /// What the database says to a statement that it must refuse.
    ///
    /// # Panics
    /// If it does not.
    pub async fn refused(&self, sql: &str) -> String {
        match self.0.execute_unprepared(sql).await {
            Ok(_) => panic!("{sql}: it was not refused"),
            Err(problem) => problem.to_string(),
        }
    }

    /// The first column of all rows.
    ///
    /// # Panics
    /// If it is of another type, or the database refuses.
    pub async fn column<T: TryGetable>(&self, sql: &str) -> Vec<T> {
        let statement = Statement::from_string(self.0.get_database_backend(), sql);
        let rows = self.0.query_all_raw(statement).await.unwrap_or_else(|problem| panic!("{sql}: {problem}"));
        rows.iter().map(|row| row.try_get_by_index(0).unwrap_or_else(|problem| panic!("{sql}: {problem:?}"))).collect()
    }

    /// The one number that a query returns.
    ///
    /// # Panics
    /// If it returns anything else.
    pub async fn number(&self, sql: &str) -> i64 {
        let rows = self.column(sql).await;
        let [number] = rows[..] else { panic!("{sql}: {} rows", rows.len()) };
        number
    }

    /// How many rows a table has.
    ///
    /// # Panics
    /// If there is no such table.
    pub async fn count(&self, table: &str) -> i64 {
        self.number(&format!("SELECT count(*) FROM {table}")).await
    }
}

/// A user whose password nobody knows.
pub fn user_row(name: &str, now: Time) -> UserRow {
    UserRow {
        user_id: UserId::new(now),
        username: name.to_owned(),
        username_key: name.to_lowercase(),
        display_name: String::new(),
        email: String::new(),
        search_text: name.to_lowercase(),
        is_super_user: false,
        is_locked: false,
        approval_status: ApprovalStatus::Approved,
        password_hash: None,
        password_must_change: false,
        password_expires_at: None,
        totp_secret: None,
        is_totp_enabled: false,
        totp_last_step: 0,
        allowed_networks: String::new(),
        created_at: now,
        updated_at: now,
        version: 1,
    }
}

/// A session that begins now.
pub fn session_row(user: &UserRow, now: Time) -> SessionRow {
    SessionRow {
        session_id: SessionId::new(now),
        user_id: user.user_id,
        username: user.username.clone(),
        auth_type: AuthType::Password,
        app: "default".to_owned(),
        remote_addr: Some("192.0.2.7".to_owned()),
        user_agent: String::new(),
        address_binding: AddressBinding::Record,
        idle_micros: IDLE.into(),
        created_at: now,
        last_active_at: now,
        expires_at: now + IDLE,
        absolute_expires_at: now + ABSOLUTE,
        revoked_at: None,
        revoke_reason: None,
        generation: 0,
        auth_id: None,
        auth_principal: String::new(),
    }
}

/// A session in the database, and its token as it is stored.
#[derive(Clone)]
pub struct Stored {
    pub row: SessionRow,
    pub hash: TokenHash,
}

impl Stored {
    pub fn id(&self) -> SessionId {
        self.row.session_id
    }
}

/// Adds a user.
///
/// # Panics
/// If it cannot be added.
pub async fn add_user(store: &Store, name: &str) -> UserRow {
    let row = user_row(name, store.clock().now());
    let stored = row.clone();
    let added = store.write(move |tx| {
        let row = row.clone();
        Box::pin(async move { tx.insert_user(row).await })
    });
    added.await.unwrap_or_else(|problem| panic!("{problem:?}"));
    stored
}

/// Adds a session of a user, which begins now.
///
/// # Panics
/// If it cannot be added.
pub async fn add_session(store: &Store, user: &UserRow) -> Stored {
    let row = session_row(user, store.clock().now());
    let (hash, key_id) = store.keyring().hash_token(Token::generate(TokenKind::Ust).as_ref());
    let stored = Stored { row: row.clone(), hash };
    let added = store.write(move |tx| {
        let new = NewSession { row: row.clone(), token: hash, key_id };
        Box::pin(async move { tx.insert_session(new).await })
    });
    added.await.unwrap_or_else(|problem| panic!("{problem:?}"));
    stored
}

/// An event of an operation, with a correlation ID by which it is found.
pub fn event(operation: Operation, correlation_id: impl Into<String>, now: Time) -> AuditEvent {
    AuditEvent {
        time: now,
        correlation_id: correlation_id.into(),
        operation,
        reason: None,
        caller: "shop".to_owned(),
        subject: Some(UserId::new(now)),
        target: Some(UserId::new(now)),
        session: Some(SessionId::new(now)),
        app: "default".to_owned(),
        remote_addr: "192.0.2.7".to_owned(),
        detail: r#"{"cause":"test"}"#.to_owned(),
    }
}

/// Runs all at once, each in a task of its own, and returns what they return, in their order.
///
/// # Panics
/// If one does.
pub async fn all_at_once<F>(work: impl IntoIterator<Item = F>) -> Vec<F::Output>
where
    F: Future<Output: Send> + Send + 'static,
{
    let mut ends = Vec::new();
    for running in work.into_iter().map(tokio::spawn).collect::<Vec<_>>() {
        ends.push(running.await.expect("it does not panic"));
    }
    ends
}
