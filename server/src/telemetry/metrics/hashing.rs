//! Password hashing.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::registry::Registry;

use super::{Histogram, write_histograms};

/// Jobs of the hashing threads.
#[derive(Default)]
pub struct HashingMetrics {
    /// Time spent waiting for a thread.
    pub waited: Histogram,
    /// Time spent hashing.
    pub computed: Histogram,
    /// Jobs refused because the queue was full.
    pub refused: Counter,
}

impl HashingMetrics {
    pub(super) fn register(&self, to: &mut Registry) {
        let help = "Password hashes that were refused because the queue was full";
        to.register("password_hashes_refused", help, self.refused.clone());
    }

    pub(super) fn write_histograms(&self, page: &mut String) {
        let waited = [(String::new(), &self.waited)];
        write_histograms(page, "password_hashing_wait", "How long password hashes waited for a thread", waited);
        let computed = [(String::new(), &self.computed)];
        write_histograms(page, "password_hashing", "How long computing a password hash took", computed);
    }
}
