//! The callers: cached in memory and reloaded every few seconds; unknown keys are looked up in the database.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use parking_lot::Mutex;

use super::App;
use super::audit::Event;
use super::client::ClientInput;
use crate::clock::Time;
use crate::config::Config;
use crate::crypto::{Token, TokenHash, TokenKind, TokenRef};
use crate::error::{Error, Result};
use crate::model::audit::Operation;
use crate::model::caller::{Apps, Caller, CallerCredential, Flags, Grants};
use crate::model::id::CallerId;
use crate::store::{CallerRow, NewCallerKey};

/// Reload interval: how late a running server may see a change by the command line.
pub const REFRESH: Duration = Duration::from_secs(2);
const MAX_NAME: usize = 64;

/// The cached callers, by credential.
#[derive(Default)]
struct CallerCache {
    /// Number of the last reload.
    generation: u64,
    by_key: HashMap<TokenHash, (Arc<Caller>, Time)>,
    by_certificate: HashMap<String, Arc<Caller>>,
}

/// A caller found in the cache.
pub struct CachedCaller {
    caller: Arc<Caller>,
    /// Expiry of its key. A certificate is checked with its connection.
    expires_at: Time,
    /// Number of the reload it is from: the next one may have changed or removed it.
    generation: u64,
}

impl AsRef<Arc<Caller>> for CachedCaller {
    fn as_ref(&self) -> &Arc<Caller> {
        &self.caller
    }
}

pub(in crate::app) struct Callers {
    cache: ArcSwap<CallerCache>,
    generations: AtomicU64,
    /// Calls in progress per caller; kept across reloads.
    in_flight: Mutex<HashMap<CallerId, Arc<AtomicU32>>>,
    default_limit: u32,
}

impl Callers {
    pub(in crate::app) fn new(default_limit: u32) -> Self {
        Self { cache: ArcSwap::default(), generations: AtomicU64::new(0), in_flight: Mutex::default(), default_limit }
    }

    fn caller(&self, row: &CallerRow) -> Result<Arc<Caller>> {
        let unreadable = |what: &str| Error::internal(format!("stored {what} of caller {} are unreadable", row.name));
        let id = row.caller_id;
        Ok(Arc::new(Caller {
            id,
            name: row.name.clone(),
            granted: row.grants.parse().map_err(|_| unreadable("grants"))?,
            apps: Apps::from(row.apps.as_str()),
            flags: row.flags.parse().map_err(|_| unreadable("flags"))?,
            max_in_flight: row.max_in_flight.and_then(|limit| u32::try_from(limit).ok()).unwrap_or(self.default_limit),
            in_flight: Arc::clone(self.in_flight.lock().entry(id).or_default()),
        }))
    }
}

/// A caller to create.
#[derive(Clone, Debug)]
pub struct CallerToCreate {
    pub name: String,
    pub spiffe_id: Option<String>,
    pub grants: Grants,
    pub apps: Apps,
    pub flags: Flags,
    pub max_in_flight: Option<u32>,
    /// Lifetime of its first key; `None`: certificate only, no key.
    pub key_lifetime: Option<Duration>,
}

/// A caller, as shown to operators.
#[derive(Clone, Debug)]
pub struct CallerInfo {
    pub id: CallerId,
    pub name: String,
    pub spiffe_id: Option<String>,
    pub grants: String,
    pub apps: String,
    pub flags: String,
    pub max_in_flight: Option<u32>,
    pub created_at: Time,
    pub revoked_at: Option<Time>,
    /// Expiry of each of its keys.
    pub key_expiries: Vec<Time>,
}

impl App {
    /// The caller of a credential, from the cache.
    pub fn authenticate_cached(&self, credential: CallerCredential<'_>, now: Time) -> Option<CachedCaller> {
        let cache = self.parts.callers.cache.load();
        let (caller, expires_at) = match credential {
            CallerCredential::Certificate { spiffe_id } => (cache.by_certificate.get(spiffe_id)?, Time::MAX),
            CallerCredential::Key(key) => {
                let token = TokenRef::parse(TokenKind::CallerKey, key)?;
                let mut hashes = self.parts.keyring.token_hashes(token);
                let (caller, expires_at) = hashes.find_map(|hash| cache.by_key.get(&hash))?;
                (caller, *expires_at)
            }
        };
        (now < expires_at).then(|| CachedCaller {
            caller: Arc::clone(caller),
            expires_at,
            generation: cache.generation,
        })
    }

    /// Whether [`Self::authenticate_cached`] would still return the same caller.
    pub fn is_current(&self, caller: &CachedCaller, now: Time) -> bool {
        now < caller.expires_at && self.parts.callers.cache.load().generation == caller.generation
    }

    /// The caller of a credential, from the database.
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn authenticate(&self, credential: CallerCredential<'_>) -> Result<Arc<Caller>> {
        let row = match credential {
            CallerCredential::Certificate { spiffe_id } => self.parts.store.caller_by_spiffe_id(spiffe_id).await?,
            CallerCredential::Key(key) => self.caller_of_key(key).await?,
        };
        let row = row.filter(|row| row.revoked_at.is_none()).ok_or(Error::CallerUnauthenticated)?;
        self.parts.callers.caller(&row)
    }

    async fn caller_of_key(&self, key: &str) -> Result<Option<CallerRow>> {
        let Some(token) = TokenRef::parse(TokenKind::CallerKey, key) else { return Ok(None) };
        let now = self.parts.clock.now();
        for hash in self.parts.keyring.token_hashes(token) {
            if let Some((row, expires_at)) = self.parts.store.caller_by_key(&hash).await? {
                return Ok((now < expires_at).then_some(row));
            }
        }
        Ok(None)
    }

    /// Reloads the cache of callers.
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn reload_callers(&self) -> Result<()> {
        let rows = self.parts.store.live_callers().await?;
        let generation = self.parts.callers.generations.fetch_add(1, Ordering::Relaxed) + 1;
        let mut cache = CallerCache { generation, ..CallerCache::default() };
        for (row, keys) in rows {
            let caller = self.parts.callers.caller(&row)?;
            if let Some(spiffe_id) = row.spiffe_id {
                cache.by_certificate.insert(spiffe_id, Arc::clone(&caller));
            }
            for (hash, expires_at) in keys {
                cache.by_key.insert(hash, (Arc::clone(&caller), expires_at));
            }
        }
        self.parts.callers.cache.store(Arc::new(cache));
        Ok(())
    }

    /// Creates a caller and its first key. The key is shown only once.
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn create_caller(
        &self,
        context: &super::Context,
        new: CallerToCreate,
    ) -> Result<(CallerInfo, Option<Token>)> {
        let is_legal = |b: u8| b.is_ascii_alphanumeric() || b"._-/".contains(&b);
        if new.name.is_empty() || new.name.len() > MAX_NAME || !new.name.bytes().all(is_legal) {
            return Err(Error::invalid("name", "must be 1 to 64 of letters, digits and . _ - /"));
        }
        if new.key_lifetime.is_none() && new.spiffe_id.is_none() {
            return Err(Error::invalid("spiffe_id", "is needed for a caller without a key"));
        }
        if new.spiffe_id.as_ref().is_some_and(|id| !id.starts_with("spiffe://")) {
            return Err(Error::invalid("spiffe_id", "must begin with spiffe://"));
        }
        let now = self.parts.clock.now();
        let row = CallerRow {
            caller_id: CallerId::new(now),
            name: new.name,
            spiffe_id: new.spiffe_id,
            grants: new.grants.to_string(),
            apps: new.apps.to_string(),
            flags: new.flags.to_string(),
            max_in_flight: new.max_in_flight.and_then(|limit| i32::try_from(limit).ok()),
            created_at: now,
            revoked_at: None,
        };
        let event = self
            .operator_event(context, Operation::CallerCreate)?
            .detail(serde_json::json!({ "caller": row.name, "grants": row.grants }));
        let id = row.caller_id;
        let key = new.key_lifetime.map(|lifetime| (Token::generate(TokenKind::CallerKey), now + lifetime));
        let stored_key = key.as_ref().map(|(token, expires_at)| self.key_row(token, now, *expires_at));
        let info = info(row.clone(), key.iter().map(|(_, expires_at)| *expires_at).collect());
        self.parts
            .store
            .write(move |tx| {
                let (row, event, hashed) = (row.clone(), event.clone(), stored_key);
                Box::pin(async move {
                    tx.insert_caller(row).await?;
                    if let Some(key) = hashed {
                        tx.insert_caller_key(id, key).await?;
                    }
                    tx.audit(event);
                    Ok(())
                })
            })
            .await?;
        self.reload_callers().await?;
        Ok((info, key.map(|(token, _)| token)))
    }

    /// Issues a new key for a caller. Existing keys stay valid for at most `overlap`.
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn rotate_caller(
        &self,
        context: &super::Context,
        name: &str,
        lifetime: Duration,
        overlap: Duration,
    ) -> Result<Token> {
        let caller = self.caller_named(name).await?;
        let now = self.parts.clock.now();
        let token = Token::generate(TokenKind::CallerKey);
        let key = self.key_row(&token, now, now + lifetime);
        let event =
            self.operator_event(context, Operation::CallerRotate)?.detail(serde_json::json!({ "caller": name }));
        self.parts
            .store
            .write(move |tx| {
                let event = event.clone();
                Box::pin(async move {
                    tx.expire_caller_keys(caller, now + overlap).await?;
                    tx.insert_caller_key(caller, key).await?;
                    tx.audit(event);
                    Ok(())
                })
            })
            .await?;
        self.reload_callers().await?;
        Ok(token)
    }

    /// Revokes a caller and all its keys immediately.
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn revoke_caller(&self, context: &super::Context, name: &str) -> Result<()> {
        let caller = self.caller_named(name).await?;
        let event =
            self.operator_event(context, Operation::CallerRevoke)?.detail(serde_json::json!({ "caller": name }));
        self.parts
            .store
            .write(move |tx| {
                let event = event.clone();
                Box::pin(async move {
                    tx.revoke_caller(caller, tx.clock().now()).await?;
                    tx.audit(event);
                    Ok(())
                })
            })
            .await?;
        self.reload_callers().await
    }

    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn list_callers(&self) -> Result<Vec<CallerInfo>> {
        let callers = self.parts.store.callers().await?;
        Ok(callers.into_iter().map(|(row, keys)| info(row, keys)).collect())
    }

    async fn caller_named(&self, name: &str) -> Result<CallerId> {
        let row = self.parts.store.caller_by_name(name).await?;
        let row = row.filter(|row| row.revoked_at.is_none());
        row.map(|row| row.caller_id).ok_or_else(|| Error::invalid("name", "no such caller, or it is revoked"))
    }

    fn key_row(&self, token: &Token, created_at: Time, expires_at: Time) -> NewCallerKey {
        let (hash, key_id) = self.parts.keyring.hash_token(token.as_ref());
        NewCallerKey { hash, key_id, created_at, expires_at }
    }

    fn operator_event(&self, context: &super::Context, operation: Operation) -> Result<Event> {
        Ok(Event::new(&self.client(context, ClientInput::default())?, operation))
    }
}

fn info(row: CallerRow, key_expiries: Vec<Time>) -> CallerInfo {
    CallerInfo {
        id: row.caller_id,
        name: row.name,
        spiffe_id: row.spiffe_id,
        grants: row.grants,
        apps: row.apps,
        flags: row.flags,
        max_in_flight: row.max_in_flight.and_then(|limit| u32::try_from(limit).ok()),
        created_at: row.created_at,
        revoked_at: row.revoked_at,
        key_expiries,
    }
}

/// The context of an operator on the command line: every grant, every app, every flag.
pub fn operator(config: &Config, now: Time) -> super::Context {
    super::Context {
        correlation_id: crate::correlation::CorrelationId::new(now),
        caller: Arc::new(Caller {
            id: CallerId::new(now),
            name: "operator".to_owned(),
            granted: Grants::all(),
            apps: Apps::All,
            flags: Flags { may_assert_client_address: true, may_relay_super_users: true },
            max_in_flight: config.server.max_in_flight_per_caller,
            in_flight: Arc::default(),
        }),
        peer: std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST),
    }
}
