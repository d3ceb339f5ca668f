//! Spans on their way out. The span of a call is begun in `grpc`; those within it are `tracing`'s, made only where the call is
//! sampled.

use std::time::Duration;

use opentelemetry::trace::{SpanKind, TracerProvider};
use opentelemetry::{Context, KeyValue, Value};
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use opentelemetry_proto::transform::trace::tonic::group_spans_by_resource_and_scope;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{Sampler, SdkTracerProvider, Span, SpanData, SpanLimits, SpanProcessor};
use prost::Message;
use tracing::level_filters::LevelFilter;
use tracing::subscriber::Interest;
use tracing::{Level, Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::{self, Filter};
use tracing_subscriber::registry::LookupSpan;

use super::Origin;
use super::queue::Queue;
use crate::config::Config;

/// Where the modules of the server say they are.
const OURS: &str = "lanyard_server";
const STORE: &str = "lanyard_server::store";
const UPSTREAM: &str = "lanyard_server::upstream";
/// The spans of log lines are made there.
const LOG_SPANS: &str = "lanyard_server::pipeline::observe";
/// Under this key `tracing_opentelemetry` tells where a span was made.
const TARGET: &str = "target";

/// The provider of the process: spans that end go into `queue`.
pub(super) fn provider(config: &Config, origin: &Origin, queue: Queue<SpanData>) -> SdkTracerProvider {
    let database = if config.database.url.is_sqlite() { "sqlite" } else { "postgresql" };
    let telemetry = &config.telemetry;
    let limits = SpanLimits {
        max_attributes_per_span: telemetry.max_attributes,
        max_events_per_span: telemetry.max_events,
        max_attributes_per_event: telemetry.max_event_attributes,
        ..SpanLimits::default()
    };
    SdkTracerProvider::builder()
        // Calls that are not sampled make no span.
        .with_sampler(Sampler::AlwaysOn)
        .with_span_limits(limits)
        .with_resource(origin.resource.clone())
        .with_span_processor(Enqueue { queue, database })
        .build()
}

/// Turns the spans and events of a sampled call into those of its trace.
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

#[derive(Debug)]
struct Enqueue {
    queue: Queue<SpanData>,
    database: &'static str,
}

impl SpanProcessor for Enqueue {
    fn on_start(&self, _: &mut Span, _: &Context) {}

    fn on_end(&self, mut span: SpanData) {
        self.describe(&mut span);
        self.queue.push(span);
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }
}

impl Enqueue {
    /// Where a span was made says what it is of.
    fn describe(&self, span: &mut SpanData) {
        let Some(place) = span.attributes.iter().position(|pair| pair.key.as_str() == TARGET) else { return };
        let Value::String(target) = span.attributes.swap_remove(place).value else { return };
        if target.as_str().starts_with(UPSTREAM) && span.span_kind == SpanKind::Client {
            // Named after what is asked of somebody else.
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

pub(super) fn encode(spans: &[SpanData], origin: &Origin) -> Vec<u8> {
    let resource_spans = group_spans_by_resource_and_scope(spans.to_vec(), &(&origin.resource).into());
    ExportTraceServiceRequest { resource_spans }.encode_to_vec()
}

pub(super) fn rejected(answer: &[u8]) -> u64 {
    let answer = ExportTraceServiceResponse::decode(answer).unwrap_or_default();
    answer.partial_success.map_or(0, |partial| u64::try_from(partial.rejected_spans).unwrap_or(0))
}
