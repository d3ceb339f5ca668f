use sea_orm::entity::prelude::*;

use crate::clock::Time;
use crate::model::id::{LinkId, UserId};

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "linked_auth")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub link_id: LinkId,
    pub user_id: UserId,
    /// Unique: a definition is linked to one user.
    pub auth_id: i64,
    pub is_active: bool,
    pub is_internal: bool,
    pub created_at: Time,
    pub updated_at: Time,
    pub last_used_at: Option<Time>,
    pub version: i64,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
