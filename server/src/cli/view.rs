//! Views of protobuf messages for output: the same field names, times as text, enum names without prefix.

mod definition;

use crate::clock::Time;
use lanyard_client::prost_types::Timestamp;
use lanyard_client::v1::{self, ApprovalStatus, AuditOutcome, AuthType, RevokeReason, Role, SessionState, WarningKind};
use lanyard_client::{Inactive, Verdict, VerifiedSession};
use serde::Serialize;

use super::output::View;

pub(crate) use definition::DefinitionView;

mod link;

pub(crate) use link::{LinkView, LinkedUserView};

/// RFC 3339.
fn time(time: Option<Timestamp>) -> Option<String> {
    time.and_then(|time| Time::from_unix(time.seconds, time.nanos)).map(|time| time.to_string())
}

fn name(name: &'static str, prefix: &str) -> &'static str {
    name.strip_prefix(prefix).unwrap_or(name)
}

fn revoke_reason(reason: RevokeReason) -> Option<&'static str> {
    (reason != RevokeReason::Unspecified).then(|| name(reason.as_str_name(), "REVOKE_REASON_"))
}

fn roles(roles: impl Iterator<Item = Role>) -> Vec<&'static str> {
    roles.map(|role| name(role.as_str_name(), "ROLE_")).collect()
}

fn auth_type(auth_type: AuthType) -> &'static str {
    name(auth_type.as_str_name(), "AUTH_TYPE_")
}

#[derive(Serialize)]
pub(crate) struct SessionView {
    session_id: String,
    user_id: String,
    username: String,
    roles: Vec<&'static str>,
    auth_type: &'static str,
    auth_id: Option<i64>,
    auth_principal: String,
    state: &'static str,
    revoke_reason: Option<&'static str>,
    logger_context: String,
    current_app: String,
    remote_addr: String,
    user_agent: String,
    creation_time: Option<String>,
    last_active_time: Option<String>,
    expire_time: Option<String>,
    absolute_expire_time: Option<String>,
    revoke_time: Option<String>,
    rotation_count: u32,
    platform: String,
    authentication_url: String,
    authentication_host: Option<String>,
    authentication_version: Option<String>,
    /// `None` without a platform.
    is_replication_user: Option<bool>,
    micetro_url: String,
    unique_name: String,
    groups: Vec<String>,
}

impl View for SessionView {
    const FIELDS: &'static str = "session_id username user_id roles state revoke_reason current_app auth_type \
         auth_id auth_principal platform micetro_url authentication_url authentication_host \
         authentication_version is_replication_user groups unique_name remote_addr user_agent creation_time \
         last_active_time expire_time absolute_expire_time revoke_time rotation_count logger_context";
    const COLUMNS: &'static str = "session_id username current_app state remote_addr last_active_time expire_time";
}

impl From<v1::UserSession> for SessionView {
    fn from(session: v1::UserSession) -> Self {
        Self {
            roles: roles(session.roles()),
            auth_type: auth_type(session.auth_type()),
            state: name(SessionState::as_str_name(&session.state()), "SESSION_STATE_"),
            revoke_reason: revoke_reason(session.revoke_reason()),
            session_id: session.session_id,
            user_id: session.user_id,
            username: session.username,
            logger_context: session.logger_context,
            current_app: session.current_app,
            remote_addr: session.remote_addr,
            user_agent: session.user_agent,
            creation_time: time(session.creation_time),
            last_active_time: time(session.last_active_time),
            expire_time: time(session.expire_time),
            absolute_expire_time: time(session.absolute_expire_time),
            revoke_time: time(session.revoke_time),
            rotation_count: session.rotation_count,
            auth_id: Some(session.auth_id).filter(|auth_id| *auth_id != 0),
            auth_principal: session.auth_principal,
            is_replication_user: (!session.platform.is_empty()).then_some(session.is_replication_user),
            platform: session.platform,
            authentication_url: session.authentication_url,
            authentication_host: session.authentication_host,
            authentication_version: session.authentication_version,
            micetro_url: session.micetro_url,
            unique_name: session.unique_name,
            groups: session.groups,
        }
    }
}

/// A session and its token, if that is new and was not saved to a file.
#[derive(Serialize)]
pub(crate) struct TokenView {
    pub(crate) ust: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) grace_time: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) warnings: Vec<WarningView>,
    pub(crate) session: SessionView,
}

impl TokenView {
    pub(crate) fn of_login(ust: Option<String>, login: lanyard_client::Login) -> Self {
        let warnings = login.warnings.into_iter().map(WarningView::from).collect();
        Self { ust, grace_time: None, warnings, session: login.session.into() }
    }

    pub(crate) fn of_renewal(ust: Option<String>, renewal: lanyard_client::Renewal) -> Self {
        Self { ust, grace_time: time(renewal.grace_time), warnings: Vec::new(), session: renewal.session.into() }
    }
}

#[derive(Serialize)]
pub(crate) struct WarningView {
    kind: &'static str,
    time: Option<String>,
}

impl From<v1::Warning> for WarningView {
    fn from(warning: v1::Warning) -> Self {
        Self { kind: name(WarningKind::as_str_name(&warning.kind()), "WARNING_KIND_"), time: time(warning.time) }
    }
}

impl WarningView {
    /// For terminals.
    pub(crate) fn text(&self) -> String {
        let kind = self.kind.replace('_', " ").to_lowercase();
        self.time.as_ref().map_or_else(|| kind.clone(), |time| format!("{kind}: {time}"))
    }
}

impl VerdictView {
    /// For a list of verdicts.
    pub(crate) fn line(&self) -> String {
        match &self.session {
            Some(session) => format!("active    {}  {}", session.session_id, session.username),
            None => format!("inactive  {}", self.text),
        }
    }
}

/// The result of verifying a token.
#[derive(Serialize)]
pub(crate) struct VerdictView {
    pub(crate) active: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) session: Option<VerifiedView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    inactive: Option<InactiveView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cache_for_seconds: Option<f64>,
    #[serde(skip)]
    pub(crate) text: String,
}

#[derive(Serialize)]
pub(crate) struct VerifiedView {
    session_id: String,
    user_id: String,
    username: String,
    roles: Vec<&'static str>,
    auth_type: &'static str,
    current_app: String,
    idle_expire_time: Option<String>,
    absolute_expire_time: Option<String>,
}

#[derive(Serialize)]
struct InactiveView {
    reason: &'static str,
    revoke_reason: Option<&'static str>,
}

impl View for VerifiedView {
    const FIELDS: &'static str = "username user_id session_id roles current_app auth_type idle_expire_time \
         absolute_expire_time";
    const COLUMNS: &'static str = "username session_id current_app idle_expire_time";
}

impl From<VerifiedSession> for VerifiedView {
    fn from(session: VerifiedSession) -> Self {
        let session = session.into_message();
        Self {
            roles: roles(session.roles()),
            auth_type: auth_type(session.auth_type()),
            session_id: session.session_id,
            user_id: session.user_id,
            username: session.username,
            current_app: session.current_app,
            idle_expire_time: time(session.idle_expire_time),
            absolute_expire_time: time(session.absolute_expire_time),
        }
    }
}

impl From<Verdict> for VerdictView {
    fn from(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Active(session) => Self {
                active: true,
                cache_for_seconds: session.cache_for().map(|duration| duration.as_secs_f64()),
                text: "the session is active".to_owned(),
                session: Some(session.into()),
                inactive: None,
            },
            Verdict::Inactive(inactive) => Self {
                active: false,
                cache_for_seconds: None,
                text: inactive.to_string(),
                session: None,
                inactive: Some(inactive.into()),
            },
        }
    }
}

impl From<Inactive> for InactiveView {
    fn from(inactive: Inactive) -> Self {
        let reason = name(inactive.reason.as_str_name(), "INACTIVE_REASON_");
        Self { reason, revoke_reason: revoke_reason(inactive.revoke_reason) }
    }
}

#[derive(Serialize)]
#[expect(clippy::struct_excessive_bools, reason = "as in the contract")]
pub(crate) struct UserView {
    user_id: String,
    username: String,
    display_name: String,
    email: String,
    is_super_user: bool,
    is_locked: bool,
    approval_status: &'static str,
    is_totp_enabled: bool,
    has_password: bool,
    password_must_change: bool,
    password_expire_time: Option<String>,
    allowed_networks: Vec<String>,
    creation_time: Option<String>,
    update_time: Option<String>,
    etag: String,
}

impl View for UserView {
    const FIELDS: &'static str = "user_id username display_name email is_super_user is_locked approval_status \
         has_password password_must_change password_expire_time is_totp_enabled allowed_networks \
         creation_time update_time etag";
    const COLUMNS: &'static str = "user_id username display_name is_super_user is_locked approval_status \
         creation_time";
}

impl From<v1::User> for UserView {
    fn from(user: v1::User) -> Self {
        Self {
            approval_status: name(ApprovalStatus::as_str_name(&user.approval_status()), "APPROVAL_STATUS_"),
            user_id: user.user_id,
            username: user.username,
            display_name: user.display_name,
            email: user.email,
            is_super_user: user.is_super_user,
            is_locked: user.is_locked,
            is_totp_enabled: user.is_totp_enabled,
            has_password: user.has_password,
            password_must_change: user.password_must_change,
            password_expire_time: time(user.password_expire_time),
            allowed_networks: user.allowed_networks,
            creation_time: time(user.creation_time),
            update_time: time(user.update_time),
            etag: user.etag,
        }
    }
}

#[derive(Serialize)]
pub(crate) struct AttributeView {
    name: String,
    value: String,
    is_sealed: bool,
    expire_time: Option<String>,
    creation_time: Option<String>,
    update_time: Option<String>,
    etag: String,
}

impl View for AttributeView {
    const FIELDS: &'static str = "name value is_sealed expire_time creation_time update_time etag";
    const COLUMNS: &'static str = "name value is_sealed expire_time update_time etag";
}

impl From<v1::Attribute> for AttributeView {
    fn from(attribute: v1::Attribute) -> Self {
        Self {
            name: attribute.name,
            value: attribute.value,
            is_sealed: attribute.is_sealed,
            expire_time: time(attribute.expire_time),
            creation_time: time(attribute.creation_time),
            update_time: time(attribute.update_time),
            etag: attribute.etag,
        }
    }
}

#[derive(Serialize)]
pub(crate) struct EventView {
    chain_id: String,
    sequence: u64,
    time: Option<String>,
    correlation_id: String,
    operation: String,
    outcome: &'static str,
    reason: String,
    caller: String,
    subject_user_id: String,
    target_user_id: String,
    session_id: String,
    current_app: String,
    remote_addr: String,
    detail: String,
}

impl View for EventView {
    const FIELDS: &'static str = "time operation outcome reason correlation_id caller subject_user_id \
         target_user_id session_id current_app remote_addr detail chain_id sequence";
    const COLUMNS: &'static str = "time operation outcome reason caller subject_user_id correlation_id";
}

impl From<v1::AuditEvent> for EventView {
    fn from(event: v1::AuditEvent) -> Self {
        Self {
            outcome: name(AuditOutcome::as_str_name(&event.outcome()), "AUDIT_OUTCOME_"),
            chain_id: event.chain_id,
            sequence: event.sequence,
            time: time(event.time),
            correlation_id: event.correlation_id,
            operation: event.operation,
            reason: event.reason,
            caller: event.caller,
            subject_user_id: event.subject_user_id,
            target_user_id: event.target_user_id,
            session_id: event.session_id,
            current_app: event.current_app,
            remote_addr: event.remote_addr,
            detail: event.detail,
        }
    }
}
