//! Changes links: super-users link others, users link themselves; links are turned on and off and deleted.

use std::time::Duration;

use super::{LinkToCreate, OwnLinkToCreate, detail, etag_matches, or_link_not_found};
use crate::app::App;
use crate::app::audit::Event;
use crate::app::check::CheckError;
use crate::app::client::Acting;
use crate::clock::Time;
use crate::error::{Error, Result};
use crate::model::audit::Operation;
use crate::model::id::{LinkId, SessionId, UserId};
use crate::model::link::LinkEntry;
use crate::model::session::{AuthType, RevokeReason};
use crate::model::user::ApprovalStatus;
use crate::store::{DefinitionRow, LinkedAuthRow, Tx, UserRow};

/// A user may link an account to themselves for this long after a login by password.
const REAUTHENTICATION_WINDOW: Duration = Duration::from_mins(5);

/// A link to create.
#[derive(Clone)]
struct NewLink {
    auth_id: i64,
    user: UserId,
    is_active: bool,
    /// Set if users link themselves.
    own: Option<Proved>,
}

/// What a user proved before the transaction, and what must still hold in it.
#[derive(Clone, Copy)]
struct Proved {
    session: SessionId,
    definition_version: i64,
}

/// A link to change, with its definition and user, all locked.
struct Locked {
    definition: DefinitionRow,
    user: UserRow,
    link: LinkedAuthRow,
}

impl App {
    /// Links a definition to a user who is not a super-user.
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn create_link(&self, acting: &Acting<'_>, new: LinkToCreate) -> Result<LinkEntry> {
        self.require_super_user(acting, Operation::LinkCreate, Some(new.user), None).await?;
        let event = Event::by(acting, Operation::LinkCreate).target(new.user);
        let found = self.auth_id_of(&new.definition).await;
        let auth_id = self.audit_if_refused(event.clone(), found).await?;
        self.add_link(event, NewLink { auth_id, user: new.user, is_active: new.is_active, own: None }).await
    }

    /// Links a definition to the acting user after a recent login by password and with a valid credential of it.
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn create_own_link(&self, acting: &Acting<'_>, new: OwnLinkToCreate) -> Result<LinkEntry> {
        let user = acting.user();
        if new.user.is_some_and(|given| given != user) {
            return Err(Error::invalid("user_id", "with `proof` it is the acting user: leave it empty"));
        }
        let event = Event::by(acting, Operation::LinkCreate).target(user);
        let may = self.may_link_own(acting);
        self.audit_if_refused(event.clone(), may).await?;
        let proved = match self.check_external(&new.proof, acting.client.remote_addr).await {
            Ok(proved) => proved.definition,
            Err(CheckError::Refused(reason)) => return self.login_failed(event, reason).await,
            Err(CheckError::Other(error)) => return self.audit_if_refused(event, Err(error)).await,
        };
        let own = Proved { session: acting.session.session_id, definition_version: proved.version };
        self.add_link(event, NewLink { auth_id: proved.auth_id, user, is_active: true, own: Some(own) }).await
    }

    fn may_link_own(&self, acting: &Acting<'_>) -> Result<()> {
        if !acting.client.app.policy.self_service_links {
            return Err(if acting.is_super_user() { Error::UserNotEligible } else { Error::SuperUserRequired });
        }
        let session = &acting.session;
        let by_password = session.auth_type == AuthType::Password;
        if !by_password || self.parts.clock.now().since(session.created_at) > REAUTHENTICATION_WINDOW {
            return Err(Error::ReauthenticationRequired);
        }
        Ok(())
    }

    async fn add_link(&self, event: Event, new: NewLink) -> Result<LinkEntry> {
        let audit_detail = serde_json::json!({ "auth_id": new.auth_id, "self_service": new.own.is_some() });
        let refused = event.clone().detail(audit_detail.clone());
        let added = self.parts.store.write(move |tx| {
            let (event, new, mut audit_detail) = (event.clone(), new.clone(), audit_detail.clone());
            Box::pin(async move {
                let link = add(tx, &new).await?;
                audit_detail["link_id"] = link.link_id.to_string().into();
                audit_detail["is_active"] = link.is_active.into();
                tx.audit(event.detail(audit_detail));
                Ok(link)
            })
        });
        self.audit_if_refused(refused, added.await).await
    }

    /// Turns a link on or off; returns how many live sessions ended.
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn update_link(
        &self,
        acting: &Acting<'_>,
        link: LinkId,
        is_active: bool,
        etag: String,
    ) -> Result<(LinkEntry, u64)> {
        self.change_link(acting, Operation::LinkUpdate, link, etag, move |tx, locked, now| {
            Box::pin(async move {
                let ended = if is_active {
                    0
                } else {
                    revoke_link_sessions(tx, &locked, RevokeReason::LinkInactive, now).await?
                };
                let mut link = locked.link;
                if link.is_active != is_active {
                    link.is_active = is_active;
                    link.updated_at = now;
                    link.version += 1;
                    tx.update_link(link.clone()).await?;
                }
                Ok((link.entry(locked.definition), ended))
            })
        })
        .await
    }

    /// Deletes a link; returns how many live sessions ended.
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn delete_link(&self, acting: &Acting<'_>, link: LinkId, etag: String) -> Result<u64> {
        let deleted = self.change_link(acting, Operation::LinkDelete, link, etag, move |tx, locked, now| {
            Box::pin(async move {
                let ended = revoke_link_sessions(tx, &locked, RevokeReason::LinkDeleted, now).await?;
                tx.delete_link(&locked.link).await?;
                Ok((locked.link.entry(locked.definition), ended))
            })
        });
        deleted.await.map(|(_, ended)| ended)
    }

    /// Locks a link with its definition and user, applies `change`, and audits the change or its refusal.
    async fn change_link(
        &self,
        acting: &Acting<'_>,
        operation: Operation,
        link: LinkId,
        etag: String,
        change: impl Change,
    ) -> Result<(LinkEntry, u64)> {
        self.require_super_user(acting, operation, None, None).await?;
        let event = Event::by(acting, operation);
        let Some(row) = self.parts.store.link(link).await? else {
            let event = event.detail(serde_json::json!({ "link_id": link.to_string() }));
            return self.audit_if_refused(event, Err(Error::LinkNotFound)).await;
        };
        let event = event.target(row.user_id).detail(detail(link, row.auth_id));
        // Idle expiry depends on activity in memory.
        self.parts.store.flush_activity().await?;
        let (refused, change) = (event.clone(), std::sync::Arc::new(change));
        let changed = self.parts.store.write(move |tx| {
            let (row, etag, event, change) = (row.clone(), etag.clone(), event.clone(), std::sync::Arc::clone(&change));
            Box::pin(async move {
                let locked = lock(tx, &row).await?;
                etag_matches(&etag, locked.link.version)?;
                let (link, ended) = change(tx, locked, tx.clock().now()).await?;
                let mut audit_detail = detail(link.link_id, link.auth_id);
                audit_detail["is_active"] = link.is_active.into();
                audit_detail["revoked"] = ended.into();
                tx.audit(event.detail(audit_detail));
                Ok((link, ended))
            })
        });
        self.audit_if_refused(refused, changed.await).await
    }
}

/// A change of a link: returns the new link and how many live sessions ended.
trait Change:
    for<'a> Fn(&'a Tx, Locked, Time) -> futures::future::BoxFuture<'a, Result<(LinkEntry, u64)>> + Send + Sync + 'static
{
}

impl<F> Change for F where
    F: for<'a> Fn(&'a Tx, Locked, Time) -> futures::future::BoxFuture<'a, Result<(LinkEntry, u64)>>
        + Send
        + Sync
        + 'static
{
}

async fn lock(tx: &Tx, row: &LinkedAuthRow) -> Result<Locked> {
    Ok(Locked {
        definition: or_link_not_found(tx.lock_definition(row.auth_id).await?)?,
        user: or_link_not_found(tx.lock_user(row.user_id).await?)?,
        link: or_link_not_found(tx.lock_link(row.link_id).await?)?,
    })
}

/// Revokes the sessions started with this link. Fails if it is the user's last way to log in.
async fn revoke_link_sessions(tx: &Tx, locked: &Locked, reason: RevokeReason, now: Time) -> Result<u64> {
    let logs_in = locked.link.is_active && locked.definition.is_active;
    if logs_in && locked.user.password_hash.is_none() && !tx.has_other_active_link(&locked.link).await? {
        return Err(Error::LastLoginMethod);
    }
    tx.revoke_sessions_of_definition(locked.link.auth_id, reason, now).await
}

async fn add(tx: &Tx, new: &NewLink) -> Result<LinkEntry> {
    let now = tx.clock().now();
    let definition = tx.lock_definition(new.auth_id).await?.ok_or(Error::DefinitionNotFound)?;
    let user = tx.lock_user(new.user).await?.ok_or(Error::UserNotFound)?;
    match new.own {
        Some(proved) => recheck(tx, proved, &definition, &user, now).await?,
        None if user.is_super_user => return Err(Error::UserNotEligible),
        None => {}
    }
    if user.approval_status != ApprovalStatus::Approved {
        return Err(Error::UserNotEligible);
    }
    if tx.link_of_definition(new.auth_id).await?.is_some() {
        return Err(Error::LinkUnavailable);
    }
    let link = LinkedAuthRow {
        link_id: LinkId::new(now),
        user_id: user.user_id,
        auth_id: definition.auth_id,
        is_active: new.is_active,
        is_internal: definition.is_internal,
        created_at: now,
        updated_at: now,
        last_used_at: None,
        version: 1,
    };
    tx.insert_link(link.clone()).await?;
    Ok(link.entry(definition))
}

/// Checks again what was proved before the transaction: the session has not ended (a new password ends a thief's), and
/// the definition is still the one whose credential was verified.
async fn recheck(tx: &Tx, proved: Proved, definition: &DefinitionRow, user: &UserRow, now: Time) -> Result<()> {
    let session = tx.lock_session(proved.session).await?;
    let is_live = session.is_some_and(|row| row.revoked_at.is_none() && row.expires_at > now);
    if !is_live || user.is_locked {
        return Err(Error::SessionInvalid);
    }
    if !definition.is_active || definition.version != proved.definition_version {
        return Err(Error::LoginFailed);
    }
    Ok(())
}
