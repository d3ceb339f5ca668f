use sea_orm::entity::prelude::*;

use crate::clock::Time;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "audit_chain")]
pub struct Model {
    /// From 1 without gaps, so that a removed chain is noticed.
    #[sea_orm(primary_key, auto_increment = false)]
    pub number: i64,
    pub chain_id: Uuid,
    /// The number of the audit key of all its hashes.
    pub key_id: i32,
    pub created_at: Time,
    /// Over number, ID, time and the first hash of the chain before.
    pub first_mac: Vec<u8>,
    /// How many events it has.
    pub length: i64,
    /// The hash of its last event (or `first_mac`).
    pub last_mac: Vec<u8>,
    /// Over number, length and `last_mac`, so that a cut-off end is noticed.
    pub head_mac: Vec<u8>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
