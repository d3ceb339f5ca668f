//! Definitions, links between them and users, and the sessions that begin with them.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{
    big_integer, big_integer_null, boolean, small_integer, small_integer_null, string, text, uuid,
};

use super::m0001_sessions::{blob, blob_null, index, table};

pub(super) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &'static str {
        "m0002_links"
    }
}

fn definition() -> TableCreateStatement {
    // Never used again: sessions and audit events name it when it is gone.
    let mut auth_id = ColumnDef::new("auth_id");
    auth_id.big_integer().not_null().auto_increment().primary_key();
    let columns = vec![
        auth_id,
        small_integer("auth_type"),
        string("name"),
        string("username"),
        string("issuer"),
        string("audience"),
        text("algorithms"),
        big_integer("clock_skew_micros"),
        small_integer("source"),
        blob("material"),
        small_integer_null("previous_source"),
        blob_null("previous_material"),
        big_integer_null("previous_until"),
        boolean("is_active"),
        boolean("is_internal"),
        big_integer("created_at"),
        big_integer("updated_at"),
        big_integer("version"),
    ];
    let mut table = Table::create().table("definition").to_owned();
    for column in columns {
        table.col(column);
    }
    table
}

fn linked_auth() -> TableCreateStatement {
    let columns = vec![
        uuid("link_id"),
        uuid("user_id"),
        big_integer("auth_id"),
        boolean("is_active"),
        boolean("is_internal"),
        big_integer("created_at"),
        big_integer("updated_at"),
        big_integer_null("last_used_at"),
        big_integer("version"),
    ];
    let mut table = table("linked_auth", columns, &["link_id"]);
    for (column, other) in [("user_id", "user"), ("auth_id", "definition")] {
        table.foreign_key(
            ForeignKey::create().from("linked_auth", column).to(other, column).on_delete(ForeignKeyAction::Cascade),
        );
    }
    table
}

fn session_credential() -> TableCreateStatement {
    let columns = vec![blob("credential_hash"), uuid("session_id"), blob("token")];
    let mut table = table("session_credential", columns, &["credential_hash"]);
    table.foreign_key(
        ForeignKey::create()
            .from("session_credential", "session_id")
            .to("session", "session_id")
            .on_delete(ForeignKeyAction::Cascade),
    );
    table
}

fn indexes() -> Vec<IndexCreateStatement> {
    vec![
        index("definition", "definition_name", &["name"]).unique().to_owned(),
        index("definition", "definition_principal", &["auth_type", "username", "issuer"]).unique().to_owned(),
        // For the pages of one type, in their order.
        index("definition", "definition_by_type", &["auth_type", "auth_id"]),
        index("linked_auth", "linked_auth_definition", &["auth_id"]).unique().to_owned(),
        index("linked_auth", "linked_auth_by_user", &["user_id", "link_id"]),
        index("session_credential", "session_credential_by_session", &["session_id"]),
        // Those that began with a definition and are not revoked: few, however many have come and gone.
        index("session", "session_not_revoked_by_definition", &["auth_id", "session_id"])
            .and_where(Expr::col("auth_id").is_not_null().and(Expr::col("revoked_at").is_null()))
            .to_owned(),
    ]
}

#[expect(elided_lifetimes_in_paths, reason = "as the trait of sea-orm-migration has it")]
#[async_trait::async_trait]
impl MigrationTrait for Migration {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for table in [definition(), linked_auth(), session_credential()] {
            manager.create_table(table).await?;
        }
        for mut column in [big_integer_null("auth_id"), string("auth_principal").default("").to_owned()] {
            manager.alter_table(Table::alter().table("session").add_column(&mut column).to_owned()).await?;
        }
        for index in indexes() {
            manager.create_index(index).await?;
        }
        Ok(())
    }
}
