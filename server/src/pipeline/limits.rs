//! Calls under way, of all and of one caller.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::error::{Error, Result};
use crate::model::caller::Caller;

/// When a refused call is worth another try: calls take milliseconds, logins some tens of them.
const RETRY_AFTER: Duration = Duration::from_millis(100);

/// The limit of all calls under way. It has a cache line to itself: every call of every thread writes it, and what lies
/// beside it is only read.
#[repr(align(64))]
pub(crate) struct InFlight {
    now: AtomicU32,
    limit: u32,
}

impl InFlight {
    pub(crate) fn new(limit: u32) -> Self {
        Self { now: AtomicU32::new(0), limit }
    }

    pub(crate) fn enter(&self) -> Result<()> {
        if enter(&self.now, self.limit) { Ok(()) } else { Err(Error::Overloaded { retry_after: RETRY_AFTER }) }
    }

    /// Gives back what [`Self::enter`] took.
    pub(crate) fn leave(&self) {
        self.now.fetch_sub(1, Ordering::Relaxed);
    }

    pub(crate) fn now(&self) -> u32 {
        self.now.load(Ordering::Relaxed)
    }
}

/// A call of a caller under way; dropping it ends it.
pub(crate) struct CallerPermit(Arc<Caller>);

impl CallerPermit {
    pub(crate) fn enter(caller: Arc<Caller>) -> Result<Self> {
        if enter(&caller.in_flight, caller.max_in_flight) {
            Ok(Self(caller))
        } else {
            Err(Error::CallerLimited { retry_after: RETRY_AFTER })
        }
    }
}

impl Drop for CallerPermit {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Counts one more, unless that would be too many. Two that come at once may both be refused at the limit, never both
/// let in.
fn enter(now: &AtomicU32, limit: u32) -> bool {
    if now.fetch_add(1, Ordering::Relaxed) < limit {
        return true;
    }
    now.fetch_sub(1, Ordering::Relaxed);
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_enter_as_the_limit_and_a_place_that_is_left_can_be_taken() {
        let limit = InFlight::new(2);
        assert!(limit.enter().is_ok() && limit.enter().is_ok());
        assert!(matches!(limit.enter(), Err(Error::Overloaded { .. })));
        assert_eq!(limit.now(), 2);
        limit.leave();
        assert!(limit.enter().is_ok());
    }
}
