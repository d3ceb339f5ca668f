//! Links between users and definitions.

use sea_orm::{ActiveValue::Set, ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter};

use super::entity::linked_auth;
use super::{LinkedAuthRow, Store, Tx, fault};
use crate::clock::Time;
use crate::error::Result;
use crate::id::LinkId;

impl<C: ConnectionTrait> Store<C> {
    /// The link of a definition: there is one at most.
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn link_of_definition(&self, auth_id: i64) -> Result<Option<LinkedAuthRow>> {
        let link = linked_auth::Entity::find().filter(linked_auth::Column::AuthId.eq(auth_id));
        link.one(&self.conn).await.map_err(fault)
    }
}

impl Tx {
    /// Notes that a login through the link succeeded. No change of the link: its version stays.
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn touch_link(&self, link: LinkId, now: Time) -> Result<()> {
        linked_auth::Entity::update_many()
            .set(linked_auth::ActiveModel { last_used_at: Set(Some(now.micros())), ..Default::default() })
            .filter(linked_auth::Column::LinkId.eq(link.uuid()))
            .exec(&self.conn)
            .await
            .map_err(fault)?;
        Ok(())
    }
}
