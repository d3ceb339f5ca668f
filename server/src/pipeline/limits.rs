//! Limits of calls in flight: of all, of one caller, and of the public services. A call is in flight until its response
//! is sent.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::connection::Connection;
use crate::error::{Error, Result};
use crate::model::caller::Caller;

/// Retry delay for refused calls: calls take milliseconds, logins tens of them.
const RETRY_AFTER: Duration = Duration::from_millis(100);

/// The limit of all calls in flight. It has its own cache line, against false sharing: every call writes it, while its
/// neighbours are only read.
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
        if enter(&self.now, self.limit) { Ok(()) } else { Err(overloaded()) }
    }

    /// Undoes one [`Self::enter`].
    pub(crate) fn leave(&self) {
        self.now.fetch_sub(1, Ordering::Relaxed);
    }

    pub(crate) fn now(&self) -> u32 {
        self.now.load(Ordering::Relaxed)
    }
}

/// Held until the response is sent, so that a slow reader counts as well.
#[derive(Default)]
pub(crate) struct Permits {
    pub(crate) call: Option<CallPermit>,
    pub(crate) caller: Option<CallerPermit>,
    pub(crate) public: Option<Box<PublicPermit>>,
}

/// One of `server.max_in_flight`.
pub(crate) struct CallPermit(Arc<Connection>);

impl CallPermit {
    pub(crate) fn enter(connection: &Arc<Connection>) -> Result<Self> {
        connection.server.in_flight.enter()?;
        Ok(Self(connection.clone()))
    }
}

impl Drop for CallPermit {
    fn drop(&mut self) {
        self.0.server.in_flight.leave();
    }
}

/// One call of a public service, overall and on its connection.
pub(crate) struct PublicPermit {
    _of_all: OwnedSemaphorePermit,
    _of_connection: OwnedSemaphorePermit,
}

impl PublicPermit {
    pub(crate) fn enter(of_all: &Arc<Semaphore>, of_connection: &Arc<Semaphore>) -> Result<Box<Self>> {
        let enter = |limit: &Arc<Semaphore>| limit.clone().try_acquire_owned().map_err(|_| overloaded());
        let of_connection = enter(of_connection)?;
        Ok(Box::new(Self { _of_all: enter(of_all)?, _of_connection: of_connection }))
    }
}

fn overloaded() -> Error {
    Error::Overloaded { retry_after: RETRY_AFTER }
}

/// One call in flight of a caller.
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

/// Counts one more, unless at the limit. A refused call is counted briefly, so another may be refused too; the limit is
/// never exceeded.
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
