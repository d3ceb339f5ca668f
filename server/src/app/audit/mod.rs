//! Audit events: building and writing them, which reads are audited, and listing them.

pub(in crate::app) mod throttled;

use super::App;
use super::client::{Acting, Client};
use super::page::{Page, PageRequest, Query};
use crate::clock::{Clock, Time};
use crate::config::AuditReads;
use crate::error::{Error, Result};
use crate::model::audit::{AuditEvent, AuditFilter, AuditPosition, Operation, Reason, StoredAuditEvent};
use crate::model::id::{SessionId, UserId};

/// Maximum wait for queued events to be written before events are listed.
const FLUSH_LIMIT: std::time::Duration = std::time::Duration::from_secs(1);

/// An event under construction.
#[derive(Clone, Debug)]
pub(in crate::app) struct Event {
    event: AuditEvent,
}

impl Event {
    /// An event without an acting user.
    pub(in crate::app) fn new(client: &Client<'_>, operation: Operation) -> Self {
        Self {
            event: AuditEvent {
                time: Time::default(),
                correlation_id: client.context.correlation_id.to_string(),
                operation,
                reason: None,
                caller: client.context.caller.name.clone(),
                subject: None,
                target: None,
                session: None,
                app: client.app.name.to_string(),
                remote_addr: client.remote_addr.to_string(),
                detail: String::new(),
            },
        }
    }

    /// An event of the acting user, in their session.
    pub(in crate::app) fn by(acting: &Acting<'_>, operation: Operation) -> Self {
        Self::new(&acting.client, operation).subject(acting.user()).session(acting.session.session_id)
    }

    pub(in crate::app) fn subject(mut self, user: UserId) -> Self {
        self.event.subject = Some(user);
        self
    }

    pub(in crate::app) fn target(mut self, user: impl Into<Option<UserId>>) -> Self {
        self.event.target = user.into();
        self
    }

    /// Overrides the session of the acting user, if given.
    pub(in crate::app) fn session(mut self, session: impl Into<Option<SessionId>>) -> Self {
        self.event.session = session.into().or(self.event.session);
        self
    }

    /// Names and counts, never a secret.
    #[expect(clippy::needless_pass_by_value, reason = "callers write json!(..) in place")]
    pub(in crate::app) fn detail(mut self, detail: serde_json::Value) -> Self {
        self.event.detail = detail.to_string();
        self
    }

    /// The same event for an accompanying operation.
    pub(in crate::app) fn operation(mut self, operation: Operation) -> Self {
        self.event.operation = operation;
        self
    }

    pub(in crate::app) fn refused(mut self, reason: Reason) -> Self {
        self.event.reason = Some(reason);
        self
    }

    /// Sets the time at which it is written.
    fn at(mut self, clock: &Clock) -> AuditEvent {
        self.event.time = clock.now();
        self.event
    }
}

impl crate::store::Tx {
    pub(in crate::app) fn audit(&self, event: Event) {
        self.record_event(event.at(self.clock()));
    }
}

impl App {
    /// Writes an event on its own, in a transaction.
    pub(in crate::app) async fn write_event(&self, event: Event) -> Result<()> {
        self.parts
            .store
            .write(move |tx| {
                tx.audit(event.clone());
                Box::pin(async { Ok(()) })
            })
            .await
    }

    /// Fails for regular users, before anything is read, and audits the attempt.
    pub(in crate::app) async fn require_super_user(
        &self,
        acting: &Acting<'_>,
        operation: Operation,
        target: Option<UserId>,
        session: Option<SessionId>,
    ) -> Result<()> {
        if acting.is_super_user() {
            return Ok(());
        }
        let event = Event::by(acting, operation).refused(Reason::SuperUserRequired);
        self.write_event(event.target(target).session(session)).await?;
        Err(Error::SuperUserRequired)
    }

    /// Audits a super-user's read of someone else's data.
    pub(in crate::app) async fn audit_read(
        &self,
        acting: &Acting<'_>,
        operation: Operation,
        target: Option<UserId>,
        session: Option<SessionId>,
    ) -> Result<()> {
        self.audit_read_event(Event::by(acting, operation).target(target).session(session)).await
    }

    /// Audits a read of someone else's data if configured.
    pub(in crate::app) async fn audit_read_event(&self, event: Event) -> Result<()> {
        if self.parts.audit_reads == AuditReads::None {
            return Ok(());
        }
        self.parts.store.record_read(event.at(&self.parts.clock)).await
    }

    /// The event of a user's read of their own data, if configured.
    pub(in crate::app) fn own_read_event(&self, acting: &Acting<'_>, operation: Operation) -> Option<AuditEvent> {
        (self.parts.audit_reads == AuditReads::All)
            .then(|| Event::by(acting, operation).target(acting.user()).at(&self.parts.clock))
    }

    /// Audits a user's read of their own data if configured.
    pub(in crate::app) async fn audit_own_read(
        &self,
        acting: &Acting<'_>,
        operation: Operation,
        session: Option<SessionId>,
    ) -> Result<()> {
        if self.parts.audit_reads != AuditReads::All {
            return Ok(());
        }
        self.audit_read(acting, operation, Some(acting.user()), session).await
    }

    /// Waits until events of reads and throttled logins so far are written, but at most for `limit`.
    pub async fn flush_audit(&self, limit: std::time::Duration) {
        self.write_throttled().await;
        self.parts.store.flush_reads(limit).await;
    }

    /// One page of events, newest first.
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn list_audit_events(
        &self,
        acting: &Acting<'_>,
        filter: AuditFilter,
        page: PageRequest<'_>,
    ) -> Result<Page<StoredAuditEvent>> {
        self.require_super_user(acting, Operation::AuditList, filter.user, filter.session).await?;
        let now = self.parts.clock.now();
        let query = Query::new("audit", acting.user(), &format!("{filter:?}"));
        let after = page.cursor(&self.parts.keyring, &query, now)?;
        let after = after.map(|bytes| read_position(&bytes).ok_or(Error::PageTokenInvalid)).transpose()?;
        // The list includes reads and throttled logins that came before it.
        self.flush_audit(FLUSH_LIMIT).await;
        let events = self.parts.store.audit_events(&filter, after, page.limit() + 1).await?;
        self.audit_read(acting, Operation::AuditList, filter.user, filter.session).await?;
        Ok(page.take(events, |event| write_position(&event.position), &self.parts.keyring, &query, now))
    }
}

fn write_position(position: &AuditPosition) -> Vec<u8> {
    [position.time.micros(), position.chain_number, position.sequence]
        .iter()
        .flat_map(|part| part.to_be_bytes())
        .collect()
}

fn read_position(bytes: &[u8]) -> Option<AuditPosition> {
    let (parts, rest) = bytes.as_chunks::<8>();
    let [time, chain_number, sequence] = parts else { return None };
    rest.is_empty().then(|| AuditPosition {
        time: Time::from_micros(i64::from_be_bytes(*time)),
        chain_number: i64::from_be_bytes(*chain_number),
        sequence: i64::from_be_bytes(*sequence),
    })
}
