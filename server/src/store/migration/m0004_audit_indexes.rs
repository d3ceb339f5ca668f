//! Audit events of users and sessions are found segment by segment (`store/audit/search.rs`): three indexes over all events
//! were written all over for each batch of reads, which cost four times what the events did.

use sea_orm_migration::prelude::*;

pub(super) struct Migration;

impl MigrationName for Migration {
    fn name(&self) -> &'static str {
        "m0004_audit_indexes"
    }
}

const OLD: [&str; 3] = ["audit_event_by_subject", "audit_event_by_target", "audit_event_by_session"];

/// Expressions and conditions, which both databases spell alike.
const NEW: [&str; 3] = [
    "CREATE INDEX audit_event_segment_by_subject ON audit_event \
     ((chain_number * 1073741824 + sequence / 8192), subject_user_id) WHERE subject_user_id IS NOT NULL",
    // Most do something to themselves, and are found by the subject.
    "CREATE INDEX audit_event_segment_by_target ON audit_event \
     ((chain_number * 1073741824 + sequence / 8192), target_user_id) \
     WHERE target_user_id IS NOT NULL AND target_user_id IS DISTINCT FROM subject_user_id",
    "CREATE INDEX audit_event_segment_by_session ON audit_event \
     ((chain_number * 1073741824 + sequence / 8192), session_id) WHERE session_id IS NOT NULL",
];

#[expect(elided_lifetimes_in_paths, reason = "as the trait of sea-orm-migration has it")]
#[async_trait::async_trait]
impl MigrationTrait for Migration {
    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }

    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for create in NEW {
            manager.get_connection().execute_unprepared(create).await?;
        }
        for name in OLD {
            manager.drop_index(Index::drop().name(name).table("audit_event").to_owned()).await?;
        }
        Ok(())
    }
}
