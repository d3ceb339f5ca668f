//! Users: the people known to the SSO.

use ipnet::IpNet;
use zeroize::Zeroizing;

use super::App;
use super::audit::Event;
use super::client::Acting;
use super::page::{Page, PageRequest, Query};
use super::password::{Password, check_new, expiry};
use super::session::RevokeReason;
use super::totp;
use crate::clock::Time;
use crate::config;
use crate::crypto::PasswordHash;
use crate::error::{Error, Result};
use crate::id::{Id, UserId};
use crate::store::{Tx, UserFilter, UserRow};

const MAX_USERNAME: usize = 128;
const MAX_NAME: usize = 256;
const MAX_SEARCH: usize = 128;
const MAX_NETWORKS: usize = 64;

/// Whether somebody has let the user in. The numbers are those of the contract and of the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ApprovalStatus {
    Pending = 1,
    Approved = 2,
    Rejected = 3,
}

impl ApprovalStatus {
    pub const fn number(self) -> i16 {
        self as i16
    }

    /// What is not known does not let anybody in.
    pub const fn from_number(number: i16) -> Self {
        match number {
            1 => Self::Pending,
            2 => Self::Approved,
            _ => Self::Rejected,
        }
    }
}

/// A person known to the SSO, without any secret.
#[expect(clippy::struct_excessive_bools, reason = "as the contract has it")]
#[derive(Clone, Debug)]
pub struct User {
    pub user_id: UserId,
    pub username: String,
    pub display_name: String,
    pub email: String,
    pub is_super_user: bool,
    pub is_locked: bool,
    pub approval_status: ApprovalStatus,
    pub is_totp_enabled: bool,
    pub has_password: bool,
    pub password_must_change: bool,
    pub password_expires_at: Option<Time>,
    pub allowed_networks: Vec<String>,
    pub created_at: Time,
    pub updated_at: Time,
    pub etag: String,
}

impl From<UserRow> for User {
    fn from(row: UserRow) -> Self {
        Self {
            user_id: Id::from_uuid(row.user_id),
            username: row.username,
            display_name: row.display_name,
            email: row.email,
            is_super_user: row.is_super_user,
            is_locked: row.is_locked,
            approval_status: ApprovalStatus::from_number(row.approval_status),
            is_totp_enabled: row.is_totp_enabled,
            has_password: row.password_hash.is_some(),
            password_must_change: row.password_must_change,
            password_expires_at: row.password_expires_at.map(Time::from_micros),
            allowed_networks: row
                .allowed_networks
                .split(',')
                .filter(|network| !network.is_empty())
                .map(str::to_owned)
                .collect(),
            created_at: Time::from_micros(row.created_at),
            updated_at: Time::from_micros(row.updated_at),
            etag: row.version.to_string(),
        }
    }
}

/// A change of a field, as it was asked for.
#[derive(Clone, Debug)]
pub enum UserChange {
    Username(String),
    DisplayName(String),
    Email(String),
    IsSuperUser(bool),
    PasswordMustChange(bool),
    PasswordExpiresAt(Option<Time>),
    AllowedNetworks(Vec<String>),
}

impl UserChange {
    const fn name(&self) -> &'static str {
        match self {
            Self::Username(_) => "username",
            Self::DisplayName(_) => "display_name",
            Self::Email(_) => "email",
            Self::IsSuperUser(_) => "is_super_user",
            Self::PasswordMustChange(_) => "password_must_change",
            Self::PasswordExpiresAt(_) => "password_expire_time",
            Self::AllowedNetworks(_) => "allowed_networks",
        }
    }

    /// May a regular user change it of themself?
    const fn is_own_affair(&self) -> bool {
        matches!(self, Self::DisplayName(_) | Self::Email(_))
    }

    fn apply(&self, row: &mut UserRow) -> Result<()> {
        match self {
            Self::Username(name) => {
                row.username = check_username(name)?;
                row.username_key = username_key(name);
            }
            Self::DisplayName(name) => row.display_name = check_text("user.display_name", name)?,
            Self::Email(email) => row.email = check_text("user.email", email)?,
            Self::IsSuperUser(is_super_user) => row.is_super_user = *is_super_user,
            Self::PasswordMustChange(must_change) => row.password_must_change = *must_change,
            Self::PasswordExpiresAt(time) => row.password_expires_at = time.map(Time::micros),
            Self::AllowedNetworks(networks) => row.allowed_networks = check_networks(networks)?,
        }
        row.search_text = [&row.username, &row.display_name, &row.email].map(|text| text.to_lowercase()).join("\n");
        Ok(())
    }
}

/// Which users to list.
#[derive(Clone, Debug, Default)]
pub struct ListUsers {
    pub search: String,
    pub approval_status: Option<ApprovalStatus>,
    pub is_locked: Option<bool>,
    pub is_super_user: Option<bool>,
}

/// By ID or by name.
#[derive(Clone, Debug)]
pub enum UserKey {
    Id(UserId),
    Name(String),
}

/// Upper and lower case are the same name.
pub(super) fn username_key(username: &str) -> String {
    username.to_lowercase()
}

fn check_username(username: &str) -> Result<String> {
    let problem = match username {
        "" => "is empty: a user needs a name",
        name if name.len() > MAX_USERNAME => "is longer than 128 bytes",
        name if name.chars().any(|c| c.is_whitespace() || c.is_control()) => {
            "must not contain white space or control characters"
        }
        name => return Ok(name.to_owned()),
    };
    Err(Error::invalid("user.username", problem))
}

fn check_text(field: &'static str, text: &str) -> Result<String> {
    if text.len() > MAX_NAME {
        return Err(Error::invalid(field, "is longer than 256 bytes"));
    }
    if text.chars().any(char::is_control) {
        return Err(Error::invalid(field, "must not contain control characters"));
    }
    Ok(text.to_owned())
}

/// Networks or addresses, as they are stored.
fn check_networks(networks: &[String]) -> Result<String> {
    if networks.len() > MAX_NETWORKS {
        return Err(Error::invalid("user.allowed_networks", "has more than 64 entries"));
    }
    let mut read = Vec::with_capacity(networks.len());
    for text in networks {
        let network = text.parse::<IpNet>().ok().or_else(|| text.parse::<std::net::IpAddr>().ok().map(IpNet::from));
        let network = network.ok_or_else(|| {
            Error::invalid("user.allowed_networks", "has an entry that is no network (CIDR) and no address")
        })?;
        read.push(network.trunc().to_string());
    }
    Ok(read.join(","))
}

pub(super) fn networks_of(row: &UserRow) -> Result<Vec<IpNet>> {
    let networks = row.allowed_networks.split(',').filter(|network| !network.is_empty());
    networks.map(|network| network.parse().map_err(|_| Error::internal("a stored network is unreadable"))).collect()
}

pub(super) fn set_password(
    row: &mut UserRow,
    hash: &PasswordHash,
    must_change: bool,
    rules: &config::Password,
    now: Time,
) {
    row.password_hash = Some(hash.0.clone());
    row.password_must_change = must_change;
    row.password_expires_at = expiry(rules, now);
    touch(row, now);
}

fn touch(row: &mut UserRow, now: Time) {
    row.updated_at = now.micros();
    row.version += 1;
}

/// A new user, without a password.
fn new_row(changes: &[UserChange], status: ApprovalStatus, now: Time) -> Result<UserRow> {
    let mut row = UserRow {
        user_id: UserId::new(now).uuid(),
        username: String::new(),
        username_key: String::new(),
        display_name: String::new(),
        email: String::new(),
        search_text: String::new(),
        is_super_user: false,
        is_locked: false,
        approval_status: status.number(),
        password_hash: None,
        password_must_change: false,
        password_expires_at: None,
        totp_secret: None,
        is_totp_enabled: false,
        totp_last_step: 0,
        allowed_networks: String::new(),
        created_at: now.micros(),
        updated_at: now.micros(),
        version: 1,
    };
    changes.iter().try_for_each(|change| change.apply(&mut row))?;
    check_username(&row.username)?;
    Ok(row)
}

impl App {
    /// Adds a user. An empty password: none.
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn create_user(
        &self,
        acting: &Acting<'_>,
        changes: Vec<UserChange>,
        password: Password,
        status: ApprovalStatus,
    ) -> Result<User> {
        self.require_super_user(acting, "user.create", None, None).await?;
        self.add_user(Event::by(acting, "user.create"), changes, password, status).await
    }

    /// Adds a user on an operator's word: the first super-user has nobody who could.
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn create_user_by_operator(
        &self,
        context: &super::Context,
        changes: Vec<UserChange>,
        password: Password,
    ) -> Result<User> {
        let client = self.client(context, super::client::ClientInput::default())?;
        self.add_user(Event::new(&client, "user.create"), changes, password, ApprovalStatus::Approved).await
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
            // What was asked for goes before the policy.
            row.password_expires_at = expires_at.or(row.password_expires_at);
        }
        let event =
            event.target(Id::from_uuid(row.user_id)).detail(serde_json::json!({ "is_super_user": row.is_super_user }));
        let stored = row.clone();
        self.parts
            .store
            .write(move |tx| {
                let (row, event) = (row.clone(), event.clone());
                Box::pin(async move {
                    tx.insert_user(row).await?;
                    tx.audit(event.done());
                    Ok(())
                })
            })
            .await?;
        Ok(stored.into())
    }

    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn get_user(&self, acting: &Acting<'_>, key: UserKey) -> Result<User> {
        let target = if let UserKey::Id(user) = key { Some(user) } else { None };
        self.require_super_user(acting, "user.get", target, None).await?;
        let row = match &key {
            UserKey::Id(user) => self.parts.store.user(*user).await?,
            UserKey::Name(name) => self.parts.store.user_by_name(&username_key(name)).await?,
        };
        let user: User = row.ok_or(Error::UserNotFound)?.into();
        self.audit_read(acting, "user.get", Some(user.user_id), None).await?;
        Ok(user)
    }

    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn current_user(&self, acting: &Acting<'_>) -> Result<User> {
        let row = self.parts.store.user(acting.user()).await?;
        self.audit_own_read(acting, "user.get", None).await?;
        row.map(User::from).ok_or(Error::SessionInvalid)
    }

    /// One page of users, oldest first.
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn list_users(&self, acting: &Acting<'_>, list: ListUsers, page: PageRequest<'_>) -> Result<Page<User>> {
        self.require_super_user(acting, "user.list", None, None).await?;
        if list.search.len() > MAX_SEARCH {
            return Err(Error::invalid("search", "is longer than 128 bytes"));
        }
        let now = self.parts.clock.now();
        let query = Query::new("users", acting.user(), &format!("{list:?}"));
        let after = page.cursor(&self.parts.keyring, &query, now)?;
        let after = after
            .map(|bytes| uuid::Uuid::from_slice(&bytes).map(Id::from_uuid).map_err(|_| Error::PageTokenInvalid))
            .transpose()?;
        let filter = UserFilter {
            search: (!list.search.is_empty()).then(|| list.search.to_lowercase()),
            approval_status: list.approval_status.map(ApprovalStatus::number),
            is_locked: list.is_locked,
            is_super_user: list.is_super_user,
        };
        let rows = self.parts.store.users(&filter, after, page.limit() + 1).await?;
        self.audit_read(acting, "user.list", None, None).await?;
        let page = page.take(rows, |row| row.user_id.as_bytes().to_vec(), &self.parts.keyring, &query, now);
        Ok(Page { items: page.items.into_iter().map(User::from).collect(), next_page_token: page.next_page_token })
    }

    /// Changes fields. An etag that is not empty must match.
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn update_user(
        &self,
        acting: &Acting<'_>,
        user: Option<UserId>,
        changes: Vec<UserChange>,
        etag: String,
    ) -> Result<User> {
        let target = user.unwrap_or(acting.user());
        if target != acting.user() || !changes.iter().all(UserChange::is_own_affair) {
            self.require_super_user(acting, "user.update", Some(target), None).await?;
        }
        let gives_up_role = changes.iter().any(|change| matches!(change, UserChange::IsSuperUser(false)));
        if target == acting.user() && gives_up_role {
            return Err(Error::NotOnYourself { what: "give up the super-user role" });
        }
        let fields: Vec<&str> = changes.iter().map(UserChange::name).collect();
        let event = Event::by(acting, "user.update").target(target).detail(serde_json::json!({ "fields": fields }));
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
        self.require_super_user_on_another(acting, "user.lock", user, "lock").await?;
        self.keep_out(acting, "user.lock", user, RevokeReason::UserLocked, |row| row.is_locked = true).await
    }

    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn unlock_user(&self, acting: &Acting<'_>, user: UserId) -> Result<User> {
        self.let_in(acting, "user.unlock", user, |row| row.is_locked = false).await
    }

    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn approve_user(&self, acting: &Acting<'_>, user: UserId) -> Result<User> {
        self.let_in(acting, "user.approve", user, |row| row.approval_status = ApprovalStatus::Approved.number()).await
    }

    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn reject_user(&self, acting: &Acting<'_>, user: UserId) -> Result<(User, u64)> {
        self.require_super_user_on_another(acting, "user.reject", user, "reject").await?;
        let reject = |row: &mut UserRow| row.approval_status = ApprovalStatus::Rejected.number();
        self.keep_out(acting, "user.reject", user, RevokeReason::UserRejected, reject).await
    }

    /// Removes a user; returns how many live sessions ended.
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn delete_user(&self, acting: &Acting<'_>, user: UserId) -> Result<u64> {
        self.require_super_user_on_another(acting, "user.delete", user, "delete").await?;
        self.parts.store.flush_activity().await?;
        let event = Event::by(acting, "user.delete").target(user);
        self.parts
            .store
            .write(move |tx| {
                let event = event.clone();
                Box::pin(async move {
                    tx.lock_user(user).await?.ok_or(Error::UserNotFound)?;
                    let now = tx.clock().now();
                    let ended = tx.revoke_sessions_of_user(user, None, RevokeReason::UserDeleted.number(), now).await?;
                    tx.delete_user(user).await?;
                    tx.audit(event.detail(serde_json::json!({ "revoked": ended })).done());
                    Ok(ended)
                })
            })
            .await
    }

    /// Replaces the own password; returns how many other sessions ended.
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn change_password(&self, acting: &Acting<'_>, old: Password, new: Password) -> Result<u64> {
        let row = self.prove_password(acting, "user.change_password", old.clone()).await?;
        check_new(&self.parts.password, "new_password", &new, &row.username)?;
        if old == new {
            return Err(Error::PasswordRefused {
                field: "new_password",
                problem: "must not be the old password".to_owned(),
            });
        }
        self.replace_password(acting, "user.change_password", acting.user(), new, false, Some(row.password_hash)).await
    }

    /// Gives a user a new password; returns how many sessions ended.
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn set_password(
        &self,
        acting: &Acting<'_>,
        user: UserId,
        new: Password,
        must_change: bool,
    ) -> Result<u64> {
        self.require_super_user(acting, "user.set_password", Some(user), None).await?;
        let row = self.parts.store.user(user).await?.ok_or(Error::UserNotFound)?;
        check_new(&self.parts.password, "new_password", &new, &row.username)?;
        self.replace_password(acting, "user.set_password", user, new, must_change, None).await
    }

    /// A new TOTP secret, in base32 and as an otpauth:// address. It counts once it is confirmed.
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn enroll_totp(
        &self,
        acting: &Acting<'_>,
        password: Password,
    ) -> Result<(Zeroizing<String>, Zeroizing<String>)> {
        let row = self.prove_password(acting, "user.enroll_totp", password).await?;
        let secret = totp::new_secret();
        let shown = totp::show(&secret, &row.username)?;
        let sealed = self.parts.keyring.seal(&totp_place(&row), &secret);
        let event = Event::by(acting, "user.enroll_totp").target(acting.user());
        self.change_user(acting.user(), event, move |row, _| {
            if row.is_totp_enabled {
                return Err(Error::TotpAlreadyEnabled);
            }
            row.totp_secret = Some(sealed.clone());
            Ok(())
        })
        .await?;
        Ok(shown)
    }

    /// Turns the second factor on; returns how many other sessions ended.
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn confirm_totp(&self, acting: &Acting<'_>, code: Zeroizing<String>) -> Result<u64> {
        let row = self.parts.store.user(acting.user()).await?.ok_or(Error::SessionInvalid)?;
        let attempt = self.attempt(&row.username_key, acting.client.remote_addr);
        let now = self.parts.clock.now();
        self.parts.throttle.check(attempt, now)?;
        if row.is_totp_enabled {
            return Err(Error::TotpAlreadyEnabled);
        }
        if row.totp_secret.is_none() {
            return Err(Error::TotpNotEnrolled);
        }
        let event = Event::by(acting, "user.confirm_totp").target(acting.user());
        let step = totp::matching_step(&self.open_totp_secret(&row)?, &code, row.totp_last_step, now)?;
        let Some(step) = step else {
            self.parts.throttle.failed(attempt, now);
            return self.login_failed(event, "wrong_totp_code").await;
        };
        let secret = row.totp_secret;
        self.change_factor(acting, acting.user(), event, move |row| {
            if row.is_totp_enabled {
                return Err(Error::TotpAlreadyEnabled);
            }
            if row.totp_secret != secret {
                return Err(Error::WriteConflict);
            }
            row.is_totp_enabled = true;
            row.totp_last_step = step;
            Ok(())
        })
        .await
    }

    /// Turns the second factor off: the own one with the password, another's as a super-user. Returns how many sessions ended.
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn disable_totp(&self, acting: &Acting<'_>, user: Option<UserId>, password: Password) -> Result<u64> {
        let target = user.unwrap_or(acting.user());
        if target == acting.user() {
            self.prove_password(acting, "user.disable_totp", password).await?;
        } else {
            self.require_super_user(acting, "user.disable_totp", Some(target), None).await?;
        }
        let event = Event::by(acting, "user.disable_totp").target(target);
        self.change_factor(acting, target, event, |row| {
            if row.totp_secret.is_none() {
                return Err(Error::TotpNotEnrolled);
            }
            row.totp_secret = None;
            row.is_totp_enabled = false;
            Ok(())
        })
        .await
    }

    /// The acting user's password, asked again.
    async fn prove_password(
        &self,
        acting: &Acting<'_>,
        operation: &'static str,
        password: Password,
    ) -> Result<UserRow> {
        let row = self.parts.store.user(acting.user()).await?.ok_or(Error::SessionInvalid)?;
        let attempt = self.attempt(&row.username_key, acting.client.remote_addr);
        match self.check_password(attempt, password, Some(&row)).await? {
            Ok(_) => Ok(row),
            Err(reason) => self.login_failed(Event::by(acting, operation).target(acting.user()), reason).await,
        }
    }

    pub(super) fn open_totp_secret(&self, row: &UserRow) -> Result<Zeroizing<Vec<u8>>> {
        let sealed = row.totp_secret.as_ref().ok_or_else(|| Error::internal("TOTP is on without a secret"))?;
        self.parts.keyring.open(&totp_place(row), sealed).map(Zeroizing::new).map_err(Error::internal)
    }

    /// `expected`: the password must still be this one (or none).
    #[expect(clippy::option_option, reason = "no expectation, no password, this password")]
    async fn replace_password(
        &self,
        acting: &Acting<'_>,
        operation: &'static str,
        user: UserId,
        new: Password,
        must_change: bool,
        expected: Option<Option<String>>,
    ) -> Result<u64> {
        let hash = self.parts.hasher.hash(new).await?;
        let rules = self.parts.password.clone();
        let event = Event::by(acting, operation).target(user);
        let except = Some(acting.session.session_id);
        self.parts.store.flush_activity().await?;
        let changed =
            self.change_user_and(user, event, Some((RevokeReason::PasswordChanged, except)), move |row, now| {
                if expected.as_ref().is_some_and(|expected| *expected != row.password_hash) {
                    return Err(Error::WriteConflict);
                }
                set_password(row, &hash, must_change, &rules, now);
                Ok(())
            });
        Ok(changed.await?.1)
    }

    async fn change_factor(
        &self,
        acting: &Acting<'_>,
        user: UserId,
        event: Event,
        change: impl Fn(&mut UserRow) -> Result<()> + Send + Sync + 'static,
    ) -> Result<u64> {
        self.parts.store.flush_activity().await?;
        let except = Some(acting.session.session_id);
        let changed =
            self.change_user_and(user, event, Some((RevokeReason::TotpChanged, except)), move |row, _| change(row));
        Ok(changed.await?.1)
    }

    async fn require_super_user_on_another(
        &self,
        acting: &Acting<'_>,
        operation: &'static str,
        user: UserId,
        what: &'static str,
    ) -> Result<()> {
        self.require_super_user(acting, operation, Some(user), None).await?;
        if user == acting.user() { Err(Error::NotOnYourself { what }) } else { Ok(()) }
    }

    async fn keep_out(
        &self,
        acting: &Acting<'_>,
        operation: &'static str,
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
        self.change_user_and(user, event, Some((reason, None)), change).await
    }

    async fn let_in(
        &self,
        acting: &Acting<'_>,
        operation: &'static str,
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

    async fn change_user(
        &self,
        user: UserId,
        event: Event,
        change: impl Fn(&mut UserRow, Time) -> Result<()> + Send + Sync + 'static,
    ) -> Result<(User, u64)> {
        self.change_user_and(user, event, None, change).await
    }

    /// Changes a user, ends their sessions (but one) where that goes with it, and writes it down: in one transaction. What
    /// changes nothing is not stored.
    async fn change_user_and(
        &self,
        user: UserId,
        event: Event,
        revoke: Option<(RevokeReason, Option<crate::id::SessionId>)>,
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
                        Some((reason, except)) => {
                            tx.revoke_sessions_of_user(user, except, reason.number(), now).await?
                        }
                        None => 0,
                    };
                    if row != before {
                        store_changed(tx, &mut row, &before, now).await?;
                    }
                    let event =
                        if revoke.is_some() { event.detail(serde_json::json!({ "revoked": ended })) } else { event };
                    tx.audit(event.done());
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

fn totp_place(row: &UserRow) -> [&[u8]; 3] {
    [b"user", row.user_id.as_bytes(), b"totp_secret"]
}
