//! Read-through caches of session rows and of users' links.
//!
//! Rows are cached, not verdicts, so expiry stays exact. Revocation is exact too: a fill inserts a placeholder, then
//! reads. Invalidation also removes the placeholder, and a fill whose placeholder is gone does not cache its row. A
//! change is invalidated after its commit and before its acknowledgement, so no row from before the commit is found
//! after the acknowledgement. The change-feed follower invalidates changes of other servers likewise; the cache is used
//! only while its lease, [`Trust`], is valid.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use quick_cache::sync::Cache;

use super::link::UserLinks;
use super::trust::Trust;
use crate::crypto::TokenHash;
use crate::error::Result;
use crate::model::id::UserId;
use crate::model::session::SessionEntry;
use crate::telemetry::metrics::cache::CacheStats;

/// The keys that a transaction invalidates, in both caches.
#[derive(Default)]
pub(super) struct Invalidation {
    pub(super) sessions: InvalidKeys<TokenHash>,
    pub(super) links: InvalidKeys<UserId>,
}

/// All caches.
pub(super) struct Caches {
    /// Keyed by token hash.
    pub(super) sessions: RowCache<TokenHash, SessionEntry>,
    /// All links of a user, oldest first.
    pub(super) links: RowCache<UserId, UserLinks>,
    pub(super) trust: Arc<Trust>,
}

impl Caches {
    /// Scales the link cache, because a user has a few sessions.
    const SESSIONS_PER_USER: usize = 4;

    /// `capacity`: number of sessions; `None` turns both caches off.
    pub(super) fn new(capacity: Option<usize>) -> Self {
        let users = capacity.map(|sessions| sessions.div_ceil(Self::SESSIONS_PER_USER));
        let trust = Arc::<Trust>::default();
        Self {
            sessions: RowCache::new(capacity, Arc::clone(&trust)),
            links: RowCache::new(users, Arc::clone(&trust)),
            trust,
        }
    }

    pub(super) fn are_on(&self) -> bool {
        self.sessions.rows.is_some()
    }

    pub(super) fn clear(&self) {
        self.invalidate(&Invalidation { sessions: InvalidKeys::Everything, links: InvalidKeys::Everything });
    }

    pub(super) fn invalidate(&self, invalidation: &Invalidation) {
        self.sessions.invalidate(&invalidation.sessions);
        self.links.invalidate(&invalidation.links);
    }
}

/// The keys that a transaction invalidates in one cache.
#[derive(Default)]
pub(super) enum InvalidKeys<K> {
    #[default]
    Nothing,
    Named(Vec<K>),
    /// Too many keys to list: the whole cache.
    Everything,
}

impl<K> InvalidKeys<K> {
    /// Above this number of keys the whole cache is invalidated.
    const MAX_NAMED: usize = 10_000;

    pub(super) fn add(&mut self, more: impl IntoIterator<Item = K>) {
        let mut named = match std::mem::take(self) {
            Self::Everything => return self.add_everything(),
            Self::Nothing => Vec::new(),
            Self::Named(named) => named,
        };
        named.extend(more);
        *self = if named.len() > Self::MAX_NAMED { Self::Everything } else { Self::Named(named) };
    }

    pub(super) fn add_everything(&mut self) {
        *self = Self::Everything;
    }
}

#[derive(Default)]
struct Counters {
    hits: AtomicU64,
    misses: AtomicU64,
    misses_without_lease: AtomicU64,
}

pub(super) struct RowCache<K, V> {
    /// `None`: the cache is off.
    rows: Option<Cache<K, Arc<V>>>,
    trust: Arc<Trust>,
    counters: Counters,
}

impl<K: Copy + Eq + Hash, V> RowCache<K, V> {
    pub(super) fn new(capacity: Option<usize>, trust: Arc<Trust>) -> Self {
        Self { rows: capacity.map(Cache::new), trust, counters: Counters::default() }
    }

    /// The cache, if it is on and its lease is valid.
    fn leased(&self) -> Option<&Cache<K, Arc<V>>> {
        let rows = self.rows.as_ref()?;
        if !self.trust.holds() {
            self.counters.misses_without_lease.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        Some(rows)
    }

    pub(super) fn get(&self, key: &K) -> Option<Arc<V>> {
        let found = self.rows.as_ref()?.get(key).filter(|_| self.trust.holds());
        if found.is_some() {
            self.counters.hits.fetch_add(1, Ordering::Relaxed);
        }
        found
    }

    /// The cached row, or the one that `read` returns; concurrent misses of one key share a read.
    pub(super) async fn get_or_read(
        &self,
        key: &K,
        read: impl Future<Output = Result<Option<V>>>,
    ) -> Result<Option<Arc<V>>> {
        self.counters.misses.fetch_add(1, Ordering::Relaxed);
        let Some(rows) = self.leased() else { return Ok(read.await?.map(Arc::new)) };
        match rows.get_value_or_guard_async(key).await {
            Ok(entry) => Ok(Some(entry)),
            Err(placeholder) => {
                let Some(entry) = read.await?.map(Arc::new) else { return Ok(None) };
                // Not cached if the row was invalidated since the placeholder was inserted.
                let _ = placeholder.insert(Arc::clone(&entry));
                Ok(Some(entry))
            }
        }
    }

    /// Fills many rows with one read, after inserting their placeholders.
    pub(super) async fn fill_many<F>(&self, keys: &[K], read: impl FnOnce() -> F) -> Result<HashMap<K, Arc<V>>>
    where
        F: Future<Output = Result<Vec<(K, V)>>>,
    {
        use quick_cache::sync::GuardResult;

        self.counters.misses.fetch_add(keys.len() as u64, Ordering::Relaxed);
        let shared = |found: Vec<(K, V)>| found.into_iter().map(|(key, entry)| (key, Arc::new(entry)));
        let Some(rows) = self.leased() else { return Ok(shared(read().await?).collect()) };
        // Does not wait: a row that another call is filling is read here too, and cached by that call.
        let placeholders: Vec<_> = keys
            .iter()
            .filter_map(|key| match rows.get_value_or_guard(key, Some(std::time::Duration::ZERO)) {
                GuardResult::Guard(placeholder) => Some((*key, placeholder)),
                GuardResult::Value(_) | GuardResult::Timeout => None,
            })
            .collect();
        let entries: HashMap<K, Arc<V>> = shared(read().await?).collect();
        for (key, placeholder) in placeholders {
            if let Some(entry) = entries.get(&key) {
                let _ = placeholder.insert(Arc::clone(entry));
            }
        }
        Ok(entries)
    }

    pub(super) fn invalidate(&self, invalidated: &InvalidKeys<K>) {
        match (invalidated, &self.rows) {
            (InvalidKeys::Named(keys), _) => self.invalidate_keys(keys),
            (InvalidKeys::Everything, Some(rows)) => rows.clear(),
            (InvalidKeys::Nothing, _) | (_, None) => {}
        }
    }

    /// Removes rows, and the placeholders of fills in progress.
    pub(super) fn invalidate_keys(&self, keys: &[K]) {
        let Some(rows) = &self.rows else { return };
        for key in keys {
            rows.remove(key);
        }
    }

    pub(super) fn stats(&self) -> CacheStats {
        CacheStats {
            hits: self.counters.hits.load(Ordering::Relaxed),
            misses: self.counters.misses.load(Ordering::Relaxed),
            misses_without_lease: self.counters.misses_without_lease.load(Ordering::Relaxed),
            entries: self.rows.as_ref().map_or(0, |rows| rows.len() as u64),
            capacity: self.rows.as_ref().map_or(0, Cache::capacity),
        }
    }
}

#[cfg(test)]
#[path = "cache_tests.rs"]
mod tests;
