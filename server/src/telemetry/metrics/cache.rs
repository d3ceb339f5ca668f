//! The caches of sessions and of links.

/// Counters of a cache.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CacheStats {
    pub hits: u64,
    pub misses: u64,
    /// Misses while the cache had no valid lease.
    pub misses_without_lease: u64,
    pub entries: u64,
    /// 0: the cache is off.
    pub capacity: u64,
}
