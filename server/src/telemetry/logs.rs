//! Log lines on their way out, beside standard error.

use std::time::Duration;

use opentelemetry::InstrumentationScope;
use opentelemetry_appender_tracing::layer::{OpenTelemetryTracingBridge, TracingSpanAttributes};
use opentelemetry_proto::tonic::collector::logs::v1::{ExportLogsServiceRequest, ExportLogsServiceResponse};
use opentelemetry_proto::transform::logs::tonic::group_logs_by_resource_and_scope;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::logs::{LogBatch, LogProcessor, SdkLogRecord, SdkLoggerProvider};
use prost::Message;
use tracing::Subscriber;
use tracing_subscriber::Layer;
use tracing_subscriber::registry::LookupSpan;

use super::queue::Queue;
use super::{Origin, filter};

/// What carries the records out must not make more of them.
const QUIET: &str = "h2=off,hyper=off,hyper_util=off,hyper_rustls=off,rustls=off,tower=off";

/// A record, and who made it.
pub(super) type Record = (SdkLogRecord, InstrumentationScope);

/// What `level` lets through goes into `queue`, with the correlation ID of its call.
pub(super) fn layer<S>(level: &str, queue: Queue<Record>) -> impl Layer<S> + use<S>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    let provider = SdkLoggerProvider::builder().with_log_processor(Enqueue(queue)).build();
    OpenTelemetryTracingBridge::builder(&provider)
        .with_tracing_span_attributes(TracingSpanAttributes::allowlist(["correlation_id"]))
        .build()
        .with_filter(filter(&format!("{level},{QUIET}")))
}

#[derive(Debug)]
struct Enqueue(Queue<Record>);

impl LogProcessor for Enqueue {
    fn emit(&self, record: &mut SdkLogRecord, scope: &InstrumentationScope) {
        self.0.push((record.clone(), scope.clone()));
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }
}

pub(super) fn encode(records: &[Record], origin: &Origin) -> Vec<u8> {
    let records: Vec<_> = records.iter().map(|(record, scope)| (record, scope)).collect();
    let batch = LogBatch::new(&records);
    let resource_logs = group_logs_by_resource_and_scope(&batch, &(&origin.resource).into());
    ExportLogsServiceRequest { resource_logs }.encode_to_vec()
}

pub(super) fn rejected(answer: &[u8]) -> u64 {
    let answer = ExportLogsServiceResponse::decode(answer).unwrap_or_default();
    answer.partial_success.map_or(0, |partial| u64::try_from(partial.rejected_log_records).unwrap_or(0))
}
