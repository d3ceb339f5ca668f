//! When a call that found the server unavailable is tried again.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// Longer than any call may take; keeps the arithmetic of waits within its range.
const LONGEST_WAIT: Duration = Duration::from_hours(24);

/// How often, and how soon, a *read* that answered UNAVAILABLE is tried again. Writes never are: whether the server
/// did it before the connection broke, nobody knows.
///
/// The wait doubles from `initial_backoff` to `max_backoff`, each time drawn between half of it and the whole. A delay
/// that the server asks for (`RetryInfo`) comes on top. No wait goes beyond the deadline of the call.
///
/// # The budget
///
/// All clones of a client share a budget of 10 tokens, as in gRPC's `retryThrottling`: each UNAVAILABLE costs one, each
/// success gives back a tenth, and with half or less of them left nothing is tried again. A server that is down is thus not
/// met with a multiple of the load that brought it down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    /// How many times a read is sent at most, the first one included. Default: 4.
    pub attempts: u32,
    /// The wait before the second attempt. Default: 50 ms.
    pub initial_backoff: Duration,
    /// The longest wait. Default: 1 s.
    pub max_backoff: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self { attempts: 4, initial_backoff: Duration::from_millis(50), max_backoff: Duration::from_secs(1) }
    }
}

impl RetryPolicy {
    /// Nothing is ever tried again.
    pub fn never() -> Self {
        Self { attempts: 1, ..Self::default() }
    }

    /// The wait after `failures` attempts; `chance` is drawn from 0 to 1.
    pub(crate) fn backoff(&self, failures: u32, chance: f64) -> Duration {
        let doublings = failures.saturating_sub(1).min(31);
        let whole = self.initial_backoff.saturating_mul(1 << doublings).min(self.max_backoff).min(LONGEST_WAIT);
        whole.mul_f64(0.5 + chance / 2.0)
    }
}

/// A bucket of tokens, in thousandths.
#[derive(Debug)]
pub(crate) struct RetryBudget(AtomicU32);

impl RetryBudget {
    const FULL: u32 = 10_000;
    const COST_OF_FAILURE: u32 = 1_000;
    const GAIN_OF_SUCCESS: u32 = 100;

    pub(crate) fn full() -> Self {
        Self(AtomicU32::new(Self::FULL))
    }

    pub(crate) fn succeeded(&self) {
        // A full bucket is only read, so that good calls do not fight over it.
        if self.0.load(Ordering::Relaxed) < Self::FULL {
            self.change(|tokens| (tokens + Self::GAIN_OF_SUCCESS).min(Self::FULL));
        }
    }

    /// Books a failure; true if it may be tried again.
    pub(crate) fn failed(&self) -> bool {
        self.change(|tokens| tokens.saturating_sub(Self::COST_OF_FAILURE)) > Self::FULL / 2
    }

    fn change(&self, to: impl Fn(u32) -> u32) -> u32 {
        let change = |tokens| Some(to(tokens));
        let before = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, change).unwrap_or_else(|same| same);
        to(before)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_doubles_up_to_its_limit_and_is_drawn_from_its_upper_half() {
        let policy = RetryPolicy {
            attempts: 9,
            initial_backoff: Duration::from_millis(100),
            max_backoff: Duration::from_millis(350),
        };
        let longest: Vec<u128> = (1..=4).map(|failures| policy.backoff(failures, 1.0).as_millis()).collect();
        assert_eq!(longest, [100, 200, 350, 350]);
        assert_eq!(policy.backoff(1, 0.0), Duration::from_millis(50));
        assert_eq!(policy.backoff(u32::MAX, 1.0), Duration::from_millis(350));
        let endless = RetryPolicy { attempts: 2, initial_backoff: Duration::MAX, max_backoff: Duration::MAX };
        assert_eq!(endless.backoff(1, 1.0), LONGEST_WAIT);
    }

    #[test]
    fn four_failures_in_a_row_may_be_tried_again_and_the_fifth_not() {
        let budget = RetryBudget::full();
        let allowed: Vec<bool> = (0..6).map(|_| budget.failed()).collect();
        assert_eq!(allowed, [true, true, true, true, false, false]);
    }

    #[test]
    fn ten_successes_pay_for_one_failure_and_never_fill_beyond_the_brim() {
        let budget = RetryBudget::full();
        budget.succeeded();
        for _ in 0..5 {
            budget.failed();
        }
        assert!(!budget.failed());
        for _ in 0..20 {
            budget.succeeded();
        }
        assert!(!budget.failed(), "5 tokens left are not more than half");
        for _ in 0..11 {
            budget.succeeded();
        }
        assert!(budget.failed());
    }
}
