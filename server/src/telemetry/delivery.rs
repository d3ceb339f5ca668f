//! What becomes of a signal. The SDK's batch processors queue and send; these counters stand around them, because the SDK does
//! not say what it dropped.

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
use crate::config::{Signal, SignalKind};

/// Why something was dropped.
#[derive(Clone, Copy)]
pub(super) enum DropReason {
    QueueFull,
    NotSent,
    Rejected,
    Stopped,
}

impl DropReason {
    pub(super) const ALL: [Self; 4] = [Self::QueueFull, Self::NotSent, Self::Rejected, Self::Stopped];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::QueueFull => "queue_full",
            Self::NotSent => "not_sent",
            Self::Rejected => "rejected",
            Self::Stopped => "stopped",
        }
    }
}

/// The way of one signal to its receiver, with counters at both ends.
#[derive(Debug)]
pub(super) struct Delivery {
    pub(super) kind: SignalKind,
    capacity: u64,
    export_timeout: Duration,
    /// Cancelled when the time for stopping is over.
    give_up: CancellationToken,
    is_closed: AtomicBool,
    is_failing: AtomicBool,
    queued: AtomicU64,
    exported: AtomicU64,
    dropped: [AtomicU64; DropReason::ALL.len()],
    /// Items of the export under way that the receiver does not take.
    rejected: AtomicU64,
}

impl Delivery {
    pub(super) fn new(kind: SignalKind, signal: &Signal, give_up: CancellationToken) -> Self {
        Self {
            kind,
            capacity: signal.queue.map_or(1, |length| length as u64),
            export_timeout: signal.export_timeout,
            give_up,
            is_closed: AtomicBool::default(),
            is_failing: AtomicBool::default(),
            queued: AtomicU64::default(),
            exported: AtomicU64::default(),
            dropped: Default::default(),
            rejected: AtomicU64::default(),
        }
    }

    /// How long an export may take, with all attempts.
    pub(super) fn export_timeout(&self) -> Duration {
        self.export_timeout
    }

    /// What waits or is being sent.
    pub(super) fn queued(&self) -> u64 {
        self.queued.load(Ordering::Relaxed)
    }

    pub(super) fn exported(&self) -> u64 {
        self.exported.load(Ordering::Relaxed)
    }

    pub(super) fn dropped(&self, reason: DropReason) -> u64 {
        self.dropped[reason as usize].load(Ordering::Relaxed)
    }

    fn drop_items(&self, reason: DropReason, count: u64) {
        self.dropped[reason as usize].fetch_add(count, Ordering::Relaxed);
    }

    /// May one more item wait? If so it is queued. What waits and what is being sent count alike, so the SDK's own queue, of the
    /// same length, is never full.
    pub(super) fn admit(&self) -> bool {
        if self.is_closed.load(Ordering::Relaxed) {
            self.drop_items(DropReason::Stopped, 1);
            return false;
        }
        let has_room = self.queued.fetch_add(1, Ordering::Relaxed) < self.capacity;
        if !has_room {
            self.queued.fetch_sub(1, Ordering::Relaxed);
            self.drop_items(DropReason::QueueFull, 1);
        }
        has_room
    }

    /// Admits nothing from now on.
    pub(super) fn close(&self) {
        self.is_closed.store(true, Ordering::Relaxed);
    }

    /// The receiver does not take some items of the export under way.
    pub(super) fn reject(&self, items: u64) {
        self.rejected.fetch_add(items, Ordering::Relaxed);
    }

    /// Waits for an export of queued items, and counts what became of them.
    pub(super) async fn deliver<P: Display>(&self, items: u64, export: impl Future<Output = Result<(), P>>) {
        let outcome = tokio::select! {
            biased;
            () = self.give_up.cancelled() => None,
            outcome = timeout(self.export_timeout, export) => Some(match outcome {
                Ok(outcome) => outcome.map_err(|problem| problem.to_string()),
                Err(_) => Err("it was tried for too long".to_owned()),
            }),
        };
        let rejected = self.rejected.swap(0, Ordering::Relaxed).min(items);
        match outcome {
            None => self.drop_items(DropReason::Stopped, items),
            Some(Err(problem)) => {
                self.drop_items(DropReason::NotSent, items);
                self.warn(&problem);
            }
            Some(Ok(())) => {
                self.drop_items(DropReason::Rejected, rejected);
                self.exported.fetch_add(items - rejected, Ordering::Relaxed);
                if self.is_failing.swap(false, Ordering::Relaxed) {
                    tracing::info!(signal = self.kind.name(), "telemetry is taken again");
                }
            }
        }
        self.queued.fetch_sub(items, Ordering::Relaxed);
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

/// An exporter whose exports are counted. The SDK calls it on a thread of its own, without a runtime.
#[derive(Debug)]
pub(super) struct Counted<E> {
    pub(super) exporter: E,
    pub(super) delivery: Arc<Delivery>,
    pub(super) runtime: Handle,
}

impl<E> Counted<E> {
    /// Blocks the thread. The SDK would only log an error.
    #[expect(clippy::unnecessary_wraps, reason = "what an exporter answers")]
    fn deliver(&self, items: usize, export: impl Future<Output = OTelSdkResult>) -> OTelSdkResult {
        self.runtime.block_on(self.delivery.deliver(items as u64, export));
        Ok(())
    }
}

impl<E: SpanExporter> SpanExporter for Counted<E> {
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

impl<E: LogExporter> LogExporter for Counted<E> {
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

/// Counts what receivers reject: the exporters say it in an event, and nowhere else.
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

    use super::*;
    use crate::config::Config;

    fn delivery(queue: usize) -> Delivery {
        let export_timeout = Duration::from_millis(1);
        let signal = Signal { queue: Some(queue), export_timeout, ..Config::default().telemetry.traces };
        Delivery::new(SignalKind::Traces, &signal, CancellationToken::new())
    }

    fn counts(delivery: &Delivery) -> (u64, u64, [u64; 4]) {
        (delivery.queued(), delivery.exported(), DropReason::ALL.map(|reason| delivery.dropped(reason)))
    }

    #[test]
    fn admits_up_to_its_capacity_until_it_is_closed() {
        let delivery = delivery(3);
        assert_eq!([(); 5].map(|()| delivery.admit()), [true, true, true, false, false]);
        assert_eq!(counts(&delivery), (3, 0, [2, 0, 0, 0]));
        delivery.close();
        assert!(!delivery.admit());
        assert_eq!(counts(&delivery), (3, 0, [2, 0, 0, 1]));
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
        assert_eq!(counts(&delivery), (15, 3, [0, 0, 2, 0]));
        delivery.deliver(5, ready(Err("refused"))).await;
        delivery.deliver(5, pending::<Result<(), String>>()).await;
        assert_eq!(counts(&delivery), (5, 3, [0, 10, 2, 0]));
        delivery.give_up.cancel();
        delivery.deliver(5, ready(Ok::<_, String>(()))).await;
        assert_eq!(counts(&delivery), (0, 3, [0, 10, 2, 5]));
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
