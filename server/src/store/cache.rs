//! The read-through cache of session rows, beside the SQL that changes them.
//!
//! Rows are cached, not verdicts, so that expiry stays exact. What makes it exact against revocation: a fill first puts a
//! placeholder where the row will be, then reads; taking a changed row out takes the placeholder out too, and a fill whose
//! placeholder is gone keeps its row to itself. A change is taken out after its commit and before it is acknowledged, so
//! a row read before the commit is never found after the acknowledgement.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use quick_cache::sync::Cache;

use super::session::SessionEntry;
use crate::crypto::TokenHash;
use crate::error::Result;

/// What a transaction changed.
#[derive(Default)]
pub(super) enum Touched {
    #[default]
    Nothing,
    Tokens(Vec<TokenHash>),
    /// Too many to name.
    Everything,
}

impl Touched {
    /// More tokens than this are not worth naming.
    const NAMED: usize = 10_000;

    pub(super) fn add(&mut self, more: impl IntoIterator<Item = TokenHash>) {
        let mut tokens = match std::mem::take(self) {
            Self::Everything => return self.add_everything(),
            Self::Nothing => Vec::new(),
            Self::Tokens(tokens) => tokens,
        };
        tokens.extend(more);
        *self = if tokens.len() > Self::NAMED { Self::Everything } else { Self::Tokens(tokens) };
    }

    pub(super) fn add_everything(&mut self) {
        *self = Self::Everything;
    }
}

/// How the cache does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CacheStats {
    pub hits: u64,
    pub misses: u64,
    pub entries: u64,
    pub capacity: u64,
}

#[derive(Default)]
struct Counters {
    hits: AtomicU64,
    misses: AtomicU64,
}

pub(super) struct SessionCache {
    /// None: off.
    rows: Option<Cache<TokenHash, Arc<SessionEntry>>>,
    counters: Counters,
}

impl SessionCache {
    pub(super) fn new(capacity: Option<usize>) -> Self {
        Self { rows: capacity.map(Cache::new), counters: Counters::default() }
    }

    pub(super) fn get(&self, hash: &TokenHash) -> Option<Arc<SessionEntry>> {
        let found = self.rows.as_ref()?.get(hash);
        if found.is_some() {
            self.counters.hits.fetch_add(1, Ordering::Relaxed);
        }
        found
    }

    /// The cached row or, once for all who ask at the same time, the one that `read` finds.
    pub(super) async fn get_or_read(
        &self,
        hash: &TokenHash,
        read: impl Future<Output = Result<Option<SessionEntry>>>,
    ) -> Result<Option<Arc<SessionEntry>>> {
        self.counters.misses.fetch_add(1, Ordering::Relaxed);
        let Some(rows) = &self.rows else { return Ok(read.await?.map(Arc::new)) };
        match rows.get_value_or_guard_async(hash).await {
            Ok(entry) => Ok(Some(entry)),
            Err(placeholder) => {
                let Some(entry) = read.await?.map(Arc::new) else { return Ok(None) };
                // Refused if the row changed since the placeholder was put: then only this answer may use it.
                let _ = placeholder.insert(Arc::clone(&entry));
                Ok(Some(entry))
            }
        }
    }

    /// A fill for many at once: the placeholders first, then the rows.
    pub(super) async fn fill_many<F>(
        &self,
        hashes: &[TokenHash],
        read: impl FnOnce() -> F,
    ) -> Result<HashMap<TokenHash, Arc<SessionEntry>>>
    where
        F: Future<Output = Result<Vec<(TokenHash, SessionEntry)>>>,
    {
        use quick_cache::sync::GuardResult;

        self.counters.misses.fetch_add(hashes.len() as u64, Ordering::Relaxed);
        let shared =
            |found: Vec<(TokenHash, SessionEntry)>| found.into_iter().map(|(hash, entry)| (hash, Arc::new(entry)));
        let Some(rows) = &self.rows else { return Ok(shared(read().await?).collect()) };
        // Zero time: a row that somebody else is filling is read here too, and cached by them.
        let placeholders: Vec<_> = hashes
            .iter()
            .filter_map(|hash| match rows.get_value_or_guard(hash, Some(std::time::Duration::ZERO)) {
                GuardResult::Guard(placeholder) => Some((*hash, placeholder)),
                GuardResult::Value(_) | GuardResult::Timeout => None,
            })
            .collect();
        let entries: HashMap<TokenHash, Arc<SessionEntry>> = shared(read().await?).collect();
        for (hash, placeholder) in placeholders {
            if let Some(entry) = entries.get(&hash) {
                let _ = placeholder.insert(Arc::clone(entry));
            }
        }
        Ok(entries)
    }

    pub(super) fn take_out(&self, touched: &Touched) {
        match (touched, &self.rows) {
            (Touched::Tokens(tokens), _) => self.forget(tokens),
            (Touched::Everything, Some(rows)) => rows.clear(),
            (Touched::Nothing, _) | (_, None) => {}
        }
    }

    /// Rows, and placeholders of rows that are being read, are gone.
    pub(super) fn forget(&self, tokens: &[TokenHash]) {
        let Some(rows) = &self.rows else { return };
        for token in tokens {
            rows.remove(token);
        }
    }

    pub(super) fn stats(&self) -> CacheStats {
        CacheStats {
            hits: self.counters.hits.load(Ordering::Relaxed),
            misses: self.counters.misses.load(Ordering::Relaxed),
            entries: self.rows.as_ref().map_or(0, |rows| rows.len() as u64),
            capacity: self.rows.as_ref().map_or(0, Cache::capacity),
        }
    }
}

#[cfg(test)]
#[path = "cache_tests.rs"]
mod tests;
