//! Sessions, and the part of them that verification needs.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use ipnet::IpNet;
use strum::{FromRepr, IntoStaticStr};

use super::id::{SessionId, UserId};
use crate::clock::{Micros, Time};
use crate::config::AddressBinding;

/// How the user proved who they are. The numbers are those of the contract and of the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, FromRepr, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
#[repr(i16)]
pub enum AuthType {
    Password = 1,
    BasicAuth = 2,
    Jwt = 3,
    Platform = 4,
}

impl AuthType {
    /// The name in audit events and links.
    pub fn name(self) -> &'static str {
        self.into()
    }

    /// A number from a newer version reads as a password.
    pub fn from_number(number: i16) -> Self {
        Self::from_repr(number).unwrap_or(Self::Password)
    }
}

/// The state of a session. The numbers are those of the contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionState {
    Active = 1,
    Expired = 2,
    Revoked = 3,
}

/// Why a session ended early. The numbers are those of the contract and of the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromRepr)]
#[repr(i16)]
pub enum RevokeReason {
    Unknown = 0,
    Logout = 1,
    Administrator = 2,
    PasswordChanged = 3,
    UserLocked = 4,
    UserRejected = 5,
    UserDeleted = 6,
    Quota = 7,
    TokenReused = 8,
    TotpChanged = 9,
    LinkInactive = 10,
    LinkDeleted = 11,
    DefinitionInactive = 12,
    DefinitionDeleted = 13,
    SecretRotated = 14,
    PlatformRefused = 15,
    PlatformRemoved = 16,
}

impl RevokeReason {
    /// A number from a newer version reads as unknown.
    pub fn from_number(number: i16) -> Self {
        Self::from_repr(number).unwrap_or(Self::Unknown)
    }
}

/// A time that threads only move forward.
#[derive(Debug)]
pub struct LatestTime(AtomicI64);

impl LatestTime {
    pub const fn new(time: Time) -> Self {
        Self(AtomicI64::new(time.micros()))
    }

    pub fn get(&self) -> Time {
        Time::from_micros(self.0.load(Ordering::Relaxed))
    }

    pub fn advance(&self, time: Time) {
        self.0.fetch_max(time.micros(), Ordering::Relaxed);
    }
}

/// The part of a session that verification needs, for one of its tokens. The cache holds a million of them.
#[derive(Debug)]
pub struct SessionEntry {
    pub session_id: SessionId,
    pub user_id: UserId,
    pub username: Box<str>,
    pub app: Arc<str>,
    /// Networks that the user may connect from; empty: any.
    pub allowed_networks: Box<[IpNet]>,
    pub remote_addr: Option<IpAddr>,
    pub created_at: Time,
    pub absolute_expires_at: Time,
    pub idle_micros: Micros,
    pub last_active: LatestTime,
    pub revoked_at: Option<Time>,
    /// End of the grace period of a replaced token.
    pub grace_until: Option<Time>,
    /// Number of newer tokens of the session.
    pub generations_behind: u32,
    pub revoke_reason: RevokeReason,
    pub auth_type: AuthType,
    pub address_binding: AddressBinding,
    pub is_super_user: bool,
}

impl SessionEntry {
    pub fn last_active_at(&self) -> Time {
        self.last_active.get()
    }

    /// Records activity at `now`.
    pub fn touch(&self, now: Time) {
        self.last_active.advance(now);
    }
}

#[cfg(test)]
impl SessionEntry {
    /// A session that started and was last used in 1970, for tests to change.
    pub(crate) fn example() -> Self {
        Self {
            session_id: SessionId::new(Time::default()),
            user_id: UserId::new(Time::default()),
            username: "ann".into(),
            app: "default".into(),
            allowed_networks: Box::default(),
            remote_addr: None,
            created_at: Time::default(),
            absolute_expires_at: Time::MAX,
            idle_micros: Micros::MAX,
            last_active: LatestTime::new(Time::default()),
            revoked_at: None,
            grace_until: None,
            generations_behind: 0,
            revoke_reason: RevokeReason::Unknown,
            auth_type: AuthType::Password,
            address_binding: AddressBinding::Off,
            is_super_user: false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_newer_versions_read_as_the_documented_fallback() {
        assert_eq!(AuthType::from_number(77), AuthType::Password);
        assert_eq!(RevokeReason::from_number(77), RevokeReason::Unknown);
        assert_eq!(AddressBinding::from_number(77), AddressBinding::Exact);
        assert_eq!(AddressBinding::from_number(-1), AddressBinding::Exact);
    }

    #[test]
    fn every_number_reads_back_as_itself() {
        for number in 1..=4 {
            assert_eq!(AuthType::from_number(number) as i16, number);
        }
        for number in 0..=16 {
            assert_eq!(RevokeReason::from_number(number) as i16, number);
        }
        for number in 0..=3 {
            assert_eq!(AddressBinding::from_number(number) as i16, number);
        }
    }

    #[test]
    fn an_entry_does_not_grow_unnoticed() {
        assert!(size_of::<SessionEntry>() <= 176, "{}", size_of::<SessionEntry>());
    }
}
