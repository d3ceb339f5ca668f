use sea_orm::entity::prelude::*;

use crate::clock::{Micros, Time};
use crate::config::AddressBinding;
use crate::model::id::{SessionId, UserId};
use crate::model::session::{AuthType, RevokeReason};

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "session")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub session_id: SessionId,
    /// No foreign key: an ended session outlives its user until it is purged, so that its verdict keeps its reason.
    pub user_id: UserId,
    /// As of the login; the current one is in `user`.
    pub username: String,
    pub auth_type: AuthType,
    pub app: String,
    pub remote_addr: Option<String>,
    pub user_agent: String,
    pub address_binding: AddressBinding,
    pub idle_micros: Micros,
    pub created_at: Time,
    pub last_active_at: Time,
    /// The earlier of the idle and the absolute limit.
    pub expires_at: Time,
    pub absolute_expires_at: Time,
    pub revoked_at: Option<Time>,
    pub revoke_reason: Option<RevokeReason>,
    /// Number of token rotations. The token of this generation is the current one.
    pub generation: i32,
    /// The definition that the user logged in with; `None`: a password. No foreign key, for the same reason.
    pub auth_id: Option<i64>,
    /// The username of that definition; empty: none.
    pub auth_principal: String,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {
    /// The link of the definition that the user logged in with, if it still exists.
    #[sea_orm(
        belongs_to = "super::linked_auth::Entity",
        from = "Column::AuthId",
        to = "super::linked_auth::Column::AuthId"
    )]
    LinkedAuth,
}

impl Related<super::linked_auth::Entity> for Entity {
    fn to() -> RelationDef {
        Relation::LinkedAuth.def()
    }
}

impl ActiveModelBehavior for ActiveModel {}
