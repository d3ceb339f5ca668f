//! The platforms that sessions are logged in to, and the credentials with which they are called.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{integer, string, string_null, text, uuid};

use super::m0001_sessions::{blob, index, table};

pub(super) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &'static str {
        "m0003_platforms"
    }
}

fn session_platform() -> TableCreateStatement {
    let columns = vec![
        uuid("session_id"),
        string("platform"),
        string("url"),
        string_null("version"),
        string("unique_name"),
        text("groups"),
    ];
    of_session("session_platform", columns)
}

fn platform_credential() -> TableCreateStatement {
    let columns = vec![uuid("session_id"), integer("key_id"), integer("generation"), blob("sealed")];
    of_session("platform_credential", columns)
}

/// One row at most for each session, which goes with it.
fn of_session(name: &'static str, columns: Vec<ColumnDef>) -> TableCreateStatement {
    let mut table = table(name, columns, &["session_id"]);
    table.foreign_key(
        ForeignKey::create().from(name, "session_id").to("session", "session_id").on_delete(ForeignKeyAction::Cascade),
    );
    table
}

#[expect(elided_lifetimes_in_paths, reason = "as the trait of sea-orm-migration has it")]
#[async_trait::async_trait]
impl MigrationTrait for Migration {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for table in [session_platform(), platform_credential()] {
            manager.create_table(table).await?;
        }
        for index in [
            index("session_platform", "session_platform_by_platform", &["platform", "session_id"]),
            // For those that are sealed under an older key.
            index("platform_credential", "platform_credential_by_key", &["key_id"]),
        ] {
            manager.create_index(index).await?;
        }
        Ok(())
    }
}
