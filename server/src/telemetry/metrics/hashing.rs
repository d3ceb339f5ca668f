//! Password hashing.

use std::sync::atomic::AtomicU64;

use super::Histogram;

/// What became of the jobs of the hashing threads.
#[derive(Default)]
pub struct HashingMetrics {
    /// How long jobs waited for a thread.
    pub waited: Histogram,
    /// How long they took from then on.
    pub computed: Histogram,
    /// Jobs that the queue had no room for.
    pub refused: AtomicU64,
}
