//! Links between users and definitions.

use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter};

use super::entity::linked_auth;
use super::{LinkedAuthRow, Store, fault};
use crate::error::Result;

impl<C: ConnectionTrait> Store<C> {
    /// The link of a definition: there is one at most.
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn link_of_definition(&self, auth_id: i64) -> Result<Option<LinkedAuthRow>> {
        let link = linked_auth::Entity::find().filter(linked_auth::Column::AuthId.eq(auth_id));
        link.one(&self.conn).await.map_err(fault)
    }
}
