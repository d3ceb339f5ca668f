//! Definitions: external credentials.

use sea_orm::{ConnectionTrait, EntityTrait, QuerySelect};

use super::entity::definition;
use super::{DefinitionRow, Store, Tx, fault};
use crate::error::Result;

impl<C: ConnectionTrait> Store<C> {
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn definition(&self, auth_id: i64) -> Result<Option<DefinitionRow>> {
        definition::Entity::find_by_id(auth_id).one(&self.conn).await.map_err(fault)
    }
}

impl Tx {
    /// The definition, locked until the transaction ends: whatever changes it, links it or begins a session with it waits.
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn lock_definition(&self, auth_id: i64) -> Result<Option<DefinitionRow>> {
        definition::Entity::find_by_id(auth_id).lock_exclusive().one(&self.conn).await.map_err(fault)
    }
}
