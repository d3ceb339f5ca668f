//! Verification of a token, as a pure function.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::network::{in_networks, same_prefix};
use super::session::{RevokeReason, SessionEntry};
use crate::clock::Time;
use crate::config::{AddressBinding, Policy};
use crate::crypto::TokenHash;

/// Why a token is not valid. The numbers are those of the contract.
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

/// A valid token.
#[derive(Clone, Debug)]
pub struct Active {
    pub session: Arc<SessionEntry>,
    /// When the session ends under the policy of the requesting app.
    pub limits: Limits,
    /// How long the verdict may be cached; zero: not at all.
    pub cache_for: Duration,
}

/// The verdict on a token.
#[derive(Clone, Debug)]
#[must_use]
pub enum Verdict {
    Active(Active),
    Inactive(Inactive),
}

/// A verdict from the cache.
#[derive(Debug)]
#[must_use]
pub enum CachedVerdict {
    Known(Verdict),
    /// The database must be queried: the session is not cached; or the token is so old that its session must be ended;
    /// or the session seems idle, but may have been active through another token or server.
    Unknown(TokenHashes),
}

/// Hashes under which the database may store a token; computed once per call.
#[derive(Debug)]
pub struct TokenHashes(pub Vec<TokenHash>);

impl CachedVerdict {
    pub fn known(self) -> Option<Verdict> {
        if let Self::Known(verdict) = self { Some(verdict) } else { None }
    }
}

/// When a session ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    pub idle_expires_at: Time,
    pub absolute_expires_at: Time,
}

impl Limits {
    /// The limits in an app with this policy, which can only shorten those of the session.
    pub fn of(session: &SessionEntry, policy: &Policy) -> Self {
        let absolute_expires_at = session.absolute_expires_at.min(session.created_at + policy.absolute);
        let idle_expires_at = session.last_active_at() + idle_limit(session, policy);
        Self { idle_expires_at: idle_expires_at.min(absolute_expires_at), absolute_expires_at }
    }
}

/// The idle limit of the session in an app with this policy.
pub fn idle_limit(session: &SessionEntry, policy: &Policy) -> Duration {
    Duration::from(session.idle_micros).min(policy.idle)
}

/// Evaluates whether this token of the session is valid now, in an app with this policy, from this address.
pub fn evaluate(session: &SessionEntry, now: Time, policy: &Policy, address: IpAddr) -> Result<Limits, Inactive> {
    if session.revoked_at.is_some() {
        return Err(Inactive::Revoked(session.revoke_reason));
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
    match session.address_binding {
        AddressBinding::Off | AddressBinding::Record => true,
        AddressBinding::Prefix => same_prefix(login, address),
        AddressBinding::Exact => login == address,
    }
}

#[cfg(test)]
#[path = "verdict_tests.rs"]
mod tests;
