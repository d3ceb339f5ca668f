//! What only SQLite needs.

pub(super) mod group_commit;
