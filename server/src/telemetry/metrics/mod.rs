//! All metrics: names, help texts and labels. Other modules count into these types; gauges are read for each scrape. No
//! label identifies a user.

pub mod cache;
pub mod connection;
pub mod database;
pub(in crate::telemetry) mod delivery;
pub mod hashing;
pub mod login;
pub(in crate::telemetry) mod otlp;
pub mod rpc;
pub mod server;

use std::fmt;
use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use prometheus_client::encoding::text;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

/// All metrics of a server, shared by clones.
#[derive(Clone)]
pub struct Metrics {
    registry: Arc<Mutex<Registry>>,
    histograms: Arc<Mutex<Vec<HistogramWriter>>>,
}

/// Writes families of histograms.
type HistogramWriter = Box<dyn Fn(&mut String) + Send>;

impl Metrics {
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("lanyard");
        registry.register("build", "The running program", Info::new([("version", env!("CARGO_PKG_VERSION"))]));
        Self { registry: Arc::new(Mutex::new(registry)), histograms: Arc::default() }
    }

    /// Adds metrics; their names get the prefix `lanyard_`.
    pub fn register(&self, add: impl FnOnce(&mut Registry)) {
        add(&mut self.registry.lock());
    }

    /// Adds histograms, which are written by [`write_histograms`].
    pub fn add_histograms(&self, write: impl Fn(&mut String) + Send + 'static) {
        self.histograms.lock().push(Box::new(write));
    }

    /// The page, in the text format of `OpenMetrics`.
    pub fn text(&self) -> String {
        const WRITES: &str = "writing to a String does not fail";
        let mut page = String::new();
        text::encode_registry(&mut page, &self.registry.lock()).expect(WRITES);
        self.histograms.lock().iter().for_each(|write| write(&mut page));
        text::encode_eof(&mut page).expect(WRITES);
        page
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Metrics")
    }
}

/// A histogram of durations. Bounds are powers of two, from 32 microseconds to 17 seconds, so that finding a bucket is
/// counting leading zeros. `prometheus-client`'s own locks for each observation and takes no exemplars.
#[derive(Default)]
pub struct Histogram {
    counts: [AtomicU64; Self::BUCKETS],
    nanos: AtomicU64,
    /// The latest exemplar of each bucket that has one.
    exemplars: Mutex<Vec<(usize, Exemplar)>>,
}

/// An observation and the span in which it was made.
#[derive(Clone, Copy)]
pub struct Exemplar {
    pub trace_id: u128,
    pub span_id: u64,
    pub took: Duration,
    /// Microseconds since 1970.
    pub at: i64,
}

impl Histogram {
    const LOWEST: usize = 5;
    const BUCKETS: usize = 21;

    pub fn record(&self, took: Duration) {
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.counts[Self::bucket(nanos)].fetch_add(1, Ordering::Relaxed);
        self.nanos.fetch_add(nanos, Ordering::Relaxed);
    }

    /// Keeps an observation as the exemplar of its bucket.
    pub fn set_exemplar(&self, exemplar: Exemplar) {
        let bucket = Self::bucket(u64::try_from(exemplar.took.as_nanos()).unwrap_or(u64::MAX));
        let mut exemplars = self.exemplars.lock();
        exemplars.retain(|(other, _)| *other != bucket);
        exemplars.push((bucket, exemplar));
    }

    pub fn count(&self) -> u64 {
        self.counts.iter().map(|count| count.load(Ordering::Relaxed)).sum()
    }

    /// The first bucket whose bound, 2^(5 + bucket) microseconds, is not less.
    fn bucket(nanos: u64) -> usize {
        let micros = nanos.div_ceil(1000);
        let exponent = u64::BITS - micros.saturating_sub(1).leading_zeros();
        (exponent as usize).saturating_sub(Self::LOWEST).min(Self::BUCKETS - 1)
    }

    /// Writes its samples, without the header of the family. `labels`: empty, or comma-separated `name="value"`.
    fn write(&self, page: &mut String, name: &str, labels: &str) -> fmt::Result {
        let comma = if labels.is_empty() { "" } else { "," };
        let exemplars = self.exemplars.lock();
        let mut all = 0;
        for (bucket, count) in self.counts.iter().enumerate() {
            all += count.load(Ordering::Relaxed);
            if bucket == Self::BUCKETS - 1 {
                write!(page, "{name}_bucket{{le=\"+Inf\"{comma}{labels}}} {all}")?;
            } else {
                let bound = Duration::from_micros(1 << (Self::LOWEST + bucket)).as_secs_f64();
                write!(page, "{name}_bucket{{le=\"{bound}\"{comma}{labels}}} {all}")?;
            }
            match exemplars.iter().find(|(of, _)| *of == bucket) {
                Some((_, exemplar)) => writeln!(page, "{exemplar}")?,
                None => page.push('\n'),
            }
        }
        let braced = if labels.is_empty() { String::new() } else { format!("{{{labels}}}") };
        let sum = Duration::from_nanos(self.nanos.load(Ordering::Relaxed)).as_secs_f64();
        writeln!(page, "{name}_sum{braced} {sum}\n{name}_count{braced} {all}")
    }
}

impl fmt::Display for Exemplar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { trace_id, span_id, took, at } = self;
        let (seconds, micros) = (at.div_euclid(1_000_000), at.rem_euclid(1_000_000));
        let took = took.as_secs_f64();
        write!(f, " # {{trace_id=\"{trace_id:032x}\",span_id=\"{span_id:016x}\"}} {took} {seconds}.{micros:06}")
    }
}

/// Writes the histogram family `lanyard_{name}_seconds`. Empty histograms with labels are left out.
pub fn write_histograms<'a>(
    page: &mut String,
    name: &str,
    help: &str,
    histograms: impl IntoIterator<Item = (String, &'a Histogram)>,
) {
    let name = format!("lanyard_{name}_seconds");
    let written = || {
        writeln!(page, "# HELP {name} {help}.\n# TYPE {name} histogram\n# UNIT {name} seconds")?;
        for (labels, histogram) in histograms {
            if labels.is_empty() || histogram.count() > 0 {
                histogram.write(page, &name, &labels)?;
            }
        }
        fmt::Result::Ok(())
    };
    written().expect("writing to a String does not fail");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_took_so_long_is_counted_in_the_first_bucket_that_is_not_too_small() {
        for (nanos, bound_micros) in
            [(0, 32), (31_999, 32), (32_000, 32), (32_001, 64), (1_024_000, 1024), (1_024_001, 2048)]
        {
            assert_eq!(1 << (Histogram::LOWEST + Histogram::bucket(nanos)), bound_micros, "{nanos}");
        }
        assert_eq!(Histogram::bucket(u64::MAX), Histogram::BUCKETS - 1);
    }

    #[test]
    fn the_last_exemplar_of_a_bucket_stands_at_its_line() {
        let histogram = Histogram::default();
        for (trace_id, micros) in [(1, 40), (2, 50), (3, 100_000)] {
            let took = Duration::from_micros(micros);
            histogram.record(took);
            histogram.set_exemplar(Exemplar { trace_id, span_id: 7, took, at: 1_500_000 });
        }
        let mut page = String::new();
        write_histograms(&mut page, "x", "Help", [(String::new(), &histogram)]);
        let id = |trace| format!("# {{trace_id=\"{trace:032x}\",span_id=\"0000000000000007\"}}");
        assert!(
            page.contains(&format!("x_seconds_bucket{{le=\"0.000064\"}} 2 {} 0.00005 1.500000\n", id(2))),
            "{page}"
        );
        assert!(page.contains(&format!("le=\"0.131072\"}} 3 {} 0.1 1.500000\n", id(3))), "{page}");
        assert!(!page.contains(&id(1)) && page.ends_with("lanyard_x_seconds_count 3\n"), "{page}");
    }
}
