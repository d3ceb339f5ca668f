//! Calls by method: count, outcome and duration.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;

use super::{Exemplar, Histogram, Metrics, write_histograms};

/// The names of gRPC's status codes, by their numbers.
pub const CODE_NAMES: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

/// The labels of calls: fixed sets.
pub struct RpcLabels {
    /// One per row.
    pub methods: Vec<&'static str>,
    /// The reasons of the contract, indexed by number; gaps are empty.
    pub reasons: Vec<&'static str>,
}

/// A finished call.
#[derive(Clone, Copy)]
pub struct EndedCall {
    /// The row of its method in [`RpcLabels::methods`].
    pub method: usize,
    /// The number of its status code.
    pub code: usize,
    /// The number of the reason in the contract, if the call was refused or failed.
    pub reason: Option<usize>,
    pub took: Duration,
    pub exemplar: Option<Exemplar>,
}

pub struct RpcMetrics {
    labels: RpcLabels,
    /// One row per method, one column per status code.
    durations: Vec<[Histogram; CODE_NAMES.len()]>,
    /// The same rows, one column per reason.
    errors: Vec<Vec<AtomicU64>>,
}

impl RpcMetrics {
    pub fn register(metrics: &Metrics, labels: RpcLabels) -> Arc<Self> {
        let rows = labels.methods.len();
        let durations = std::iter::repeat_with(|| std::array::from_fn(|_| Histogram::default())).take(rows).collect();
        let columns = || labels.reasons.iter().map(|_| AtomicU64::default()).collect();
        let errors = std::iter::repeat_with(columns).take(rows).collect();
        let rpc = Arc::new(Self { labels, durations, errors });
        metrics.register(|registry| registry.register_collector(Box::new(Errors(rpc.clone()))));
        let written = rpc.clone();
        metrics.add_histograms(move |page| written.write(page));
        rpc
    }

    pub fn record(&self, ended: EndedCall) {
        let EndedCall { method, code, reason, took, exemplar } = ended;
        let histogram = &self.durations[method][code];
        histogram.record(took);
        if let Some(exemplar) = exemplar {
            histogram.set_exemplar(exemplar);
        }
        if let Some(count) = reason.and_then(|reason| self.errors[method].get(reason)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn write(&self, page: &mut String) {
        let cells = self.durations.iter().zip(&self.labels.methods).flat_map(|(codes, method)| {
            let labelled = move |(histogram, code)| (format!("method=\"{method}\",code=\"{code}\""), histogram);
            codes.iter().zip(CODE_NAMES).map(labelled)
        });
        write_histograms(page, "rpc_duration", "Calls by method and status code, and how long they took", cells);
    }

    /// Number of calls of a method that ended with a code.
    #[cfg(test)]
    pub(crate) fn count(&self, method: &str, code: usize) -> u64 {
        let row = self.labels.methods.iter().position(|label| *label == method).expect("a label");
        self.durations[row][code].count()
    }
}

/// Errors by method and reason.
struct Errors(Arc<RpcMetrics>);

impl fmt::Debug for Errors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Errors")
    }
}

impl Collector for Errors {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Calls answered with an error, by its reason in the contract";
        let mut family = encoder.encode_descriptor("rpc_errors", help, None, MetricType::Counter)?;
        for (method, counts) in self.0.labels.methods.iter().zip(&self.0.errors) {
            for (reason, count) in self.0.labels.reasons.iter().zip(counts) {
                let count = count.load(Ordering::Relaxed);
                if count > 0 {
                    let labels = [("method", *method), ("reason", *reason)];
                    ConstCounter::new(count).encode(family.encode_family(&labels)?)?;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scrape_shows_the_calls_that_were_made_and_no_others() {
        let metrics = Metrics::new();
        let labels = RpcLabels { methods: vec!["A/Verify", "A/Get", "_OTHER"], reasons: vec!["", "METHOD_UNKNOWN"] };
        let rpc = RpcMetrics::register(&metrics, labels);
        let ended = EndedCall { method: 0, code: 0, reason: None, took: Duration::from_micros(40), exemplar: None };
        rpc.record(ended);
        rpc.record(EndedCall { method: 2, code: 12, reason: Some(1), took: Duration::from_secs(100), ..ended });
        let page = metrics.text();
        let labels = r#"method="A/Verify",code="OK""#;
        for line in [
            format!(r#"lanyard_rpc_duration_seconds_bucket{{le="0.000032",{labels}}} 0"#),
            format!(r#"lanyard_rpc_duration_seconds_bucket{{le="0.000064",{labels}}} 1"#),
            format!("lanyard_rpc_duration_seconds_count{{{labels}}} 1"),
            format!("lanyard_rpc_duration_seconds_sum{{{labels}}} 0.00004"),
            r#"lanyard_rpc_duration_seconds_count{method="_OTHER",code="UNIMPLEMENTED"} 1"#.to_owned(),
            r#"lanyard_rpc_errors_total{method="_OTHER",reason="METHOD_UNKNOWN"} 1"#.to_owned(),
        ] {
            assert!(page.lines().any(|found| found == line), "{line} is not in\n{page}");
        }
        assert!(!page.contains("A/Get") && page.matches("rpc_errors_total{").count() == 1, "{page}");
    }
}
