use sea_orm::entity::prelude::*;

use crate::model::id::SessionId;

/// The session that an external credential began, so that the same credential finds it again: one at most.
#[derive(Clone, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "session_credential")]
pub struct Model {
    /// A keyed hash of the credential and of what else tells its sessions apart.
    #[sea_orm(primary_key, auto_increment = false)]
    pub credential_hash: Vec<u8>,
    pub session_id: SessionId,
    /// The current token of the session, sealed: who has the credential may have it again.
    pub token: Vec<u8>,
}

super::silent_debug!("session_credential");

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {
    #[sea_orm(
        belongs_to = "super::session::Entity",
        from = "Column::SessionId",
        to = "super::session::Column::SessionId"
    )]
    Session,
}

impl Related<super::session::Entity> for Entity {
    fn to() -> RelationDef {
        Relation::Session.def()
    }
}

impl ActiveModelBehavior for ActiveModel {}
