use sea_orm::entity::prelude::*;

use crate::clock::Time;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "audit_chain")]
pub struct Model {
    /// From 1 without gaps, so that a removed chain is detected.
    #[sea_orm(primary_key, auto_increment = false)]
    pub number: i64,
    pub chain_id: Uuid,
    /// ID of the audit key of all its MACs.
    pub key_id: i32,
    pub created_at: Time,
    /// Over number, ID, time and the previous chain's `first_mac`.
    pub first_mac: Vec<u8>,
    /// Number of events.
    pub length: i64,
    /// MAC of the last event, or `first_mac`.
    pub last_mac: Vec<u8>,
    /// Over number, length and `last_mac`, so that truncation is detected.
    pub head_mac: Vec<u8>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
