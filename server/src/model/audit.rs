//! The audit trail: what an event says, and the operations and reasons that events may name.

use uuid::Uuid;

use super::id::{SessionId, UserId};
use crate::clock::Time;

/// An enum out of a table: each variant with its meaning and the text by which it is stored and sent.
macro_rules! catalogue {
    (
        $(#[$about:meta])*
        pub enum $name:ident { $($(#[doc = $meaning:literal])+ $variant:ident => $text:literal,)+ }
    ) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name { $($(#[doc = $meaning])+ $variant,)+ }

        impl $name {
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// The text by which it is stored and sent.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ }
            }

            #[cfg(test)]
            const fn meaning(self) -> &'static str {
                match self { $(Self::$variant => concat!($($meaning),+),)+ }
            }
        }
    };
}

catalogue! {
    /// What somebody did or was refused. `audit.proto` lists them for callers.
    pub enum Operation {
        /// A login, with any kind of credential.
        SessionCreate => "session.create",
        /// Only when refused: a replaced token was verified, which ended its session.
        SessionVerify => "session.verify",
        /// A session was given more time and perhaps a new token.
        SessionRenew => "session.renew",
        /// One session was ended early: by a user, by the quota or because a platform refused it.
        SessionRevoke => "session.revoke",
        /// Several sessions were ended at once; `detail` counts them.
        SessionRevokeMany => "session.revoke_many",
        /// A session was read.
        SessionGet => "session.get",
        /// Sessions were listed.
        SessionList => "session.list",
        /// A user was added: by a super-user, an operator or the first login with a platform.
        UserCreate => "user.create",
        /// A user was read.
        UserGet => "user.get",
        /// Users were listed.
        UserList => "user.list",
        /// Fields of a user were changed; `detail` names them.
        UserUpdate => "user.update",
        /// A user was locked, which ended their sessions.
        UserLock => "user.lock",
        /// A user was unlocked.
        UserUnlock => "user.unlock",
        /// A user was approved.
        UserApprove => "user.approve",
        /// A user was rejected, which ended their sessions.
        UserReject => "user.reject",
        /// A user was deleted.
        UserDelete => "user.delete",
        /// A user replaced their own password.
        UserChangePassword => "user.change_password",
        /// A super-user gave a user a new password.
        UserSetPassword => "user.set_password",
        /// A user was shown a new TOTP secret, which is not in force yet.
        UserEnrollTotp => "user.enroll_totp",
        /// A user confirmed their TOTP secret, which is in force from then on.
        UserConfirmTotp => "user.confirm_totp",
        /// TOTP was turned off for a user.
        UserDisableTotp => "user.disable_totp",
        /// Attributes were created or replaced; `detail` names them.
        AttributeSet => "attribute.set",
        /// Attributes were read.
        AttributeList => "attribute.list",
        /// Attributes were deleted; `detail` names them.
        AttributeDelete => "attribute.delete",
        /// A definition was created.
        DefinitionCreate => "definition.create",
        /// A definition was read.
        DefinitionGet => "definition.get",
        /// Definitions were listed.
        DefinitionList => "definition.list",
        /// Fields of a definition were changed; `detail` names them.
        DefinitionUpdate => "definition.update",
        /// A definition was given a new secret or new keys.
        DefinitionRotate => "definition.rotate",
        /// A definition was deleted.
        DefinitionDelete => "definition.delete",
        /// A definition was linked to a user.
        LinkCreate => "link.create",
        /// The links of a user were listed.
        LinkList => "link.list",
        /// A service looked up the links of definitions.
        LinkLookup => "link.lookup",
        /// A link was turned on or off.
        LinkUpdate => "link.update",
        /// A link was deleted.
        LinkDelete => "link.delete",
        /// The platform credential of a session was handed out.
        PlatformAuth => "platform.auth",
        /// Audit events were listed.
        AuditList => "audit.list",
        /// An operator added a calling service.
        CallerCreate => "caller.create",
        /// An operator issued a new key for a calling service.
        CallerRotate => "caller.rotate",
        /// An operator revoked a calling service and all its keys.
        CallerRevoke => "caller.revoke",
        /// An operator imported a user from another system.
        ImportUser => "import.user",
        /// An operator imported a definition from another system.
        ImportDefinition => "import.definition",
        /// An operator imported a link from another system.
        ImportLink => "import.link",
    }
}

catalogue! {
    /// Why an operation was refused, more exactly than the caller is told. `audit.proto` lists them for callers.
    pub enum Reason {
        /// Only a super-user may do it.
        SuperUserRequired => "super_user_required",
        /// The session to be ended is another user's, and the acting user is no super-user.
        NotOwnSession => "not_own_session",
        /// Too many failures: nothing was checked.
        Throttled => "throttled",
        /// No user has this name.
        UnknownUser => "unknown_user",
        /// The user has no password.
        NoPassword => "no_password",
        /// The password is wrong.
        WrongPassword => "wrong_password",
        /// The password is longer than any may be.
        PasswordTooLong => "password_too_long",
        /// The password must be changed, and no new one was sent.
        PasswordChangeRequired => "password_change_required",
        /// The new password breaks the rules.
        NewPasswordRefused => "new_password_refused",
        /// The password was changed between its check and the login.
        PasswordChangedMeanwhile => "password_changed_meanwhile",
        /// The user has TOTP, and no code was sent.
        TotpRequired => "totp_required",
        /// The TOTP code is wrong or was used before.
        WrongTotpCode => "wrong_totp_code",
        /// Another login used the TOTP code at the same moment.
        TotpCodeUsed => "totp_code_used",
        /// The user turned TOTP on during the login.
        TotpEnabledMeanwhile => "totp_enabled_meanwhile",
        /// The user is locked.
        UserLocked => "user_locked",
        /// Nobody has approved the user yet.
        UserNotApproved => "user_not_approved",
        /// The user was rejected.
        UserRejected => "user_rejected",
        /// The app admits no logins.
        AppWithoutLogin => "app_without_login",
        /// The user may not log in from this address.
        AddressNotAllowed => "address_not_allowed",
        /// The networks from which the user may log in cannot be read.
        UnreadableNetworks => "unreadable_networks",
        /// The user has all the sessions that the app's quota allows.
        Quota => "quota",
        /// The user was deleted during a login with a password.
        DeletedMeanwhile => "deleted_meanwhile",
        /// The user was deleted during a login through a link or with a platform.
        UserDeletedMeanwhile => "user_deleted_meanwhile",
        /// A replaced token was used, which ended its session.
        TokenReused => "token_reused",
        /// No definition has this username, or this issuer and subject.
        UnknownDefinition => "unknown_definition",
        /// The definition is turned off.
        DefinitionInactive => "definition_inactive",
        /// The definition was deleted during the login.
        DefinitionDeletedMeanwhile => "definition_deleted_meanwhile",
        /// The definition was changed after its credential was checked.
        DefinitionChangedMeanwhile => "definition_changed_meanwhile",
        /// The secret of basic auth is wrong.
        WrongSecret => "wrong_secret",
        /// The secret of basic auth is longer than any may be.
        SecretTooLong => "secret_too_long",
        /// The JWT is longer than any may be.
        TokenTooLong => "token_too_long",
        /// The JWT cannot be parsed.
        TokenUnreadable => "token_unreadable",
        /// The JWT has a `crit` header, and no extension is supported.
        TokenCriticalHeader => "token_critical_header",
        /// The definition does not allow the algorithm of the JWT.
        AlgorithmNotAllowed => "algorithm_not_allowed",
        /// The definition has no key for the JWT.
        UnknownKey => "unknown_key",
        /// The signature of the JWT is wrong.
        WrongSignature => "wrong_signature",
        /// The `iss` of the JWT is not that of the definition.
        WrongIssuer => "wrong_issuer",
        /// The `sub` of the JWT is not that of the definition.
        WrongSubject => "wrong_subject",
        /// The `aud` of the JWT lacks that of the definition.
        WrongAudience => "wrong_audience",
        /// The JWT has no `exp`.
        TokenWithoutExpiry => "token_without_expiry",
        /// The `exp` of the JWT has passed.
        TokenExpired => "token_expired",
        /// The `nbf` of the JWT has not come yet.
        TokenNotYetValid => "token_not_yet_valid",
        /// The keys of the definition could not be fetched.
        KeysUnavailable => "keys_unavailable",
        /// The definition is linked to no user.
        NotLinked => "not_linked",
        /// The link of the definition is turned off.
        LinkInactive => "link_inactive",
        /// The session has no platform.
        NoPlatform => "no_platform",
        /// The platform refused the username or the password.
        PlatformRefused => "platform_refused",
        /// The platform gives the user no role that may log in here.
        PlatformRoleMissing => "platform_role_missing",
        /// The platform accepted the password but does not let the user use its API.
        PlatformAccessDenied => "platform_access_denied",
        /// The user is a super-user, whom the platform may not log in.
        SuperUser => "super_user",
        /// The username on the platform is none that a user may have here.
        UsernameNotAllowed => "username_not_allowed",
        /// No such user.
        UserNotFound => "user_not_found",
        /// No such definition.
        DefinitionNotFound => "definition_not_found",
        /// No such link.
        LinkNotFound => "link_not_found",
        /// The definition is linked already.
        LinkUnavailable => "link_unavailable",
        /// The user cannot have links: a super-user, or not approved.
        UserNotEligible => "user_not_eligible",
        /// The user could not log in any more without this link.
        LastLoginMethod => "last_login_method",
        /// The acting user did not log in with a password, or too long ago.
        ReauthenticationRequired => "reauthentication_required",
        /// The link was changed since it was read.
        EtagMismatch => "etag_mismatch",
        /// A field of the request is not valid.
        InvalidField => "invalid_field",
        /// The acting session ended, or its user was locked, before the change was made.
        SessionEndedMeanwhile => "session_ended_meanwhile",
    }
}

/// What came of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Ok,
    Refused,
}

/// One thing that somebody did or was refused, as it is to be written.
#[derive(Clone, Debug)]
pub struct AuditEvent {
    pub time: Time,
    pub correlation_id: String,
    pub operation: Operation,
    /// Why it was refused; `None`: it was done.
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

/// An event as it is read. Older servers may have written operations and reasons that this one does not know.
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

/// Where an event stands in the order of a list: by time, then chain, then sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct AuditPosition {
    pub time: Time,
    pub chain_number: i64,
    pub sequence: i64,
}

/// Which events; all that are set must match.
#[derive(Clone, Debug, Default)]
pub struct AuditFilter {
    pub correlation_id: Option<String>,
    /// As subject or as target.
    pub user: Option<UserId>,
    pub session: Option<SessionId>,
    /// Ends with a dot: all that begin so.
    pub operation: Option<String>,
    pub outcome: Option<Outcome>,
    pub caller: Option<String>,
    pub start: Option<Time>,
    pub end: Option<Time>,
}

#[cfg(test)]
#[path = "audit_tests.rs"]
mod tests;
