//! The caches of sessions and of links.

/// How a cache does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CacheStats {
    pub hits: u64,
    pub misses: u64,
    /// Of the misses, those while memory was not to be trusted.
    pub untrusted: u64,
    pub entries: u64,
    /// 0: the cache is off.
    pub capacity: u64,
}
