//! The change feed: what changed, for those who follow it.

use sea_orm::{ActiveValue::Set, DbBackend, EntityTrait, QueryTrait, Statement};

use super::Tx;
use super::entity::change;
use crate::model::id::{SessionId, UserId};

/// What changed, for those who follow the feed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
    pub(super) const fn number(self) -> i16 {
        self as i16
    }

    pub(super) const fn from_number(number: i16) -> Self {
        match number {
            1 => Self::SessionCreated,
            2 => Self::SessionRenewed,
            3 => Self::SessionRevoked,
            4 => Self::SessionsRevoked,
            5 => Self::UserChanged,
            6 => Self::UserDeleted,
            7 => Self::AttributesChanged,
            8 => Self::CallersChanged,
            9 => Self::DefinitionChanged,
            10 => Self::DefinitionDeleted,
            11 => Self::LinksChanged,
            _ => Self::Unknown,
        }
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
