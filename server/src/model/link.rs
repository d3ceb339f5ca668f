//! Links between users and definitions.

use std::ops::Deref;
use std::sync::OnceLock;

use bytes::Bytes;

use super::id::{LinkId, UserId};
use super::session::AuthType;
use crate::clock::Time;

/// A link with fields of its definition: all that a response needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkEntry {
    pub link_id: LinkId,
    pub user_id: UserId,
    pub auth_id: i64,
    pub auth_type: AuthType,
    pub auth_username: Box<str>,
    pub is_active: bool,
    pub is_internal: bool,
    pub created_at: Time,
    pub last_used_at: Option<Time>,
    pub version: i64,
    pub is_definition_active: bool,
}

/// The links of one user as the cache keeps them, oldest first.
#[derive(Debug)]
pub struct UserLinks {
    entries: Vec<LinkEntry>,
    /// As long as the entries, about.
    response: OnceLock<Bytes>,
}

impl UserLinks {
    /// The encoded response that lists all of them, encoded by the first call: encoding three links is a tenth of the
    /// instructions of a call.
    pub fn response(&self, encode: impl FnOnce(&[LinkEntry]) -> Bytes) -> Bytes {
        self.response.get_or_init(|| encode(&self.entries)).clone()
    }
}

impl From<Vec<LinkEntry>> for UserLinks {
    fn from(entries: Vec<LinkEntry>) -> Self {
        Self { entries, response: OnceLock::new() }
    }
}

impl Deref for UserLinks {
    type Target = [LinkEntry];

    fn deref(&self) -> &[LinkEntry] {
        &self.entries
    }
}
