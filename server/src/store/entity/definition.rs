use sea_orm::entity::prelude::*;

#[derive(Clone, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "definition")]
pub struct Model {
    #[sea_orm(primary_key)]
    pub auth_id: i64,
    /// 2: basic auth, 3: JWT; the numbers of `AuthType`.
    pub auth_type: i16,
    pub name: String,
    /// What is sent with basic auth, or the `sub` of a token. Unique with type and issuer.
    pub username: String,
    /// Empty with basic auth.
    pub issuer: String,
    /// Empty with basic auth.
    pub audience: String,
    /// Separated by commas; empty with basic auth.
    pub algorithms: String,
    pub clock_skew_micros: i64,
    /// What `material` is: 1 an argon2id hash, 2 a sealed shared secret, 3 a JWK set, 4 the URL of one.
    pub source: i16,
    pub material: Vec<u8>,
    /// Those before the last rotation, while they still work.
    pub previous_source: Option<i16>,
    pub previous_material: Option<Vec<u8>>,
    pub previous_until: Option<i64>,
    pub is_active: bool,
    pub is_internal: bool,
    pub created_at: i64,
    pub updated_at: i64,
    pub version: i64,
}

super::silent_debug!("definition");

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
