//! Exports metrics by OTLP: parses the page that Prometheus scrapes, so that both show the same numbers.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value};
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, Exemplar, Gauge, Histogram, HistogramDataPoint, Metric, NumberDataPoint, ResourceMetrics,
    ScopeMetrics, Sum, exemplar, metric, number_data_point,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::transform::common::tonic::ResourceAttributesWithSchema;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::Metrics;
use crate::clock::{Clock, Time};
use crate::telemetry::Origin;
use crate::telemetry::delivery::Delivery;
use crate::telemetry::receiver::Receiver;

/// Sends the page every `delay` until `stop`, and then once more.
pub(in crate::telemetry) async fn export_periodically(
    metrics: Metrics,
    delay: Duration,
    receiver: Receiver,
    delivery: Arc<Delivery>,
    origin: Origin,
    clock: Clock,
    stop: CancellationToken,
) {
    let mut is_last = false;
    while !is_last {
        tokio::select! {
            () = stop.cancelled() => is_last = true,
            () = sleep(delay) => {}
        }
        delivery.admit();
        delivery.deliver(1, receiver.export_metrics(request(&metrics.text(), &origin, clock.now()))).await;
    }
}

fn request(page: &str, origin: &Origin, now: Time) -> ExportMetricsServiceRequest {
    let resource = ResourceAttributesWithSchema::from(&origin.resource);
    let scope = InstrumentationScope {
        name: "lanyard".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ..InstrumentationScope::default()
    };
    let metrics = PageParser { started: nanos(origin.started), now: nanos(now) }.parse(page);
    ExportMetricsServiceRequest {
        resource_metrics: vec![ResourceMetrics {
            resource: Some(Resource { attributes: resource.attributes.0, ..Resource::default() }),
            scope_metrics: vec![ScopeMetrics { scope: Some(scope), metrics, ..ScopeMetrics::default() }],
            schema_url: resource.schema_url.unwrap_or_default(),
        }],
    }
}

fn nanos(time: Time) -> u64 {
    u64::try_from(time.micros()).unwrap_or(0).saturating_mul(1000)
}

/// Parses the text format of `OpenMetrics`, as far as our own page uses it.
struct PageParser {
    started: u64,
    now: u64,
}

/// One line with a value.
struct Sample<'a> {
    name: &'a str,
    labels: Labels,
    value: f64,
    exemplar: Option<(Labels, f64, f64)>,
}

type Labels = Vec<(String, String)>;

/// A metric family.
#[derive(Default)]
struct Family<'a> {
    name: &'a str,
    kind: &'a str,
    help: &'a str,
    unit: &'a str,
    samples: Vec<Sample<'a>>,
}

impl PageParser {
    fn parse(&self, page: &str) -> Vec<Metric> {
        let mut families: Vec<Family<'_>> = Vec::new();
        for line in page.lines() {
            let Some(metadata) = line.strip_prefix("# ") else {
                if let (Some(family), Some(sample)) = (families.last_mut(), sample(line)) {
                    family.samples.push(sample);
                }
                continue;
            };
            let mut parts = metadata.splitn(3, ' ');
            let (what, name, text) = (parts.next(), parts.next().unwrap_or(""), parts.next().unwrap_or(""));
            if what == Some("HELP") {
                families.push(Family { name, help: text.trim_end_matches('.'), ..Family::default() });
            }
            match (what, families.last_mut()) {
                (Some("TYPE"), Some(family)) => family.kind = text,
                (Some("UNIT"), Some(family)) => family.unit = text,
                _ => {}
            }
        }
        families.into_iter().filter(|family| !family.samples.is_empty()).map(|family| self.metric(family)).collect()
    }

    fn metric(&self, family: Family<'_>) -> Metric {
        let cumulative = AggregationTemporality::Cumulative.into();
        let mut name = family.name.to_owned();
        let data = match family.kind {
            "histogram" => {
                let data_points = self.histograms(family.samples);
                metric::Data::Histogram(Histogram { data_points, aggregation_temporality: cumulative })
            }
            "counter" => {
                let data_points = family.samples.into_iter().map(|sample| self.number(sample)).collect();
                metric::Data::Sum(Sum { data_points, aggregation_temporality: cumulative, is_monotonic: true })
            }
            kind => {
                if kind == "info" {
                    name.push_str("_info");
                }
                let data_points = family.samples.into_iter().map(|sample| self.number(sample)).collect();
                metric::Data::Gauge(Gauge { data_points })
            }
        };
        let unit = if family.unit == "seconds" { "s" } else { "" }.to_owned();
        Metric { name, description: family.help.to_owned(), unit, data: Some(data), ..Metric::default() }
    }

    fn number(&self, sample: Sample<'_>) -> NumberDataPoint {
        NumberDataPoint {
            attributes: attributes(sample.labels),
            start_time_unix_nano: self.started,
            time_unix_nano: self.now,
            value: Some(number_data_point::Value::AsDouble(sample.value)),
            ..NumberDataPoint::default()
        }
    }

    fn histograms(&self, samples: Vec<Sample<'_>>) -> Vec<HistogramDataPoint> {
        let mut points: BTreeMap<Labels, HistogramDataPoint> = BTreeMap::new();
        let mut before = 0;
        for mut sample in samples {
            let bound = sample.labels.iter().position(|(name, _)| name == "le");
            let bound = bound.map(|position| sample.labels.remove(position).1);
            let point = points.entry(sample.labels.clone()).or_insert_with(|| HistogramDataPoint {
                attributes: attributes(sample.labels),
                start_time_unix_nano: self.started,
                time_unix_nano: self.now,
                ..HistogramDataPoint::default()
            });
            let Some(bound) = bound else {
                if sample.name.ends_with("_sum") {
                    point.sum = Some(sample.value);
                } else {
                    point.count = to_count(sample.value);
                }
                continue;
            };
            // Buckets are cumulative on the page.
            before = if point.bucket_counts.is_empty() { 0 } else { before };
            let all = to_count(sample.value);
            point.bucket_counts.push(all.saturating_sub(before));
            before = all;
            if let (Ok(bound), true) = (bound.parse(), bound != "+Inf") {
                point.explicit_bounds.push(bound);
            }
            point.exemplars.extend(sample.exemplar.and_then(exemplar));
        }
        points.into_values().collect()
    }
}

fn exemplar((labels, value, at): (Labels, f64, f64)) -> Option<Exemplar> {
    let id = |name: &str| {
        let (_, id) = labels.iter().find(|(label, _)| label == name)?;
        let digit = |position: usize| u8::from_str_radix(id.get(position..position + 2)?, 16).ok();
        (0..id.len()).step_by(2).map(digit).collect::<Option<Vec<u8>>>()
    };
    Some(Exemplar {
        trace_id: id("trace_id")?,
        span_id: id("span_id")?,
        time_unix_nano: u64::try_from(Duration::from_secs_f64(at.max(0.0)).as_nanos()).unwrap_or(0),
        value: Some(exemplar::Value::AsDouble(value)),
        ..Exemplar::default()
    })
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it was a whole number before it was text")]
fn to_count(value: f64) -> u64 {
    value as u64
}

fn attributes(labels: Labels) -> Vec<KeyValue> {
    let attribute = |(key, value)| KeyValue {
        key,
        value: Some(AnyValue { value: Some(any_value::Value::StringValue(value)) }),
        ..KeyValue::default()
    };
    labels.into_iter().map(attribute).collect()
}

/// `name{label="value"} 1 # {label="value"} 0.5 1700000000.5`; all but name and value are optional.
fn sample(line: &str) -> Option<Sample<'_>> {
    let end = line.find(['{', ' '])?;
    let (name, rest) = line.split_at(end);
    let (labels, rest) = labels(rest)?;
    let (value, exemplar) = match rest.split_once(" # ") {
        None => (rest, None),
        Some((value, exemplar)) => {
            let (labels, rest) = self::labels(exemplar)?;
            let (took, at) = rest.trim().split_once(' ')?;
            (value, Some((labels, took.parse().ok()?, at.parse().ok()?)))
        }
    };
    Some(Sample { name, labels, value: value.trim().parse().ok()?, exemplar })
}

/// The labels at the start, and the rest.
fn labels(text: &str) -> Option<(Labels, &str)> {
    let mut labels = Labels::new();
    let Some(mut rest) = text.strip_prefix('{') else { return Some((labels, text)) };
    loop {
        if let Some(after) = rest.strip_prefix('}') {
            return Some((labels, after));
        }
        let (name, quoted) = rest.trim_start_matches(',').split_once("=\"")?;
        let (value, after) = unquoted(quoted)?;
        labels.push((name.to_owned(), value));
        rest = after;
    }
}

/// A value up to its closing quote, and the rest.
fn unquoted(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((position, character)) = characters.next() {
        match character {
            '"' => return Some((value, &text[position + 1..])),
            '\\' => value.push(match characters.next()?.1 {
                'n' => '\n',
                other => other,
            }),
            other => value.push(other),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::metrics::{Exemplar, Histogram, write_histograms};

    fn exported(metrics: &Metrics) -> BTreeMap<String, Metric> {
        let parser = PageParser { started: 1, now: 2 };
        parser.parse(&metrics.text()).into_iter().map(|metric| (metric.name.clone(), metric)).collect()
    }

    #[test]
    fn a_counter_a_gauge_and_the_build_are_told_with_their_labels() {
        let metrics = Metrics::new();
        let counter = prometheus_client::metrics::family::Family::<
            Vec<(String, String)>,
            prometheus_client::metrics::counter::Counter,
        >::default();
        counter.get_or_create(&vec![("name".into(), "a \"b\" \\ c,}\n".into())]).inc_by(3);
        metrics.register(|registry| registry.register("things", "Things", counter.clone()));
        let exported = exported(&metrics);
        let Some(metric::Data::Sum(sum)) = &exported["lanyard_things"].data else { panic!("{exported:?}") };
        assert!(sum.is_monotonic && sum.aggregation_temporality == 2);
        let point = &sum.data_points[0];
        assert_eq!(point.value, Some(number_data_point::Value::AsDouble(3.0)));
        assert_eq!(point.attributes, attributes(vec![("name".into(), "a \"b\" \\ c,}\n".into())]));
        assert_eq!((point.start_time_unix_nano, point.time_unix_nano), (1, 2));
        assert_eq!(exported["lanyard_things"].description, "Things");
        assert!(matches!(&exported["lanyard_build_info"].data, Some(metric::Data::Gauge(_))));
    }

    #[test]
    fn a_histogram_is_told_with_its_own_count_for_each_bucket_and_its_exemplars() {
        let histograms = [Histogram::default(), Histogram::default()];
        for micros in [10, 40, 50, 100_000_000] {
            histograms[0].record(Duration::from_micros(micros));
        }
        histograms[1].record(Duration::from_micros(40));
        histograms[0].set_exemplar(Exemplar {
            trace_id: 0xab,
            span_id: 0xcd,
            took: Duration::from_micros(50),
            at: 1_500_000,
        });
        let metrics = Metrics::new();
        metrics.add_histograms(move |page| {
            let labelled = histograms.iter().enumerate().map(|(n, histogram)| (format!("n=\"{n}\""), histogram));
            write_histograms(page, "waits", "Waits", labelled);
        });
        let exported = exported(&metrics);
        let metric = &exported["lanyard_waits_seconds"];
        let Some(metric::Data::Histogram(histogram)) = &metric.data else { panic!("{metric:?}") };
        let point = &histogram.data_points[0];
        assert_eq!((point.count, &point.bucket_counts[..3], point.bucket_counts[20]), (4, &[1, 2, 0][..], 1));
        assert_eq!((point.explicit_bounds.len(), point.bucket_counts.len()), (20, 21));
        assert_eq!(point.sum, Some(100.0001));
        assert_eq!(histogram.data_points[1].bucket_counts[..3], [0, 1, 0]);
        let [exemplar] = &point.exemplars[..] else { panic!("{point:?}") };
        assert_eq!((exemplar.trace_id.len(), exemplar.trace_id[15], &exemplar.span_id[7]), (16, 0xab, &0xcd));
        assert_eq!(exemplar.time_unix_nano, 1_500_000_000);
        assert_eq!(metric.unit, "s");
    }
}
