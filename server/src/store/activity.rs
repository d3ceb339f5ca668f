//! Write-behind of user activity: verification records it in memory, a background task flushes it in batches.
//!
//! Activity lost in a crash makes sessions expire earlier, never later.

use std::collections::HashMap;

use parking_lot::Mutex;
use sea_orm::{ConnectionTrait, DbBackend, Statement, Value};

use super::Store;
use super::write::retry;
use crate::clock::Time;
use crate::error::{Error, Result};
use crate::model::id::SessionId;

/// Rows per statement: enough to share pages and a commit, few enough not to delay other writers for long.
const BATCH: usize = 1000;

/// Activity that is not in the database yet: the latest time per session.
#[derive(Default)]
pub struct Activity {
    recorded: Mutex<Recorded>,
}

/// Flushed times stay until every read that began before the flush has ended: it may have seen the old row. Reads are
/// counted in two alternating epochs; each epoch keeps what was flushed during it.
#[derive(Default)]
struct Recorded {
    pending: HashMap<SessionId, Time>,
    flushed: [HashMap<SessionId, Time>; 2],
    readers: [usize; 2],
    epoch: usize,
}

impl Recorded {
    /// Switches epochs as soon as the reads of the other epoch have ended.
    fn advance_epoch(&mut self) {
        let other = 1 - self.epoch;
        if self.readers[other] == 0 {
            self.flushed[other] = HashMap::new();
            self.epoch = other;
        }
        if self.readers == [0; 2] {
            self.flushed = Default::default();
        }
    }
}

/// Guard of a read of sessions: created before the query, dropped after [`Activity::of`].
pub(super) struct ReadGuard<'a> {
    activity: &'a Activity,
    epoch: usize,
}

impl Drop for ReadGuard<'_> {
    fn drop(&mut self) {
        let mut recorded = self.activity.recorded.lock();
        recorded.readers[self.epoch] -= 1;
        recorded.advance_epoch();
    }
}

impl Activity {
    /// Records activity. Never waits for the database.
    pub fn record(&self, session: SessionId, time: Time) {
        let mut recorded = self.recorded.lock();
        let latest = recorded.pending.entry(session).or_insert(time);
        *latest = time.max(*latest);
    }

    pub(super) fn begin_read(&self) -> ReadGuard<'_> {
        let mut recorded = self.recorded.lock();
        let epoch = recorded.epoch;
        recorded.readers[epoch] += 1;
        ReadGuard { activity: self, epoch }
    }

    /// The latest activity that a row read under a [`ReadGuard`] may lack.
    pub(super) fn of(&self, session: SessionId) -> Option<Time> {
        let recorded = self.recorded.lock();
        let [one, other] = &recorded.flushed;
        [&recorded.pending, one, other].iter().filter_map(|times| times.get(&session).copied()).max()
    }

    /// Number of sessions with unflushed activity.
    pub fn len(&self) -> usize {
        self.recorded.lock().pending.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Sorted by session ID, so that concurrent flushes lock rows in the same order and do not deadlock.
    fn snapshot(&self) -> Vec<(SessionId, Time)> {
        let mut times: Vec<_> = self.recorded.lock().pending.iter().map(|(session, time)| (*session, *time)).collect();
        times.sort_unstable_by_key(|(session, _)| *session);
        times
    }

    /// Removes flushed activity, unless newer activity was recorded meanwhile.
    fn remove_flushed(&self, batch: &[(SessionId, Time)]) {
        let mut recorded = self.recorded.lock();
        let recorded = &mut *recorded;
        let is_read = recorded.readers != [0; 2];
        for (session, time) in batch {
            if recorded.pending.get(session) == Some(time) {
                recorded.pending.remove(session);
            }
            if is_read {
                recorded.flushed[recorded.epoch].insert(*session, *time);
            }
        }
        if recorded.pending.is_empty() {
            recorded.pending.shrink_to(BATCH);
        }
    }
}

impl Store {
    /// Flushes all activity recorded so far. It stays readable in memory until every new read finds it in the database.
    #[tracing::instrument(level = "debug", skip_all)]
    pub async fn flush_activity(&self) -> Result<()> {
        let recorded = self.activity().snapshot();
        for batch in recorded.chunks(BATCH) {
            let statement = update(self.shared.backend, batch);
            let write = || {
                let running = self.shared.writer.conn().execute_raw(statement.clone());
                async { running.await.map_err(Error::from) }
            };
            retry(write).await?;
            self.activity().remove_flushed(batch);
        }
        Ok(())
    }
}

/// Skips sessions that were revoked meanwhile or have later activity.
fn update(backend: DbBackend, batch: &[(SessionId, Time)]) -> Statement {
    let placeholder = |number: usize| match backend {
        // SQLite looks up numbered parameters by name, one after the other: thousands take longer than the rest.
        DbBackend::Sqlite => "?".to_owned(),
        _ => format!("${number}"),
    };
    let rows: Vec<String> =
        (0..batch.len()).map(|row| format!("({}, {})", placeholder(row * 2 + 1), placeholder(row * 2 + 2))).collect();
    let sql = format!(
        "UPDATE session SET last_active_at = v.column2, expires_at = CASE \
         WHEN v.column2 + idle_micros < absolute_expires_at THEN v.column2 + idle_micros ELSE absolute_expires_at END \
         FROM (VALUES {}) AS v WHERE session_id = v.column1 AND last_active_at < v.column2 AND revoked_at IS NULL",
        rows.join(", ")
    );
    let values = batch.iter().flat_map(|(session, time)| [Value::from(*session), Value::from(*time)]);
    Statement::from_sql_and_values(backend, sql, values)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(micros: i64) -> Time {
        Time::from_micros(micros)
    }

    /// What [`Store::flush_activity`] does in memory; `meanwhile` runs in place of the statement.
    fn flush(activity: &Activity, meanwhile: impl FnOnce()) {
        let recorded = activity.snapshot();
        meanwhile();
        activity.remove_flushed(&recorded);
    }

    #[test]
    fn the_latest_time_counts_until_it_is_written() {
        let (activity, session) = (Activity::default(), SessionId::new(at(0)));
        activity.record(session, at(5));
        activity.record(session, at(3));
        assert_eq!((activity.of(session), activity.len()), (Some(at(5)), 1));
        flush(&activity, || activity.record(session, at(9)));
        assert_eq!(activity.of(session), Some(at(9)), "what came meanwhile is not written yet");
        flush(&activity, || {});
        assert_eq!((activity.of(session), activity.is_empty()), (None, true));
    }

    #[test]
    fn a_row_read_before_the_flush_knows_of_the_activity_after_it() {
        let (activity, session) = (Activity::default(), SessionId::new(at(0)));
        activity.record(session, at(5));
        let guard = activity.begin_read();
        // The row is read here, so it lacks what is flushed now.
        flush(&activity, || {});
        assert_eq!((activity.of(session), activity.len()), (Some(at(5)), 0));
        // Other reads and flushes keep coming.
        for number in 0..10 {
            let other = activity.begin_read();
            activity.record(SessionId::new(at(number)), at(number));
            flush(&activity, || {});
            drop(other);
            assert_eq!(activity.of(session), Some(at(5)));
        }
        drop(guard);
        assert_eq!(activity.of(session), None, "nobody can ask for it any more");
    }

    #[test]
    fn reads_that_always_overlap_do_not_keep_everything_for_ever() {
        let (activity, session) = (Activity::default(), SessionId::new(at(0)));
        activity.record(session, at(5));
        let mut guard = activity.begin_read();
        flush(&activity, || {});
        for _ in 0..3 {
            assert_eq!(activity.recorded.lock().readers.iter().sum::<usize>(), 1);
            guard = {
                let next = activity.begin_read();
                drop(guard);
                next
            };
        }
        drop(guard);
        assert_eq!(activity.of(session), None);
        let first = activity.begin_read();
        activity.record(session, at(6));
        flush(&activity, || {});
        let second = activity.begin_read();
        drop(first);
        let third = activity.begin_read();
        drop(second);
        let fourth = activity.begin_read();
        drop(third);
        assert_eq!(activity.of(session), None, "all who read then are done, although somebody reads");
        drop(fourth);
    }
}
