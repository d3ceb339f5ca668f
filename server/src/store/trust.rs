//! How long what is in memory may be used without news from the change feed: the bound on how late a revocation of another server
//! is seen here.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

/// For ever.
const UNLIMITED: i64 = i64::MAX;
/// Nothing has been heard.
const NEVER: i64 = i64::MIN;

/// Trust in what is in memory. It begins unlimited, as for the only writer of a database.
pub(super) struct Trust {
    start: Instant,
    /// Until when, in microseconds from the start, on the clock that nobody sets.
    until: AtomicI64,
    /// From when all was known that was committed before; the same.
    known_at: AtomicI64,
}

impl Default for Trust {
    fn default() -> Self {
        let start = Instant::now();
        Self { start, until: AtomicI64::new(UNLIMITED), known_at: AtomicI64::new(NEVER) }
    }
}

impl Trust {
    /// May what is in memory be used now?
    pub(super) fn holds(&self) -> bool {
        match self.until.load(Ordering::Acquire) {
            UNLIMITED => true,
            until => self.micros(Instant::now()) < until,
        }
    }

    /// What was committed before `moment` has been taken out of memory: it may be used until `limit` after that.
    pub(super) fn extend(&self, moment: Instant, limit: Duration) {
        let known_at = self.micros(moment);
        let limit = i64::try_from(limit.as_micros()).unwrap_or(i64::MAX);
        self.known_at.store(known_at, Ordering::Relaxed);
        self.until.store(known_at.saturating_add(limit).min(UNLIMITED - 1), Ordering::Release);
    }

    /// Until the next news, if any.
    pub(super) fn withdraw(&self) {
        self.until.store(NEVER, Ordering::Release);
    }

    /// How old what is known is; none before the first news.
    pub(super) fn age(&self) -> Option<Duration> {
        let known_at = self.known_at.load(Ordering::Relaxed);
        let age = self.micros(Instant::now()).saturating_sub(known_at);
        (known_at != NEVER).then(|| Duration::from_micros(u64::try_from(age).unwrap_or(0)))
    }

    fn micros(&self, moment: Instant) -> i64 {
        i64::try_from(moment.saturating_duration_since(self.start).as_micros()).unwrap_or(i64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(60);

    fn moved(trust: Trust, age: Duration) -> Trust {
        Trust { start: trust.start.checked_sub(age).unwrap(), ..trust }
    }

    #[test]
    fn the_only_writer_trusts_its_memory_for_ever() {
        assert!(moved(Trust::default(), Duration::from_hours(1)).holds());
    }

    #[test]
    fn trust_ends_when_nothing_was_heard_for_as_long_as_the_limit() {
        let trust = Trust::default();
        trust.extend(Instant::now(), LIMIT);
        assert!(trust.holds());
        assert!(trust.age().unwrap() < LIMIT);
        let trust = moved(trust, LIMIT);
        assert!(!trust.holds(), "nothing was heard for as long as the limit");
        assert!(trust.age().unwrap() >= LIMIT);
        trust.extend(Instant::now(), LIMIT);
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
