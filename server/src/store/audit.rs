//! The audit trail: hash chains of events.
//!
//! Each server writes its own chains, as many as it can commit concurrently, so no writer waits for another's commit.
//! The MAC of an event covers the event and the MAC before it. The MAC of a chain's head covers its length. Chains are
//! numbered without gaps and chained to each other. So a changed, removed or moved row, a truncated chain and a removed
//! chain are detected. Forging MACs takes the audit key: write access to the database is not enough.

use std::sync::Arc;

use parking_lot::Mutex;
use sea_orm::sea_query::Expr;
use sea_orm::{
    ActiveValue::Set, ColumnTrait, ConnectionTrait, DbBackend, EntityTrait, IdenStatic, Iterable, Order, QueryFilter,
    QueryOrder, QuerySelect, QueryTrait, Statement, TryInsertResult, Value,
};
use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard, OwnedSemaphorePermit, Semaphore};
use uuid::Uuid;

use super::entity::{audit_chain, audit_event};
use super::transaction::Transaction;
use super::{Store, Tx, change, entity};
use crate::clock::Time;
use crate::crypto::Keyring;
use crate::error::{Error, Result};
use crate::model::audit::{AuditEvent, Outcome, Reason};
use crate::model::id::{Id, Kind};

mod search;
mod verify;

pub use verify::AuditProblem;

/// Attempts to take the next chain number while other replicas open chains too.
const OPENING_ATTEMPTS: usize = 100;
/// Columns of an event.
const COLUMNS: usize = 15;
/// Buffer size in bytes; fits most events.
const CANONICAL_SIZE: usize = 512;
/// Rows per statement. Only these sizes, so that prepared statements are reused.
const ROWS_AT_ONCE: [usize; 3] = [64, 8, 1];

/// The head of a chain that this server writes: where its events end.
struct Head {
    number: i64,
    key_id: u16,
    length: i64,
    last_mac: Vec<u8>,
}

/// The idle chains of this server.
pub(super) struct Chains {
    idle: Arc<Mutex<Vec<Head>>>,
    /// One permit per chain that may be written concurrently.
    slots: Arc<Semaphore>,
    /// Held while a chain is opened: two at once would take the same number.
    opening: Arc<AsyncMutex<()>>,
}

/// A chain held by one transaction.
pub(super) struct ChainLease {
    head: Option<Head>,
    idle: Arc<Mutex<Vec<Head>>>,
    slot: Option<OwnedSemaphorePermit>,
    opening: Option<OwnedMutexGuard<()>>,
}

impl ChainLease {
    /// Returns the chain for reuse. Unless the transaction certainly committed, the chain is abandoned: its end is
    /// unknown.
    pub(super) fn release(self, committed: bool) {
        if let Some(head) = self.head.filter(|_| committed) {
            self.idle.lock().push(head);
        }
    }
}

impl Chains {
    pub(super) fn new(count: usize) -> Self {
        Self { idle: Arc::default(), slots: Arc::new(Semaphore::new(count)), opening: Arc::default() }
    }

    /// Abandons the idle chains, because their ends are unknown. Only for the single writer of SQLite.
    pub(super) fn abandon(&self) {
        self.idle.lock().clear();
    }
}

impl Tx {
    /// Records an event, to be written on commit.
    pub fn record_event(&self, event: AuditEvent) {
        self.events.lock().push(event);
    }
}

impl Store<Transaction> {
    /// Writes events to a chain and changes to the feed. [`ChainLease::release`] returns the chain.
    ///
    /// Changes are written last: the follower relies on the transaction having its ID by then.
    pub(super) async fn write_events(
        &self,
        events: Vec<AuditEvent>,
        changes: Vec<entity::change::ActiveModel>,
    ) -> Result<ChainLease> {
        let backend = self.shared.backend;
        let chains = &self.shared.writer.chains;
        let mut lease = ChainLease { head: None, idle: Arc::clone(&chains.idle), slot: None, opening: None };
        if events.is_empty() {
            self.conn.execute_all(change::insert(backend, changes)).await?;
            return Ok(lease);
        }
        lease.slot = Some(Arc::clone(&chains.slots).acquire_owned().await.map_err(Error::internal)?);
        let idle = chains.idle.lock().pop();
        let mut head = if let Some(head) = idle {
            head
        } else {
            lease.opening = Some(Arc::clone(&chains.opening).lock_owned().await);
            self.open_chain().await?
        };
        let rows = chain_events(self.keyring(), &mut head, events)?;
        self.conn.execute_all(insert(backend, rows)).await?;
        self.conn.execute_raw(self.update_head(&head)?).await?;
        self.conn.execute_all(change::insert(backend, changes)).await?;
        lease.head = Some(head);
        Ok(lease)
    }

    /// The statement that stores the new head of a chain.
    fn update_head(&self, head: &Head) -> Result<Statement> {
        let update = audit_chain::Entity::update_many()
            .col_expr(audit_chain::Column::Length, Expr::value(head.length))
            .col_expr(audit_chain::Column::LastMac, Expr::value(head.last_mac.clone()))
            .col_expr(audit_chain::Column::HeadMac, Expr::value(head_mac(self.keyring(), head)?))
            .filter(audit_chain::Column::Number.eq(head.number));
        Ok(update.build(self.shared.backend))
    }

    /// Opens the next chain. Numbers have no gaps, so this waits for other replicas' uncommitted chains.
    async fn open_chain(&self) -> Result<Head> {
        for _ in 0..OPENING_ATTEMPTS {
            let now = self.clock().now();
            // A removed chain may leave events: its number stays taken, or every write would fail.
            // Read before the chains, so that concurrent writes of another replica do not look like that.
            let last_event = audit_event::Entity::find()
                .select_only()
                .column(audit_event::Column::ChainNumber)
                .order_by(audit_event::Column::ChainNumber, Order::Desc)
                .into_tuple::<i64>()
                .one(&self.conn)
                .await?;
            let before =
                audit_chain::Entity::find().order_by(audit_chain::Column::Number, Order::Desc).one(&self.conn).await?;
            let last_chain = before.as_ref().map(|chain| chain.number);
            let number = std::cmp::max(last_chain, last_event).unwrap_or(0) + 1;
            let key_id = self.keyring().current_audit_key();
            let chain_id = Id::<ChainKind>::new(now).uuid();
            let previous = before.map(|chain| chain.first_mac).unwrap_or_default();
            let first_mac = first_mac(self.keyring(), key_id, number, chain_id, now, &previous)?;
            let head = Head { number, key_id, length: 0, last_mac: first_mac.clone() };
            let row = audit_chain::ActiveModel {
                number: Set(number),
                chain_id: Set(chain_id),
                key_id: Set(i32::from(key_id)),
                created_at: Set(now),
                first_mac: Set(first_mac.clone()),
                length: Set(0),
                last_mac: Set(first_mac),
                head_mac: Set(head_mac(self.keyring(), &head)?),
            };
            let inserted = audit_chain::Entity::insert(row)
                .on_conflict_do_nothing_on([audit_chain::Column::Number])
                .exec_without_returning(&self.conn)
                .await?;
            if matches!(inserted, TryInsertResult::Inserted(1..)) {
                return Ok(head);
            }
            // Another replica took the number: try the next one.
        }
        Err(Error::WriteConflict)
    }
}

/// Marker type of chain IDs.
enum ChainKind {}

impl Kind for ChainKind {
    const PREFIX: &'static str = "chn_";
}

const fn outcome_number(outcome: Outcome) -> i16 {
    match outcome {
        Outcome::Ok => 1,
        Outcome::Refused => 2,
    }
}

fn chain_events(keyring: &Keyring, head: &mut Head, events: Vec<AuditEvent>) -> Result<Vec<audit_event::Model>> {
    let mut rows = Vec::with_capacity(events.len());
    for event in events {
        head.length += 1;
        let outcome = outcome_number(event.outcome());
        let mut row = audit_event::Model {
            chain_number: head.number,
            sequence: head.length,
            time: event.time,
            correlation_id: event.correlation_id,
            operation: event.operation.name().to_owned(),
            outcome,
            reason: event.reason.map_or("", Reason::name).to_owned(),
            caller: event.caller,
            subject_user_id: event.subject,
            target_user_id: event.target,
            session_id: event.session,
            app: event.app,
            remote_addr: event.remote_addr,
            detail: event.detail,
            mac: Vec::new(),
        };
        row.mac = event_mac(keyring, head.key_id, &head.last_mac, &row)?;
        head.last_mac.clone_from(&row.mac);
        rows.push(row);
    }
    Ok(rows)
}

/// The statements that insert the rows. Built by hand: reads produce thousands of rows, and the query builder would
/// take longer than the database.
fn insert(backend: DbBackend, rows: Vec<audit_event::Model>) -> impl Iterator<Item = Statement> {
    let mut rows = rows.into_iter();
    std::iter::from_fn(move || {
        let count = ROWS_AT_ONCE.into_iter().find(|count| *count <= rows.len())?;
        let values = rows.by_ref().take(count).flat_map(values);
        Some(Statement::from_sql_and_values(backend, insert_statement(backend, count), values))
    })
}

/// The first row takes its chain number from `audit_chain`. If the chain was removed, that is NULL, which the table
/// rejects, and the next transaction opens another chain.
fn insert_statement(backend: DbBackend, rows: usize) -> String {
    use std::fmt::Write as _;

    let columns: Vec<_> = audit_event::Column::iter().map(|column| column.as_str().to_owned()).collect();
    let mut sql = format!("INSERT INTO audit_event ({}) VALUES ", columns.join(", "));
    for index in 0..rows * columns.len() {
        sql.push_str(match (index % columns.len(), index) {
            (0, 0) => "((SELECT number FROM audit_chain WHERE number = ",
            (0, _) => "), (",
            _ => ", ",
        });
        match backend {
            // SQLite looks up numbered parameters by name, one after the other.
            DbBackend::Sqlite => sql.push('?'),
            _ => drop(write!(sql, "${}", index + 1)),
        }
        if index == 0 {
            sql.push(')');
        }
    }
    sql.push(')');
    sql
}

/// In column order.
fn values(row: audit_event::Model) -> [Value; COLUMNS] {
    [
        row.chain_number.into(),
        row.sequence.into(),
        row.time.into(),
        row.correlation_id.into(),
        row.operation.into(),
        row.outcome.into(),
        row.reason.into(),
        row.caller.into(),
        row.subject_user_id.into(),
        row.target_user_id.into(),
        row.session_id.into(),
        row.app.into(),
        row.remote_addr.into(),
        row.detail.into(),
        row.mac.into(),
    ]
}

/// Length-prefixed fields, so that no two rows have the same encoding.
struct Canonical(Vec<u8>);

impl Default for Canonical {
    fn default() -> Self {
        Self(Vec::with_capacity(CANONICAL_SIZE))
    }
}

impl Canonical {
    fn with(mut self, part: &[u8]) -> Self {
        self.0.extend_from_slice(&(part.len() as u64).to_be_bytes());
        self.0.extend_from_slice(part);
        self
    }

    fn number(self, number: i64) -> Self {
        self.with(&number.to_be_bytes())
    }

    fn time(self, time: Time) -> Self {
        self.number(time.micros())
    }

    fn id<K>(self, id: Option<Id<K>>) -> Self {
        self.with(id.as_ref().map_or(&[][..], |id| id.as_bytes()))
    }

    fn mac(self, keyring: &Keyring, key_id: u16) -> Result<Vec<u8>> {
        let mac = keyring.audit_mac(key_id, &self.0);
        mac.map(Vec::from).ok_or_else(|| Error::internal(format!("audit key {key_id} is not in the key file")))
    }
}

fn first_mac(keyring: &Keyring, key_id: u16, number: i64, id: Uuid, created: Time, previous: &[u8]) -> Result<Vec<u8>> {
    Canonical::default()
        .with(b"chain")
        .number(number)
        .with(id.as_bytes())
        .time(created)
        .with(previous)
        .mac(keyring, key_id)
}

fn head_mac(keyring: &Keyring, head: &Head) -> Result<Vec<u8>> {
    Canonical::default()
        .with(b"head")
        .number(head.number)
        .number(head.length)
        .with(&head.last_mac)
        .mac(keyring, head.key_id)
}

fn event_mac(keyring: &Keyring, key_id: u16, before: &[u8], row: &audit_event::Model) -> Result<Vec<u8>> {
    Canonical::default()
        .with(b"event")
        .with(before)
        .number(row.chain_number)
        .number(row.sequence)
        .time(row.time)
        .with(row.correlation_id.as_bytes())
        .with(row.operation.as_bytes())
        .number(i64::from(row.outcome))
        .with(row.reason.as_bytes())
        .with(row.caller.as_bytes())
        .id(row.subject_user_id)
        .id(row.target_user_id)
        .id(row.session_id)
        .with(row.app.as_bytes())
        .with(row.remote_addr.as_bytes())
        .with(row.detail.as_bytes())
        .mac(keyring, key_id)
}
