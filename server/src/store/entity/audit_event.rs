use sea_orm::entity::prelude::*;

use crate::clock::Time;
use crate::model::id::{SessionId, UserId};

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "audit_event")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub chain_number: i64,
    /// From 1 without gaps.
    #[sea_orm(primary_key, auto_increment = false)]
    pub sequence: i64,
    pub time: Time,
    pub correlation_id: String,
    pub operation: String,
    /// A plain number, so that the MAC covers what is stored, even a value that no server writes.
    pub outcome: i16,
    pub reason: String,
    pub caller: String,
    pub subject_user_id: Option<UserId>,
    pub target_user_id: Option<UserId>,
    pub session_id: Option<SessionId>,
    pub app: String,
    pub remote_addr: String,
    /// JSON.
    pub detail: String,
    /// Over all of the above and the previous MAC.
    pub mac: Vec<u8>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {
    #[sea_orm(
        belongs_to = "super::audit_chain::Entity",
        from = "Column::ChainNumber",
        to = "super::audit_chain::Column::Number"
    )]
    Chain,
}

impl Related<super::audit_chain::Entity> for Entity {
    fn to() -> RelationDef {
        Relation::Chain.def()
    }
}

impl ActiveModelBehavior for ActiveModel {}
