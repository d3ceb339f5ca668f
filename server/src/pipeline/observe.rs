//! What is counted of each call, and the span that its log lines stand in. No label and no span names a user or holds a
//! secret. The span that is traced is [`super::trace`]'s.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use lanyard_proto::v1::ErrorReason;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use tonic::Code;
use tracing::Span;
use tracing::field::Empty;

use super::method::{METHODS, Method};
use super::status::Said;
use crate::correlation::CorrelationId;
use crate::telemetry::metrics::{Exemplar, Histogram, Metrics, write_histograms};

/// A method of ours, or one of those outside the table.
#[derive(Clone, Copy)]
pub(crate) enum Called {
    Method(usize, &'static Method),
    Health,
    Reflection,
    /// Nothing that there is; one label for all, or anybody could make new ones.
    Unknown,
}

impl Called {
    fn row(self) -> usize {
        match self {
            Self::Method(row, _) => row,
            Self::Health => METHODS.len(),
            Self::Reflection => METHODS.len() + 1,
            Self::Unknown => METHODS.len() + 2,
        }
    }

    fn label(row: usize) -> &'static str {
        const OTHERS: [&str; 3] = ["Health", "ServerReflection", "_OTHER"];
        METHODS.get(row).map_or_else(|| OTHERS[row - METHODS.len()], Method::name)
    }

    pub(crate) fn name(self) -> &'static str {
        Self::label(self.row())
    }

    /// Is it called so often that what is made for each call is felt?
    pub(crate) fn is_hot(self) -> bool {
        match self {
            Self::Method(_, method) => method.hot.is_some(),
            Self::Health => true,
            Self::Reflection | Self::Unknown => false,
        }
    }
}

const ROWS: usize = 3;
const CODES: usize = 17;
/// More than the highest number of a reason in the contract: a test looks.
const REASONS: usize = 128;

/// How often each method was called, what came of it and how long it took.
pub struct RpcMetrics {
    /// A row for each method, a column for each status code.
    histograms: Vec<[Histogram; CODES]>,
    /// The same rows, a column for each reason.
    errors: Vec<[AtomicU64; REASONS]>,
}

impl RpcMetrics {
    pub fn register(metrics: &Metrics) -> Arc<Self> {
        let rows = METHODS.len() + ROWS;
        let histograms = std::iter::repeat_with(|| std::array::from_fn(|_| Histogram::default())).take(rows).collect();
        let errors = std::iter::repeat_with(|| std::array::from_fn(|_| AtomicU64::default())).take(rows).collect();
        let rpc = Arc::new(Self { histograms, errors });
        metrics.register(|registry| registry.register_collector(Box::new(Errors(rpc.clone()))));
        let written = rpc.clone();
        metrics.add_histograms(move |page| written.write(page));
        rpc
    }

    pub(crate) fn record(&self, called: Called, said: Said, took: Duration, exemplar: Option<Exemplar>) {
        let histogram = &self.histograms[called.row()][said.code as usize];
        histogram.record(took);
        if let Some(exemplar) = exemplar {
            histogram.keep(exemplar);
        }
        if let Some(count) = said.reason.and_then(|reason| self.errors[called.row()].get(reason as usize)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn write(&self, page: &mut String) {
        let cells = self.histograms.iter().enumerate().flat_map(|(row, codes)| {
            let labelled = move |(code, histogram)| {
                let code: &str = CODE_NAMES[code];
                (format!("method=\"{}\",code=\"{code}\"", Called::label(row)), histogram)
            };
            codes.iter().enumerate().map(labelled)
        });
        write_histograms(page, "rpc_duration", "Calls by method and status code, and how long they took", cells);
    }

    #[cfg(test)]
    pub(crate) fn count(&self, name: &str, code: Code) -> u64 {
        let row = (0..self.histograms.len()).find(|row| Called::label(*row) == name).expect("a label");
        self.histograms[row][code as usize].count()
    }
}

/// How often each method was answered with each reason.
struct Errors(Arc<RpcMetrics>);

impl std::fmt::Debug for Errors {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Errors")
    }
}

impl Collector for Errors {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> std::fmt::Result {
        let help = "Calls answered with an error, by its reason in the contract";
        let mut family = encoder.encode_descriptor("rpc_errors", help, None, MetricType::Counter)?;
        for (row, reasons) in self.0.errors.iter().enumerate() {
            for (number, count) in reasons.iter().enumerate() {
                let count = count.load(Ordering::Relaxed);
                let reason = i32::try_from(number).ok().and_then(|number| ErrorReason::try_from(number).ok());
                if let (Some(reason), true) = (reason, count > 0) {
                    let labels = [("method", Called::label(row)), ("reason", reason.reason())];
                    ConstCounter::new(count).encode(family.encode_family(&labels)?)?;
                }
            }
        }
        Ok(())
    }
}

/// The name of a status code, as in labels and attributes.
pub(crate) const fn code_name(code: Code) -> &'static str {
    CODE_NAMES[code as usize]
}

const CODE_NAMES: [&str; CODES] = [
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

/// The span of a call's log lines: at level INFO, and at DEBUG for the hot methods: making one for each verification costs
/// a fifth of it.
pub(crate) fn span(called: Called, correlation_id: &CorrelationId) -> Span {
    if called.is_hot() {
        tracing::debug_span!("rpc", %correlation_id, method = called.name(), caller = Empty)
    } else {
        tracing::info_span!("rpc", %correlation_id, method = called.name(), caller = Empty)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scrape_shows_method_code_time_and_reason_of_what_was_called_and_nothing_else() {
        let metrics = Metrics::new();
        let rpc = RpcMetrics::register(&metrics);
        let (row, method) = Method::find("/lanyard.v1.SessionService/VerifySession").expect("it is there");
        rpc.record(Called::Method(row, method), Said::OK, Duration::from_micros(40), None);
        let unknown = Said { code: Code::Unimplemented, reason: Some(ErrorReason::MethodUnknown) };
        rpc.record(Called::Unknown, unknown, Duration::from_secs(100), None);
        let page = metrics.text();
        let labels = r#"method="SessionService/VerifySession",code="OK""#;
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
        assert!(!page.contains("GetSession") && page.matches("rpc_errors_total{").count() == 1, "{page}");
    }

    #[test]
    fn every_reason_of_the_contract_has_a_column() {
        let highest = (0..10_000).filter(|number| ErrorReason::try_from(*number).is_ok()).max().expect("reasons");
        assert!(usize::try_from(highest).is_ok_and(|highest| highest < REASONS));
    }

    /// A span for each verification would cost a fifth of it.
    #[test]
    fn a_hot_method_gets_a_span_only_when_somebody_looks() {
        let called = |path| Method::find(path).map_or(Called::Unknown, |(row, method)| Called::Method(row, method));
        let verify = called("/lanyard.v1.SessionService/VerifySession");
        let create = called("/lanyard.v1.SessionService/CreateSession");
        let id = CorrelationId::parse("order-7").expect("legal");
        let is_made = |level, called| {
            let subscriber = tracing_subscriber::fmt().with_max_level(level).with_writer(std::io::sink).finish();
            tracing::subscriber::with_default(subscriber, || !span(called, &id).is_disabled())
        };
        let (info, debug) = (tracing::Level::INFO, tracing::Level::DEBUG);
        assert!(is_made(info, create) && is_made(info, Called::Unknown));
        assert!(!is_made(info, verify) && !is_made(info, Called::Health));
        assert!(is_made(debug, verify));
    }
}
