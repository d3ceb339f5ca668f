//! Activity of users, written behind: verification notes it in memory, a task writes it in batches.
//!
//! What a crash loses makes sessions end a little earlier, never later.

use std::collections::HashMap;

use parking_lot::Mutex;
use sea_orm::{ConnectionTrait, Statement, Value};

use super::{Store, fault};
use crate::clock::Time;
use crate::error::Result;
use crate::id::SessionId;

/// Rows of one statement.
const BATCH: usize = 200;

/// The activity that the database does not know of yet: the latest time of each session.
#[derive(Default)]
pub struct Activity {
    pending: Mutex<HashMap<SessionId, Time>>,
}

impl Activity {
    /// Never waits for the database.
    pub fn note(&self, session: SessionId, time: Time) {
        let mut pending = self.pending.lock();
        let latest = pending.entry(session).or_insert(time);
        *latest = time.max(*latest);
    }

    pub fn of(&self, session: SessionId) -> Option<Time> {
        self.pending.lock().get(&session).copied()
    }

    pub fn len(&self) -> usize {
        self.pending.lock().len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn snapshot(&self) -> Vec<(SessionId, Time)> {
        self.pending.lock().iter().map(|(session, time)| (*session, *time)).collect()
    }

    /// Forgets what was written, but not what came since.
    fn forget(&self, written: &[(SessionId, Time)]) {
        let mut pending = self.pending.lock();
        for (session, time) in written {
            if pending.get(session) == Some(time) {
                pending.remove(session);
            }
        }
    }
}

impl Store {
    /// Writes all activity noted so far. What is noted stays readable in memory until it can be read from the database.
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn flush_activity(&self) -> Result<()> {
        let noted = self.activity().snapshot();
        for batch in noted.chunks(BATCH) {
            let statement = update(self.shared.backend, batch);
            self.shared.writer.conn().execute_raw(statement).await.map_err(fault)?;
            self.activity().forget(batch);
        }
        Ok(())
    }
}

/// A session that was revoked meanwhile, or is known to be active later already, stays as it is.
fn update(backend: sea_orm::DbBackend, batch: &[(SessionId, Time)]) -> Statement {
    let rows: Vec<String> = (0..batch.len()).map(|row| format!("(${}, ${})", row * 2 + 1, row * 2 + 2)).collect();
    let sql = format!(
        "UPDATE session SET last_active_at = v.column2, expires_at = CASE \
         WHEN v.column2 + idle_micros < absolute_expires_at THEN v.column2 + idle_micros ELSE absolute_expires_at END \
         FROM (VALUES {}) AS v WHERE session_id = v.column1 AND last_active_at < v.column2 AND revoked_at IS NULL",
        rows.join(", ")
    );
    let values = batch.iter().flat_map(|(session, time)| [Value::from(session.uuid()), Value::from(time.micros())]);
    Statement::from_sql_and_values(backend, sql, values)
}
