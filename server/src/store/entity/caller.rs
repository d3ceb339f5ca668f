use sea_orm::entity::prelude::*;

use crate::clock::Time;
use crate::model::id::CallerId;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "caller")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub caller_id: CallerId,
    pub name: String,
    /// The SPIFFE ID of its client certificate, if it may use one.
    pub spiffe_id: Option<String>,
    /// Grants separated by commas.
    pub grants: String,
    /// Apps separated by commas; `*`: all.
    pub apps: String,
    /// Flags separated by commas.
    pub flags: String,
    /// Calls under way at once; none: the server's default.
    pub max_in_flight: Option<i32>,
    pub created_at: Time,
    pub revoked_at: Option<Time>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {
    #[sea_orm(has_many = "super::caller_key::Entity")]
    Key,
}

impl Related<super::caller_key::Entity> for Entity {
    fn to() -> RelationDef {
        Relation::Key.def()
    }
}

impl ActiveModelBehavior for ActiveModel {}
