//! What is counted and traced of each call. No label and no span names a user or holds a secret.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Unit;
use tonic::Code;
use tracing::Span;
use tracing::field::Empty;

use super::method::{METHODS, Method};
use super::sent::Sent;
use crate::correlation::CorrelationId;
use crate::metrics::Metrics;

/// A method of ours, or one of those outside the table.
#[derive(Clone, Copy)]
pub(super) enum Called {
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

    pub(super) fn name(self) -> &'static str {
        Self::label(self.row())
    }
}

const ROWS: usize = 3;
const CODES: usize = 17;

/// How often each method was called, what came of it and how long it took.
pub struct RpcMetrics {
    /// A row for each method, a column for each status code.
    histograms: Vec<[Histogram; CODES]>,
}

impl RpcMetrics {
    pub fn register(metrics: &Metrics) -> Arc<Self> {
        let rows = METHODS.len() + ROWS;
        let histograms = std::iter::repeat_with(|| std::array::from_fn(|_| Histogram::default())).take(rows).collect();
        let rpc = Arc::new(Self { histograms });
        metrics.register(|registry| registry.register_collector(Box::new(RpcCollector(rpc.clone()))));
        rpc
    }

    pub(super) fn record(&self, called: Called, code: Code, took: Duration) {
        self.histograms[called.row()][code as usize].record(took);
    }

    #[cfg(test)]
    pub(super) fn count(&self, name: &str, code: Code) -> u64 {
        let row = (0..self.histograms.len()).find(|row| Called::label(*row) == name).expect("a label");
        self.histograms[row][code as usize].buckets().1
    }
}

struct RpcCollector(Arc<RpcMetrics>);

impl fmt::Debug for RpcCollector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RpcCollector")
    }
}

impl Collector for RpcCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Calls by method and status code, and how long they took";
        let mut family =
            encoder.encode_descriptor("rpc_duration", help, Some(&Unit::Seconds), MetricType::Histogram)?;
        for (row, codes) in self.0.histograms.iter().enumerate() {
            for (code, histogram) in codes.iter().enumerate() {
                let (buckets, count) = histogram.buckets();
                if count > 0 {
                    let labels = [("method", Called::label(row)), ("code", CODE_NAMES[code])];
                    let sum = Duration::from_nanos(histogram.nanos.load(Ordering::Relaxed)).as_secs_f64();
                    let encoder = family.encode_family(&labels)?;
                    Encoded { buckets: &buckets, count, sum }.encode(encoder)?;
                }
            }
        }
        Ok(())
    }
}

struct Encoded<'a> {
    buckets: &'a [(f64, u64)],
    count: u64,
    sum: f64,
}

impl EncodeMetric for Encoded<'_> {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        encoder.encode_histogram::<NoLabelSet>(self.sum, self.count, self.buckets, None)
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Histogram
    }
}

/// Bounds are powers of two, from 32 microseconds to 17 seconds: finding the bucket is counting zeros. Prometheus' own
/// takes a lock for each observation.
#[derive(Default)]
struct Histogram {
    counts: [AtomicU64; Self::BUCKETS],
    nanos: AtomicU64,
}

impl Histogram {
    const LOWEST: usize = 5;
    const BUCKETS: usize = 21;

    fn record(&self, took: Duration) {
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.counts[Self::bucket(nanos)].fetch_add(1, Ordering::Relaxed);
        self.nanos.fetch_add(nanos, Ordering::Relaxed);
    }

    /// The first bucket whose bound, 2^(5 + bucket) microseconds, is not less.
    fn bucket(nanos: u64) -> usize {
        let micros = nanos.div_ceil(1000);
        let exponent = u64::BITS - micros.saturating_sub(1).leading_zeros();
        (exponent as usize).saturating_sub(Self::LOWEST).min(Self::BUCKETS - 1)
    }

    /// Upper bounds in seconds with the number of calls in each bucket, and the number of all.
    fn buckets(&self) -> ([(f64, u64); Self::BUCKETS], u64) {
        let mut all = 0;
        let buckets = std::array::from_fn(|bucket| {
            let count = self.counts[bucket].load(Ordering::Relaxed);
            all += count;
            let bound = Duration::from_micros(1 << (Self::LOWEST + bucket)).as_secs_f64();
            (if bucket == Self::BUCKETS - 1 { f64::MAX } else { bound }, count)
        });
        (buckets, all)
    }
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

/// The span of a call: at level INFO, and at DEBUG for the hot methods, unless the caller's trace is sampled. Whether it
/// would be recorded is decided before it is made: making one that nobody records costs a fifth of a verification.
pub(super) fn span(called: Called, correlation_id: &CorrelationId, sent: &Sent<'_>) -> Span {
    let trace = sent.traceparent.and_then(|value| TraceParent::parse(value.as_bytes()));
    let hot = matches!(called, Called::Method(_, method) if method.hot.is_some()) || matches!(called, Called::Health);
    let wanted = !hot || trace.is_some_and(|trace| trace.sampled);
    let span = if wanted {
        tracing::info_span!("rpc", %correlation_id, method = called.name(), caller = Empty, trace_id = Empty)
    } else {
        tracing::debug_span!("rpc", %correlation_id, method = called.name(), caller = Empty, trace_id = Empty)
    };
    if let (Some(trace), false) = (trace, span.is_disabled()) {
        span.record("trace_id", trace.id);
    }
    span
}

/// The part of W3C `traceparent` that is of use: `00-<32 hex>-<16 hex>-<2 hex>`.
#[derive(Clone, Copy)]
struct TraceParent<'a> {
    id: &'a str,
    sampled: bool,
}

impl<'a> TraceParent<'a> {
    fn parse(value: &'a [u8]) -> Option<Self> {
        let text = std::str::from_utf8(value).ok()?;
        let mut parts = text.split('-');
        let (version, id, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let hex = |part: &str, len| part.len() == len && part.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        let well_formed = hex(version, 2) && hex(id, 32) && hex(span, 16) && hex(flags, 2);
        if !well_formed || id.bytes().all(|b| b == b'0') {
            return None;
        }
        Some(Self { id, sampled: u8::from_str_radix(flags, 16).is_ok_and(|flags| flags & 1 == 1) })
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::*;

    #[test]
    fn a_call_is_counted_in_the_first_bucket_that_is_not_too_small() {
        for (nanos, bound_micros) in
            [(0, 32), (31_999, 32), (32_000, 32), (32_001, 64), (1_024_000, 1024), (1_024_001, 2048)]
        {
            assert_eq!(1 << (Histogram::LOWEST + Histogram::bucket(nanos)), bound_micros, "{nanos}");
        }
        assert_eq!(Histogram::bucket(u64::MAX), Histogram::BUCKETS - 1);
    }

    #[test]
    fn a_scrape_shows_method_code_and_time_of_what_was_called_and_nothing_else() {
        let metrics = Metrics::new();
        let rpc = RpcMetrics::register(&metrics);
        let (row, method) = Method::find("/lanyard.v1.SessionService/VerifySession").expect("it is there");
        rpc.record(Called::Method(row, method), Code::Ok, Duration::from_micros(40));
        rpc.record(Called::Unknown, Code::Unimplemented, Duration::from_secs(100));
        let page = metrics.text();
        let labels = r#"method="SessionService/VerifySession",code="OK""#;
        for line in [
            format!(r#"lanyard_rpc_duration_seconds_bucket{{le="0.000032",{labels}}} 0"#),
            format!(r#"lanyard_rpc_duration_seconds_bucket{{le="0.000064",{labels}}} 1"#),
            format!("lanyard_rpc_duration_seconds_count{{{labels}}} 1"),
            format!("lanyard_rpc_duration_seconds_sum{{{labels}}} 0.00004"),
            r#"lanyard_rpc_duration_seconds_count{method="_OTHER",code="UNIMPLEMENTED"} 1"#.to_owned(),
        ] {
            assert!(page.lines().any(|found| found == line), "{line} is not in\n{page}");
        }
        assert!(!page.contains("GetSession"), "{page}");
    }

    /// A span for each verification would cost a fifth of it.
    #[test]
    fn a_hot_method_gets_a_span_only_when_somebody_looks() {
        let called = |path| Method::find(path).map_or(Called::Unknown, |(row, method)| Called::Method(row, method));
        let verify = called("/lanyard.v1.SessionService/VerifySession");
        let create = called("/lanyard.v1.SessionService/CreateSession");
        let id = CorrelationId::parse("order-7").expect("legal");
        let trace = |flags| {
            let value = format!("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-{flags}");
            HeaderMap::from_iter([("traceparent".parse().expect("a name"), value.parse().expect("ASCII"))])
        };
        let is_made = |level, called, headers: &HeaderMap| {
            let subscriber = tracing_subscriber::fmt().with_max_level(level).with_writer(std::io::sink).finish();
            tracing::subscriber::with_default(subscriber, || !span(called, &id, &Sent::new(headers)).is_disabled())
        };
        let (info, debug, none) = (tracing::Level::INFO, tracing::Level::DEBUG, HeaderMap::new());
        assert!(is_made(info, create, &none) && is_made(info, Called::Unknown, &none));
        assert!(!is_made(info, verify, &none) && !is_made(info, verify, &trace("00")));
        assert!(!is_made(info, Called::Health, &none));
        assert!(is_made(info, verify, &trace("01")) && is_made(debug, verify, &none));
    }

    #[test]
    fn a_trace_is_sampled_if_its_flag_says_so() {
        let id = "4bf92f3577b34da6a3ce929d0e0e4736";
        for (value, sampled) in [
            (format!("00-{id}-00f067aa0ba902b7-01"), Some(true)),
            (format!("00-{id}-00f067aa0ba902b7-00"), Some(false)),
            (format!("00-{id}-00f067aa0ba902b7"), None),
            (format!("00-{}-00f067aa0ba902b7-01", "0".repeat(32)), None),
            ("rubbish".to_owned(), None),
        ] {
            assert_eq!(TraceParent::parse(value.as_bytes()).map(|trace| trace.sampled), sampled, "{value}");
        }
    }
}
