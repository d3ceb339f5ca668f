//! Exports spans. `pipeline` starts the span of a call; the spans within it are those of `tracing`, created only in
//! sampled calls.

use std::sync::Arc;
use std::time::Duration;

use opentelemetry::trace::{SpanKind, TracerProvider};
use opentelemetry::{Context, KeyValue, Value};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, Sampler, SdkTracerProvider, Span, SpanData, SpanExporter, SpanLimits,
    SpanProcessor,
};
use tracing::level_filters::LevelFilter;
use tracing::subscriber::Interest;
use tracing::{Level, Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::{self, Filter};
use tracing_subscriber::registry::LookupSpan;

use super::delivery::{CountedExporter, Delivery};
use crate::config::Config;

/// Prefixes of `tracing` targets.
const OURS: &str = "lanyard_server";
const STORE: &str = "lanyard_server::store";
const UPSTREAM: &str = "lanyard_server::upstream";
/// The module with the spans of log lines.
const LOG_SPANS: &str = "lanyard_server::pipeline::observe";
/// The attribute in which `tracing_opentelemetry` reports the target of a span.
const TARGET: &str = "target";

/// The provider of the process.
pub(super) fn provider<E>(config: &Config, resource: Resource, exporter: CountedExporter<E>) -> SdkTracerProvider
where
    E: SpanExporter + 'static,
{
    let telemetry = &config.telemetry;
    let limits = SpanLimits {
        max_attributes_per_span: telemetry.max_attributes,
        max_events_per_span: telemetry.max_events,
        max_attributes_per_event: telemetry.max_event_attributes,
        ..SpanLimits::default()
    };
    let signal = &telemetry.traces;
    let batches = BatchConfigBuilder::default()
        .with_max_queue_size(signal.queue.unwrap_or(1))
        .with_max_export_batch_size(signal.batch.unwrap_or(1))
        .with_scheduled_delay(signal.delay)
        .build();
    let processor = Processor {
        database: if config.database.url.is_sqlite() { "sqlite" } else { "postgresql" },
        delivery: exporter.delivery.clone(),
        batches: BatchSpanProcessor::new(exporter, batches),
    };
    SdkTracerProvider::builder()
        // Calls that are not sampled create no span.
        .with_sampler(Sampler::AlwaysOn)
        .with_span_limits(limits)
        .with_resource(resource)
        .with_span_processor(processor)
        .build()
}

/// Turns spans and events of sampled calls into OpenTelemetry spans.
pub(super) fn layer<S>(provider: &SdkTracerProvider) -> impl Layer<S> + use<S>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    tracing_opentelemetry::layer()
        .with_tracer(provider.tracer("lanyard"))
        .with_location(false)
        .with_threads(false)
        .with_target(true)
        .with_tracked_inactivity(false)
        .with_filter(InSampledCall)
}

struct InSampledCall;

impl InSampledCall {
    fn may_be(metadata: &Metadata<'_>) -> bool {
        let target = metadata.target();
        *metadata.level() <= Level::DEBUG && target.starts_with(OURS) && target != LOG_SPANS
    }
}

impl<S> Filter<S> for InSampledCall {
    fn enabled(&self, metadata: &Metadata<'_>, _: &layer::Context<'_, S>) -> bool {
        use opentelemetry::trace::TraceContextExt;

        Self::may_be(metadata) && Context::map_current(|context| context.span().span_context().is_sampled())
    }

    fn callsite_enabled(&self, metadata: &'static Metadata<'static>) -> Interest {
        if Self::may_be(metadata) { Interest::sometimes() } else { Interest::never() }
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(LevelFilter::DEBUG)
    }
}

/// Adds attributes to spans, counts those that do not fit the queue, and passes the others to the SDK.
#[derive(Debug)]
struct Processor {
    database: &'static str,
    delivery: Arc<Delivery>,
    batches: BatchSpanProcessor,
}

impl SpanProcessor for Processor {
    fn on_start(&self, _: &mut Span, _: &Context) {}

    fn on_end(&self, mut span: SpanData) {
        if self.delivery.admit() {
            self.describe(&mut span);
            self.batches.on_end(span);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.batches.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.delivery.close();
        self.batches.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.batches.set_resource(resource);
    }
}

impl Processor {
    /// Derives attributes from the target of a span.
    fn describe(&self, span: &mut SpanData) {
        let Some(position) = span.attributes.iter().position(|pair| pair.key.as_str() == TARGET) else { return };
        let Value::String(target) = span.attributes.swap_remove(position).value else { return };
        if target.as_str().starts_with(UPSTREAM) && span.span_kind == SpanKind::Client {
            // Upstream requests set their own attributes.
            return;
        }
        let function = format!("{}::{}", target.as_str(), span.name);
        span.attributes.push(KeyValue::new("code.function.name", function));
        if target.as_str().starts_with(STORE) {
            span.span_kind = SpanKind::Client;
            span.attributes.push(KeyValue::new("db.system.name", self.database));
            span.attributes.push(KeyValue::new("db.operation.name", span.name.clone()));
        }
    }
}
