//! Admits users whose credential is valid. The same rules apply to every login method.

use std::net::IpAddr;
use std::sync::Arc;

use crate::app::audit::Event;
use crate::app::client::{Client, clean_user_agent};
use crate::app::user::matching_totp_step;
use crate::clock::Time;
use crate::config::{Policy, QuotaPolicy};
use crate::crypto::{Keyring, Token, TokenKind};
use crate::error::Result;
use crate::model::audit::{Operation, Reason};
use crate::model::id::{SessionId, UserId};
use crate::model::network::{in_networks, parse_list};
use crate::model::session::{AuthType, RevokeReason};
use crate::model::user::ApprovalStatus;
use crate::store::{NewSession, SessionRow, Tx, UserRow};

/// A login with a valid credential: its client, app and policy.
pub(in crate::app) struct Admission {
    pub event: Event,
    pub policy: Policy,
    pub remote_addr: IpAddr,
    app: Arc<str>,
    user_agent: String,
}

/// How the user logged in.
pub(in crate::app) struct LoginMethod {
    pub auth_type: AuthType,
    /// ID and username of the definition; `None` for passwords and platforms.
    pub definition: Option<(i64, String)>,
}

impl LoginMethod {
    pub(in crate::app) const fn password() -> Self {
        Self { auth_type: AuthType::Password, definition: None }
    }
}

impl Admission {
    pub(in crate::app) fn new(client: &Client<'_>, event: Event) -> Self {
        Self {
            event,
            policy: client.app.policy,
            remote_addr: client.remote_addr,
            app: Arc::clone(&client.app.name),
            user_agent: clean_user_agent(client.user_agent),
        }
    }

    /// Replaces the app's session limits.
    pub(in crate::app) fn with_policy(self, policy: Policy) -> Self {
        Self { policy, ..self }
    }

    /// Whether the user may log in to this app from here; if not, the audit reason.
    pub(in crate::app) fn admits(&self, user: &UserRow) -> Result<(), Reason> {
        may_log_in(user, self.policy, self.remote_addr)
    }

    /// Makes room for one more session, by the app's quota policy. Returns the limit if there is none.
    pub(in crate::app) async fn enforce_quota(&self, tx: &Tx, user: UserId, now: Time) -> Result<Option<u32>> {
        let not_ended = tx.count_unended_sessions(user, &self.app, now).await?;
        self.enforce_quota_with_count(tx, user, not_ended, now).await
    }

    /// Locks the user and counts their sessions in the app for [`Self::enforce_quota_with_count`].
    pub(in crate::app) async fn lock_user(&self, tx: &Tx, user: UserId, now: Time) -> Result<Option<(UserRow, u64)>> {
        tx.lock_user_and_count_sessions(user, &self.app, now).await
    }

    /// As [`Self::enforce_quota`], with the session count already known. It may include idle-expired sessions.
    pub(in crate::app) async fn enforce_quota_with_count(
        &self,
        tx: &Tx,
        user: UserId,
        not_ended: u64,
        now: Time,
    ) -> Result<Option<u32>> {
        let quota = self.policy.quota as usize;
        if not_ended < quota as u64 {
            return Ok(None);
        }
        let live = tx.live_sessions(user, &self.app, now).await?;
        if live.len() < quota {
            return Ok(None);
        }
        if self.policy.quota_policy == QuotaPolicy::Deny {
            return Ok(Some(self.policy.quota));
        }
        for oldest in &live[..=live.len() - quota] {
            tx.revoke_session(oldest, RevokeReason::Quota, now).await?;
            tx.audit(
                self.event
                    .clone()
                    .target(user)
                    .session(oldest.session_id)
                    .operation(Operation::SessionRevoke)
                    .detail(serde_json::json!({ "cause": Reason::Quota.name() })),
            );
        }
        Ok(None)
    }

    /// Creates the session and its token.
    pub(in crate::app) async fn create_session(
        &self,
        tx: &Tx,
        user: &UserRow,
        method: LoginMethod,
        now: Time,
    ) -> Result<(Token, SessionRow)> {
        let token = Token::generate(TokenKind::Ust);
        let (hash, key_id) = tx.keyring().hash_token(token.as_ref());
        let absolute = now + self.policy.absolute;
        let (auth_id, auth_principal) = method.definition.unzip();
        let row = SessionRow {
            session_id: SessionId::new(now),
            user_id: user.user_id,
            username: user.username.clone(),
            auth_type: method.auth_type,
            app: self.app.to_string(),
            remote_addr: Some(self.remote_addr.to_string()),
            user_agent: self.user_agent.clone(),
            address_binding: self.policy.address_binding,
            idle_micros: self.policy.idle.into(),
            created_at: now,
            last_active_at: now,
            expires_at: (now + self.policy.idle).min(absolute),
            absolute_expires_at: absolute,
            revoked_at: None,
            revoke_reason: None,
            generation: 0,
            auth_id,
            auth_principal: auth_principal.unwrap_or_default(),
        };
        tx.insert_session(NewSession { row: row.clone(), token: hash, key_id }).await?;
        Ok((token, row))
    }
}

/// The outcome of the second factor.
#[derive(Clone, Copy)]
pub(in crate::app) enum SecondFactor {
    NotRequired,
    /// The code is valid for this time step.
    Valid(i64),
    /// No code was sent.
    Missing,
    Invalid,
}

pub(in crate::app) fn second_factor(keyring: &Keyring, user: &UserRow, code: &str, now: Time) -> Result<SecondFactor> {
    if !user.is_totp_enabled {
        return Ok(SecondFactor::NotRequired);
    }
    if code.is_empty() {
        return Ok(SecondFactor::Missing);
    }
    Ok(matching_totp_step(keyring, user, code, now)?.map_or(SecondFactor::Invalid, SecondFactor::Valid))
}

/// Whether the user may log in to an app with this policy from this address; if not, the audit reason.
pub(in crate::app) fn may_log_in(user: &UserRow, policy: Policy, address: IpAddr) -> Result<(), Reason> {
    if user.is_locked {
        return Err(Reason::UserLocked);
    }
    match user.approval_status {
        ApprovalStatus::Approved => {}
        ApprovalStatus::Pending => return Err(Reason::UserNotApproved),
        ApprovalStatus::Rejected => return Err(Reason::UserRejected),
    }
    if !policy.login {
        return Err(Reason::AppWithoutLogin);
    }
    let networks = parse_list(&user.allowed_networks).map_err(|_| Reason::UnreadableNetworks)?;
    if !in_networks(&networks, address) {
        return Err(Reason::AddressNotAllowed);
    }
    Ok(())
}
