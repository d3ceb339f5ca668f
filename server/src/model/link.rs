//! Links between users and definitions.

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
