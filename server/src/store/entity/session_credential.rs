use sea_orm::entity::prelude::*;

use crate::model::id::SessionId;

/// Maps an external credential to the session that it started, at most one, so that the same credential finds it again.
#[derive(Clone, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "session_credential")]
pub struct Model {
    /// Keyed hash of the credential and of whatever else distinguishes its sessions.
    #[sea_orm(primary_key, auto_increment = false)]
    pub credential_hash: Vec<u8>,
    pub session_id: SessionId,
    /// The session's current token, sealed: whoever presents the credential may get it again.
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
