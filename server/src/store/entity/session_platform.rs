use sea_orm::entity::prelude::*;

use crate::model::id::SessionId;

/// The platform that a session is logged in to, as of the login.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "session_platform")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub session_id: SessionId,
    pub platform: String,
    pub url: String,
    pub version: Option<String>,
    pub unique_name: String,
    /// A JSON list of names.
    pub groups: String,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
