//! Revokes sessions.

use super::RevokeReason;
use crate::app::App;
use crate::app::audit::Event;
use crate::app::client::{Acting, Client};
use crate::error::{Error, Result};
use crate::model::audit::{Operation, Reason};
use crate::model::id::{SessionId, UserId};

/// Which sessions to revoke.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RevokeTarget {
    User(UserId),
    App(String),
    /// Sessions that were started with this definition.
    Definition(i64),
    /// Sessions on the platform of this name.
    Platform(String),
    Everyone,
}

impl App {
    /// Revokes a session, by default the current one. Returns whether it was live.
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn revoke_session(&self, acting: &Acting<'_>, session: Option<SessionId>) -> Result<bool> {
        let target = session.unwrap_or(acting.session.session_id);
        let (user, is_super_user) = (acting.user(), acting.is_super_user());
        let event = Event::by(acting, Operation::SessionRevoke).session(target);
        self.parts
            .store
            .write(move |tx| {
                let event = event.clone();
                // `None`: not theirs, which a regular user is not told.
                Box::pin(async move {
                    let row = tx.lock_session(target).await?.ok_or(Error::SessionNotFound)?;
                    let owner: UserId = row.user_id;
                    if owner != user && !is_super_user {
                        tx.audit(event.target(owner).refused(Reason::NotOwnSession));
                        return Ok(None);
                    }
                    let now = tx.clock().now();
                    let was_live = row.revoked_at.is_none() && row.expires_at > now;
                    if row.revoked_at.is_none() {
                        let reason = if owner == user { RevokeReason::Logout } else { RevokeReason::Administrator };
                        tx.revoke_session(&row, reason, now).await?;
                    }
                    if was_live {
                        tx.audit(event.target(owner));
                    }
                    Ok(Some(was_live))
                })
            })
            .await?
            .ok_or(Error::SessionNotFound)
    }

    /// Revokes many sessions at once; returns how many were live.
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn revoke_sessions(
        &self,
        acting: &Acting<'_>,
        target: Option<RevokeTarget>,
        keep_current: bool,
    ) -> Result<u64> {
        let target = target.unwrap_or(RevokeTarget::User(acting.user()));
        let own = target == RevokeTarget::User(acting.user());
        let user = if let RevokeTarget::User(user) = target { Some(user) } else { None };
        if !own {
            self.require_super_user(acting, Operation::SessionRevokeMany, user, None).await?;
        }
        // Idle expiry depends on activity in memory.
        self.parts.store.flush_activity().await?;
        let except = keep_current.then_some(acting.session.session_id);
        let reason = if own { RevokeReason::Logout } else { RevokeReason::Administrator };
        let event = Event::by(acting, Operation::SessionRevokeMany).target(user);
        self.parts
            .store
            .write(move |tx| {
                let (event, target) = (event.clone(), target.clone());
                Box::pin(async move {
                    let now = tx.clock().now();
                    let ended = match &target {
                        RevokeTarget::User(user) => {
                            tx.lock_user(*user).await?.ok_or(Error::UserNotFound)?;
                            tx.revoke_sessions_of_user(*user, except, reason, now).await?
                        }
                        RevokeTarget::App(app) => tx.revoke_sessions_of_app(Some(app), except, reason, now).await?,
                        RevokeTarget::Definition(auth_id) => {
                            // Waits for concurrent logins with it, so that their sessions are revoked too.
                            tx.lock_definition(*auth_id).await?;
                            tx.revoke_other_sessions_of_definition(*auth_id, except, reason, now).await?
                        }
                        RevokeTarget::Platform(platform) => {
                            tx.revoke_sessions_of_platform(platform, None, except, reason, now).await?
                        }
                        RevokeTarget::Everyone => tx.revoke_sessions_of_app(None, except, reason, now).await?,
                    };
                    let mut detail = serde_json::json!({ "revoked": ended });
                    match &target {
                        RevokeTarget::App(app) => detail["app"] = app.as_str().into(),
                        RevokeTarget::Definition(auth_id) => detail["auth_id"] = (*auth_id).into(),
                        RevokeTarget::Platform(platform) => detail["platform"] = platform.as_str().into(),
                        RevokeTarget::User(_) | RevokeTarget::Everyone => {}
                    }
                    tx.audit(event.detail(detail));
                    Ok(ended)
                })
            })
            .await
    }

    /// Revokes a session because a token from before its last rotation was presented.
    pub(in crate::app) async fn revoke_for_token_reuse(&self, client: &Client<'_>, session: SessionId) -> Result<()> {
        let event = Event::new(client, Operation::SessionVerify).session(session);
        let ended = self
            .parts
            .store
            .write(move |tx| {
                let event = event.clone();
                Box::pin(async move {
                    let Some(row) = tx.lock_session(session).await? else { return Ok(false) };
                    let ends = row.revoked_at.is_none();
                    if ends {
                        tx.revoke_session(&row, RevokeReason::TokenReused, tx.clock().now()).await?;
                        tx.audit(event.target(row.user_id).refused(Reason::TokenReused));
                    }
                    Ok(ends)
                })
            })
            .await?;
        if ended {
            self.parts.login_metrics.count_token_reuse();
        }
        Ok(())
    }
}
