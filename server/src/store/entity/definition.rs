use sea_orm::entity::prelude::*;

use crate::clock::{Micros, Time};
use crate::model::definition::MaterialSource;
use crate::model::session::AuthType;

#[derive(Clone, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "definition")]
pub struct Model {
    #[sea_orm(primary_key)]
    pub auth_id: i64,
    pub auth_type: AuthType,
    pub name: String,
    /// The username of basic auth, or the `sub` of a token. Unique with type and issuer.
    pub username: String,
    /// Empty with basic auth.
    pub issuer: String,
    /// Empty with basic auth.
    pub audience: String,
    /// Comma-separated; empty with basic auth.
    pub algorithms: String,
    pub clock_skew_micros: Micros,
    /// The kind of `material`.
    pub source: MaterialSource,
    pub material: Vec<u8>,
    /// Source and material before the last rotation, while they still work.
    pub previous_source: Option<MaterialSource>,
    pub previous_material: Option<Vec<u8>>,
    pub previous_until: Option<Time>,
    pub is_active: bool,
    pub is_internal: bool,
    pub created_at: Time,
    pub updated_at: Time,
    pub version: i64,
}

super::silent_debug!("definition");

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
