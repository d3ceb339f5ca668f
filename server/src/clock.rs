//! Time is passed in as a value. Only this file reads the system clock.

use std::fmt;
use std::ops::{Add, Sub};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, clock_gettime};

/// A timestamp in microseconds since 1970 (UTC): the precision of both databases.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Time(i64);

impl Time {
    pub const MAX: Self = Self(i64::MAX);

    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    pub const fn micros(self) -> i64 {
        self.0
    }

    /// Seconds and nanoseconds since 1970, for protobuf and UUIDs.
    #[expect(clippy::cast_possible_truncation, reason = "0..1_000_000 * 1000 fits")]
    pub const fn to_unix(self) -> (i64, u32) {
        (self.0.div_euclid(1_000_000), self.0.rem_euclid(1_000_000) as u32 * 1000)
    }

    /// Converts a protobuf timestamp; `None` on overflow.
    pub fn from_unix(seconds: i64, nanos: i32) -> Option<Self> {
        seconds.checked_mul(1_000_000)?.checked_add(i64::from(nanos / 1000)).map(Self)
    }

    /// Parses RFC 3339 or a database's format, in UTC only. `None` before 1970.
    pub fn parse(text: &str) -> Option<Self> {
        let time = humantime::parse_rfc3339_weak(text).ok()?.duration_since(UNIX_EPOCH).ok()?;
        Some(Self::default() + time)
    }

    /// The time since `earlier`; zero if that is not earlier.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

impl Add<Duration> for Time {
    type Output = Self;

    /// Saturates: too distant a limit is never reached.
    fn add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)))
    }
}

impl Sub<Duration> for Time {
    type Output = Self;

    fn sub(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)))
    }
}

impl fmt::Debug for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Time {
    /// RFC 3339, in UTC.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let since_epoch = Duration::from_micros(u64::try_from(self.0).unwrap_or(0));
        humantime::format_rfc3339_micros(UNIX_EPOCH + since_epoch).fmt(f)
    }
}

/// A duration in whole microseconds: the precision of both databases.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Micros(i64);

impl Micros {
    pub const MAX: Self = Self(i64::MAX);

    pub const fn new(count: i64) -> Self {
        Self(count)
    }

    pub const fn count(self) -> i64 {
        self.0
    }
}

impl From<Duration> for Micros {
    /// Saturates.
    fn from(duration: Duration) -> Self {
        Self(i64::try_from(duration.as_micros()).unwrap_or(i64::MAX))
    }
}

impl From<Micros> for Duration {
    /// Zero if it is negative.
    fn from(micros: Micros) -> Self {
        Self::from_micros(u64::try_from(micros.0).unwrap_or(0))
    }
}

impl Add<Micros> for Time {
    type Output = Self;

    /// Saturates.
    fn add(self, micros: Micros) -> Self {
        Self(self.0.saturating_add(micros.0))
    }
}

/// The source of "now": the system clock, or a test.
#[derive(Clone, Debug, Default)]
pub struct Clock {
    manual: Option<Arc<AtomicI64>>,
}

impl Clock {
    /// The system clock.
    pub fn system() -> Self {
        Self::default()
    }

    /// A clock that only [`Self::advance`] moves; clones move together.
    pub fn manual(start: Time) -> Self {
        Self { manual: Some(Arc::new(AtomicI64::new(start.0))) }
    }

    #[expect(clippy::disallowed_methods, reason = "the one place that reads the machine's clock")]
    pub fn now(&self) -> Time {
        if let Some(manual) = &self.manual {
            return Time(manual.load(Ordering::SeqCst));
        }
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Time(i64::try_from(since_epoch.as_micros()).unwrap_or(i64::MAX))
    }

    /// Moves a manual clock; does not affect the system clock.
    pub fn advance(&self, duration: Duration) {
        if let Some(manual) = &self.manual {
            manual.fetch_add(i64::try_from(duration.as_micros()).unwrap_or(i64::MAX), Ordering::SeqCst);
        }
    }
}

/// Microseconds on the monotonic clock: for durations and expiry, never for points in time.
pub fn monotonic() -> i64 {
    micros_of(ClockId::Monotonic)
}

/// How far [`monotonic_at_tick`] may lag: the kernel ticks at 100 Hz or faster.
pub const TICK: Duration = Duration::from_millis(10);

/// [`monotonic`] as of the last kernel tick, at a quarter of the cost.
pub fn monotonic_at_tick() -> i64 {
    #[cfg(target_os = "linux")]
    return micros_of(ClockId::MonotonicCoarse);
    #[cfg(not(target_os = "linux"))]
    monotonic()
}

fn micros_of(clock: ClockId) -> i64 {
    let time = clock_gettime(clock);
    time.tv_sec * 1_000_000 + time.tv_nsec / 1_000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_that_nobody_sets_goes_on_and_its_ticks_are_never_ahead() {
        let (tick, now) = (monotonic_at_tick(), monotonic());
        assert!(tick <= now && now <= monotonic());
    }

    #[test]
    fn a_clock_by_hand_moves_only_by_hand_and_with_its_clones() {
        let clock = Clock::manual(Time::from_micros(5));
        let clone = clock.clone();
        assert_eq!(clock.now(), Time::from_micros(5));
        clone.advance(Duration::from_micros(7));
        assert_eq!(clock.now(), Time::from_micros(12));
    }

    #[test]
    fn time_saturates_instead_of_wrapping() {
        assert_eq!(Time::MAX + Duration::from_secs(1), Time::MAX);
        assert_eq!(Time::from_micros(3).since(Time::from_micros(9)), Duration::ZERO);
        assert_eq!(Time::from_unix(i64::MAX, 0), None);
        assert_eq!(Time::from_micros(1_500_000).to_string(), "1970-01-01T00:00:01.500000Z");
    }

    #[test]
    fn what_a_database_writes_is_read_to_the_microsecond() {
        for text in ["1970-01-01 00:00:01.5", "1970-01-01 00:00:01.500000", "1970-01-01T00:00:01.500000Z"] {
            assert_eq!(Time::parse(text), Some(Time::from_micros(1_500_000)), "{text}");
        }
        for text in ["", "soon", "1969-12-31 23:59:59", "1970-13-01 00:00:00", "infinity"] {
            assert_eq!(Time::parse(text), None, "{text}");
        }
    }
}
