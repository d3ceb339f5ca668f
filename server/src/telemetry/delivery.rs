//! Counts spans, log records and pages of metrics as queued, exported or dropped. The batch processors of the SDK queue
//! and export them, but do not report what they drop.

use std::fmt::{Debug, Display};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::logs::{LogBatch, LogExporter};
use opentelemetry_sdk::trace::{SpanData, SpanExporter};
use tokio::runtime::Handle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

use super::Deliveries;
use super::metrics::delivery::{DropReason, SignalMetrics};
use crate::config::{Signal, SignalKind};

/// The export of one signal, with its counters.
#[derive(Debug)]
pub(super) struct Delivery {
    pub(super) kind: SignalKind,
    capacity: i64,
    export_timeout: Duration,
    /// Cancelled at the end of the flush timeout.
    abort: CancellationToken,
    is_closed: AtomicBool,
    is_failing: AtomicBool,
    pub(super) metrics: SignalMetrics,
    /// Items of the current export that the receiver rejected.
    rejected: AtomicU64,
}

impl Delivery {
    pub(super) fn new(kind: SignalKind, signal: &Signal, metrics: SignalMetrics, abort: CancellationToken) -> Self {
        Self {
            kind,
            capacity: signal.queue.map_or(1, |length| i64::try_from(length).unwrap_or(i64::MAX)),
            export_timeout: signal.export_timeout,
            abort,
            is_closed: AtomicBool::default(),
            is_failing: AtomicBool::default(),
            metrics,
            rejected: AtomicU64::default(),
        }
    }

    /// Timeout of an export, including all attempts.
    pub(super) fn export_timeout(&self) -> Duration {
        self.export_timeout
    }

    /// Counts one more item as queued, if there is room. Items being exported count too, so the SDK's queue, which has
    /// the same capacity, never overflows.
    pub(super) fn admit(&self) -> bool {
        if self.is_closed.load(Ordering::Relaxed) {
            self.metrics.dropped(DropReason::Stopped).inc();
            return false;
        }
        let has_room = self.metrics.queued.inc() < self.capacity;
        if !has_room {
            self.metrics.queued.dec();
            self.metrics.dropped(DropReason::QueueFull).inc();
        }
        has_room
    }

    /// Drops everything from now on.
    pub(super) fn close(&self) {
        self.is_closed.store(true, Ordering::Relaxed);
    }

    /// Records items of the current export that the receiver rejected.
    pub(super) fn reject(&self, items: u64) {
        self.rejected.fetch_add(items, Ordering::Relaxed);
    }

    /// Runs an export of queued items and counts its outcome.
    pub(super) async fn deliver<P: Display>(&self, items: u64, export: impl Future<Output = Result<(), P>>) {
        let outcome = tokio::select! {
            biased;
            () = self.abort.cancelled() => None,
            outcome = timeout(self.export_timeout, export) => Some(match outcome {
                Ok(outcome) => outcome.map_err(|problem| problem.to_string()),
                Err(_) => Err("it was tried for too long".to_owned()),
            }),
        };
        let rejected = self.rejected.swap(0, Ordering::Relaxed).min(items);
        let dropped = |reason, items| {
            self.metrics.dropped(reason).inc_by(items);
        };
        match outcome {
            None => dropped(DropReason::Stopped, items),
            Some(Err(problem)) => {
                dropped(DropReason::NotSent, items);
                self.warn(&problem);
            }
            Some(Ok(())) => {
                dropped(DropReason::Rejected, rejected);
                self.metrics.exported.inc_by(items - rejected);
                if self.is_failing.swap(false, Ordering::Relaxed) {
                    tracing::info!(signal = self.kind.name(), "telemetry is taken again");
                }
            }
        }
        self.metrics.queued.dec_by(i64::try_from(items).unwrap_or(i64::MAX));
    }

    /// Warns once, until an export succeeds.
    pub(super) fn warn(&self, problem: &str) {
        if !self.is_failing.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                signal = self.kind.name(),
                problem,
                "telemetry is not taken; it is dropped when the queue is full"
            );
        }
    }
}

/// Counts the exports of an exporter. The SDK calls it on a thread of its own, outside any runtime.
#[derive(Debug)]
pub(super) struct CountedExporter<E> {
    pub(super) exporter: E,
    pub(super) delivery: Arc<Delivery>,
    pub(super) runtime: Handle,
}

impl<E> CountedExporter<E> {
    /// Blocks the thread. Errors are logged and counted here; the SDK could only log them.
    #[expect(clippy::unnecessary_wraps, reason = "what an exporter answers")]
    fn deliver(&self, items: usize, export: impl Future<Output = OTelSdkResult>) -> OTelSdkResult {
        self.runtime.block_on(self.delivery.deliver(items as u64, export));
        Ok(())
    }
}

impl<E: SpanExporter> SpanExporter for CountedExporter<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        self.deliver(batch.len(), self.exporter.export(batch))
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}

impl<E: LogExporter> LogExporter for CountedExporter<E> {
    async fn export(&self, batch: LogBatch<'_>) -> OTelSdkResult {
        self.deliver(batch.iter().count(), self.exporter.export(batch))
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}

/// Counts partial success: the exporters report rejected items in a `tracing` event only.
pub(super) fn rejections<S>(deliveries: Deliveries) -> impl Layer<S>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    let from_exporters = filter_fn(|metadata| {
        metadata.is_event() && *metadata.level() <= Level::WARN && metadata.target() == "opentelemetry-otlp"
    });
    Rejections(deliveries).with_filter(from_exporters.with_max_level_hint(LevelFilter::WARN))
}

struct Rejections(Deliveries);

impl<S: Subscriber> Layer<S> for Rejections {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        event.record(&mut RejectedItems(&self.0));
    }
}

struct RejectedItems<'a>(&'a Deliveries);

impl Visit for RejectedItems<'_> {
    fn record_i64(&mut self, field: &Field, value: i64) {
        let kind = match field.name() {
            "rejected_spans" => SignalKind::Traces,
            "rejected_log_records" => SignalKind::Logs,
            _ => return,
        };
        let items = u64::try_from(value).unwrap_or(0);
        self.0.iter().filter(|delivery| delivery.kind == kind).for_each(|delivery| delivery.reject(items));
    }

    fn record_debug(&mut self, _: &Field, _: &dyn Debug) {}
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use strum::VariantArray;

    use super::*;
    use crate::config::Config;
    use crate::telemetry::metrics::delivery::DeliveryMetrics;

    fn delivery(queue: usize) -> Delivery {
        let export_timeout = Duration::from_millis(1);
        let signal = Signal { queue: Some(queue), export_timeout, ..Config::default().telemetry.traces };
        let metrics = DeliveryMetrics::default().of(SignalKind::Traces);
        Delivery::new(SignalKind::Traces, &signal, metrics, CancellationToken::new())
    }

    /// Queued, exported, and dropped by reason.
    fn counts(delivery: &Delivery) -> (i64, u64, Vec<u64>) {
        let dropped = DropReason::VARIANTS.iter().map(|reason| delivery.metrics.dropped(*reason).get());
        (delivery.metrics.queued.get(), delivery.metrics.exported.get(), dropped.collect())
    }

    #[test]
    fn admits_up_to_its_capacity_until_it_is_closed() {
        let delivery = delivery(3);
        assert_eq!([(); 5].map(|()| delivery.admit()), [true, true, true, false, false]);
        assert_eq!(counts(&delivery), (3, 0, vec![2, 0, 0, 0]));
        delivery.close();
        assert!(!delivery.admit());
        assert_eq!(counts(&delivery), (3, 0, vec![2, 0, 0, 1]));
    }

    #[tokio::test]
    async fn counts_each_item_once_by_what_became_of_it() {
        let delivery = delivery(20);
        (0..20).for_each(|_| assert!(delivery.admit()));
        let rejects = async {
            delivery.reject(2);
            Ok::<_, String>(())
        };
        delivery.deliver(5, rejects).await;
        assert_eq!(counts(&delivery), (15, 3, vec![0, 0, 2, 0]));
        delivery.deliver(5, ready(Err("refused"))).await;
        delivery.deliver(5, pending::<Result<(), String>>()).await;
        assert_eq!(counts(&delivery), (5, 3, vec![0, 10, 2, 0]));
        delivery.abort.cancel();
        delivery.deliver(5, ready(Ok::<_, String>(()))).await;
        assert_eq!(counts(&delivery), (0, 3, vec![0, 10, 2, 5]));
    }

    #[test]
    fn hears_from_the_exporters_what_was_rejected() {
        let deliveries: Deliveries = vec![Arc::new(delivery(1))];
        let subscriber = tracing_subscriber::layer::SubscriberExt::with(
            tracing_subscriber::registry(),
            rejections(deliveries.clone()),
        );
        tracing::subscriber::with_default(subscriber, || {
            tracing::warn!(target: "opentelemetry-otlp", rejected_spans = 3_i64, "PartialSuccess");
            tracing::warn!(target: "opentelemetry-otlp", rejected_log_records = 4_i64, "PartialSuccess");
            tracing::warn!(rejected_spans = 5_i64, "of somebody else");
        });
        assert_eq!(deliveries[0].rejected.load(Ordering::Relaxed), 3);
    }
}
