//! Why a call failed.

use std::fmt;
use std::time::Duration;

use lanyard_proto::{CORRELATION_ID_HEADER, ERROR_DOMAIN};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, FieldViolation, StatusExt as _};

use crate::correlation::CorrelationId;
use crate::v1::ErrorReason;

/// Why a call failed. Decide by `reason`; where that is `Unspecified` (the connection failed, something between here and the server
/// answered, or the server is newer than this client), by `code`.
#[derive(Clone)]
#[non_exhaustive]
pub struct Error {
    /// The reason, one of the contract's list.
    pub reason: ErrorReason,
    /// The gRPC status code.
    pub code: Code,
    /// For people; may change at any time.
    pub message: String,
    /// Find the call in logs, traces and the audit trail by it.
    pub correlation_id: CorrelationId,
    /// Which fields were refused, and why.
    pub field_violations: Vec<FieldViolation>,
    /// How long the server asks to wait before trying again.
    pub retry_after: Option<Duration>,
    /// The number that a platform gives its error, where the call failed for one.
    pub upstream_code: Option<i64>,
    status: Status,
}

impl Error {
    pub(crate) fn from_status(status: Status, sent: &CorrelationId) -> Self {
        let details = status.get_error_details();
        Self {
            reason: if has_timed_out(&status) { ErrorReason::DeadlineExceeded } else { reason(&details) },
            code: code(&status),
            message: message(&status),
            correlation_id: correlation_id(&status, &details).unwrap_or_else(|| sent.clone()),
            retry_after: details.retry_info().and_then(|info| info.retry_delay),
            upstream_code: upstream_code(&details),
            field_violations: details.bad_request().map(|bad| bad.field_violations.clone()).unwrap_or_default(),
            status,
        }
    }

    pub(crate) fn deadline_exceeded(sent: &CorrelationId) -> Self {
        let status = Status::deadline_exceeded("no answer within the deadline");
        Self { reason: ErrorReason::DeadlineExceeded, ..Self::from_status(status, sent) }
    }

    /// The server answered OK and yet not what the contract says.
    pub(crate) fn incomplete_answer(missing: &str, sent: &CorrelationId) -> Self {
        Self::from_status(Status::internal(format!("the answer has no {missing}")), sent)
    }

    /// The acting user's token is not good: they must log in again.
    pub fn is_session_invalid(&self) -> bool {
        self.reason == ErrorReason::SessionInvalid
    }

    /// No such session, user or attribute, or not one that the acting user may see.
    pub fn is_not_found(&self) -> bool {
        self.code == Code::NotFound
    }

    /// The server could not be reached or cannot answer now. It says nothing about any session.
    pub fn is_unavailable(&self) -> bool {
        self.code == Code::Unavailable
    }
}

/// Only what Lanyard itself says is a reason of Lanyard; a proxy may send an `ErrorInfo` of its own.
fn reason(details: &ErrorDetails) -> ErrorReason {
    match details.error_info() {
        Some(info) if info.domain == ERROR_DOMAIN => ErrorReason::from_reason(&info.reason),
        _ => ErrorReason::Unspecified,
    }
}

fn upstream_code(details: &ErrorDetails) -> Option<i64> {
    let info = details.error_info().filter(|info| info.domain == ERROR_DOMAIN)?;
    info.metadata.get("upstream_code")?.parse().ok()
}

/// tonic reports a connection that broke under a call as UNKNOWN or CANCELLED, and its own timeout as CANCELLED.
fn code(status: &Status) -> Code {
    let from_transport = std::error::Error::source(status).is_some();
    match status.code() {
        Code::Cancelled if has_timed_out(status) => Code::DeadlineExceeded,
        Code::Unknown | Code::Cancelled if from_transport => Code::Unavailable,
        code => code,
    }
}

fn has_timed_out(status: &Status) -> bool {
    std::iter::successors(std::error::Error::source(status), |error| error.source())
        .any(<dyn std::error::Error>::is::<tonic::TimeoutExpired>)
}

fn message(status: &Status) -> String {
    if status.message().is_empty() { status.code().description().to_owned() } else { status.message().to_owned() }
}

/// The server replaces an ID that it cannot take, so its word counts before what was sent.
fn correlation_id(status: &Status, details: &ErrorDetails) -> Option<CorrelationId> {
    let in_details = details.request_info().and_then(|info| info.request_id.parse().ok());
    in_details.or_else(|| status.metadata().get(CORRELATION_ID_HEADER)?.to_str().ok()?.parse().ok())
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (", self.message)?;
        match self.reason {
            ErrorReason::Unspecified => write!(f, "{:?}", self.code)?,
            reason => f.write_str(reason.reason())?,
        }
        for violation in &self.field_violations {
            write!(f, ", {}: {}", violation.field, violation.description)?;
        }
        write!(f, ", correlation ID {})", self.correlation_id)
    }
}

impl fmt::Debug for Error {
    /// Without the status: its details are bytes that are decoded here already.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("reason", &self.reason)
            .field("code", &self.code)
            .field("message", &self.message)
            .field("correlation_id", &self.correlation_id)
            .field("field_violations", &self.field_violations)
            .field("retry_after", &self.retry_after)
            .field("upstream_code", &self.upstream_code)
            .field("source", &std::error::Error::source(self))
            .finish_non_exhaustive()
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        std::error::Error::source(&self.status)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent() -> CorrelationId {
        "sent-id".parse().unwrap()
    }

    fn error(code: Code, message: &str, details: ErrorDetails) -> Error {
        Error::from_status(Status::with_error_details(code, message, details), &sent())
    }

    #[test]
    fn everything_that_a_refusal_says_is_decoded() {
        let mut details = ErrorDetails::with_error_info("INVALID_FIELD", ERROR_DOMAIN, []);
        details.set_request_info("server-id", "");
        details.add_bad_request_violation("user.username", "must not be empty");
        details.set_retry_info(Some(Duration::from_millis(250)));
        let error = error(Code::InvalidArgument, "a field is not good", details);

        assert_eq!(error.reason, ErrorReason::InvalidField);
        assert_eq!(error.code, Code::InvalidArgument);
        assert_eq!(error.message, "a field is not good");
        assert_eq!(error.correlation_id.as_str(), "server-id");
        assert_eq!(error.field_violations[0].field, "user.username");
        assert_eq!(error.retry_after, Some(Duration::from_millis(250)));
        assert_eq!(
            error.to_string(),
            "a field is not good (INVALID_FIELD, user.username: must not be empty, correlation ID server-id)"
        );
    }

    #[test]
    fn the_number_of_a_platforms_error_is_told() {
        let details = |domain, code| ErrorDetails::with_error_info("PLATFORM_BUSY", domain, [("upstream_code", code)]);
        let told = |details| error(Code::ResourceExhausted, "busy", details).upstream_code;
        assert_eq!(told(details(ERROR_DOMAIN, "1037")), Some(1037));
        assert_eq!(told(details(ERROR_DOMAIN, "many")), None);
        assert_eq!(told(details("proxy.example", "1037")), None);
        assert_eq!(told(ErrorDetails::new()), None);
    }

    #[test]
    fn a_reason_of_another_domain_or_of_the_future_is_unspecified() {
        let of_a_proxy = ErrorDetails::with_error_info("LOGIN_FAILED", "proxy.example", []);
        assert_eq!(error(Code::Unauthenticated, "no", of_a_proxy).reason, ErrorReason::Unspecified);
        let of_the_future = ErrorDetails::with_error_info("FROM_THE_FUTURE", ERROR_DOMAIN, []);
        assert_eq!(error(Code::Unauthenticated, "no", of_the_future).reason, ErrorReason::Unspecified);
    }

    #[test]
    fn a_status_without_details_keeps_its_code_and_the_id_that_was_sent() {
        let error = Error::from_status(Status::new(Code::Unavailable, ""), &sent());
        assert_eq!((error.reason, error.code), (ErrorReason::Unspecified, Code::Unavailable));
        assert!(error.is_unavailable());
        assert_eq!(error.to_string(), "The service is currently unavailable (Unavailable, correlation ID sent-id)");
    }

    #[test]
    fn the_id_of_the_metadata_counts_where_the_details_have_none_and_a_bad_one_never() {
        let mut status = Status::internal("no");
        status.metadata_mut().insert(CORRELATION_ID_HEADER, "server-id".parse().unwrap());
        assert_eq!(Error::from_status(status, &sent()).correlation_id.as_str(), "server-id");

        let mut details = ErrorDetails::new();
        details.set_request_info("bad\nid", "");
        assert_eq!(error(Code::Internal, "no", details).correlation_id, sent());
    }

    #[test]
    fn what_the_server_cancelled_is_not_taken_for_a_broken_connection() {
        assert_eq!(Error::from_status(Status::cancelled("no"), &sent()).code, Code::Cancelled);
        let mut broken = Status::unknown("transport error");
        broken.set_source(std::sync::Arc::new(std::io::Error::other("connection reset")));
        assert_eq!(Error::from_status(broken, &sent()).code, Code::Unavailable);
    }
}
