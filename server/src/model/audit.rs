//! Audit events, and the operations and reasons that they may name.

use strum::{IntoStaticStr, VariantArray};
use uuid::Uuid;

use super::id::{SessionId, UserId};
use crate::clock::Time;

/// What was done or refused. `audit.proto` describes each operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr, VariantArray)]
pub enum Operation {
    #[strum(serialize = "session.create")]
    SessionCreate,
    #[strum(serialize = "session.verify")]
    SessionVerify,
    #[strum(serialize = "session.renew")]
    SessionRenew,
    #[strum(serialize = "session.revoke")]
    SessionRevoke,
    #[strum(serialize = "session.revoke_many")]
    SessionRevokeMany,
    #[strum(serialize = "session.get")]
    SessionGet,
    #[strum(serialize = "session.list")]
    SessionList,
    #[strum(serialize = "user.create")]
    UserCreate,
    #[strum(serialize = "user.get")]
    UserGet,
    #[strum(serialize = "user.list")]
    UserList,
    #[strum(serialize = "user.update")]
    UserUpdate,
    #[strum(serialize = "user.lock")]
    UserLock,
    #[strum(serialize = "user.unlock")]
    UserUnlock,
    #[strum(serialize = "user.approve")]
    UserApprove,
    #[strum(serialize = "user.reject")]
    UserReject,
    #[strum(serialize = "user.delete")]
    UserDelete,
    #[strum(serialize = "user.change_password")]
    UserChangePassword,
    #[strum(serialize = "user.set_password")]
    UserSetPassword,
    #[strum(serialize = "user.enroll_totp")]
    UserEnrollTotp,
    #[strum(serialize = "user.confirm_totp")]
    UserConfirmTotp,
    #[strum(serialize = "user.disable_totp")]
    UserDisableTotp,
    #[strum(serialize = "attribute.set")]
    AttributeSet,
    #[strum(serialize = "attribute.list")]
    AttributeList,
    #[strum(serialize = "attribute.delete")]
    AttributeDelete,
    #[strum(serialize = "definition.create")]
    DefinitionCreate,
    #[strum(serialize = "definition.get")]
    DefinitionGet,
    #[strum(serialize = "definition.list")]
    DefinitionList,
    #[strum(serialize = "definition.update")]
    DefinitionUpdate,
    #[strum(serialize = "definition.rotate")]
    DefinitionRotate,
    #[strum(serialize = "definition.delete")]
    DefinitionDelete,
    #[strum(serialize = "link.create")]
    LinkCreate,
    #[strum(serialize = "link.list")]
    LinkList,
    #[strum(serialize = "link.lookup")]
    LinkLookup,
    #[strum(serialize = "link.update")]
    LinkUpdate,
    #[strum(serialize = "link.delete")]
    LinkDelete,
    #[strum(serialize = "platform.auth")]
    PlatformAuth,
    #[strum(serialize = "audit.list")]
    AuditList,
    #[strum(serialize = "caller.create")]
    CallerCreate,
    #[strum(serialize = "caller.rotate")]
    CallerRotate,
    #[strum(serialize = "caller.revoke")]
    CallerRevoke,
    #[strum(serialize = "import.user")]
    ImportUser,
    #[strum(serialize = "import.definition")]
    ImportDefinition,
    #[strum(serialize = "import.link")]
    ImportLink,
}

impl Operation {
    /// The name in the database and in responses.
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// Why an operation was refused, in more detail than the caller is told. `audit.proto` describes each reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum Reason {
    SuperUserRequired,
    NotOwnSession,
    Throttled,
    UnknownUser,
    NoPassword,
    WrongPassword,
    PasswordTooLong,
    PasswordChangeRequired,
    NewPasswordRefused,
    PasswordChangedMeanwhile,
    TotpRequired,
    WrongTotpCode,
    TotpCodeUsed,
    TotpEnabledMeanwhile,
    UserLocked,
    UserNotApproved,
    UserRejected,
    AppWithoutLogin,
    AddressNotAllowed,
    UnreadableNetworks,
    Quota,
    DeletedMeanwhile,
    UserDeletedMeanwhile,
    TokenReused,
    UnknownDefinition,
    DefinitionInactive,
    DefinitionDeletedMeanwhile,
    DefinitionChangedMeanwhile,
    WrongSecret,
    SecretTooLong,
    TokenTooLong,
    TokenUnreadable,
    TokenCriticalHeader,
    AlgorithmNotAllowed,
    UnknownKey,
    WrongSignature,
    WrongIssuer,
    WrongSubject,
    WrongAudience,
    TokenWithoutExpiry,
    TokenExpired,
    TokenNotYetValid,
    KeysUnavailable,
    NotLinked,
    LinkInactive,
    NoPlatform,
    PlatformRefused,
    PlatformRoleMissing,
    PlatformAccessDenied,
    SuperUser,
    UsernameNotAllowed,
    UserNotFound,
    DefinitionNotFound,
    LinkNotFound,
    LinkUnavailable,
    UserNotEligible,
    LastLoginMethod,
    ReauthenticationRequired,
    EtagMismatch,
    InvalidField,
    SessionEndedMeanwhile,
}

impl Reason {
    /// The name in the database and in responses.
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// The outcome of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Ok,
    Refused,
}

/// An event to be written.
#[derive(Clone, Debug)]
pub struct AuditEvent {
    pub time: Time,
    pub correlation_id: String,
    pub operation: Operation,
    /// Why the operation was refused; `None`: it succeeded.
    pub reason: Option<Reason>,
    pub caller: String,
    pub subject: Option<UserId>,
    pub target: Option<UserId>,
    pub session: Option<SessionId>,
    pub app: String,
    pub remote_addr: String,
    /// JSON, or empty. Never a secret.
    pub detail: String,
}

impl AuditEvent {
    pub const fn outcome(&self) -> Outcome {
        if self.reason.is_some() { Outcome::Refused } else { Outcome::Ok }
    }
}

/// An event as read. Older servers may have written operations and reasons that this one does not know.
#[derive(Clone, Debug)]
pub struct StoredAuditEvent {
    pub position: AuditPosition,
    pub chain_id: Uuid,
    pub time: Time,
    pub correlation_id: String,
    pub operation: String,
    pub outcome: Outcome,
    pub reason: String,
    pub caller: String,
    pub subject: Option<UserId>,
    pub target: Option<UserId>,
    pub session: Option<SessionId>,
    pub app: String,
    pub remote_addr: String,
    pub detail: String,
}

/// Sort key of events in a list: time, then chain, then sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct AuditPosition {
    pub time: Time,
    pub chain_number: i64,
    pub sequence: i64,
}

/// Filter of events; all fields that are set must match.
#[derive(Clone, Debug, Default)]
pub struct AuditFilter {
    pub correlation_id: Option<String>,
    /// As subject or as target.
    pub user: Option<UserId>,
    pub session: Option<SessionId>,
    /// With a trailing dot: all operations with this prefix.
    pub operation: Option<String>,
    pub outcome: Option<Outcome>,
    pub caller: Option<String>,
    pub start: Option<Time>,
    pub end: Option<Time>,
}

#[cfg(test)]
#[path = "audit_tests.rs"]
mod tests;
