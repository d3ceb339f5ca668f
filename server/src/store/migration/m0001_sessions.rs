//! Users, sessions and their tokens, attributes, callers, the audit trail, the change feed.

use sea_orm::DbBackend;
use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::{
    big_integer, big_integer_null, boolean, integer, integer_null, small_integer, small_integer_null, string,
    string_null, text, text_null, uuid, uuid_null,
};

pub(super) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &'static str {
        "m0001_sessions"
    }
}

pub(super) fn blob(name: &'static str) -> ColumnDef {
    ColumnDef::new(name).blob().not_null().to_owned()
}

pub(super) fn blob_null(name: &'static str) -> ColumnDef {
    ColumnDef::new(name).blob().null().to_owned()
}

pub(super) fn table(name: &'static str, columns: Vec<ColumnDef>, primary_key: &[&'static str]) -> TableCreateStatement {
    let mut table = Table::create().table(name).to_owned();
    for column in columns {
        table.col(column);
    }
    let mut key = Index::create();
    for column in primary_key {
        key.col(*column);
    }
    table.primary_key(&mut key).to_owned()
}

pub(super) fn index(table: &'static str, name: &'static str, columns: &[&'static str]) -> IndexCreateStatement {
    let mut index = Index::create().name(name).table(table).to_owned();
    for column in columns {
        index.col(*column);
    }
    index
}

/// Ordered by bytes, whatever order the database has, so that a prefix is a range of an index.
fn ordered_by_bytes(name: &'static str, backend: DbBackend) -> ColumnDef {
    let mut column = string(name);
    if backend == DbBackend::Postgres {
        column.extra("COLLATE \"C\"");
    }
    column
}

#[expect(clippy::too_many_lines, reason = "a list")]
fn tables(backend: DbBackend) -> Vec<TableCreateStatement> {
    let mut sequence = ColumnDef::new("sequence");
    sequence.big_integer().not_null().auto_increment().primary_key();
    vec![
        table(
            "user",
            vec![
                uuid("user_id"),
                string("username"),
                string("username_key"),
                text("display_name"),
                text("email"),
                text("search_text"),
                boolean("is_super_user"),
                boolean("is_locked"),
                small_integer("approval_status"),
                text_null("password_hash"),
                boolean("password_must_change"),
                big_integer_null("password_expires_at"),
                blob_null("totp_secret"),
                boolean("is_totp_enabled"),
                big_integer("totp_last_step"),
                text("allowed_networks"),
                big_integer("created_at"),
                big_integer("updated_at"),
                big_integer("version"),
            ],
            &["user_id"],
        ),
        table(
            "session",
            vec![
                uuid("session_id"),
                uuid("user_id"),
                string("username"),
                small_integer("auth_type"),
                string("app"),
                string_null("remote_addr"),
                text("user_agent"),
                small_integer("address_binding"),
                big_integer("idle_micros"),
                big_integer("created_at"),
                big_integer("last_active_at"),
                big_integer("expires_at"),
                big_integer("absolute_expires_at"),
                big_integer_null("revoked_at"),
                small_integer_null("revoke_reason"),
                integer("generation"),
            ],
            &["session_id"],
        ),
        table(
            "session_token",
            vec![
                blob("token_hash"),
                integer("key_id"),
                uuid("session_id"),
                integer("generation"),
                big_integer_null("grace_until"),
                blob_null("successor"),
            ],
            &["token_hash"],
        )
        .foreign_key(
            ForeignKey::create()
                .from("session_token", "session_id")
                .to("session", "session_id")
                .on_delete(ForeignKeyAction::Cascade),
        )
        .to_owned(),
        table(
            "attribute",
            vec![
                uuid("owner_id"),
                ordered_by_bytes("name", backend),
                blob("value"),
                boolean("is_sealed"),
                big_integer_null("expires_at"),
                big_integer("created_at"),
                big_integer("updated_at"),
                big_integer("version"),
            ],
            &["owner_id", "name"],
        ),
        table(
            "caller",
            vec![
                uuid("caller_id"),
                string("name"),
                string_null("spiffe_id"),
                text("grants"),
                text("apps"),
                text("flags"),
                integer_null("max_in_flight"),
                big_integer("created_at"),
                big_integer_null("revoked_at"),
            ],
            &["caller_id"],
        ),
        table(
            "caller_key",
            vec![
                blob("key_hash"),
                integer("key_id"),
                uuid("caller_id"),
                big_integer("created_at"),
                big_integer("expires_at"),
            ],
            &["key_hash"],
        )
        .foreign_key(
            ForeignKey::create()
                .from("caller_key", "caller_id")
                .to("caller", "caller_id")
                .on_delete(ForeignKeyAction::Cascade),
        )
        .to_owned(),
        table(
            "audit_chain",
            vec![
                big_integer("number"),
                uuid("chain_id"),
                integer("key_id"),
                big_integer("created_at"),
                blob("first_mac"),
                big_integer("length"),
                blob("last_mac"),
                blob("head_mac"),
            ],
            &["number"],
        ),
        table(
            "audit_event",
            vec![
                big_integer("chain_number"),
                big_integer("sequence"),
                big_integer("time"),
                string("correlation_id"),
                ordered_by_bytes("operation", backend),
                small_integer("outcome"),
                string("reason"),
                string("caller"),
                uuid_null("subject_user_id"),
                uuid_null("target_user_id"),
                uuid_null("session_id"),
                string("app"),
                string("remote_addr"),
                text("detail"),
                blob("mac"),
            ],
            &["chain_number", "sequence"],
        ),
        Table::create()
            .table("change")
            .col(sequence)
            .col(big_integer("time"))
            .col(small_integer("kind"))
            .col(uuid_null("user_id"))
            .col(uuid_null("session_id"))
            .to_owned(),
        table("lease", vec![string("name"), uuid("holder"), big_integer("expires_at")], &["name"]),
    ]
}

fn indexes() -> Vec<IndexCreateStatement> {
    vec![
        index("user", "user_username_key", &["username_key"]).unique().to_owned(),
        index("session", "session_by_user", &["user_id", "session_id"]),
        // Those of a user that are not revoked: few, however many have come and gone.
        index("session", "session_not_revoked_by_user", &["user_id", "session_id"])
            .and_where(Expr::col("revoked_at").is_null())
            .to_owned(),
        index("session", "session_by_app", &["app", "session_id"]),
        // Not the expiry, which each activity moves: an index would be written for each, and cost more than the row.
        index("session", "session_by_absolute_expiry", &["absolute_expires_at"]),
        index("session", "session_by_revocation", &["revoked_at"]),
        index("session_token", "session_token_by_session", &["session_id", "generation"]),
        index("session_token", "session_token_by_key", &["key_id"]),
        // Those whose successor is still to be cleared.
        index("session_token", "session_token_by_grace", &["grace_until"])
            .and_where(Expr::col("successor").is_not_null())
            .to_owned(),
        index("attribute", "attribute_by_expiry", &["expires_at"]),
        index("caller", "caller_name", &["name"]).unique().to_owned(),
        index("caller", "caller_spiffe_id", &["spiffe_id"]).unique().to_owned(),
        index("caller_key", "caller_key_by_caller", &["caller_id"]),
        index("audit_chain", "audit_chain_id", &["chain_id"]).unique().to_owned(),
        // The whole order of lists: what has no index of its own is walked and never sorted.
        index("audit_event", "audit_event_by_time", &["time", "chain_number", "sequence"]),
        index("audit_event", "audit_event_by_correlation_id", &["correlation_id", "time"]),
        index("audit_event", "audit_event_by_subject", &["subject_user_id", "time"]),
        index("audit_event", "audit_event_by_target", &["target_user_id", "time"]),
        index("audit_event", "audit_event_by_session", &["session_id", "time"]),
        index("audit_event", "audit_event_by_operation", &["operation", "time"]),
        index("change", "change_by_time", &["time"]),
    ]
}

#[expect(elided_lifetimes_in_paths, reason = "as the trait of sea-orm-migration has it")]
#[async_trait::async_trait]
impl MigrationTrait for Migration {
    /// On SQLite too: one that was interrupted has done nothing.
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for table in tables(manager.get_database_backend()) {
            manager.create_table(table).await?;
        }
        for index in indexes() {
            manager.create_index(index).await?;
        }
        Ok(())
    }
}
