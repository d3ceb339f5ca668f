//! Query plans: explains each statement that the store really sends, on tables with many rows. None may scan a whole
//! table.

use std::sync::Arc;
use std::time::Duration;

use lanyard_test_postgres as postgres;
use parking_lot::Mutex;
use sea_orm::{ConnectionTrait, Database, DatabaseConnection, DbBackend, Statement};
use uuid::Uuid;

use super::session::SessionFilter;
use super::user::UserFilter;
use super::{
    Activity, AttributeRow, SessionRow, SessionTokenRow, Shared, Store, StoreConfig, UserRow, cache, sqlite, write,
};
use crate::clock::{Clock, Time};
use crate::config::{AddressBinding, Config, DatabaseUrl};
use crate::crypto::{Keyring, TokenHash};
use crate::model::audit::{AuditEvent, AuditFilter, AuditPosition, Operation, Outcome};
use crate::model::id::{SessionId, UserId};
use crate::model::session::{AuthType, RevokeReason};
use crate::model::user::ApprovalStatus;

mod credentials;
mod definitions;
mod import;
mod links;
mod platforms;

const USERS: u64 = 1_500;
const SESSIONS_EACH: u64 = 4;
const START: Time = Time::from_micros(1_767_225_600_000_000);
/// Tables that grow.
const LARGE: [&str; 10] = [
    "user",
    "session",
    "session_token",
    "session_credential",
    "session_platform",
    "attribute",
    "audit_event",
    "change",
    "definition",
    "linked_auth",
];

/// A store whose statements are recorded.
struct Fixture {
    store: Store,
    /// Not recorded.
    unrecorded: DatabaseConnection,
    recorded: Arc<Mutex<Vec<Statement>>>,
    users: Vec<UserRow>,
    sessions: Vec<SessionRow>,
    hashes: Vec<TokenHash>,
    _folder: tempfile::TempDir,
    _postgres: Option<postgres::Database>,
}

impl Fixture {
    async fn new(postgres: Option<postgres::Database>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut config = Config::dev(folder.path());
        if let Some(database) = &postgres {
            config.database.url = DatabaseUrl::new(database.url());
        }
        let config = StoreConfig::of(&config);
        let keyring = Arc::new(Keyring::generate(START));
        let clock = Clock::manual(START);
        let first = Store::connect(config.clone(), Arc::clone(&keyring), clock.clone()).await.unwrap();
        first.migrate(&|_, _| {}).await.unwrap();
        let unrecorded = first.shared.writer.conn().clone();

        let recorded = Arc::<Mutex<Vec<Statement>>>::default();
        let mut conn = Database::connect(if postgres.is_some() {
            config.connect_options()
        } else {
            sqlite::options(&config, 1, false)
        })
        .await
        .unwrap();
        let hook = Arc::clone(&recorded);
        conn.set_metric_callback(move |info| hook.lock().push(info.statement.clone()));
        let mut writer = write::Writer::new(conn.clone(), &config);
        let hook = Arc::clone(&recorded);
        writer.hook = Some(Arc::new(move |statement: &Statement| {
            // Statements without values only begin and end transactions.
            if statement.values.is_some() {
                hook.lock().push(statement.clone());
            }
        }));
        let shared = Shared {
            backend: conn.get_database_backend(),
            clock,
            keyring,
            cache: cache::Caches::new(Some(10)),
            read_log: super::ReadLog::default(),
            activity: Activity::default(),
            logouts: super::platform::LogoutQueue::default(),
            writer,
            metrics: Arc::default(),
            config,
        };
        // Bypasses the caches.
        shared.cache.trust.withdraw();
        let store = Store { conn, shared: Arc::new(shared) };
        if postgres.is_none() {
            store.start_group_commit().unwrap();
        }
        let mut fixture = Self {
            store,
            unrecorded,
            recorded,
            users: Vec::new(),
            sessions: Vec::new(),
            hashes: Vec::new(),
            _folder: folder,
            _postgres: postgres,
        };
        fixture.fill(&first).await;
        fixture
    }

    async fn fill(&mut self, store: &Store) {
        let (user, session) = (user_row(), session_row());
        let tokens = store.seed(USERS, SESSIONS_EACH, &user, &session, &|_| {}).await.unwrap();
        self.hashes = tokens.iter().map(|token| store.keyring().hash_token(token.as_ref()).0).collect();
        self.users = store.users(&UserFilter::default(), None, USERS).await.unwrap();
        self.sessions = store.sessions(&SessionFilter::default(), None, USERS * SESSIONS_EACH).await.unwrap();
        for owners in self.users.chunks(100) {
            let owners = owners.to_vec();
            let filled = store.write(move |tx| {
                let owners = owners.clone();
                Box::pin(async move {
                    for (number, owner) in owners.iter().enumerate() {
                        for name in ["color", "shape"] {
                            tx.put_attribute(attribute(owner.user_id.uuid(), name)).await?;
                        }
                        tx.attributes_changed(Some(owner.user_id), None);
                        for _ in 0..4 {
                            tx.record_event(event(number));
                        }
                        tx.clock().advance(Duration::from_secs(1));
                    }
                    Ok(())
                })
            });
            filled.await.unwrap();
        }
        links::fill(store, &self.users).await;
        credentials::fill(store, &self.unrecorded, &self.sessions).await;
        platforms::fill(store, &self.sessions).await;
        // Most tokens were replaced long ago; few still have a successor.
        let replaced = format!("UPDATE session_token SET grace_until = {}", START.micros());
        self.unrecorded.execute_unprepared(&replaced).await.unwrap();
        self.unrecorded.execute_unprepared("ANALYZE").await.unwrap();
    }

    fn is_postgres(&self) -> bool {
        self.store.is_postgres()
    }

    /// Explains the statements recorded since the last call; fails if one scans a large table.
    async fn explain(&self, what: &str, access: Access) {
        let recorded = std::mem::take(&mut *self.recorded.lock());
        let is_query = |statement: &&Statement| !statement.sql.starts_with("INSERT");
        assert!(recorded.iter().any(|statement| is_query(&statement)), "{what}: nothing was asked");
        for statement in recorded.iter().filter(is_query) {
            let plan = self.plan(statement).await;
            let problem = if self.is_postgres() { postgres_problem(&plan) } else { sqlite_problem(&plan, access) };
            let plan = plan.join("\n");
            assert_eq!(problem, None, "{what}\n{}\n{plan}", statement.sql);
        }
    }

    async fn plan(&self, statement: &Statement) -> Vec<String> {
        let explain = if self.is_postgres() { "EXPLAIN" } else { "EXPLAIN QUERY PLAN" };
        let mut statement = statement.clone();
        statement.sql = format!("{explain} {}", statement.sql);
        let column = if self.is_postgres() { "QUERY PLAN" } else { "detail" };
        let rows = self.unrecorded.query_all_raw(statement).await.unwrap();
        rows.iter().map(|row| row.try_get::<String>("", column).unwrap()).collect()
    }
}

/// How a statement may find its rows.
#[derive(Clone, Copy, PartialEq)]
enum Access {
    /// Index search by a key.
    Search,
    /// Index scan in order, until the page is full.
    Scan,
}

fn sqlite_problem(plan: &[String], access: Access) -> Option<String> {
    let is_large = |line: &&String| LARGE.iter().any(|table| line.starts_with(&format!("SCAN {table}")));
    let is_allowed = |line: &&String| access == Access::Scan && line.contains("USING") && line.contains("INDEX");
    plan.iter().filter(is_large).find(|line| !is_allowed(line)).cloned()
}

fn postgres_problem(plan: &[String]) -> Option<String> {
    let is_full_scan = |line: &&String| {
        line.split_once("Seq Scan on ").is_some_and(|(_, rest)| {
            let table = rest.split_whitespace().next().unwrap_or_default().trim_matches('"');
            LARGE.contains(&table)
        })
    };
    plan.iter().find(is_full_scan).cloned()
}

fn user_row() -> UserRow {
    UserRow {
        user_id: UserId::nil(),
        username: "user".to_owned(),
        username_key: String::new(),
        display_name: String::new(),
        email: String::new(),
        search_text: String::new(),
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
        created_at: START,
        updated_at: START,
        version: 1,
    }
}

fn session_row() -> SessionRow {
    let end = START + Duration::from_hours(1_000);
    SessionRow {
        session_id: SessionId::nil(),
        user_id: UserId::nil(),
        username: String::new(),
        auth_type: AuthType::Password,
        app: "default".to_owned(),
        remote_addr: None,
        user_agent: String::new(),
        address_binding: AddressBinding::Record,
        idle_micros: Duration::from_secs(1).into(),
        created_at: START,
        last_active_at: START,
        expires_at: end,
        absolute_expires_at: end,
        revoked_at: None,
        revoke_reason: None,
        generation: 0,
        auth_id: None,
        auth_principal: String::new(),
    }
}

fn attribute(owner_id: Uuid, name: &str) -> AttributeRow {
    AttributeRow {
        owner_id,
        name: name.to_owned(),
        value: b"blue".to_vec(),
        is_sealed: false,
        expires_at: Some(START + Duration::from_hours(1_000)),
        created_at: START,
        updated_at: START,
        version: 1,
    }
}

fn event(number: usize) -> AuditEvent {
    let operations = [
        Operation::SessionCreate,
        Operation::SessionCreate,
        Operation::SessionRenew,
        Operation::SessionRenew,
        Operation::SessionRevoke,
        Operation::AuditList,
    ];
    AuditEvent {
        time: START + Duration::from_secs(number as u64),
        correlation_id: UserId::new(START).to_string(),
        operation: if number % 100 == 99 { Operation::UserLock } else { operations[number % operations.len()] },
        reason: None,
        caller: "shop".to_owned(),
        subject: Some(UserId::new(START)),
        target: Some(UserId::new(START)),
        session: Some(SessionId::new(START)),
        app: "default".to_owned(),
        remote_addr: String::new(),
        detail: String::new(),
    }
}

async fn reads(fixture: &Fixture) {
    use Access::{Scan, Search};

    let (store, user) = (&fixture.store, fixture.users[700].user_id);
    store.session_by_token(&fixture.hashes[5]).await.unwrap().unwrap();
    fixture.explain("a token", Search).await;
    assert_eq!(store.sessions_by_token(&fixture.hashes[..10]).await.unwrap().len(), 10);
    fixture.explain("ten tokens", Search).await;
    store.session(fixture.sessions[3].session_id).await.unwrap().unwrap();
    fixture.explain("a session", Search).await;

    let of_user = SessionFilter { user: Some(user), ..SessionFilter::default() };
    assert_eq!(store.sessions(&of_user, None, 51).await.unwrap().len(), 4);
    fixture.explain("a user's sessions", Search).await;
    let live = SessionFilter { revoked: Some(false), expired: Some((false, START)), ..of_user.clone() };
    let after = Some(fixture.sessions[0].session_id);
    store.sessions(&live, after, 51).await.unwrap();
    fixture.explain("a user's live sessions, a page further", Search).await;
    let of_app = SessionFilter { app: Some("default".to_owned()), ..SessionFilter::default() };
    store.sessions(&of_app, after, 51).await.unwrap();
    fixture.explain("an app's sessions", Scan).await;
    store.sessions(&SessionFilter::default(), None, 51).await.unwrap();
    fixture.explain("all sessions", Scan).await;

    store.user(user).await.unwrap().unwrap();
    store.user_by_name("user700").await.unwrap().unwrap();
    fixture.explain("a user", Search).await;
    let some = fixture.users[..5].iter().map(|user| user.user_id);
    assert!(store.super_users_among(some).await.unwrap().is_empty());
    fixture.explain("super-users among some", Search).await;
    store.users(&UserFilter::default(), Some(user), 51).await.unwrap();
    fixture.explain("users, a page further", Scan).await;
    store.users(&UserFilter { is_locked: Some(false), ..UserFilter::default() }, None, 51).await.unwrap();
    fixture.explain("users that are not locked", Scan).await;
    store.attributes(user.uuid(), &[], Some("a"), START, 51).await.unwrap();
    fixture.explain("attributes", Search).await;
}

async fn audit_filters(fixture: &Fixture) {
    let store = &fixture.store;
    let some = store.audit_events(&AuditFilter::default(), None, 51).await.unwrap();
    fixture.explain("all events", Access::Scan).await;
    let event = &some[50];
    let all = AuditFilter::default;
    for (what, filter) in [
        ("correlation ID", AuditFilter { correlation_id: Some(event.correlation_id.clone()), ..all() }),
        ("user", AuditFilter { user: event.subject, ..all() }),
        ("session", AuditFilter { session: event.session, ..all() }),
        ("operation", AuditFilter { operation: Some(Operation::UserLock.name().to_owned()), ..all() }),
        ("operations of a noun", AuditFilter { operation: Some("user.".to_owned()), ..all() }),
        ("time", AuditFilter { start: Some(START), end: Some(START + Duration::from_secs(2)), ..all() }),
    ] {
        assert!(!store.audit_events(&filter, None, 51).await.unwrap().is_empty(), "{what}");
        fixture.explain(what, Access::Search).await;
        let after = AuditPosition { time: START + Duration::from_secs(1), chain_number: 1, sequence: 100 };
        store.audit_events(&filter, Some(after), 51).await.unwrap();
        fixture.explain(&format!("{what}, a page further"), Access::Search).await;
    }
    for (what, filter) in [
        ("outcome", AuditFilter { outcome: Some(Outcome::Ok), ..all() }),
        ("caller", AuditFilter { caller: Some("shop".to_owned()), ..all() }),
    ] {
        store.audit_events(&filter, None, 51).await.unwrap();
        fixture.explain(what, Access::Scan).await;
    }
}

async fn changes(fixture: &Fixture) {
    let (store, row) = (&fixture.store, fixture.users[900].clone());
    let user: UserId = row.user_id;
    let session = fixture.sessions.iter().find(|session| session.user_id == row.user_id).unwrap().clone();
    let hash = fixture.hashes[17];
    let opening = store.write(|tx| {
        tx.record_event(event(1));
        Box::pin(async { Ok(()) })
    });
    opening.await.unwrap();
    fixture.explain("the first event of a chain", Access::Scan).await;
    let work = store.write(move |tx| {
        let (row, session) = (row.clone(), session.clone());
        Box::pin(async move {
            let now = tx.clock().now();
            tx.lock_user(user).await?;
            tx.count_unended_sessions(user, "default", now).await?;
            tx.live_sessions(user, "default", now).await?;
            tx.update_user(row.clone()).await?;
            let (token, _) = tx.lock_session_by_token(&hash).await?.expect("it is there");
            tx.session_entry(&token).await?;
            tx.replace_token(&token, now, vec![1]).await?;
            tx.insert_token(SessionTokenRow { token_hash: TokenHash([7; 32]), generation: 1, ..token }).await?;
            tx.renew_session(&session).await?;
            tx.attribute_count(user.uuid(), now).await?;
            tx.delete_attributes(user.uuid(), &["color".to_owned()], now).await?;
            tx.revoke_session(&session, RevokeReason::Logout, now).await?;
            tx.revoke_sessions_of_user(user, Some(session.session_id), RevokeReason::UserDeleted, now).await?;
            tx.delete_user(user).await?;
            tx.record_event(event(1));
            Ok(())
        })
    });
    work.await.unwrap();
    fixture.explain("what verbs do", Access::Search).await;
    store.activity().record(fixture.sessions[1].session_id, START + Duration::from_secs(9));
    store.activity().record(fixture.sessions[2].session_id, START + Duration::from_secs(9));
    store.flush_activity().await.unwrap();
    fixture.explain("activity", Access::Search).await;
}

async fn following(fixture: &Fixture) {
    let store = &fixture.store;
    let mut follower = store.follower(Duration::from_mins(1));
    follower.own = Some(store.conn.clone());
    follower.look().await.unwrap();
    let (session, user) = (fixture.sessions[40].clone(), fixture.users[41].clone());
    let work = store.write(move |tx| {
        let (session, user) = (session.clone(), user.clone());
        Box::pin(async move {
            tx.revoke_session(&session, RevokeReason::Logout, tx.clock().now()).await?;
            tx.update_user(user).await
        })
    });
    work.await.unwrap();
    fixture.recorded.lock().clear();
    follower.look().await.unwrap();
    assert!(fixture.recorded.lock().len() >= 3, "the feed, a session's tokens and a user's");
    fixture.explain("the change feed", Access::Search).await;
}

async fn purging(fixture: &Fixture) {
    let old = START + Duration::from_secs(3);
    fixture.store.clock().advance(Duration::from_secs(1));
    let purged = fixture.store.purge_batch(old, old, 20).await.unwrap();
    assert!(purged.changes > 0 && purged.successors > 0, "{purged:?}");
    fixture.explain("purging", Access::Search).await;
}

async fn none_reads_a_whole_table(fixture: Fixture) {
    reads(&fixture).await;
    credentials::all(&fixture).await;
    platforms::all(&fixture).await;
    links::all(&fixture).await;
    import::all(&fixture).await;
    definitions::all(&fixture).await;
    audit_filters(&fixture).await;
    changes(&fixture).await;
    following(&fixture).await;
    purging(&fixture).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_statement_reads_a_whole_table_of_sqlite() {
    none_reads_a_whole_table(Fixture::new(None).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_statement_reads_a_whole_table_of_postgresql() {
    none_reads_a_whole_table(Fixture::new(Some(postgres::shared().database())).await).await;
}

#[tokio::test]
async fn a_whole_table_is_noticed() {
    for postgres in [None, Some(postgres::shared().database())] {
        let fixture = Fixture::new(postgres).await;
        let backend = fixture.unrecorded.get_database_backend();
        let whole = Statement::from_string(backend, "SELECT * FROM session WHERE user_agent = 'none'");
        let plan = fixture.plan(&whole).await;
        let problem =
            if backend == DbBackend::Postgres { postgres_problem(&plan) } else { sqlite_problem(&plan, Access::Scan) };
        assert!(problem.is_some(), "{plan:?}");
    }
}
