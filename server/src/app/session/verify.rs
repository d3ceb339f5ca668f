//! Verification: a token in, a verdict out. The rule is in `model::verdict`; the row comes from memory if it can.
use std::sync::Arc;

use crate::app::client::{Client, ClientInput};
use crate::app::{App, Context};
use crate::clock::Time;
use crate::crypto::{TokenHash, TokenKind, TokenRef};
use crate::error::{Error, Result};
use crate::model::session::{RevokeReason, SessionEntry};
use crate::model::verdict::{Active, CachedVerdict, Inactive, Limits, TokenHashes, Verdict, evaluate, idle_limit};

/// The most tokens of one batch.
pub const MAX_BATCH: usize = 500;

/// Activity is noted at least so often in an idle limit, however coarse the setting.
const FINEST_PART: u32 = 10;

/// A token of a batch, and where its user is if the request as a whole does not say so.
pub type BatchItem<'a> = (&'a str, Option<ClientInput<'a>>);

fn check_batch(items: &[BatchItem<'_>]) -> Result<()> {
    if items.is_empty() || items.len() > MAX_BATCH {
        return Err(Error::invalid("sessions", format!("must have 1 to {MAX_BATCH} entries")));
    }
    Ok(())
}

impl App {
    /// The verdict on a token, if memory has it: nearly always. `now` is the caller's, who has just read it.
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

    /// What the database may know a token by, the likelier first; `None`: it is no token.
    pub(in crate::app) fn token_hashes<'a>(&'a self, ust: &'a str) -> Option<impl Iterator<Item = TokenHash> + 'a> {
        TokenRef::parse(TokenKind::Ust, ust).map(|token| self.parts.keyring.token_hashes(token))
    }

    /// The verdict on a token. `cached`: what memory said already, or `None` to ask it here.
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

    /// The live session of a token that Lanyard itself kept: unlike one that somebody presents, an old one ends nothing.
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

    /// What memory says of each token of a batch.
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

    /// The verdicts on many tokens, in their order: those that are not in memory are read together. `cached`: what memory said
    /// already, or `None` to ask it here.
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

    /// Where the user of one token of a batch is.
    fn client_of_item<'a>(
        &'a self,
        context: &'a Context,
        own: Option<ClientInput<'a>>,
        common: Client<'a>,
    ) -> Result<Client<'a>> {
        own.map_or(Ok(common), |own| self.client(context, own))
    }

    /// The verdict on a session that was just read, and what follows from it: a token from before the last rotation ends its
    /// session.
    async fn verify_stored(&self, client: &Client<'_>, session: Arc<SessionEntry>, peek: bool) -> Result<Verdict> {
        let id = session.session_id;
        match self.evaluate_session(self.parts.clock.now(), client, session, peek) {
            Verdict::Inactive(Inactive::Rotated { generations_behind: 2.. }) => {
                self.end_for_reuse(client, id).await?;
                Ok(Verdict::Inactive(Inactive::Revoked(RevokeReason::TokenReused)))
            }
            verdict => Ok(verdict),
        }
    }

    /// The verdict by what the row says. Activity is noted, unless this is a peek.
    fn evaluate_session(&self, now: Time, client: &Client<'_>, session: Arc<SessionEntry>, peek: bool) -> Verdict {
        let policy = &client.app.policy;
        let mut limits = match evaluate(&session, now, policy, client.remote_addr) {
            Ok(limits) => limits,
            Err(inactive) => return Verdict::Inactive(inactive),
        };
        let granularity = self.parts.session.activity_granularity.min(idle_limit(&session, policy) / FINEST_PART);
        if !peek && now.since(session.last_active_at()) >= granularity {
            session.touch(now);
            self.parts.store.activity().note(session.session_id, now);
            limits = Limits::of(&session, policy);
        }
        let cache_for = self.parts.session.cache_for.min(limits.idle_expires_at.since(now));
        Verdict::Active(Active { session, limits, cache_for })
    }
}
