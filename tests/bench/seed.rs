//! Many sessions at once, straight into the database: a million logins would take hours.

use std::path::Path;

use crate::Result;

/// Users with so many live sessions each; the tokens of all.
pub(crate) async fn sessions(
    database_url: &str,
    keys: &Path,
    users: u64,
    sessions_per_user: u64,
) -> Result<Vec<String>> {
    let _ = (database_url, keys, users, sessions_per_user);
    Err("no seed yet".into())
}
