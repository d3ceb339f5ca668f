//! Users of the SSO.

use self::password::expiry;
use crate::clock::Time;
use crate::config;
use crate::crypto::PasswordHash;
use crate::error::{Error, Result};
use crate::model::id::UserId;
use crate::model::network;
use crate::model::user::ApprovalStatus;
use crate::store::UserRow;
use ipnet::IpNet;

mod credential;
pub(in crate::app) mod password;
pub(in crate::app) mod totp;
mod verbs;

pub(in crate::app) use credential::matching_totp_step;

/// Maximum length of a username, in bytes. Platforms share it, because their users become users here.
pub(in crate::app) const MAX_USERNAME: usize = 128;
const MAX_NAME: usize = 256;
const MAX_SEARCH: usize = 128;
const MAX_NETWORKS: usize = 64;

/// A user, without any secret.
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
            user_id: row.user_id,
            username: row.username,
            display_name: row.display_name,
            email: row.email,
            is_super_user: row.is_super_user,
            is_locked: row.is_locked,
            approval_status: row.approval_status,
            is_totp_enabled: row.is_totp_enabled,
            has_password: row.password_hash.is_some(),
            password_must_change: row.password_must_change,
            password_expires_at: row.password_expires_at,
            allowed_networks: network::list_entries(&row.allowed_networks).map(str::to_owned).collect(),
            created_at: row.created_at,
            updated_at: row.updated_at,
            etag: row.version.to_string(),
        }
    }
}

/// A requested change of one field.
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

    /// Whether regular users may change it themselves.
    const fn is_self_service(&self) -> bool {
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
            Self::PasswordExpiresAt(time) => row.password_expires_at = *time,
            Self::AllowedNetworks(networks) => row.allowed_networks = check_networks(networks)?,
        }
        row.search_text = [&row.username, &row.display_name, &row.email].map(|text| text.to_lowercase()).join("\n");
        Ok(())
    }
}

/// Filters of a user list.
#[derive(Clone, Debug, Default)]
pub struct ListUsers {
    pub search: String,
    pub approval_status: Option<ApprovalStatus>,
    pub is_locked: Option<bool>,
    pub is_super_user: Option<bool>,
}

/// Selects a user by ID or name.
#[derive(Clone, Debug)]
pub enum UserKey {
    Id(UserId),
    Name(String),
}

/// Usernames are case-insensitive.
pub(in crate::app) fn username_key(username: &str) -> String {
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

/// Validates networks (CIDR) or addresses, for storage.
fn check_networks(networks: &[String]) -> Result<String> {
    if networks.len() > MAX_NETWORKS {
        return Err(Error::invalid("user.allowed_networks", "has more than 64 entries"));
    }
    let networks: Option<Vec<IpNet>> = networks.iter().map(|text| network::parse_network(text)).collect();
    let networks = networks.ok_or_else(|| {
        Error::invalid("user.allowed_networks", "has an entry that is no network (CIDR) and no address")
    })?;
    Ok(network::print_list(&networks))
}

pub(in crate::app) fn set_password(
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
    row.updated_at = now;
    row.version += 1;
}

/// The row of a new user, without a password.
pub(in crate::app) fn new_row(changes: &[UserChange], status: ApprovalStatus, now: Time) -> Result<UserRow> {
    let mut row = UserRow {
        user_id: UserId::new(now),
        username: String::new(),
        username_key: String::new(),
        display_name: String::new(),
        email: String::new(),
        search_text: String::new(),
        is_super_user: false,
        is_locked: false,
        approval_status: status,
        password_hash: None,
        password_must_change: false,
        password_expires_at: None,
        totp_secret: None,
        is_totp_enabled: false,
        totp_last_step: 0,
        allowed_networks: String::new(),
        created_at: now,
        updated_at: now,
        version: 1,
    };
    changes.iter().try_for_each(|change| change.apply(&mut row))?;
    check_username(&row.username)?;
    Ok(row)
}
