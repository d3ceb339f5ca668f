use sea_orm::entity::prelude::*;

use crate::model::id::SessionId;

/// The credential for the platform of a session that has not ended.
#[derive(Clone, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "platform_credential")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub session_id: SessionId,
    /// ID of the key that it is sealed under.
    pub key_id: i32,
    /// Number of times it was replaced.
    pub generation: i32,
    pub sealed: Vec<u8>,
}

super::silent_debug!("platform_credential");

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {
    #[sea_orm(
        belongs_to = "super::session_platform::Entity",
        from = "Column::SessionId",
        to = "super::session_platform::Column::SessionId"
    )]
    SessionPlatform,
    #[sea_orm(
        belongs_to = "super::session::Entity",
        from = "Column::SessionId",
        to = "super::session::Column::SessionId"
    )]
    Session,
}

impl Related<super::session_platform::Entity> for Entity {
    fn to() -> RelationDef {
        Relation::SessionPlatform.def()
    }
}

impl Related<super::session::Entity> for Entity {
    fn to() -> RelationDef {
        Relation::Session.def()
    }
}

impl ActiveModelBehavior for ActiveModel {}
