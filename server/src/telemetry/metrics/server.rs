//! Metrics of the whole server: counters of logins, hashing and the database, and gauges that are read for each scrape.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use super::Metrics;
use super::cache::CacheStats;
use super::database::{PoolStats, WriteMetrics};
use super::hashing::HashingMetrics;
use super::login::LoginMetrics;

/// Counters and histograms of other modules.
pub struct Counters {
    pub logins: LoginMetrics,
    pub hashing: Arc<HashingMetrics>,
    pub writes: Arc<WriteMetrics>,
}

/// Gauges, read for each scrape.
pub struct Gauges {
    pub session_cache: CacheStats,
    pub link_cache: CacheStats,
    /// Age of the last fully applied position of the change feed; `None`: this server is the only writer.
    pub revocation_lag: Option<Duration>,
    pub max_revocation_lag: Duration,
    /// Sessions whose last activity is not written yet.
    pub activity_pending: u64,
    /// Password hashes that wait or are being computed.
    pub hashing_depth: u64,
    pub pools: Vec<PoolStats>,
    pub calls_in_flight: u64,
    /// As health checks are told.
    pub is_ready: bool,
}

/// Registers all of them; `read` is called for each scrape.
pub fn register(metrics: &Metrics, counters: Counters, read: impl Fn() -> Gauges + Send + Sync + 'static) {
    let (hashing, writes) = (counters.hashing.clone(), counters.writes.clone());
    metrics.register(|registry| {
        counters.logins.register(registry);
        hashing.register(registry);
        writes.register(registry);
        let collector = ServerCollector { hashing, writes, read: Box::new(read) };
        registry.register_collector(Box::new(collector));
    });
    metrics.add_histograms(move |page| {
        counters.hashing.write_histograms(page);
        counters.writes.write_histograms(page);
    });
}

struct ServerCollector {
    hashing: Arc<HashingMetrics>,
    writes: Arc<WriteMetrics>,
    read: Box<dyn Fn() -> Gauges + Send + Sync>,
}

impl fmt::Debug for ServerCollector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ServerCollector")
    }
}

impl Collector for ServerCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let gauges = (self.read)();
        let to = &mut encoder;
        gauge(to, "ready", "1 if the server accepts calls and its database answers", gauges.is_ready.into())?;
        gauge(to, "rpc_in_flight", "Calls under way", gauges.calls_in_flight)?;
        caches(to, &gauges)?;
        self.change_feed(to, &gauges)?;
        self.hashing(to, &gauges)?;
        self.database(to, &gauges.pools)
    }
}

impl ServerCollector {
    fn change_feed(&self, to: &mut DescriptorEncoder<'_>, gauges: &Gauges) -> fmt::Result {
        if let Some(lag) = gauges.revocation_lag {
            seconds(to, "revocation_lag_seconds", "How long ago all changes of other servers were known", lag)?;
        }
        let help = "How old what is known may be before nothing is answered from memory";
        seconds(to, "max_revocation_lag_seconds", help, gauges.max_revocation_lag)?;
        let help = "Sessions whose last activity is not written yet";
        gauge(to, "activity_pending", help, gauges.activity_pending)?;
        let position = u64::try_from(self.writes.feed_position()).unwrap_or(0);
        gauge(to, "change_feed_position", "Number of the last change of the feed that was seen", position)
    }

    fn hashing(&self, to: &mut DescriptorEncoder<'_>, gauges: &Gauges) -> fmt::Result {
        let help = "Password hashes that wait or are being computed";
        gauge(to, "password_hashing_depth", help, gauges.hashing_depth)?;
        counter(to, "password_hashes", "Password hashes that were computed", self.hashing.computed.count())
    }

    fn database(&self, to: &mut DescriptorEncoder<'_>, pools: &[PoolStats]) -> fmt::Result {
        let mut connections =
            to.encode_descriptor("database_connections", "Connections to the database", None, MetricType::Gauge)?;
        for pool in pools {
            for (state, count) in [("in_use", pool.in_use), ("idle", pool.idle)] {
                const_gauge(count).encode(connections.encode_family(&[("pool", pool.pool), ("state", state)])?)?;
            }
        }
        let help = "Connections that a pool may open";
        let mut max = to.encode_descriptor("database_connections_max", help, None, MetricType::Gauge)?;
        for pool in pools {
            const_gauge(pool.max).encode(max.encode_family(&[("pool", pool.pool)])?)?;
        }
        let help = "Transactions that wait for their turn or for a connection";
        gauge(to, "database_writes_waiting", help, self.writes.waiting())
    }
}

fn caches(to: &mut DescriptorEncoder<'_>, gauges: &Gauges) -> fmt::Result {
    let (sessions, links) = (gauges.session_cache, gauges.link_cache);
    gauge(to, "session_cache_entries", "Session rows in memory", sessions.entries)?;
    let help = "Session rows that memory may hold; 0: the cache is off";
    gauge(to, "session_cache_capacity", help, sessions.capacity)?;
    counter(to, "session_cache_hits", "Look-ups by token answered from memory", sessions.hits)?;
    counter(to, "session_cache_misses", "Look-ups by token that went to the database", sessions.misses)?;
    gauge(to, "link_cache_entries", "Users whose links are in memory", links.entries)?;
    gauge(to, "link_cache_capacity", "Users whose links memory may hold; 0: the cache is off", links.capacity)?;
    counter(to, "link_cache_hits", "Lists of links answered from memory", links.hits)?;
    counter(to, "link_cache_misses", "Lists of links that went to the database", links.misses)?;
    let help = "Look-ups that went to the database because memory was not to be trusted";
    counter(to, "cache_untrusted", help, sessions.misses_without_lease + links.misses_without_lease)
}

fn const_gauge(value: u64) -> ConstGauge<i64> {
    ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX))
}

fn gauge(encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: u64) -> fmt::Result {
    const_gauge(value).encode(encoder.encode_descriptor(name, help, None, MetricType::Gauge)?)
}

fn seconds(encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: Duration) -> fmt::Result {
    let value = ConstGauge::new(value.as_secs_f64());
    value.encode(encoder.encode_descriptor(name, help, None, MetricType::Gauge)?)
}

fn counter(encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: u64) -> fmt::Result {
    ConstCounter::new(value).encode(encoder.encode_descriptor(name, help, None, MetricType::Counter)?)
}
