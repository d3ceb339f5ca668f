use sea_orm::entity::prelude::*;

use crate::clock::Time;
use crate::crypto::TokenHash;
use crate::model::id::SessionId;

#[derive(Clone, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "session_token")]
pub struct Model {
    /// Keyed hash of the token.
    #[sea_orm(primary_key, auto_increment = false)]
    pub token_hash: TokenHash,
    /// ID of the token key that it was hashed with.
    pub key_id: i32,
    pub session_id: SessionId,
    pub generation: i32,
    /// End of the grace period, during which a replaced token keeps working.
    pub grace_until: Option<Time>,
    /// The token that replaced this one, sealed; kept during the grace period.
    pub successor: Option<Vec<u8>>,
}

super::silent_debug!("session_token");

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
