//! The audit trail.

use crate::client::Subject;
use crate::page::Pages;
use crate::v1::ListAuditEventsRequest;

impl Subject {
    /// Audit events, newest first. Super-users only.
    pub fn list_audit_events(&self, request: ListAuditEventsRequest) -> Pages<ListAuditEventsRequest> {
        Pages::new(self.clone(), request)
    }
}
