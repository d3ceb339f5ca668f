//! Verification: from token to verdict. `model::verdict` has the rules; the session is cached if possible.
use std::sync::Arc;

use crate::app::client::{Client, ClientInput};
use crate::app::{App, Context};
use crate::clock::Time;
use crate::crypto::{TokenHash, TokenKind, TokenRef};
use crate::error::{Error, Result};
use crate::model::session::{RevokeReason, SessionEntry};
use crate::model::verdict::{Active, CachedVerdict, Inactive, Limits, TokenHashes, Verdict, evaluate, idle_limit};

/// Maximum tokens of a batch.
pub const MAX_BATCH: usize = 500;

/// Activity is recorded at least this many times per idle limit, even with a larger `activity_granularity`.
const GRANULARITY_DIVISOR: u32 = 10;

/// A token of a batch, with its own client if it has one.
pub type BatchItem<'a> = (&'a str, Option<ClientInput<'a>>);

fn check_batch(items: &[BatchItem<'_>]) -> Result<()> {
    if items.is_empty() || items.len() > MAX_BATCH {
        return Err(Error::invalid("sessions", format!("must have 1 to {MAX_BATCH} entries")));
    }
    Ok(())
}

impl App {
    /// The verdict on a token from the cache.
    pub fn verify_cached(&self, client: &Client<'_>, ust: &str, peek: bool, now: Time) -> CachedVerdict {
        let Some(hashes) = self.token_hashes(ust) else {
            return CachedVerdict::Known(Verdict::Inactive(Inactive::Malformed));
        };
        let store = &self.parts.store;
        let mut missing = Vec::new();
        for hash in hashes {
            let Some(session) = store.cached_session(&hash) else {
                missing.push(hash);
                continue;
            };
            match self.evaluate_session(now, client, session, peek) {
                Verdict::Inactive(Inactive::IdleExpired | Inactive::Rotated { generations_behind: 2.. }) => {
                    store.invalidate_session(&hash);
                    return CachedVerdict::Unknown(TokenHashes(vec![hash]));
                }
                verdict => return CachedVerdict::Known(verdict),
            }
        }
        CachedVerdict::Unknown(TokenHashes(missing))
    }

    /// The hashes that the token may be stored under, likeliest first; `None` if it is malformed.
    pub(in crate::app) fn token_hashes<'a>(&'a self, ust: &'a str) -> Option<impl Iterator<Item = TokenHash> + 'a> {
        TokenRef::parse(TokenKind::Ust, ust).map(|token| self.parts.keyring.token_hashes(token))
    }

    /// The verdict on a token. `cached`: the cache's result, if known.
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn verify_session(
        &self,
        client: &Client<'_>,
        ust: &str,
        peek: bool,
        cached: Option<CachedVerdict>,
    ) -> Result<Verdict> {
        let cached = cached.unwrap_or_else(|| self.verify_cached(client, ust, peek, self.parts.clock.now()));
        let hashes = match cached {
            CachedVerdict::Known(verdict) => return Ok(verdict),
            CachedVerdict::Unknown(TokenHashes(hashes)) => hashes,
        };
        match self.read_session(&hashes).await? {
            None => Ok(Verdict::Inactive(Inactive::Unknown)),
            Some(session) => self.verify_stored(client, session, peek).await,
        }
    }

    /// The live session of a token that Lanyard stored. Unlike a presented token, a rotated one revokes nothing.
    pub(in crate::app) async fn live_session_of(&self, client: &Client<'_>, ust: &str) -> Result<Option<Active>> {
        let verdict = match self.verify_cached(client, ust, false, self.parts.clock.now()) {
            CachedVerdict::Known(verdict) => verdict,
            CachedVerdict::Unknown(TokenHashes(hashes)) => {
                let Some(session) = self.read_session(&hashes).await? else { return Ok(None) };
                self.evaluate_session(self.parts.clock.now(), client, session, false)
            }
        };
        Ok(if let Verdict::Active(active) = verdict { Some(active) } else { None })
    }

    async fn read_session(&self, hashes: &[TokenHash]) -> Result<Option<Arc<SessionEntry>>> {
        for hash in hashes {
            if let Some(session) = self.parts.store.session_by_token(hash).await? {
                return Ok(Some(session));
            }
        }
        Ok(None)
    }

    /// The verdicts on a batch from the cache.
    pub fn verify_batch_cached(
        &self,
        context: &Context,
        items: &[BatchItem<'_>],
        common: ClientInput<'_>,
        peek: bool,
        now: Time,
    ) -> Result<Vec<CachedVerdict>> {
        check_batch(items)?;
        let common = self.client(context, common)?;
        let verify = |(ust, own): &BatchItem<'_>| {
            let client = self.client_of_item(context, *own, common)?;
            Ok(self.verify_cached(&client, ust, peek, now))
        };
        items.iter().map(verify).collect()
    }

    /// The verdicts on many tokens, in order; one query reads all that are not cached. `cached`: the cache's results,
    /// if known.
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn verify_sessions(
        &self,
        context: &Context,
        items: &[BatchItem<'_>],
        common: ClientInput<'_>,
        peek: bool,
        cached: Option<Vec<CachedVerdict>>,
    ) -> Result<Vec<Verdict>> {
        let cached = match cached {
            Some(cached) => cached,
            None => self.verify_batch_cached(context, items, common, peek, self.parts.clock.now())?,
        };
        let unknown = cached.iter().filter_map(|cached| match cached {
            CachedVerdict::Known(_) => None,
            CachedVerdict::Unknown(TokenHashes(hashes)) => Some(hashes),
        });
        let unknown: Vec<TokenHash> = unknown.flatten().copied().collect();
        let read = self.parts.store.sessions_by_token(&unknown).await?;
        let common = self.client(context, common)?;
        let mut verdicts = Vec::with_capacity(items.len());
        for ((_, own), cached) in items.iter().zip(cached) {
            let hashes = match cached {
                CachedVerdict::Known(verdict) => {
                    verdicts.push(verdict);
                    continue;
                }
                CachedVerdict::Unknown(TokenHashes(hashes)) => hashes,
            };
            let client = self.client_of_item(context, *own, common)?;
            verdicts.push(match hashes.iter().find_map(|hash| read.get(hash)) {
                None => Verdict::Inactive(Inactive::Unknown),
                Some(session) => self.verify_stored(&client, Arc::clone(session), peek).await?,
            });
        }
        Ok(verdicts)
    }

    /// The client of one token of a batch.
    fn client_of_item<'a>(
        &'a self,
        context: &'a Context,
        own: Option<ClientInput<'a>>,
        common: Client<'a>,
    ) -> Result<Client<'a>> {
        own.map_or(Ok(common), |own| self.client(context, own))
    }

    /// The verdict on a session that was just read. A token from before the last rotation revokes its session.
    async fn verify_stored(&self, client: &Client<'_>, session: Arc<SessionEntry>, peek: bool) -> Result<Verdict> {
        let id = session.session_id;
        match self.evaluate_session(self.parts.clock.now(), client, session, peek) {
            Verdict::Inactive(Inactive::Rotated { generations_behind: 2.. }) => {
                self.revoke_for_token_reuse(client, id).await?;
                Ok(Verdict::Inactive(Inactive::Revoked(RevokeReason::TokenReused)))
            }
            verdict => Ok(verdict),
        }
    }

    /// Evaluates a session, and records activity unless this is a peek.
    fn evaluate_session(&self, now: Time, client: &Client<'_>, session: Arc<SessionEntry>, peek: bool) -> Verdict {
        let policy = &client.app.policy;
        let mut limits = match evaluate(&session, now, policy, client.remote_addr) {
            Ok(limits) => limits,
            Err(inactive) => return Verdict::Inactive(inactive),
        };
        let granularity =
            self.parts.session.activity_granularity.min(idle_limit(&session, policy) / GRANULARITY_DIVISOR);
        if !peek && now.since(session.last_active_at()) >= granularity {
            session.touch(now);
            self.parts.store.activity().record(session.session_id, now);
            limits = Limits::of(&session, policy);
        }
        let cache_for = self.parts.session.cache_for.min(limits.idle_expires_at.since(now));
        Verdict::Active(Active { session, limits, cache_for })
    }
}
