//! Many sessions at once, straight into the database: a million logins would take hours.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use lanyard_proto::v1::{ApprovalStatus, AuthType};
use lanyard_server::clock::{Clock, Time};
use lanyard_server::config::{Config, DatabaseUrl};
use lanyard_server::crypto::Keyring;
use lanyard_server::store::{SessionRow, Store, StoreConfig, UserRow};
use uuid::Uuid;

use crate::Result;

/// As long as the absolute limit of a new installation, so that none ends while a long run goes on.
pub(crate) const IDLE: Duration = Duration::from_hours(12);
/// The client's address is kept and shown, as in a new installation.
const ADDRESS_IS_RECORDED: i16 = 1;

/// Users with so many live sessions each; the tokens of all. No server may run on the database meanwhile, unless it has
/// no cache.
pub(crate) async fn sessions(
    database_url: &str,
    keys: &Path,
    users: u64,
    sessions_per_user: u64,
) -> Result<Vec<String>> {
    let mut config = Config::default();
    config.database.url = DatabaseUrl::new(database_url);
    // One statement writes a thousand rows.
    config.database.statement_timeout = Duration::from_mins(1);
    let clock = Clock::system();
    let now = clock.now();
    let store = Store::connect(StoreConfig::of(&config), Arc::new(Keyring::load(keys)?), clock).await?;
    let tokens = store.seed(users, sessions_per_user, &user(now), &session(now), &|_| ()).await?;
    store.close().await?;
    Ok(tokens.iter().map(|token| token.expose().to_owned()).collect())
}

/// The user that all are made after; the store gives each an ID and a number after the name.
fn user(now: Time) -> UserRow {
    UserRow {
        user_id: Uuid::nil(),
        username: "holder-".to_owned(),
        username_key: String::new(),
        display_name: String::new(),
        email: String::new(),
        search_text: String::new(),
        is_super_user: false,
        is_locked: false,
        approval_status: ApprovalStatus::Approved as i16,
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
    }
}

fn session(now: Time) -> SessionRow {
    let end = (now + IDLE).micros();
    SessionRow {
        session_id: Uuid::nil(),
        user_id: Uuid::nil(),
        username: String::new(),
        auth_type: AuthType::Password as i16,
        app: "default".to_owned(),
        remote_addr: Some("192.0.2.10".to_owned()),
        user_agent: String::new(),
        address_binding: ADDRESS_IS_RECORDED,
        idle_micros: i64::try_from(IDLE.as_micros()).unwrap_or(i64::MAX),
        created_at: now.micros(),
        last_active_at: now.micros(),
        expires_at: end,
        absolute_expires_at: end,
        revoked_at: None,
        revoke_reason: None,
        generation: 0,
        auth_id: None,
        auth_principal: String::new(),
    }
}
