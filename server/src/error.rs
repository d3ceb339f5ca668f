//! Errors, independent of gRPC: only `pipeline/status.rs` maps them to statuses.

use std::borrow::Cow;
use std::time::Duration;

/// A result with [`Error`] by default.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// One variant for each error that callers handle differently.
///
/// `Display` is sent to the caller: short, lower case, without secrets and without the source of a fault. Sources are
/// logged once, where the status is built.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(
        "the calling service did not prove who it is: send a valid key as `authorization: Bearer ...`, or a client certificate"
    )]
    CallerUnauthenticated,
    /// `what` names the forbidden action.
    #[error("the calling service may not {what}")]
    CallerForbidden { what: Cow<'static, str> },
    #[error("the session token of the acting user is not good")]
    SessionInvalid,
    #[error("the login failed")]
    LoginFailed,
    #[error("a code of the second factor is needed: send `totp_code`")]
    TotpRequired,
    #[error("the password must be changed: send `new_password`")]
    PasswordChangeRequired,
    #[error("only a super-user may do this")]
    SuperUserRequired,
    #[error("a super-user may not {what} themself")]
    NotOnYourself { what: &'static str },
    #[error("the user has no role on the platform that lets them in here")]
    PlatformRoleMissing,
    /// `code` is the platform's own error code, here and below.
    #[error("the platform does not let the user do what logging in takes")]
    PlatformAccessDenied { code: Option<i64> },

    #[error("{field}: {problem}")]
    InvalidField { field: Cow<'static, str>, problem: Cow<'static, str> },
    #[error("the page token is damaged, too old or belongs to another query: start the list again")]
    PageTokenInvalid,
    #[error("`client.current_app` names no known app")]
    AppUnknown,
    #[error("{field}: {problem}")]
    PasswordRefused { field: &'static str, problem: String },
    #[error("`platform` names no known platform")]
    PlatformUnknown,

    #[error("no such session")]
    SessionNotFound,
    #[error("no such user")]
    UserNotFound,
    #[error("no attribute of that name")]
    AttributeNotFound,
    #[error("the username is taken")]
    UsernameTaken,
    #[error("totp is on already")]
    TotpAlreadyEnabled,
    #[error("totp was not enrolled")]
    TotpNotEnrolled,
    #[error("the user has {limit} live sessions in this app, which is the limit: end one first")]
    SessionQuotaReached { limit: u32 },
    #[error("no more than {limit} attributes are kept: delete one first")]
    AttributeQuotaReached { limit: u32 },
    #[error("no such definition")]
    DefinitionNotFound,
    #[error("another definition has this name")]
    DefinitionNameTaken,
    #[error("another definition is of the same principal")]
    DefinitionExists,
    #[error("no such link")]
    LinkNotFound,
    #[error("the definition is linked already: remove that link first")]
    LinkUnavailable,
    #[error("without this link the user could not log in any more: set a password first")]
    LastLoginMethod,
    #[error("the session began too long ago, or not with a password: log in anew")]
    ReauthenticationRequired,
    #[error("the user is not approved, or is a super-user, whom nobody links but themself, with `proof`")]
    UserNotEligible,
    #[error("the session is not logged in to a platform")]
    PlatformSessionRequired,

    #[error("it was changed since: the etag does not match")]
    EtagMismatch,
    #[error("the change lost against others too often: try again")]
    WriteConflict,
    #[error("too many failed logins: wait")]
    LoginThrottled { retry_after: Duration },
    #[error("the calling service has too many calls under way")]
    CallerLimited { retry_after: Duration },
    #[error("the server has too much to do")]
    Overloaded { retry_after: Duration },
    #[error("the database is unavailable")]
    StoreUnavailable { source: Fault },
    #[error("the keys that the token was signed with cannot be fetched")]
    KeysUnavailable { retry_after: Duration, source: Fault },
    #[error("the platform {problem}")]
    PlatformUnavailable { problem: &'static str, code: Option<i64>, source: Fault },
    #[error("the platform has as many connections of the user open as it allows")]
    PlatformBusy { code: Option<i64> },
    #[error("the platform {problem}")]
    PlatformAnswerInvalid { problem: &'static str, code: Option<i64>, source: Fault },
    #[error("the server is stopping")]
    ShuttingDown,
    #[error("the call took longer than its deadline")]
    DeadlineExceeded,
    #[error("internal error")]
    Internal { source: Fault },
}

/// The source of a fault, for the log: never an SQL statement, a value or a secret.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Fault(pub String);

impl Error {
    /// An invalid field: `field` is its path in the request, `problem` what is wrong and what to do.
    pub fn invalid(field: impl Into<Cow<'static, str>>, problem: impl Into<Cow<'static, str>>) -> Self {
        Self::InvalidField { field: field.into(), problem: problem.into() }
    }

    /// A bug or a broken invariant; `source` goes to the log only.
    pub fn internal(source: impl std::fmt::Display) -> Self {
        Self::Internal { source: Fault(source.to_string()) }
    }

    /// The database is unavailable; `source` goes to the log only.
    pub fn store_unavailable(source: impl std::fmt::Display) -> Self {
        Self::StoreUnavailable { source: Fault(source.to_string()) }
    }
}
