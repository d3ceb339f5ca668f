//! The labels of the RPC metrics, and the span of a call's log lines. No label and no span names a user or holds a
//! secret. The traced span is in [`super::trace`].

use lanyard_proto::v1::ErrorReason;
use tonic::Code;
use tracing::Span;
use tracing::field::Empty;

use super::method::{METHODS, Method};
use crate::correlation::CorrelationId;
use crate::telemetry::metrics::rpc::{CODE_NAMES, RpcLabels};

/// Labels for calls outside the table of methods.
const OTHERS: [&str; 3] = ["Health", "ServerReflection", "_OTHER"];

/// The target of a call.
#[derive(Clone, Copy)]
pub(crate) enum Called {
    Method(usize, &'static Method),
    Health,
    Reflection,
    /// No such method. One label for all of them: otherwise any client could create new series.
    Unknown,
}

impl Called {
    /// Its row in the RPC metrics.
    pub(crate) fn row(self) -> usize {
        match self {
            Self::Method(row, _) => row,
            Self::Health => METHODS.len(),
            Self::Reflection => METHODS.len() + 1,
            Self::Unknown => METHODS.len() + 2,
        }
    }

    fn label(row: usize) -> &'static str {
        METHODS.get(row).map_or_else(|| OTHERS[row - METHODS.len()], Method::name)
    }

    pub(crate) fn name(self) -> &'static str {
        Self::label(self.row())
    }

    /// Called so often that allocations per call are measurable.
    pub(crate) fn is_frequent(self) -> bool {
        match self {
            Self::Method(_, method) => method.fast.is_some(),
            Self::Health => true,
            Self::Reflection | Self::Unknown => false,
        }
    }
}

/// The labels of the RPC metrics.
pub fn rpc_labels() -> RpcLabels {
    let reason = |number| ErrorReason::try_from(number).map_or("", |reason| reason.reason());
    RpcLabels {
        methods: (0..METHODS.len() + OTHERS.len()).map(Called::label).collect(),
        reasons: (0..HIGHEST_REASON).map(reason).collect(),
    }
}

/// Exceeds all reason numbers of the contract; a test checks it.
const HIGHEST_REASON: i32 = 128;

/// The name of a status code, as in labels and attributes.
pub(crate) const fn code_name(code: Code) -> &'static str {
    CODE_NAMES[code as usize]
}

/// The span of a call's log lines: at INFO, but at DEBUG for frequent methods: it costs a fifth of a verification.
pub(crate) fn span(called: Called, correlation_id: &CorrelationId) -> Span {
    if called.is_frequent() {
        tracing::debug_span!("rpc", %correlation_id, method = called.name(), caller = Empty)
    } else {
        tracing::info_span!("rpc", %correlation_id, method = called.name(), caller = Empty)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_of_the_contract_has_a_column() {
        let highest = (0..10_000).filter(|number| ErrorReason::try_from(*number).is_ok()).max().expect("reasons");
        assert!(highest < HIGHEST_REASON);
    }

    /// A span costs a fifth of a verification.
    #[test]
    fn a_frequent_method_gets_a_span_only_when_somebody_looks() {
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
