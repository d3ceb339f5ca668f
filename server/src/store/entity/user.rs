use sea_orm::entity::prelude::*;

use crate::clock::Time;
use crate::model::id::UserId;
use crate::model::user::ApprovalStatus;

#[expect(clippy::struct_excessive_bools, reason = "a column each")]
#[derive(Clone, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "user")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub user_id: UserId,
    pub username: String,
    /// The username in lower case; unique.
    pub username_key: String,
    pub display_name: String,
    pub email: String,
    /// Username, display name and email in lower case, one per line, for searches.
    pub search_text: String,
    pub is_super_user: bool,
    pub is_locked: bool,
    pub approval_status: ApprovalStatus,
    /// A PHC string; `None`: no login with a password.
    pub password_hash: Option<String>,
    pub password_must_change: bool,
    pub password_expires_at: Option<Time>,
    /// Sealed; set at enrolment.
    pub totp_secret: Option<Vec<u8>>,
    pub is_totp_enabled: bool,
    /// The last time step whose code was used: each code works once.
    pub totp_last_step: i64,
    /// Comma-separated networks; empty: any.
    pub allowed_networks: String,
    pub created_at: Time,
    pub updated_at: Time,
    pub version: i64,
}

super::silent_debug!("user");

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
