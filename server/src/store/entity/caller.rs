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
    /// Comma-separated grants.
    pub grants: String,
    /// Comma-separated apps; `*`: all.
    pub apps: String,
    /// Comma-separated flags.
    pub flags: String,
    /// Maximum concurrent calls; `None`: the server's default.
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
