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
struct Ground {
    store: Store,
    /// Not recorded.
    own: DatabaseConnection,
    heard: Arc<Mutex<Vec<Statement>>>,
    users: Vec<UserRow>,
    sessions: Vec<SessionRow>,
    hashes: Vec<TokenHash>,
    _folder: tempfile::TempDir,
    _postgres: Option<postgres::Database>,
}

impl Ground {
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
        let own = first.shared.writer.conn().clone();

        let heard = Arc::<Mutex<Vec<Statement>>>::default();
        let mut conn = Database::connect(if postgres.is_some() {
            config.connect_options()
        } else {
            sqlite::options(&config, 1, false)
        })
        .await
        .unwrap();
        let hook = Arc::clone(&heard);
        conn.set_metric_callback(move |info| hook.lock().push(info.statement.clone()));
        let mut writer = write::Writer::new(conn.clone(), &config);
        let hook = Arc::clone(&heard);
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
        let mut ground = Self {
            store,
            own,
            heard,
            users: Vec::new(),
            sessions: Vec::new(),
            hashes: Vec::new(),
            _folder: folder,
            _postgres: postgres,
        };
        ground.fill(&first).await;
        ground
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
        credentials::fill(store, &self.own, &self.sessions).await;
        platforms::fill(store, &self.sessions).await;
        // Most tokens were replaced long ago; few still have a successor.
        let replaced = format!("UPDATE session_token SET grace_until = {}", START.micros());
        self.own.execute_unprepared(&replaced).await.unwrap();
        self.own.execute_unprepared("ANALYZE").await.unwrap();
    }

    fn is_postgres(&self) -> bool {
        self.store.is_postgres()
    }

    /// Explains the statements recorded since the last call; fails if one scans a large table.
    async fn explain(&self, what: &str, way: Way) {
        let heard = std::mem::take(&mut *self.heard.lock());
        let looking = |statement: &&Statement| !statement.sql.starts_with("INSERT");
        assert!(heard.iter().any(|statement| looking(&statement)), "{what}: nothing was asked");
        for statement in heard.iter().filter(looking) {
            let plan = self.plan(statement).await;
            let problem = if self.is_postgres() { postgres_problem(&plan) } else { sqlite_problem(&plan, way) };
            let plan = plan.join("\n");
            assert_eq!(problem, None, "{what}\n{}\n{plan}", statement.sql);
        }
    }

    async fn plan(&self, statement: &Statement) -> Vec<String> {
        let explain = if self.is_postgres() { "EXPLAIN" } else { "EXPLAIN QUERY PLAN" };
        let mut statement = statement.clone();
        statement.sql = format!("{explain} {}", statement.sql);
        let column = if self.is_postgres() { "QUERY PLAN" } else { "detail" };
        let rows = self.own.query_all_raw(statement).await.unwrap();
        rows.iter().map(|row| row.try_get::<String>("", column).unwrap()).collect()
    }
}

/// How a statement may find its rows.
#[derive(Clone, Copy, PartialEq)]
enum Way {
    /// Index search by a key.
    Found,
    /// Index scan in order, until the page is full.
    Walked,
}

fn sqlite_problem(plan: &[String], way: Way) -> Option<String> {
    let is_large = |line: &&String| LARGE.iter().any(|table| line.starts_with(&format!("SCAN {table}")));
    let is_fine = |line: &&String| way == Way::Walked && line.contains("USING") && line.contains("INDEX");
    plan.iter().filter(is_large).find(|line| !is_fine(line)).cloned()
}

fn postgres_problem(plan: &[String]) -> Option<String> {
    let is_whole = |line: &&String| {
        line.split_once("Seq Scan on ").is_some_and(|(_, rest)| {
            let table = rest.split_whitespace().next().unwrap_or_default().trim_matches('"');
            LARGE.contains(&table)
        })
    };
    plan.iter().find(is_whole).cloned()
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

async fn reads(ground: &Ground) {
    use Way::{Found, Walked};

    let (store, user) = (&ground.store, ground.users[700].user_id);
    store.session_by_token(&ground.hashes[5]).await.unwrap().unwrap();
    ground.explain("a token", Found).await;
    assert_eq!(store.sessions_by_token(&ground.hashes[..10]).await.unwrap().len(), 10);
    ground.explain("ten tokens", Found).await;
    store.session(ground.sessions[3].session_id).await.unwrap().unwrap();
    ground.explain("a session", Found).await;

    let of_user = SessionFilter { user: Some(user), ..SessionFilter::default() };
    assert_eq!(store.sessions(&of_user, None, 51).await.unwrap().len(), 4);
    ground.explain("a user's sessions", Found).await;
    let live = SessionFilter { revoked: Some(false), expired: Some((false, START)), ..of_user.clone() };
    let after = Some(ground.sessions[0].session_id);
    store.sessions(&live, after, 51).await.unwrap();
    ground.explain("a user's live sessions, a page further", Found).await;
    let of_app = SessionFilter { app: Some("default".to_owned()), ..SessionFilter::default() };
    store.sessions(&of_app, after, 51).await.unwrap();
    ground.explain("an app's sessions", Walked).await;
    store.sessions(&SessionFilter::default(), None, 51).await.unwrap();
    ground.explain("all sessions", Walked).await;

    store.user(user).await.unwrap().unwrap();
    store.user_by_name("user700").await.unwrap().unwrap();
    ground.explain("a user", Found).await;
    let some = ground.users[..5].iter().map(|user| user.user_id);
    assert!(store.super_users_among(some).await.unwrap().is_empty());
    ground.explain("super-users among some", Found).await;
    store.users(&UserFilter::default(), Some(user), 51).await.unwrap();
    ground.explain("users, a page further", Walked).await;
    store.users(&UserFilter { is_locked: Some(false), ..UserFilter::default() }, None, 51).await.unwrap();
    ground.explain("users that are not locked", Walked).await;
    store.attributes(user.uuid(), &[], Some("a"), START, 51).await.unwrap();
    ground.explain("attributes", Found).await;
}

async fn audit_filters(ground: &Ground) {
    let store = &ground.store;
    let some = store.audit_events(&AuditFilter::default(), None, 51).await.unwrap();
    ground.explain("all events", Way::Walked).await;
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
        ground.explain(what, Way::Found).await;
        let after = AuditPosition { time: START + Duration::from_secs(1), chain_number: 1, sequence: 100 };
        store.audit_events(&filter, Some(after), 51).await.unwrap();
        ground.explain(&format!("{what}, a page further"), Way::Found).await;
    }
    for (what, filter) in [
        ("outcome", AuditFilter { outcome: Some(Outcome::Ok), ..all() }),
        ("caller", AuditFilter { caller: Some("shop".to_owned()), ..all() }),
    ] {
        store.audit_events(&filter, None, 51).await.unwrap();
        ground.explain(what, Way::Walked).await;
    }
}

async fn changes(ground: &Ground) {
    let (store, row) = (&ground.store, ground.users[900].clone());
    let user: UserId = row.user_id;
    let session = ground.sessions.iter().find(|session| session.user_id == row.user_id).unwrap().clone();
    let hash = ground.hashes[17];
    let opening = store.write(|tx| {
        tx.record_event(event(1));
        Box::pin(async { Ok(()) })
    });
    opening.await.unwrap();
    ground.explain("the first event of a chain", Way::Walked).await;
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
    ground.explain("what verbs do", Way::Found).await;
    store.activity().record(ground.sessions[1].session_id, START + Duration::from_secs(9));
    store.activity().record(ground.sessions[2].session_id, START + Duration::from_secs(9));
    store.flush_activity().await.unwrap();
    ground.explain("activity", Way::Found).await;
}

async fn following(ground: &Ground) {
    let store = &ground.store;
    let mut follower = store.follower(Duration::from_mins(1));
    follower.own = Some(store.conn.clone());
    follower.look().await.unwrap();
    let (session, user) = (ground.sessions[40].clone(), ground.users[41].clone());
    let work = store.write(move |tx| {
        let (session, user) = (session.clone(), user.clone());
        Box::pin(async move {
            tx.revoke_session(&session, RevokeReason::Logout, tx.clock().now()).await?;
            tx.update_user(user).await
        })
    });
    work.await.unwrap();
    ground.heard.lock().clear();
    follower.look().await.unwrap();
    assert!(ground.heard.lock().len() >= 3, "the feed, a session's tokens and a user's");
    ground.explain("the change feed", Way::Found).await;
}

async fn purging(ground: &Ground) {
    let old = START + Duration::from_secs(3);
    ground.store.clock().advance(Duration::from_secs(1));
    let purged = ground.store.purge_batch(old, old, 20).await.unwrap();
    assert!(purged.changes > 0 && purged.successors > 0, "{purged:?}");
    ground.explain("purging", Way::Found).await;
}

async fn none_reads_a_whole_table(ground: Ground) {
    reads(&ground).await;
    credentials::all(&ground).await;
    platforms::all(&ground).await;
    links::all(&ground).await;
    import::all(&ground).await;
    definitions::all(&ground).await;
    audit_filters(&ground).await;
    changes(&ground).await;
    following(&ground).await;
    purging(&ground).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_statement_reads_a_whole_table_of_sqlite() {
    none_reads_a_whole_table(Ground::new(None).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_statement_reads_a_whole_table_of_postgresql() {
    none_reads_a_whole_table(Ground::new(Some(postgres::shared().database())).await).await;
}

#[tokio::test]
async fn a_whole_table_is_noticed() {
    for postgres in [None, Some(postgres::shared().database())] {
        let ground = Ground::new(postgres).await;
        let backend = ground.own.get_database_backend();
        let whole = Statement::from_string(backend, "SELECT * FROM session WHERE user_agent = 'none'");
        let plan = ground.plan(&whole).await;
        let problem =
            if backend == DbBackend::Postgres { postgres_problem(&plan) } else { sqlite_problem(&plan, Way::Walked) };
        assert!(problem.is_some(), "{plan:?}");
    }
}
