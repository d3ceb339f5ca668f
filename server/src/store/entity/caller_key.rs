use sea_orm::entity::prelude::*;

use crate::clock::Time;
use crate::crypto::TokenHash;
use crate::model::id::CallerId;

#[derive(Clone, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "caller_key")]
pub struct Model {
    /// Keyed hash of the API key.
    #[sea_orm(primary_key, auto_increment = false)]
    pub key_hash: TokenHash,
    /// ID of the token key that it was hashed with.
    pub key_id: i32,
    pub caller_id: CallerId,
    pub created_at: Time,
    pub expires_at: Time,
}

super::silent_debug!("caller_key");

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {
    #[sea_orm(belongs_to = "super::caller::Entity", from = "Column::CallerId", to = "super::caller::Column::CallerId")]
    Caller,
}

impl Related<super::caller::Entity> for Entity {
    fn to() -> RelationDef {
        Relation::Caller.def()
    }
}

impl ActiveModelBehavior for ActiveModel {}
