//! `AuditService`.

use lanyard_proto::v1;
use lanyard_proto::v1::audit_service_server::AuditService;
use tonic::Request;

use super::convert;
use super::handler::{Handler, Reply};
use crate::model::audit::{AuditFilter, Outcome, StoredAuditEvent};

#[tonic::async_trait]
impl AuditService for Handler {
    async fn list_audit_events(
        &self,
        request: Request<v1::ListAuditEventsRequest>,
    ) -> Reply<v1::ListAuditEventsResponse> {
        self.run(request, |app, context, message| async move {
            let page = convert::page(message.page_size, &message.page_token)?;
            let filter = AuditFilter {
                correlation_id: convert::optional_text("correlation_id", &message.correlation_id)?,
                user: convert::optional_id("user_id", &message.user_id)?,
                session: convert::optional_id("session_id", &message.session_id)?,
                operation: convert::optional_text("operation", &message.operation)?,
                outcome: convert::optional_enum("outcome", message.outcome, outcome)?,
                caller: convert::optional_text("caller", &message.caller)?,
                start: convert::optional_time("start_time", message.start_time)?,
                end: convert::optional_time("end_time", message.end_time)?,
            };
            let acting = app.acting(&context, convert::acting(&message.ust, message.client.as_ref())).await?;
            let page = app.list_audit_events(&acting, filter, page).await?;
            Ok(v1::ListAuditEventsResponse {
                events: page.items.into_iter().map(event).collect(),
                next_page_token: page.next_page_token,
            })
        })
        .await
    }
}

fn outcome(outcome: v1::AuditOutcome) -> Option<Outcome> {
    match outcome {
        v1::AuditOutcome::Unspecified => None,
        v1::AuditOutcome::Ok => Some(Outcome::Ok),
        v1::AuditOutcome::Refused => Some(Outcome::Refused),
    }
}

fn event(event: StoredAuditEvent) -> v1::AuditEvent {
    let outcome = match event.outcome {
        Outcome::Ok => v1::AuditOutcome::Ok,
        Outcome::Refused => v1::AuditOutcome::Refused,
    };
    v1::AuditEvent {
        chain_id: event.chain_id.to_string(),
        sequence: u64::try_from(event.position.sequence).unwrap_or(0),
        time: Some(convert::timestamp(event.time)),
        correlation_id: event.correlation_id,
        operation: event.operation,
        outcome: outcome.into(),
        reason: event.reason,
        caller: event.caller,
        subject_user_id: event.subject.map(|user| user.to_string()).unwrap_or_default(),
        target_user_id: event.target.map(|user| user.to_string()).unwrap_or_default(),
        session_id: event.session.map(|session| session.to_string()).unwrap_or_default(),
        current_app: event.app,
        remote_addr: event.remote_addr,
        detail: event.detail,
    }
}
