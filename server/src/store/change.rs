//! The change feed: what changed, for those who follow it.

use sea_orm::{ActiveValue::Set, DbBackend, EntityTrait, QueryTrait, Statement};
use strum::FromRepr;

use super::Tx;
use super::entity::change;
use crate::model::id::{SessionId, UserId};

/// What changed, for those who follow the feed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromRepr)]
#[repr(i16)]
pub(in crate::store) enum ChangeKind {
    /// One that only newer servers know: anything may have changed.
    Unknown = 0,
    SessionCreated = 1,
    SessionRenewed = 2,
    SessionRevoked = 3,
    /// All sessions of a user, or, without one, of many users.
    SessionsRevoked = 4,
    UserChanged = 5,
    UserDeleted = 6,
    AttributesChanged = 7,
    CallersChanged = 8,
    DefinitionChanged = 9,
    DefinitionDeleted = 10,
    /// Those of a user.
    LinksChanged = 11,
}

impl ChangeKind {
    pub(super) fn from_number(number: i16) -> Self {
        Self::from_repr(number).unwrap_or(Self::Unknown)
    }
}

impl Tx {
    /// Notes a change; it is written with the commit, after the events.
    pub(super) fn feed(&self, kind: ChangeKind, user: Option<UserId>, session: Option<SessionId>) {
        self.changes.lock().push(change::ActiveModel {
            time: Set(self.clock().now()),
            kind: Set(kind),
            user_id: Set(user),
            session_id: Set(session),
            ..Default::default()
        });
    }
}

/// One statement for each: the same text whatever changed.
pub(super) fn insert(backend: DbBackend, changes: Vec<change::ActiveModel>) -> impl Iterator<Item = Statement> {
    changes.into_iter().map(move |row| change::Entity::insert(row).build(backend))
}
