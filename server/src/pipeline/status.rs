//! Maps errors to gRPC statuses, in one place: each has exactly one `ErrorInfo`, a `RequestInfo`, and details that help
//! to act on it. The source of a fault is logged here, once, and never sent.
//!
//! Handlers return an [`Error`] with `?`. It travels as the source of the status to the pipeline, which knows the
//! correlation ID.

use std::collections::HashMap;
use std::error::Error as _;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};
use lanyard_proto::ERROR_DOMAIN;
use lanyard_proto::v1::ErrorReason;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use crate::correlation::CorrelationId;
use crate::error::Error;

/// Delay before a retry, for errors that do not carry one.
const CONFLICT_RETRY: Duration = Duration::from_millis(50);
const STORE_RETRY: Duration = Duration::from_secs(1);
const PLATFORM_RETRY: Duration = Duration::from_secs(1);

/// In `ErrorInfo.metadata`: the error code of the platform.
const UPSTREAM_CODE: &str = "upstream_code";

pub(crate) const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const STATUS_DETAILS: HeaderName = HeaderName::from_static("grpc-status-details-bin");
/// Asks clients that retry by themselves to wait (gRFC A6).
const RETRY_PUSHBACK: HeaderName = HeaderName::from_static("grpc-retry-pushback-ms");

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        let mut status = Self::new(classify(&error).0, "");
        status.set_source(Arc::new(error));
        status
    }
}

/// Why the pipeline refuses a call.
pub(crate) enum Refusal {
    Error(Error),
    MethodUnknown,
    NotGrpc,
    /// `limit`: in bytes.
    HeadersTooLong {
        limit: usize,
    },
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

/// The status that a call ended with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RpcOutcome {
    pub(crate) code: Code,
    /// `None`: OK, or the client disconnected.
    pub(crate) reason: Option<ErrorReason>,
}

impl RpcOutcome {
    pub(crate) const OK: Self = Self { code: Code::Ok, reason: None };
    /// The client disconnected.
    pub(crate) const CANCELLED: Self = Self { code: Code::Cancelled, reason: None };
}

/// Code and reason of each error.
fn classify(error: &Error) -> (Code, ErrorReason) {
    use ErrorReason as Reason;
    match error {
        Error::CallerUnauthenticated => (Code::Unauthenticated, Reason::CallerUnauthenticated),
        Error::CallerForbidden { .. } => (Code::PermissionDenied, Reason::CallerForbidden),
        Error::SessionInvalid => (Code::Unauthenticated, Reason::SessionInvalid),
        Error::LoginFailed => (Code::Unauthenticated, Reason::LoginFailed),
        Error::TotpRequired => (Code::FailedPrecondition, Reason::TotpRequired),
        Error::PasswordChangeRequired => (Code::FailedPrecondition, Reason::PasswordChangeRequired),
        Error::SuperUserRequired => (Code::PermissionDenied, Reason::SuperUserRequired),
        Error::NotOnYourself { .. } => (Code::FailedPrecondition, Reason::NotOnYourself),
        Error::PlatformRoleMissing => (Code::PermissionDenied, Reason::PlatformRoleMissing),
        Error::PlatformAccessDenied { .. } => (Code::PermissionDenied, Reason::PlatformAccessDenied),
        Error::InvalidField { .. } => (Code::InvalidArgument, Reason::InvalidField),
        Error::PageTokenInvalid => (Code::InvalidArgument, Reason::PageTokenInvalid),
        Error::AppUnknown => (Code::InvalidArgument, Reason::AppUnknown),
        Error::PasswordRefused { .. } => (Code::InvalidArgument, Reason::PasswordRefused),
        Error::PlatformUnknown => (Code::InvalidArgument, Reason::PlatformUnknown),
        Error::SessionNotFound => (Code::NotFound, Reason::SessionNotFound),
        Error::UserNotFound => (Code::NotFound, Reason::UserNotFound),
        Error::AttributeNotFound => (Code::NotFound, Reason::AttributeNotFound),
        Error::UsernameTaken => (Code::AlreadyExists, Reason::UsernameTaken),
        Error::TotpAlreadyEnabled => (Code::FailedPrecondition, Reason::TotpAlreadyEnabled),
        Error::TotpNotEnrolled => (Code::FailedPrecondition, Reason::TotpNotEnrolled),
        Error::SessionQuotaReached { .. } => (Code::ResourceExhausted, Reason::SessionQuotaReached),
        Error::AttributeQuotaReached { .. } => (Code::ResourceExhausted, Reason::AttributeQuotaReached),
        Error::DefinitionNotFound => (Code::NotFound, Reason::DefinitionNotFound),
        Error::DefinitionNameTaken => (Code::AlreadyExists, Reason::DefinitionNameTaken),
        Error::DefinitionExists => (Code::AlreadyExists, Reason::DefinitionExists),
        Error::LinkNotFound => (Code::NotFound, Reason::LinkNotFound),
        Error::LinkUnavailable => (Code::FailedPrecondition, Reason::LinkUnavailable),
        Error::LastLoginMethod => (Code::FailedPrecondition, Reason::LastLoginMethod),
        Error::ReauthenticationRequired => (Code::FailedPrecondition, Reason::ReauthenticationRequired),
        Error::UserNotEligible => (Code::FailedPrecondition, Reason::UserNotEligible),
        Error::PlatformSessionRequired => (Code::FailedPrecondition, Reason::PlatformSessionRequired),
        Error::EtagMismatch => (Code::Aborted, Reason::EtagMismatch),
        Error::WriteConflict => (Code::Aborted, Reason::WriteConflict),
        Error::LoginThrottled { .. } => (Code::ResourceExhausted, Reason::LoginThrottled),
        Error::CallerLimited { .. } => (Code::ResourceExhausted, Reason::CallerLimited),
        Error::Overloaded { .. } => (Code::Unavailable, Reason::Overloaded),
        Error::StoreUnavailable { .. } => (Code::Unavailable, Reason::StoreUnavailable),
        Error::KeysUnavailable { .. } => (Code::Unavailable, Reason::KeysUnavailable),
        Error::PlatformUnavailable { .. } => (Code::Unavailable, Reason::PlatformUnavailable),
        Error::PlatformBusy { .. } => (Code::ResourceExhausted, Reason::PlatformBusy),
        Error::PlatformAnswerInvalid { .. } => (Code::Internal, Reason::PlatformAnswerInvalid),
        Error::ShuttingDown => (Code::Unavailable, Reason::ShuttingDown),
        Error::DeadlineExceeded => (Code::DeadlineExceeded, Reason::DeadlineExceeded),
        Error::Internal { .. } => (Code::Internal, Reason::Internal),
    }
}

/// Writes a refusal into the headers (or trailers) of a response, and logs it.
pub(crate) fn write(
    refusal: &Refusal,
    correlation_id: &CorrelationId,
    method: &str,
    headers: &mut HeaderMap,
) -> RpcOutcome {
    match refusal {
        Refusal::Error(error) => write_error(error, correlation_id, method, headers),
        Refusal::MethodUnknown => {
            let text = "no such method here";
            write_plain(Code::Unimplemented, ErrorReason::MethodUnknown, text, correlation_id, headers)
        }
        Refusal::NotGrpc => {
            let text = "the content type must be application/grpc";
            write_plain(Code::InvalidArgument, ErrorReason::RequestUnreadable, text, correlation_id, headers)
        }
        Refusal::HeadersTooLong { limit } => {
            let text = format!("the headers are longer than {limit} bytes: send less metadata");
            write_plain(Code::ResourceExhausted, ErrorReason::RequestUnreadable, &text, correlation_id, headers)
        }
    }
}

/// Completes the response of a service. `answered`: the status object, if the service made one.
pub(crate) fn complete(
    answered: Option<&Status>,
    correlation_id: &CorrelationId,
    method: &str,
    headers: &mut HeaderMap,
) -> RpcOutcome {
    let Some(code) = headers.get(GRPC_STATUS).map(|code| Code::from_bytes(code.as_bytes())) else {
        return RpcOutcome::OK;
    };
    if code == Code::Ok {
        return RpcOutcome::OK;
    }
    match answered.map(|status| (status, status.source().and_then(|source| source.downcast_ref::<Error>()))) {
        Some((_, Some(error))) => write_error(error, correlation_id, method, headers),
        Some((status, None)) => write_unreadable(status, correlation_id, headers),
        // The generated services return this for an unknown method.
        None if code == Code::Unimplemented => write(&Refusal::MethodUnknown, correlation_id, method, headers),
        None => write_unreadable(&Status::new(code, ""), correlation_id, headers),
    }
}

/// Completes trailers after a message or stream, where only our encoding can fail.
pub(crate) fn complete_trailers(correlation_id: &CorrelationId, method: &str, trailers: &mut HeaderMap) {
    let code = trailers.get(GRPC_STATUS).map_or(Code::Ok, |code| Code::from_bytes(code.as_bytes()));
    if code == Code::Ok || trailers.contains_key(STATUS_DETAILS) {
        return;
    }
    match code {
        // Reflection, for an unknown symbol.
        Code::NotFound | Code::InvalidArgument => {
            write_plain(code, ErrorReason::InvalidField, "no such symbol", correlation_id, trailers);
        }
        // Reflection, for a message that is too long.
        Code::OutOfRange | Code::ResourceExhausted => {
            write_plain(code, ErrorReason::RequestUnreadable, "the message is too long", correlation_id, trailers);
        }
        _ => {
            write_error(&Error::internal("the answer could not be encoded"), correlation_id, method, trailers);
        }
    }
}

fn write_error(error: &Error, correlation_id: &CorrelationId, method: &str, headers: &mut HeaderMap) -> RpcOutcome {
    let (code, reason) = classify(error);
    log(error, reason, correlation_id, method);
    let metadata = upstream_code(error).map(|code| (UPSTREAM_CODE.to_owned(), code.to_string()));
    let mut details = with_info(reason, correlation_id, metadata.into_iter().collect());
    match error {
        Error::InvalidField { field, problem } => {
            details.add_bad_request_violation(field.clone(), problem.clone());
        }
        Error::PasswordRefused { field, problem } => {
            details.add_bad_request_violation(*field, problem);
        }
        Error::PageTokenInvalid => {
            details.add_bad_request_violation("page_token", "is damaged, too old or belongs to another query");
        }
        Error::AppUnknown => {
            details.add_bad_request_violation("client.current_app", "names no known app");
        }
        Error::PlatformUnknown => {
            details.add_bad_request_violation("platform.platform", "names no known platform");
        }
        _ => {}
    }
    if let Some(delay) = retry_after(error) {
        details.set_retry_info(Some(delay));
        let millis = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
        headers.insert(RETRY_PUSHBACK, HeaderValue::from(millis));
    }
    put(&Status::with_error_details(code, error.to_string(), details), reason, headers)
}

/// A message that tonic could not read. Its text names our types, so it is replaced, except about size or encoding.
fn write_unreadable(status: &Status, correlation_id: &CorrelationId, headers: &mut HeaderMap) -> RpcOutcome {
    let (reason, unreadable) = (ErrorReason::RequestUnreadable, "the request is not a message of this method");
    match status.code() {
        // gRPC specifies INTERNAL for a malformed message; we reserve it for our faults.
        Code::Internal => write_plain(Code::InvalidArgument, reason, unreadable, correlation_id, headers),
        code @ (Code::OutOfRange | Code::Unimplemented) => {
            write_plain(code, reason, status.message(), correlation_id, headers)
        }
        // Health, for an unknown service.
        Code::NotFound => {
            write_plain(Code::NotFound, ErrorReason::InvalidField, "no such service", correlation_id, headers)
        }
        code => write_plain(code, reason, "the request could not be read", correlation_id, headers),
    }
}

fn write_plain(
    code: Code,
    reason: ErrorReason,
    text: &str,
    correlation_id: &CorrelationId,
    headers: &mut HeaderMap,
) -> RpcOutcome {
    tracing::debug!(%correlation_id, reason = reason.reason(), "refused: {text}");
    put(&Status::with_error_details(code, text, base(reason, correlation_id)), reason, headers)
}

fn base(reason: ErrorReason, correlation_id: &CorrelationId) -> ErrorDetails {
    with_info(reason, correlation_id, HashMap::new())
}

fn with_info(reason: ErrorReason, correlation_id: &CorrelationId, metadata: HashMap<String, String>) -> ErrorDetails {
    let mut details = ErrorDetails::with_error_info(reason.reason(), ERROR_DOMAIN, metadata);
    details.set_request_info(correlation_id.as_str(), "");
    details
}

fn put(status: &Status, reason: ErrorReason, headers: &mut HeaderMap) -> RpcOutcome {
    let reason = Some(reason);
    if let Err(impossible) = status.add_header(headers) {
        // Our texts are percent-encoded and our details base64: both are always legal.
        tracing::error!(code = %impossible.code(), "a status could not be written");
        headers.insert(GRPC_STATUS, HeaderValue::from(Code::Internal as u16));
        return RpcOutcome { code: Code::Internal, reason };
    }
    RpcOutcome { code: status.code(), reason }
}

fn retry_after(error: &Error) -> Option<Duration> {
    match error {
        Error::LoginThrottled { retry_after }
        | Error::CallerLimited { retry_after }
        | Error::Overloaded { retry_after }
        | Error::KeysUnavailable { retry_after, .. } => Some(*retry_after),
        Error::WriteConflict => Some(CONFLICT_RETRY),
        Error::StoreUnavailable { .. } => Some(STORE_RETRY),
        Error::PlatformUnavailable { .. } | Error::PlatformBusy { .. } => Some(PLATFORM_RETRY),
        _ => None,
    }
}

fn upstream_code(error: &Error) -> Option<i64> {
    match error {
        Error::PlatformAccessDenied { code }
        | Error::PlatformUnavailable { code, .. }
        | Error::PlatformBusy { code }
        | Error::PlatformAnswerInvalid { code, .. } => *code,
        _ => None,
    }
}

/// Faults are logged at ERROR or WARN, denied callers at INFO, everything else at DEBUG.
fn log(error: &Error, reason: ErrorReason, correlation_id: &CorrelationId, method: &str) {
    let reason = reason.reason();
    match error {
        Error::Internal { source } | Error::StoreUnavailable { source } => {
            tracing::error!(%correlation_id, method, reason, %source, "failed");
        }
        Error::KeysUnavailable { source, .. }
        | Error::PlatformUnavailable { source, .. }
        | Error::PlatformAnswerInvalid { source, .. } => {
            tracing::warn!(%correlation_id, method, reason, %source, "failed");
        }
        Error::CallerUnauthenticated | Error::CallerForbidden { .. } => {
            tracing::info!(%correlation_id, method, reason, "refused: {error}");
        }
        _ => tracing::debug!(%correlation_id, method, reason, "refused: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::error::Fault;

    const WAIT: Duration = Duration::from_millis(1500);

    /// One of each variant, with the code that the contract promises for its reason.
    fn all() -> Vec<(Error, Code, &'static str)> {
        let fault = || Fault("secret-of-the-database".to_owned());
        vec![
            (Error::CallerUnauthenticated, Code::Unauthenticated, "CALLER_UNAUTHENTICATED"),
            (Error::CallerForbidden { what: "x".into() }, Code::PermissionDenied, "CALLER_FORBIDDEN"),
            (Error::SessionInvalid, Code::Unauthenticated, "SESSION_INVALID"),
            (Error::LoginFailed, Code::Unauthenticated, "LOGIN_FAILED"),
            (Error::TotpRequired, Code::FailedPrecondition, "TOTP_REQUIRED"),
            (Error::PasswordChangeRequired, Code::FailedPrecondition, "PASSWORD_CHANGE_REQUIRED"),
            (Error::SuperUserRequired, Code::PermissionDenied, "SUPER_USER_REQUIRED"),
            (Error::NotOnYourself { what: "lock" }, Code::FailedPrecondition, "NOT_ON_YOURSELF"),
            (Error::PlatformRoleMissing, Code::PermissionDenied, "PLATFORM_ROLE_MISSING"),
            (Error::PlatformAccessDenied { code: Some(1028) }, Code::PermissionDenied, "PLATFORM_ACCESS_DENIED"),
            (Error::invalid("a.b", "is bad"), Code::InvalidArgument, "INVALID_FIELD"),
            (Error::PageTokenInvalid, Code::InvalidArgument, "PAGE_TOKEN_INVALID"),
            (Error::AppUnknown, Code::InvalidArgument, "APP_UNKNOWN"),
            (
                Error::PasswordRefused { field: "password", problem: "is short".into() },
                Code::InvalidArgument,
                "PASSWORD_REFUSED",
            ),
            (Error::PlatformUnknown, Code::InvalidArgument, "PLATFORM_UNKNOWN"),
            (Error::SessionNotFound, Code::NotFound, "SESSION_NOT_FOUND"),
            (Error::UserNotFound, Code::NotFound, "USER_NOT_FOUND"),
            (Error::AttributeNotFound, Code::NotFound, "ATTRIBUTE_NOT_FOUND"),
            (Error::UsernameTaken, Code::AlreadyExists, "USERNAME_TAKEN"),
            (Error::TotpAlreadyEnabled, Code::FailedPrecondition, "TOTP_ALREADY_ENABLED"),
            (Error::TotpNotEnrolled, Code::FailedPrecondition, "TOTP_NOT_ENROLLED"),
            (Error::SessionQuotaReached { limit: 1 }, Code::ResourceExhausted, "SESSION_QUOTA_REACHED"),
            (Error::AttributeQuotaReached { limit: 1 }, Code::ResourceExhausted, "ATTRIBUTE_QUOTA_REACHED"),
            (Error::DefinitionNotFound, Code::NotFound, "DEFINITION_NOT_FOUND"),
            (Error::DefinitionNameTaken, Code::AlreadyExists, "DEFINITION_NAME_TAKEN"),
            (Error::DefinitionExists, Code::AlreadyExists, "DEFINITION_EXISTS"),
            (Error::LinkNotFound, Code::NotFound, "LINK_NOT_FOUND"),
            (Error::LinkUnavailable, Code::FailedPrecondition, "LINK_UNAVAILABLE"),
            (Error::LastLoginMethod, Code::FailedPrecondition, "LAST_LOGIN_METHOD"),
            (Error::ReauthenticationRequired, Code::FailedPrecondition, "REAUTHENTICATION_REQUIRED"),
            (Error::UserNotEligible, Code::FailedPrecondition, "USER_NOT_ELIGIBLE"),
            (Error::PlatformSessionRequired, Code::FailedPrecondition, "PLATFORM_SESSION_REQUIRED"),
            (Error::EtagMismatch, Code::Aborted, "ETAG_MISMATCH"),
            (Error::WriteConflict, Code::Aborted, "WRITE_CONFLICT"),
            (Error::LoginThrottled { retry_after: WAIT }, Code::ResourceExhausted, "LOGIN_THROTTLED"),
            (Error::CallerLimited { retry_after: WAIT }, Code::ResourceExhausted, "CALLER_LIMITED"),
            (Error::Overloaded { retry_after: WAIT }, Code::Unavailable, "OVERLOADED"),
            (Error::StoreUnavailable { source: fault() }, Code::Unavailable, "STORE_UNAVAILABLE"),
            (Error::KeysUnavailable { retry_after: WAIT, source: fault() }, Code::Unavailable, "KEYS_UNAVAILABLE"),
            (
                Error::PlatformUnavailable { problem: "is away", code: None, source: fault() },
                Code::Unavailable,
                "PLATFORM_UNAVAILABLE",
            ),
            (Error::PlatformBusy { code: Some(0) }, Code::ResourceExhausted, "PLATFORM_BUSY"),
            (
                Error::PlatformAnswerInvalid { problem: "redirects", code: Some(16544), source: fault() },
                Code::Internal,
                "PLATFORM_ANSWER_INVALID",
            ),
            (Error::ShuttingDown, Code::Unavailable, "SHUTTING_DOWN"),
            (Error::DeadlineExceeded, Code::DeadlineExceeded, "DEADLINE_EXCEEDED"),
            (Error::Internal { source: fault() }, Code::Internal, "INTERNAL"),
        ]
    }

    /// A handler's error as a client receives it.
    fn sent(error: Error) -> (HeaderMap, Status) {
        let status = Status::from(error);
        let mut headers = HeaderMap::new();
        status.add_header(&mut headers).expect("a status");
        let id = CorrelationId::parse("order-7").expect("legal");
        complete(Some(&status), &id, "Service/Method", &mut headers);
        let received = Status::from_header_map(&headers).expect("a status");
        (headers, received)
    }

    #[test]
    fn every_error_leaves_with_its_code_its_reason_and_the_correlation_id() {
        for (error, code, reason) in all() {
            let text = error.to_string();
            let (_, status) = sent(error);
            let details = status.check_error_details().expect("details");
            let info = details.error_info().expect("ErrorInfo");
            assert_eq!((status.code(), status.message()), (code, text.as_str()));
            assert_eq!((info.reason.as_str(), info.domain.as_str()), (reason, "lanyard"));
            assert_eq!(details.request_info().map(|info| info.request_id.as_str()), Some("order-7"));
            assert!(!format!("{status:?}").contains("secret-of-the-database"), "a source left: {status:?}");
        }
    }

    /// Checks that `all` is complete: it has every reason of the contract except those without an `Error`.
    #[test]
    fn every_reason_of_the_contract_has_an_error() {
        let beside = [ErrorReason::Unspecified, ErrorReason::MethodUnknown, ErrorReason::RequestUnreadable];
        let contract: BTreeSet<&str> = (0..1000)
            .filter_map(|number| ErrorReason::try_from(number).ok())
            .filter(|reason| !beside.contains(reason))
            .map(ErrorReason::reason)
            .collect();
        let errors: BTreeSet<&str> = all().into_iter().map(|(_, _, reason)| reason).collect();
        assert_eq!(errors, contract);
    }

    #[test]
    fn waiting_is_told_to_people_and_to_clients_that_retry_by_themselves() {
        let mut told = 0;
        for (error, _, reason) in all() {
            let (headers, status) = sent(error);
            let delay = status.get_details_retry_info().and_then(|info| info.retry_delay);
            let pushback = headers.get(RETRY_PUSHBACK).and_then(|value| value.to_str().ok()?.parse().ok());
            assert_eq!(delay.map(|delay| delay.as_millis()), pushback.map(|millis: u128| millis), "{reason}");
            told += u32::from(delay.is_some());
            if reason == "OVERLOADED" {
                assert_eq!(delay, Some(WAIT));
            }
        }
        assert_eq!(told, 8);
    }

    #[test]
    fn the_number_of_an_error_of_a_platform_is_told() {
        let with_code = |(error, _, reason)| {
            let info = sent(error).1.get_details_error_info().expect("ErrorInfo");
            Some((reason, info.metadata.get(UPSTREAM_CODE)?.clone()))
        };
        let told: Vec<(&str, String)> = all().into_iter().filter_map(with_code).collect();
        let told: Vec<(&str, &str)> = told.iter().map(|(reason, code)| (*reason, code.as_str())).collect();
        assert_eq!(
            told,
            [("PLATFORM_ACCESS_DENIED", "1028"), ("PLATFORM_BUSY", "0"), ("PLATFORM_ANSWER_INVALID", "16544")]
        );
    }

    #[test]
    fn a_bad_field_is_named() {
        for (error, field) in [
            (Error::invalid("owner.user_id", "is malformed"), "owner.user_id"),
            (Error::PasswordRefused { field: "new_password", problem: "is too short".into() }, "new_password"),
            (Error::PageTokenInvalid, "page_token"),
            (Error::AppUnknown, "client.current_app"),
        ] {
            let violations = sent(error).1.get_details_bad_request().expect("BadRequest").field_violations;
            assert_eq!(violations.iter().map(|violation| violation.field.as_str()).collect::<Vec<_>>(), [field]);
        }
    }
}
