//! How long what is in memory may be used without news from the change feed: the bound on how late a revocation of another server
//! is seen here.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use crate::clock::{TICK, monotonic, monotonic_at_tick};

/// For ever.
const UNLIMITED: i64 = i64::MAX;
/// Nothing has been heard.
const NEVER: i64 = i64::MIN;

/// Trust in what is in memory. It begins unlimited, as for the only writer of a database.
pub(super) struct Trust {
    /// Until when, on the clock that nobody sets.
    until: AtomicI64,
    /// From when all was known that was committed before.
    known_at: AtomicI64,
}

impl Default for Trust {
    fn default() -> Self {
        Self { until: AtomicI64::new(UNLIMITED), known_at: AtomicI64::new(NEVER) }
    }
}

impl Trust {
    /// May what is in memory be used now? Asked for every row that is used.
    pub(super) fn holds(&self) -> bool {
        match self.until.load(Ordering::Acquire) {
            UNLIMITED => true,
            until => monotonic_at_tick() < until,
        }
    }

    /// What was committed before `moment` has been taken out of memory: it may be used until `limit` after that.
    pub(super) fn extend(&self, moment: i64, limit: Duration) {
        // The clock that is asked may be behind.
        let limit = i64::try_from(limit.saturating_sub(TICK).as_micros()).unwrap_or(i64::MAX);
        self.known_at.store(moment, Ordering::Relaxed);
        self.until.store(moment.saturating_add(limit).min(UNLIMITED - 1), Ordering::Release);
    }

    /// Until the next news, if any.
    pub(super) fn withdraw(&self) {
        self.until.store(NEVER, Ordering::Release);
    }

    /// How old what is known is; none before the first news.
    pub(super) fn age(&self) -> Option<Duration> {
        let known_at = self.known_at.load(Ordering::Relaxed);
        let age = monotonic().saturating_sub(known_at);
        (known_at != NEVER).then(|| Duration::from_micros(u64::try_from(age).unwrap_or(0)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_mins(1);

    fn ago(duration: Duration) -> i64 {
        monotonic() - i64::try_from(duration.as_micros()).unwrap()
    }

    #[test]
    fn the_only_writer_trusts_its_memory_for_ever() {
        assert!(Trust::default().holds());
        assert_eq!(Trust::default().age(), None);
    }

    #[test]
    fn trust_ends_when_nothing_was_heard_for_as_long_as_the_limit() {
        let trust = Trust::default();
        trust.extend(ago(LIMIT / 2), LIMIT);
        assert!(trust.holds());
        assert!((LIMIT / 2..LIMIT).contains(&trust.age().unwrap()));
        trust.extend(ago(LIMIT), LIMIT);
        assert!(!trust.holds(), "nothing was heard for as long as the limit");
        assert!(trust.age().unwrap() >= LIMIT);
        trust.extend(ago(Duration::ZERO), LIMIT);
        assert!(trust.holds(), "something was heard again");
    }

    #[test]
    fn a_follower_that_has_heard_nothing_yet_trusts_nothing() {
        let trust = Trust::default();
        trust.withdraw();
        assert!(!trust.holds());
        assert_eq!(trust.age(), None);
    }
}
