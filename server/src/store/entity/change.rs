use sea_orm::entity::prelude::*;

use crate::clock::Time;
use crate::model::id::{SessionId, UserId};
use crate::store::change::ChangeKind;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "change")]
pub struct Model {
    #[sea_orm(primary_key)]
    pub sequence: i64,
    pub time: Time,
    pub kind: ChangeKind,
    pub user_id: Option<UserId>,
    pub session_id: Option<SessionId>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
