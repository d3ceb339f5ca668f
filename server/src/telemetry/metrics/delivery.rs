//! Export of telemetry: what was sent and what was dropped.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use strum::{IntoStaticStr, VariantArray};

use crate::config::SignalKind;

/// Why something was dropped.
#[derive(Clone, Copy, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub(in crate::telemetry) enum DropReason {
    QueueFull,
    NotSent,
    Rejected,
    Stopped,
}

/// Metrics of all signals, shared by clones.
#[derive(Clone, Default)]
pub(in crate::telemetry) struct DeliveryMetrics {
    exported: Family<[(&'static str, &'static str); 1], Counter>,
    dropped: Family<[(&'static str, &'static str); 2], Counter>,
    queued: Family<[(&'static str, &'static str); 1], Gauge>,
}

/// Metrics of one signal.
#[derive(Debug)]
pub(in crate::telemetry) struct SignalMetrics {
    pub(in crate::telemetry) exported: Counter,
    pub(in crate::telemetry) queued: Gauge,
    dropped: Vec<Counter>,
}

impl DeliveryMetrics {
    pub(in crate::telemetry) fn register(&self, to: &mut Registry) {
        let help = "Spans, log records and pages of metrics that were taken by the receiver";
        to.register("telemetry_exported", help, self.exported.clone());
        let help = "Spans, log records and pages of metrics that were dropped";
        to.register("telemetry_dropped", help, self.dropped.clone());
        let help = "Spans and log records that wait to be sent, or are being sent";
        to.register("telemetry_queued", help, self.queued.clone());
    }

    pub(in crate::telemetry) fn of(&self, kind: SignalKind) -> SignalMetrics {
        let signal = ("signal", kind.name());
        let dropped = |reason: &DropReason| self.dropped.get_or_create_owned(&[signal, ("reason", (*reason).into())]);
        SignalMetrics {
            exported: self.exported.get_or_create_owned(&[signal]),
            queued: self.queued.get_or_create_owned(&[signal]),
            dropped: DropReason::VARIANTS.iter().map(dropped).collect(),
        }
    }
}

impl SignalMetrics {
    pub(in crate::telemetry) fn dropped(&self, reason: DropReason) -> &Counter {
        &self.dropped[reason as usize]
    }
}
