//! The hot path: a token in, a verdict out. The verdict is pure; the row comes from memory if it can.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::client::{Client, ClientInput};
use super::session::{RevokeReason, in_networks, same_prefix};
use super::{App, Context};
use crate::clock::Time;
use crate::config::{AddressBinding, Policy};
use crate::crypto::{TokenHash, TokenKind, TokenRef};
use crate::error::{Error, Result};
use crate::store::SessionEntry;

/// The most tokens of one batch.
pub const MAX_BATCH: usize = 500;

/// A token of a batch, and where its user is if the request as a whole does not say so.
pub type BatchItem<'a> = (&'a str, Option<ClientInput<'a>>);

fn check_batch(items: &[BatchItem<'_>]) -> Result<()> {
    if items.is_empty() || items.len() > MAX_BATCH {
        return Err(Error::invalid("sessions", format!("must have 1 to {MAX_BATCH} entries")));
    }
    Ok(())
}

/// Why a token is not good. The numbers are those of the contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inactive {
    Malformed,
    Unknown,
    IdleExpired,
    AbsoluteExpired,
    Revoked(RevokeReason),
    /// Replaced; `generations_behind` newer tokens exist.
    Rotated {
        generations_behind: u32,
    },
    AddressMismatch,
    AddressNotAllowed,
}

/// A good token.
#[derive(Clone, Debug)]
pub struct Active {
    pub session: Arc<SessionEntry>,
    /// When the session ends if nothing happens, and in any case, in the app of the request.
    pub limits: Limits,
    /// How long the verdict may be used again; zero: not at all.
    pub cache_for: Duration,
}

/// Is the token good?
#[derive(Clone, Debug)]
#[must_use]
pub enum Verdict {
    Active(Active),
    Inactive(Inactive),
}

/// When a session ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    pub idle_expires_at: Time,
    pub absolute_expires_at: Time,
}

impl Limits {
    /// In an app with this policy, which can only shorten what the session has.
    fn of(session: &SessionEntry, policy: &Policy) -> Self {
        let own_idle = Duration::from_micros(u64::try_from(session.idle_micros).unwrap_or(0));
        let absolute_expires_at = session.absolute_expires_at.min(session.created_at + policy.absolute);
        let idle_expires_at = session.last_active_at() + own_idle.min(policy.idle);
        Self { idle_expires_at: idle_expires_at.min(absolute_expires_at), absolute_expires_at }
    }
}

/// The rule: is the session good through this token, now, in an app with this policy, from this address?
pub(super) fn judge(
    session: &SessionEntry,
    now: Time,
    policy: &Policy,
    address: IpAddr,
) -> std::result::Result<Limits, Inactive> {
    if session.revoked_at.is_some() {
        return Err(Inactive::Revoked(RevokeReason::from_number(session.revoke_reason)));
    }
    let limits = Limits::of(session, policy);
    if now >= limits.absolute_expires_at {
        return Err(Inactive::AbsoluteExpired);
    }
    if now >= limits.idle_expires_at {
        return Err(Inactive::IdleExpired);
    }
    let in_grace = session.generations_behind == 1 && session.grace_until.is_some_and(|until| now < until);
    if session.generations_behind > 0 && !in_grace {
        return Err(Inactive::Rotated { generations_behind: session.generations_behind });
    }
    if !in_networks(&session.allowed_networks, address) {
        return Err(Inactive::AddressNotAllowed);
    }
    if !is_bound_to(session, address) {
        return Err(Inactive::AddressMismatch);
    }
    Ok(limits)
}

fn is_bound_to(session: &SessionEntry, address: IpAddr) -> bool {
    let Some(login) = session.remote_addr else { return true };
    match super::session::binding_from_number(session.address_binding) {
        AddressBinding::Off | AddressBinding::Record => true,
        AddressBinding::Prefix => same_prefix(login, address),
        AddressBinding::Exact => login == address,
    }
}

impl App {
    /// The verdict, if it can be told without waiting: nearly always.
    pub fn verify_cached(
        &self,
        context: &Context,
        client: ClientInput<'_>,
        ust: &str,
        peek: bool,
    ) -> Result<Option<Verdict>> {
        let client = self.client(context, client)?;
        let Some(token) = TokenRef::parse(TokenKind::Ust, ust) else {
            return Ok(Some(Verdict::Inactive(Inactive::Malformed)));
        };
        let Some(session) = self.cached(token) else { return Ok(None) };
        Ok(self.verdict_now(&client, session, peek))
    }

    /// The verdicts on many tokens, if all can be told without waiting.
    pub fn verify_cached_sessions(
        &self,
        context: &Context,
        items: &[BatchItem<'_>],
        common: ClientInput<'_>,
        peek: bool,
    ) -> Result<Option<Vec<Verdict>>> {
        check_batch(items)?;
        let common = self.client(context, common)?;
        let mut verdicts = Vec::with_capacity(items.len());
        for (ust, own) in items {
            let client = own.map(|own| self.client(context, own)).transpose()?.unwrap_or(common);
            let verdict = match TokenRef::parse(TokenKind::Ust, ust) {
                None => Some(Verdict::Inactive(Inactive::Malformed)),
                Some(token) => self.cached(token).and_then(|session| self.verdict_now(&client, session, peek)),
            };
            let Some(verdict) = verdict else { return Ok(None) };
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
        let mut sessions: Vec<Option<Arc<SessionEntry>>> = Vec::with_capacity(items.len());
        let mut missing: Vec<TokenHash> = Vec::new();
        for (ust, _) in items {
            let token = TokenRef::parse(TokenKind::Ust, ust);
            let cached = token.and_then(|token| self.cached(token));
            if let (Some(token), None) = (token, &cached) {
                missing.extend(self.parts.keyring.token_hashes(token));
            }
            sessions.push(cached);
        }
        let read = self.parts.store.sessions_by_token(&missing).await?;
        let mut verdicts = Vec::with_capacity(items.len());
        for ((ust, own), cached) in items.iter().zip(sessions) {
            let client = own.map(|own| self.client(context, own)).transpose()?.unwrap_or(common);
            verdicts.push(self.verdict_of(&client, ust, cached, &read, peek).await?);
        }
        Ok(verdicts)
    }

    async fn verdict_of(
        &self,
        client: &Client<'_>,
        ust: &str,
        cached: Option<Arc<SessionEntry>>,
        read: &HashMap<TokenHash, Arc<SessionEntry>>,
        peek: bool,
    ) -> Result<Verdict> {
        let Some(token) = TokenRef::parse(TokenKind::Ust, ust) else {
            return Ok(Verdict::Inactive(Inactive::Malformed));
        };
        let found = cached.or_else(|| self.parts.keyring.token_hashes(token).find_map(|hash| read.get(&hash).cloned()));
        match found {
            None => Ok(Verdict::Inactive(Inactive::Unknown)),
            Some(session) => self.verdict(client, session, peek).await,
        }
    }

    pub(super) async fn verify(&self, client: &Client<'_>, ust: &str, peek: bool) -> Result<Verdict> {
        let Some(token) = TokenRef::parse(TokenKind::Ust, ust) else {
            return Ok(Verdict::Inactive(Inactive::Malformed));
        };
        match self.session_of(token).await? {
            None => Ok(Verdict::Inactive(Inactive::Unknown)),
            Some(session) => self.verdict(client, session, peek).await,
        }
    }

    fn cached(&self, token: TokenRef<'_>) -> Option<Arc<SessionEntry>> {
        self.parts.keyring.token_hashes(token).find_map(|hash| self.parts.store.cached_session(&hash))
    }

    async fn session_of(&self, token: TokenRef<'_>) -> Result<Option<Arc<SessionEntry>>> {
        if let Some(session) = self.cached(token) {
            return Ok(Some(session));
        }
        for hash in self.parts.keyring.token_hashes(token) {
            if let Some(session) = self.parts.store.session_by_token(&hash).await? {
                return Ok(Some(session));
            }
        }
        Ok(None)
    }

    /// The verdict, and what follows from it: activity is noted, a token from before the last rotation ends its session.
    async fn verdict(&self, client: &Client<'_>, session: Arc<SessionEntry>, peek: bool) -> Result<Verdict> {
        if let Some(verdict) = self.verdict_now(client, Arc::clone(&session), peek) {
            return Ok(verdict);
        }
        self.end_for_reuse(client, session.session_id).await?;
        Ok(Verdict::Inactive(Inactive::Revoked(RevokeReason::TokenReused)))
    }

    /// `None`: the token is so old that the session has to be ended first.
    fn verdict_now(&self, client: &Client<'_>, session: Arc<SessionEntry>, peek: bool) -> Option<Verdict> {
        let now = self.parts.clock.now();
        match judge(&session, now, &client.app.policy, client.remote_addr) {
            Err(Inactive::Rotated { generations_behind: 2.. }) => None,
            Err(inactive) => Some(Verdict::Inactive(inactive)),
            Ok(mut limits) => {
                if !peek && now.since(session.last_active_at()) >= self.parts.session.activity_granularity {
                    session.touch(now);
                    self.parts.store.activity().note(session.session_id, now);
                    limits = Limits::of(&session, &client.app.policy);
                }
                let cache_for = self.parts.session.cache_for.min(limits.idle_expires_at.since(now));
                Some(Verdict::Active(Active { session, limits, cache_for }))
            }
        }
    }
}

#[cfg(test)]
#[path = "verify_tests.rs"]
mod tests;
