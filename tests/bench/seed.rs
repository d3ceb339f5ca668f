//! Many sessions and links at once, straight into the database: a million logins would take hours.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use lanyard_server::clock::{Clock, Micros, Time};
use lanyard_server::config::{AddressBinding, Config, DatabaseUrl};
use lanyard_server::crypto::Keyring;
use lanyard_server::model::definition::MaterialSource;
use lanyard_server::model::id::{SessionId, UserId};
use lanyard_server::model::session::AuthType;
use lanyard_server::model::user::ApprovalStatus;
use lanyard_server::store::{DefinitionRow, SessionRow, Store, StoreConfig, UserRow};

use crate::Result;

/// As long as the absolute limit of a new installation, so that none ends while a long run goes on.
pub(crate) const IDLE: Duration = Duration::from_hours(12);
/// What the names of all users begin with.
const USERNAME: &str = "holder-";
/// A hash of the usual cost, which no secret has: nobody logs in with these definitions.
const NOBODYS_HASH: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// Users with so many live sessions each; the tokens of all. No server may run on the database meanwhile, unless it has
/// no cache.
pub(crate) async fn sessions(
    database_url: &str,
    keys: &Path,
    users: u64,
    sessions_per_user: u64,
) -> Result<Vec<String>> {
    let (store, now) = connect(database_url, keys).await?;
    let tokens = store.seed(users, sessions_per_user, &user(now), &session(now), &|_| ()).await?;
    store.close().await?;
    Ok(tokens.iter().map(|token| token.expose().to_owned()).collect())
}

/// So many definitions, each linked to one of the users that [`sessions`] made: the first `links_per_user` to the first
/// user, and so on. Their numbers.
pub(crate) async fn links(database_url: &str, keys: &Path, definitions: u64, links_per_user: u64) -> Result<Vec<i64>> {
    let (store, now) = connect(database_url, keys).await?;
    let numbers = store.seed_links(USERNAME, links_per_user, definitions, &definition(now)).await?;
    store.close().await?;
    Ok(numbers)
}

async fn connect(database_url: &str, keys: &Path) -> Result<(Store, Time)> {
    let mut config = Config::default();
    config.database.url = DatabaseUrl::new(database_url);
    // One statement writes a thousand rows.
    config.database.statement_timeout = Duration::from_mins(1);
    let clock = Clock::system();
    let now = clock.now();
    let store = Store::connect(StoreConfig::of(&config), Arc::new(Keyring::load(keys)?), clock).await?;
    Ok((store, now))
}

/// The user that all are made after; the store gives each an ID and a number after the name.
fn user(now: Time) -> UserRow {
    UserRow {
        user_id: UserId::nil(),
        username: USERNAME.to_owned(),
        username_key: String::new(),
        display_name: String::new(),
        email: String::new(),
        search_text: String::new(),
        is_super_user: false,
        is_locked: false,
        approval_status: ApprovalStatus::Approved,
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
    }
}

fn session(now: Time) -> SessionRow {
    let end = now + IDLE;
    SessionRow {
        session_id: SessionId::nil(),
        user_id: UserId::nil(),
        username: String::new(),
        auth_type: AuthType::Password,
        app: "default".to_owned(),
        remote_addr: Some("192.0.2.10".to_owned()),
        user_agent: String::new(),
        address_binding: AddressBinding::Record,
        idle_micros: IDLE.into(),
        created_at: now,
        last_active_at: now,
        expires_at: end,
        absolute_expires_at: end,
        revoked_at: None,
        revoke_reason: None,
        generation: 0,
        auth_id: None,
        auth_principal: String::new(),
    }
}

/// The definition that all are made after; the store puts a number after name and username.
fn definition(now: Time) -> DefinitionRow {
    DefinitionRow {
        auth_id: 0,
        auth_type: AuthType::BasicAuth,
        name: "definition-".to_owned(),
        username: "account-".to_owned(),
        issuer: String::new(),
        audience: String::new(),
        algorithms: String::new(),
        clock_skew_micros: Micros::default(),
        source: MaterialSource::Hash,
        material: NOBODYS_HASH.into(),
        previous_source: None,
        previous_material: None,
        previous_until: None,
        is_active: true,
        is_internal: false,
        created_at: now,
        updated_at: now,
        version: 1,
    }
}
