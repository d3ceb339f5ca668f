//! Reading answers: what a refusal, a verdict or an event says, or a panic that shows what came instead.

use std::time::Duration;

use lanyard_client::v1::ClientInfo;
use lanyard_client::{Client, Code, Error, ErrorReason, InactiveReason, RevokeReason, Ust, Verdict};
use lanyard_server::model::audit::{AuditFilter, StoredAuditEvent};
use lanyard_server::store::UserRow;

use super::server::{Person, TestServer};

/// The precision of time: what is good just before a limit is not good a moment later.
pub const MOMENT: Duration = Duration::from_micros(1);

/// A moment less.
///
/// # Panics
/// If it is nothing already.
pub fn just_before(duration: Duration) -> Duration {
    duration.checked_sub(MOMENT).expect("more than nothing")
}

/// Of an answer that must be a refusal.
pub trait Refused {
    /// The refusal.
    ///
    /// # Panics
    /// If it was done.
    fn refusal(self) -> Error;

    /// Why.
    ///
    /// # Panics
    /// If it was done.
    fn reason(self) -> ErrorReason
    where
        Self: Sized,
    {
        self.refusal().reason
    }

    /// The field that was not good.
    ///
    /// # Panics
    /// If it was done, or refused for something else.
    fn bad_field(self) -> String
    where
        Self: Sized,
    {
        let refusal = self.refusal();
        assert_eq!(refusal.code, Code::InvalidArgument, "{refusal}");
        refusal.field_violations.first().unwrap_or_else(|| panic!("{refusal} names no field")).field.clone()
    }
}

impl<T> Refused for Result<T, Error> {
    fn refusal(self) -> Error {
        match self {
            Ok(_) => panic!("it was not refused"),
            Err(error) => error,
        }
    }
}

/// Where a user is.
pub fn at(app: &str, address: &str) -> ClientInfo {
    ClientInfo { current_app: app.to_owned(), remote_addr: address.to_owned(), ..ClientInfo::default() }
}

/// Is the token good? Not counted as activity.
///
/// # Panics
/// If there is no verdict.
pub async fn is_active(client: &Client, ust: &Ust) -> bool {
    matches!(client.peek(ust).await.expect("a verdict"), Verdict::Active(_))
}

/// Why the token is not good.
///
/// # Panics
/// If it is, or if there is no verdict.
pub async fn why_inactive(client: &Client, ust: &Ust) -> (InactiveReason, RevokeReason) {
    let inactive = client.peek(ust).await.expect("a verdict").into_session().expect_err("not good");
    (inactive.reason, inactive.revoke_reason)
}

/// What a verdict on a session says that was revoked.
pub const fn revoked(reason: RevokeReason) -> (InactiveReason, RevokeReason) {
    (InactiveReason::Revoked, reason)
}

/// What a verdict on a session says that was not revoked.
pub const fn not_revoked(reason: InactiveReason) -> (InactiveReason, RevokeReason) {
    (reason, RevokeReason::Unspecified)
}

/// The audit events that match, newest first, read beside the service: reading writes none.
///
/// # Panics
/// If the trail cannot be read.
pub async fn events(server: &TestServer, filter: AuditFilter) -> Vec<StoredAuditEvent> {
    let found = server.within(|app| async move {
        app.flush_audit(Duration::from_secs(10)).await;
        app.store().audit_events(&filter, None, 10_000).await
    });
    let found = found.await;
    found.expect("the trail can be read")
}

/// The audit events of an operation, newest first.
pub async fn events_of(server: &TestServer, operation: &str) -> Vec<StoredAuditEvent> {
    events(server, AuditFilter { operation: Some(operation.to_owned()), ..AuditFilter::default() }).await
}

/// Operation, outcome and reason of an event.
pub fn said(event: &StoredAuditEvent) -> (&str, &str) {
    (&event.operation, &event.reason)
}

/// A user as stored, with the secrets.
///
/// # Panics
/// If there is none.
pub async fn stored_user(server: &TestServer, person: &Person) -> UserRow {
    let id = person.user_id.parse().expect("an ID");
    let row = server.within(move |app| async move { app.store().user(id).await }).await;
    row.expect("it can be read").expect("it is there")
}
