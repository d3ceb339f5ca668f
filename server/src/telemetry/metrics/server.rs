//! What is read when somebody asks for the metrics: of logins, caches, hashing, the database and calls in progress.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use super::cache::CacheStats;
use super::database::{PoolStats, WriteMetrics};
use super::hashing::HashingMetrics;
use super::login::LoginMetrics;
use super::{Metrics, write_histograms};

/// What the rooms count into as it happens.
pub struct Counted {
    pub logins: Arc<LoginMetrics>,
    pub hashing: Arc<HashingMetrics>,
    pub writes: Arc<WriteMetrics>,
}

/// What is so at the moment of asking.
pub struct Readings {
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
}

/// Registers all of it; `read` is called each time that somebody asks.
pub fn register(metrics: &Metrics, counted: Counted, read: impl Fn() -> Readings + Send + Sync + 'static) {
    let (hashing, writing) = (counted.hashing.clone(), counted.writes.clone());
    let collector = ServerCollector { counted, read: Box::new(read) };
    metrics.register(|registry| registry.register_collector(Box::new(collector)));
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

struct ServerCollector {
    counted: Counted,
    read: Box<dyn Fn() -> Readings + Send + Sync>,
}

impl fmt::Debug for ServerCollector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ServerCollector")
    }
}

impl Collector for ServerCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let readings = (self.read)();
        let to = &mut encoder;
        gauge(to, "rpc_in_flight", "Calls under way", readings.calls_in_flight)?;
        logins(to, &self.counted.logins)?;
        caches(to, &readings)?;
        self.change_feed(to, &readings)?;
        self.hashing(to, &readings)?;
        self.database(to, &readings.pools)
    }
}

impl ServerCollector {
    fn change_feed(&self, to: &mut DescriptorEncoder<'_>, readings: &Readings) -> fmt::Result {
        if let Some(lag) = readings.revocation_lag {
            seconds(to, "revocation_lag_seconds", "How long ago all changes of other servers were known", lag)?;
        }
        let help = "How old what is known may be before nothing is answered from memory";
        seconds(to, "max_revocation_lag_seconds", help, readings.max_revocation_lag)?;
        let help = "Sessions whose last activity is not written yet";
        gauge(to, "activity_pending", help, readings.activity_pending)?;
        let position = u64::try_from(self.counted.writes.feed_position()).unwrap_or(0);
        gauge(to, "change_feed_position", "Number of the last change of the feed that was seen", position)
    }

    fn hashing(&self, to: &mut DescriptorEncoder<'_>, readings: &Readings) -> fmt::Result {
        let hashing = &self.counted.hashing;
        let help = "Password hashes that wait or are being computed";
        gauge(to, "password_hashing_depth", help, readings.hashing_depth)?;
        counter(to, "password_hashes", "Password hashes that were computed", hashing.computed.count())?;
        let help = "Password hashes that were refused because the queue was full";
        counter(to, "password_hashes_refused", help, hashing.refused.load(Ordering::Relaxed))
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
        gauge(to, "database_writes_waiting", help, self.counted.writes.waiting())?;
        let help = "Transactions tried again because they lost against others";
        counter(to, "database_write_retries", help, self.counted.writes.retries())
    }
}

fn logins(to: &mut DescriptorEncoder<'_>, metrics: &LoginMetrics) -> fmt::Result {
    let help = "Logins, by what with and what came of them";
    let mut logins = to.encode_descriptor("logins", help, None, MetricType::Counter)?;
    for (auth_type, outcome, count) in metrics.logins() {
        let labels = [("auth_type", auth_type.name()), ("outcome", outcome.name())];
        ConstCounter::new(count).encode(logins.encode_family(&labels)?)?;
    }
    let help = "Sessions ended because a token from before the last rotation was used";
    counter(to, "token_reuse", help, metrics.token_reuse())
}

fn caches(to: &mut DescriptorEncoder<'_>, readings: &Readings) -> fmt::Result {
    let (sessions, links) = (readings.session_cache, readings.link_cache);
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
    counter(to, "cache_untrusted", help, sessions.untrusted + links.untrusted)
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
