//! Figures that are read when they are asked for: those of the rules, the store and the front.

use std::fmt;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use super::{Metrics, write_histograms};
use crate::app::App;
use crate::pipeline::server::Front;

/// Registers those of the rules and of the store.
pub(crate) fn register(metrics: &Metrics, app: &App) {
    metrics.register(|registry| registry.register_collector(Box::new(AppCollector(app.clone()))));
    let (hashing, writing) = (app.hashing_figures().clone(), app.store().write_figures().clone());
    metrics.add_histograms(move |page| {
        let waited = [(String::new(), &hashing.waited)];
        write_histograms(page, "password_hashing_wait", "How long password hashes waited for a thread", waited);
        let computed = [(String::new(), &hashing.computed)];
        write_histograms(page, "password_hashing", "How long computing a password hash took", computed);
        let outcomes = [("committed", &writing.committed), ("refused", &writing.refused), ("failed", &writing.failed)];
        let labelled = outcomes.map(|(outcome, histogram)| (format!("outcome=\"{outcome}\""), histogram));
        write_histograms(page, "database_write", "How long transactions took, with waiting and all attempts", labelled);
    });
}

/// Registers that of the front.
pub(crate) fn register_in_flight<A, D>(metrics: &Metrics, front: &Arc<Front<A, D>>)
where
    A: Send + Sync + 'static,
    D: Send + Sync + 'static,
{
    let front = Arc::downgrade(front);
    metrics.register(|registry| registry.register_collector(Box::new(FrontCollector(front))));
}

fn gauge(encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: u64) -> fmt::Result {
    let value = ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
    value.encode(encoder.encode_descriptor(name, help, None, MetricType::Gauge)?)
}

fn seconds(encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: Duration) -> fmt::Result {
    let value = ConstGauge::new(value.as_secs_f64());
    value.encode(encoder.encode_descriptor(name, help, None, MetricType::Gauge)?)
}

fn counter(encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: u64) -> fmt::Result {
    ConstCounter::new(value).encode(encoder.encode_descriptor(name, help, None, MetricType::Counter)?)
}

/// It does not keep the front alive.
struct FrontCollector<A, D>(Weak<Front<A, D>>);

impl<A, D> fmt::Debug for FrontCollector<A, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FrontCollector")
    }
}

impl<A: Send + Sync + 'static, D: Send + Sync + 'static> Collector for FrontCollector<A, D> {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let now = self.0.upgrade().map_or(0, |front| front.in_flight());
        gauge(&mut encoder, "rpc_in_flight", "Calls under way", now.into())
    }
}

struct AppCollector(App);

impl fmt::Debug for AppCollector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AppCollector")
    }
}

impl Collector for AppCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let to = &mut encoder;
        self.logins(to)?;
        self.caches(to)?;
        self.hashing(to)?;
        self.database(to)
    }
}

impl AppCollector {
    fn logins(&self, to: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let figures = self.0.figures();
        let help = "Logins, by what with and what came of them";
        let mut logins = to.encode_descriptor("logins", help, None, MetricType::Counter)?;
        for (auth_type, outcome, count) in figures.logins() {
            let labels = [("auth_type", auth_type.name()), ("outcome", outcome.name())];
            ConstCounter::new(count).encode(logins.encode_family(&labels)?)?;
        }
        let help = "Sessions ended because a token from before the last rotation was used";
        counter(to, "token_reuse", help, figures.token_reuse())
    }

    fn caches(&self, to: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let store = self.0.store();
        let (cache, links) = (store.cache_stats(), store.link_cache_stats());
        gauge(to, "session_cache_entries", "Session rows in memory", cache.entries)?;
        gauge(to, "session_cache_capacity", "Session rows that memory may hold; 0: the cache is off", cache.capacity)?;
        counter(to, "session_cache_hits", "Look-ups by token answered from memory", cache.hits)?;
        counter(to, "session_cache_misses", "Look-ups by token that went to the database", cache.misses)?;
        gauge(to, "link_cache_entries", "Users whose links are in memory", links.entries)?;
        gauge(to, "link_cache_capacity", "Users whose links memory may hold; 0: the cache is off", links.capacity)?;
        counter(to, "link_cache_hits", "Lists of links answered from memory", links.hits)?;
        counter(to, "link_cache_misses", "Lists of links that went to the database", links.misses)?;
        let help = "Look-ups that went to the database because memory was not to be trusted";
        counter(to, "cache_untrusted", help, cache.untrusted + links.untrusted)?;
        if let Some(lag) = store.revocation_lag() {
            seconds(to, "revocation_lag_seconds", "How long ago all changes of other servers were known", lag)?;
        }
        let help = "How old what is known may be before nothing is answered from memory";
        seconds(to, "max_revocation_lag_seconds", help, self.0.max_revocation_lag())?;
        let pending = store.activity().len() as u64;
        gauge(to, "activity_pending", "Sessions whose last activity is not written yet", pending)?;
        let position = u64::try_from(store.write_figures().feed_position()).unwrap_or(0);
        gauge(to, "change_feed_position", "Number of the last change of the feed that was seen", position)
    }

    fn hashing(&self, to: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let figures = self.0.hashing_figures();
        let depth = self.0.hashing_depth() as u64;
        gauge(to, "password_hashing_depth", "Password hashes that wait or are being computed", depth)?;
        counter(to, "password_hashes", "Password hashes that were computed", self.0.hashes_done())?;
        let help = "Password hashes that were refused because the queue was full";
        counter(to, "password_hashes_refused", help, figures.refused.load(Ordering::Relaxed))
    }

    fn database(&self, to: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let store = self.0.store();
        let pools = store.pools();
        let mut connections =
            to.encode_descriptor("database_connections", "Connections to the database", None, MetricType::Gauge)?;
        for pool in &pools {
            for (state, count) in [("in_use", pool.in_use), ("idle", pool.idle)] {
                let count = ConstGauge::new(i64::try_from(count).unwrap_or(i64::MAX));
                count.encode(connections.encode_family(&[("pool", pool.pool), ("state", state)])?)?;
            }
        }
        let help = "Connections that a pool may open";
        let mut max = to.encode_descriptor("database_connections_max", help, None, MetricType::Gauge)?;
        for pool in &pools {
            let count = ConstGauge::new(i64::try_from(pool.max).unwrap_or(i64::MAX));
            count.encode(max.encode_family(&[("pool", pool.pool)])?)?;
        }
        let figures = store.write_figures();
        let help = "Transactions that wait for their turn or for a connection";
        gauge(to, "database_writes_waiting", help, figures.waiting())?;
        let help = "Transactions tried again because they lost against others";
        counter(to, "database_write_retries", help, figures.retries())
    }
}
