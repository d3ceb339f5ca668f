//! The change feed: what changed, for those who follow it.

use sea_orm::{ActiveValue::Set, EntityTrait};

use super::entity::change;
use super::{Tx, fault};
use crate::error::Result;
use crate::id::{Id, SessionId, UserId};

/// What changed, for those who follow the feed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ChangeKind {
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

impl Tx {
    pub(super) async fn feed(&self, kind: ChangeKind, user: Option<UserId>, session: Option<SessionId>) -> Result<()> {
        let row = change::ActiveModel {
            time: Set(self.clock().now().micros()),
            kind: Set(kind as i16),
            user_id: Set(user.map(Id::uuid)),
            session_id: Set(session.map(Id::uuid)),
            ..Default::default()
        };
        change::Entity::insert(row).exec_without_returning(&self.conn).await.map_err(fault)?;
        Ok(())
    }
}
