//! Exports log records, in addition to standard error.

use std::sync::Arc;
use std::time::Duration;

use opentelemetry::InstrumentationScope;
use opentelemetry_appender_tracing::layer::{OpenTelemetryTracingBridge, TracingSpanAttributes};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::logs::{
    BatchConfigBuilder, BatchLogProcessor, LogExporter, LogProcessor, SdkLogRecord, SdkLoggerProvider,
};
use tracing::Subscriber;
use tracing_subscriber::Layer;
use tracing_subscriber::registry::LookupSpan;

use super::delivery::{CountedExporter, Delivery};
use super::filter;
use crate::config::Signal;

/// Libraries that export records must not create new ones.
const QUIET: &str = "h2=off,hyper=off,hyper_util=off,hyper_rustls=off,rustls=off,tonic=off,tower=off";

/// The provider of the process.
pub(super) fn provider<E>(signal: &Signal, resource: Resource, exporter: CountedExporter<E>) -> SdkLoggerProvider
where
    E: LogExporter + 'static,
{
    let batches = BatchConfigBuilder::default()
        .with_max_queue_size(signal.queue.unwrap_or(1))
        .with_max_export_batch_size(signal.batch.unwrap_or(1))
        .with_scheduled_delay(signal.delay)
        .build();
    let delivery = exporter.delivery.clone();
    let batches = BatchLogProcessor::builder(exporter).with_batch_config(batches).build();
    SdkLoggerProvider::builder().with_resource(resource).with_log_processor(Processor { delivery, batches }).build()
}

/// Exports events at `level`, with the correlation ID of their call.
pub(super) fn layer<S>(level: &str, provider: &SdkLoggerProvider) -> impl Layer<S> + use<S>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    OpenTelemetryTracingBridge::builder(provider)
        .with_tracing_span_attributes(TracingSpanAttributes::allowlist(["correlation_id"]))
        .build()
        .with_filter(filter(&format!("{level},{QUIET}")))
}

/// Counts records that do not fit the queue, and passes the others to the SDK.
#[derive(Debug)]
struct Processor {
    delivery: Arc<Delivery>,
    batches: BatchLogProcessor,
}

impl LogProcessor for Processor {
    fn emit(&self, record: &mut SdkLogRecord, scope: &InstrumentationScope) {
        if self.delivery.admit() {
            self.batches.emit(record, scope);
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
