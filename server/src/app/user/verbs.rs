//! Operations on users: create, read, update, lock, approve, reject, delete.

use super::password::{Password, check_new};
use super::{
    ApprovalStatus, ListUsers, MAX_SEARCH, User, UserChange, UserKey, new_row, set_password, touch, username_key,
};
use crate::app::audit::Event;
use crate::app::client::{Acting, ClientInput};
use crate::app::page::{Page, PageRequest, Query};
use crate::app::{App, Context};
use crate::clock::Time;
use crate::error::{Error, Result};
use crate::model::audit::Operation;
use crate::model::id::{SessionId, UserId};
use crate::model::session::RevokeReason;
use crate::store::{Tx, UserFilter, UserRow};

impl App {
    /// Creates a user. An empty password means none.
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn create_user(
        &self,
        acting: &Acting<'_>,
        changes: Vec<UserChange>,
        password: Password,
        status: ApprovalStatus,
    ) -> Result<User> {
        self.require_super_user(acting, Operation::UserCreate, None, None).await?;
        self.add_user(Event::by(acting, Operation::UserCreate), changes, password, status).await
    }

    /// Creates a user from the command line: there is nobody to create the first super-user.
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn create_user_by_operator(
        &self,
        context: &Context,
        changes: Vec<UserChange>,
        password: Password,
    ) -> Result<User> {
        let client = self.client(context, ClientInput::default())?;
        self.add_user(Event::new(&client, Operation::UserCreate), changes, password, ApprovalStatus::Approved).await
    }

    async fn add_user(
        &self,
        event: Event,
        changes: Vec<UserChange>,
        password: Password,
        status: ApprovalStatus,
    ) -> Result<User> {
        let now = self.parts.clock.now();
        let mut row = new_row(&changes, status, now)?;
        if !password.is_empty() {
            check_new(&self.parts.password, "password", &password, &row.username)?;
            let (must_change, expires_at) = (row.password_must_change, row.password_expires_at);
            let hash = self.parts.hasher.hash(password).await?;
            set_password(&mut row, &hash, must_change, &self.parts.password, now);
            // An explicit expiry overrides the policy.
            row.password_expires_at = expires_at.or(row.password_expires_at);
        }
        let event = event.target(row.user_id).detail(serde_json::json!({ "is_super_user": row.is_super_user }));
        let stored = row.clone();
        self.parts
            .store
            .write(move |tx| {
                let (row, event) = (row.clone(), event.clone());
                Box::pin(async move {
                    tx.insert_user(row).await?;
                    tx.audit(event);
                    Ok(())
                })
            })
            .await?;
        Ok(stored.into())
    }

    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn get_user(&self, acting: &Acting<'_>, key: UserKey) -> Result<User> {
        let target = if let UserKey::Id(user) = key { Some(user) } else { None };
        self.require_super_user(acting, Operation::UserGet, target, None).await?;
        let row = match &key {
            UserKey::Id(user) => self.parts.store.user(*user).await?,
            UserKey::Name(name) => self.parts.store.user_by_name(&username_key(name)).await?,
        };
        let user: User = row.ok_or(Error::UserNotFound)?.into();
        self.audit_read(acting, Operation::UserGet, Some(user.user_id), None).await?;
        Ok(user)
    }

    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn current_user(&self, acting: &Acting<'_>) -> Result<User> {
        let row = self.parts.store.user(acting.user()).await?;
        self.audit_own_read(acting, Operation::UserGet, None).await?;
        row.map(User::from).ok_or(Error::SessionInvalid)
    }

    /// One page of users, oldest first.
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn list_users(&self, acting: &Acting<'_>, list: ListUsers, page: PageRequest<'_>) -> Result<Page<User>> {
        self.require_super_user(acting, Operation::UserList, None, None).await?;
        if list.search.len() > MAX_SEARCH {
            return Err(Error::invalid("search", "is longer than 128 bytes"));
        }
        let now = self.parts.clock.now();
        let query = Query::new("users", acting.user(), &format!("{list:?}"));
        let after = page.cursor(&self.parts.keyring, &query, now)?;
        let after = after.map(|bytes| UserId::from_slice(&bytes).map_err(|_| Error::PageTokenInvalid)).transpose()?;
        let filter = UserFilter {
            search: (!list.search.is_empty()).then(|| list.search.to_lowercase()),
            approval_status: list.approval_status,
            is_locked: list.is_locked,
            is_super_user: list.is_super_user,
        };
        let rows = self.parts.store.users(&filter, after, page.limit() + 1).await?;
        self.audit_read(acting, Operation::UserList, None, None).await?;
        let page = page.take(rows, |row| row.user_id.as_bytes().to_vec(), &self.parts.keyring, &query, now);
        Ok(Page { items: page.items.into_iter().map(User::from).collect(), next_page_token: page.next_page_token })
    }

    /// Updates fields. A non-empty etag must match.
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn update_user(
        &self,
        acting: &Acting<'_>,
        user: Option<UserId>,
        changes: Vec<UserChange>,
        etag: String,
    ) -> Result<User> {
        let target = user.unwrap_or(acting.user());
        if target != acting.user() || !changes.iter().all(UserChange::is_self_service) {
            self.require_super_user(acting, Operation::UserUpdate, Some(target), None).await?;
        }
        let gives_up_role = changes.iter().any(|change| matches!(change, UserChange::IsSuperUser(false)));
        if target == acting.user() && gives_up_role {
            return Err(Error::NotOnYourself { what: "give up the super-user role" });
        }
        let fields: Vec<&str> = changes.iter().map(UserChange::name).collect();
        let event =
            Event::by(acting, Operation::UserUpdate).target(target).detail(serde_json::json!({ "fields": fields }));
        self.change_user(target, event, move |row, _| {
            if !etag.is_empty() && etag != row.version.to_string() {
                return Err(Error::EtagMismatch);
            }
            changes.iter().try_for_each(|change| change.apply(row))
        })
        .await
        .map(|(user, _)| user)
    }

    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn lock_user(&self, acting: &Acting<'_>, user: UserId) -> Result<(User, u64)> {
        self.require_super_user_on_another(acting, Operation::UserLock, user, "lock").await?;
        self.block_user(acting, Operation::UserLock, user, RevokeReason::UserLocked, |row| row.is_locked = true).await
    }

    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn unlock_user(&self, acting: &Acting<'_>, user: UserId) -> Result<User> {
        self.unblock_user(acting, Operation::UserUnlock, user, |row| row.is_locked = false).await
    }

    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn approve_user(&self, acting: &Acting<'_>, user: UserId) -> Result<User> {
        self.unblock_user(acting, Operation::UserApprove, user, |row| row.approval_status = ApprovalStatus::Approved)
            .await
    }

    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn reject_user(&self, acting: &Acting<'_>, user: UserId) -> Result<(User, u64)> {
        self.require_super_user_on_another(acting, Operation::UserReject, user, "reject").await?;
        let reject = |row: &mut UserRow| row.approval_status = ApprovalStatus::Rejected;
        self.block_user(acting, Operation::UserReject, user, RevokeReason::UserRejected, reject).await
    }

    /// Deletes a user; returns how many live sessions ended.
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn delete_user(&self, acting: &Acting<'_>, user: UserId) -> Result<u64> {
        self.require_super_user_on_another(acting, Operation::UserDelete, user, "delete").await?;
        self.parts.store.flush_activity().await?;
        let event = Event::by(acting, Operation::UserDelete).target(user);
        self.parts
            .store
            .write(move |tx| {
                let event = event.clone();
                Box::pin(async move {
                    tx.lock_user(user).await?.ok_or(Error::UserNotFound)?;
                    let now = tx.clock().now();
                    let ended = tx.revoke_sessions_of_user(user, None, RevokeReason::UserDeleted, now).await?;
                    tx.delete_user(user).await?;
                    tx.audit(event.detail(serde_json::json!({ "revoked": ended })));
                    Ok(ended)
                })
            })
            .await
    }

    async fn require_super_user_on_another(
        &self,
        acting: &Acting<'_>,
        operation: Operation,
        user: UserId,
        what: &'static str,
    ) -> Result<()> {
        self.require_super_user(acting, operation, Some(user), None).await?;
        if user == acting.user() { Err(Error::NotOnYourself { what }) } else { Ok(()) }
    }

    async fn block_user(
        &self,
        acting: &Acting<'_>,
        operation: Operation,
        user: UserId,
        reason: RevokeReason,
        change: impl Fn(&mut UserRow) + Send + Sync + 'static,
    ) -> Result<(User, u64)> {
        self.parts.store.flush_activity().await?;
        let event = Event::by(acting, operation).target(user);
        let change = move |row: &mut UserRow, _| {
            change(row);
            Ok(())
        };
        self.change_user_and_revoke(user, event, Some((reason, None)), change).await
    }

    async fn unblock_user(
        &self,
        acting: &Acting<'_>,
        operation: Operation,
        user: UserId,
        change: impl Fn(&mut UserRow) + Send + Sync + 'static,
    ) -> Result<User> {
        self.require_super_user(acting, operation, Some(user), None).await?;
        let event = Event::by(acting, operation).target(user);
        let change = move |row: &mut UserRow, _| {
            change(row);
            Ok(())
        };
        self.change_user(user, event, change).await.map(|(user, _)| user)
    }

    pub(super) async fn change_user(
        &self,
        user: UserId,
        event: Event,
        change: impl Fn(&mut UserRow, Time) -> Result<()> + Send + Sync + 'static,
    ) -> Result<(User, u64)> {
        self.change_user_and_revoke(user, event, None, change).await
    }

    /// Changes a user, revokes their sessions (all but one, if asked to) and audits it, in one transaction. An
    /// unchanged row is not written.
    pub(super) async fn change_user_and_revoke(
        &self,
        user: UserId,
        event: Event,
        revoke: Option<(RevokeReason, Option<SessionId>)>,
        change: impl Fn(&mut UserRow, Time) -> Result<()> + Send + Sync + 'static,
    ) -> Result<(User, u64)> {
        let change = std::sync::Arc::new(change);
        self.parts
            .store
            .write(move |tx| {
                let (event, change) = (event.clone(), std::sync::Arc::clone(&change));
                Box::pin(async move {
                    let before = tx.lock_user(user).await?.ok_or(Error::UserNotFound)?;
                    let now = tx.clock().now();
                    let mut row = before.clone();
                    change(&mut row, now)?;
                    let ended = match revoke {
                        Some((reason, except)) => tx.revoke_sessions_of_user(user, except, reason, now).await?,
                        None => 0,
                    };
                    if row != before {
                        store_changed(tx, &mut row, &before, now).await?;
                    }
                    let event =
                        if revoke.is_some() { event.detail(serde_json::json!({ "revoked": ended })) } else { event };
                    tx.audit(event);
                    Ok((User::from(row), ended))
                })
            })
            .await
    }
}

async fn store_changed(tx: &Tx, row: &mut UserRow, before: &UserRow, now: Time) -> Result<()> {
    if row.version == before.version {
        touch(row, now);
    }
    tx.update_user(row.clone()).await
}
