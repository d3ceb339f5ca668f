//! The hot path: a token in, a verdict out. The rule is in `model::verdict`; the row comes from memory if it can.

use std::collections::HashMap;
use std::sync::Arc;

use crate::app::client::{Client, ClientInput};
use crate::app::{App, Context};
use crate::clock::Time;
use crate::crypto::{TokenHash, TokenKind, TokenRef};
use crate::error::{Error, Result};
use crate::model::session::{RevokeReason, SessionEntry};
use crate::model::verdict::{Active, Inactive, Limits, Verdict, evaluate, idle_limit};

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
    /// The verdict, if it can be told without waiting: nearly always. `now` is the caller's, who has just read it.
    pub fn verify_cached(
        &self,
        context: &Context,
        client: ClientInput<'_>,
        ust: &str,
        peek: bool,
        now: Time,
    ) -> Result<Option<Verdict>> {
        let client = self.client(context, client)?;
        Ok(self.verdict_from_memory(&client, ust, now, peek))
    }

    /// The verdicts on many tokens, if all can be told without waiting.
    pub fn verify_cached_sessions(
        &self,
        context: &Context,
        items: &[BatchItem<'_>],
        common: ClientInput<'_>,
        peek: bool,
        now: Time,
    ) -> Result<Option<Vec<Verdict>>> {
        check_batch(items)?;
        let common = self.client(context, common)?;
        let mut verdicts = Vec::with_capacity(items.len());
        for (ust, own) in items {
            let client = own.map(|own| self.client(context, own)).transpose()?.unwrap_or(common);
            let Some(verdict) = self.verdict_from_memory(&client, ust, now, peek) else { return Ok(None) };
            verdicts.push(verdict);
        }
        Ok(Some(verdicts))
    }

    /// The verdict on one token.
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn verify_session(
        &self,
        context: &Context,
        client: ClientInput<'_>,
        ust: &str,
        peek: bool,
    ) -> Result<Verdict> {
        let client = self.client(context, client)?;
        self.verify(&client, ust, peek).await
    }

    /// The verdicts on many tokens, in their order: those that are not in memory are read together.
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn verify_sessions(
        &self,
        context: &Context,
        items: &[BatchItem<'_>],
        common: ClientInput<'_>,
        peek: bool,
    ) -> Result<Vec<Verdict>> {
        check_batch(items)?;
        let common = self.client(context, common)?;
        let now = self.parts.clock.now();
        let mut known: Vec<(Client<'_>, Option<Verdict>)> = Vec::with_capacity(items.len());
        let mut missing: Vec<TokenHash> = Vec::new();
        for (ust, own) in items {
            let client = own.map(|own| self.client(context, own)).transpose()?.unwrap_or(common);
            let verdict = self.verdict_from_memory(&client, ust, now, peek);
            if let (Some(token), None) = (TokenRef::parse(TokenKind::Ust, ust), &verdict) {
                missing.extend(self.parts.keyring.token_hashes(token));
            }
            known.push((client, verdict));
        }
        let read = self.parts.store.sessions_by_token(&missing).await?;
        let mut verdicts = Vec::with_capacity(items.len());
        for ((ust, _), (client, known)) in items.iter().zip(known) {
            verdicts.push(match known {
                Some(verdict) => verdict,
                None => self.verdict_of(&client, ust, &read, peek).await?,
            });
        }
        Ok(verdicts)
    }

    async fn verdict_of(
        &self,
        client: &Client<'_>,
        ust: &str,
        read: &HashMap<TokenHash, Arc<SessionEntry>>,
        peek: bool,
    ) -> Result<Verdict> {
        let hashes = TokenRef::parse(TokenKind::Ust, ust).map(|token| self.parts.keyring.token_hashes(token));
        match hashes.into_iter().flatten().find_map(|hash| read.get(&hash).cloned()) {
            None => Ok(Verdict::Inactive(Inactive::Unknown)),
            Some(session) => self.verdict(client, session, peek).await,
        }
    }

    pub(in crate::app) async fn verify(&self, client: &Client<'_>, ust: &str, peek: bool) -> Result<Verdict> {
        if let Some(verdict) = self.verdict_from_memory(client, ust, self.parts.clock.now(), peek) {
            return Ok(verdict);
        }
        let Some(token) = TokenRef::parse(TokenKind::Ust, ust) else {
            return Ok(Verdict::Inactive(Inactive::Malformed));
        };
        for hash in self.parts.keyring.token_hashes(token) {
            if let Some(session) = self.parts.store.session_by_token(&hash).await? {
                return self.verdict(client, session, peek).await;
            }
        }
        Ok(Verdict::Inactive(Inactive::Unknown))
    }

    /// The verdict on a row that was just read, and what follows from it: a token from before the last rotation ends its
    /// session.
    async fn verdict(&self, client: &Client<'_>, session: Arc<SessionEntry>, peek: bool) -> Result<Verdict> {
        let id = session.session_id;
        match self.verdict_now(client, session, peek) {
            Verdict::Inactive(Inactive::Rotated { generations_behind: 2.. }) => {
                self.end_for_reuse(client, id).await?;
                Ok(Verdict::Inactive(Inactive::Revoked(RevokeReason::TokenReused)))
            }
            verdict => Ok(verdict),
        }
    }

    /// `None`: the database has to be asked. The session is not in memory; or the token is so old that its session has to be
    /// ended; or the session seems idle, and there may have been activity through another of its tokens or at another server.
    pub(in crate::app) fn verdict_from_memory(
        &self,
        client: &Client<'_>,
        ust: &str,
        now: Time,
        peek: bool,
    ) -> Option<Verdict> {
        let Some(token) = TokenRef::parse(TokenKind::Ust, ust) else {
            return Some(Verdict::Inactive(Inactive::Malformed));
        };
        let store = &self.parts.store;
        let cached = |hash| store.cached_session(&hash).map(|session| (hash, session));
        let (hash, session) = self.parts.keyring.token_hashes(token).find_map(cached)?;
        match self.verdict_at(now, client, session, peek) {
            Verdict::Inactive(Inactive::IdleExpired | Inactive::Rotated { generations_behind: 2.. }) => {
                store.forget_session(&hash);
                None
            }
            verdict => Some(verdict),
        }
    }

    /// By what the row says, now. Activity is noted.
    pub(in crate::app) fn verdict_now(&self, client: &Client<'_>, session: Arc<SessionEntry>, peek: bool) -> Verdict {
        self.verdict_at(self.parts.clock.now(), client, session, peek)
    }

    fn verdict_at(&self, now: Time, client: &Client<'_>, session: Arc<SessionEntry>, peek: bool) -> Verdict {
        match evaluate(&session, now, &client.app.policy, client.remote_addr) {
            Err(inactive) => Verdict::Inactive(inactive),
            Ok(mut limits) => {
                let idle = idle_limit(&session, &client.app.policy);
                let granularity = self.parts.session.activity_granularity.min(idle / FINEST_PART);
                if !peek && now.since(session.last_active_at()) >= granularity {
                    session.touch(now);
                    self.parts.store.activity().note(session.session_id, now);
                    limits = Limits::of(&session, &client.app.policy);
                }
                let cache_for = self.parts.session.cache_for.min(limits.idle_expires_at.since(now));
                Verdict::Active(Active { session, limits, cache_for })
            }
        }
    }
}
