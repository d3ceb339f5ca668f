use sea_orm::entity::prelude::*;

use crate::clock::Time;

#[derive(Clone, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "attribute")]
pub struct Model {
    /// The ID of the user or session.
    #[sea_orm(primary_key, auto_increment = false)]
    pub owner_id: Uuid,
    #[sea_orm(primary_key, auto_increment = false)]
    pub name: String,
    /// UTF-8, or sealed.
    pub value: Vec<u8>,
    pub is_sealed: bool,
    pub expires_at: Option<Time>,
    pub created_at: Time,
    pub updated_at: Time,
    pub version: i64,
}

super::silent_debug!("attribute");

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
