//! The traced span of a call. Sampling is decided once the caller is known and before anything is allocated: only an
//! authenticated caller may influence what is recorded.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::HeaderMap;
use opentelemetry::global::BoxedTracer;
use opentelemetry::trace::{SpanBuilder, SpanKind, Status, TraceContextExt, TraceId, Tracer};
use opentelemetry::{Context, ContextGuard, InstrumentationScope, KeyValue};
use tonic::Code;

use super::observe::{Called, code_name};
use super::status::RpcOutcome;
use crate::clock::Time;
use crate::config::{Exemplars, Propagation, Sampler, SignalKind, Telemetry};
use crate::correlation::CorrelationId;
use crate::model::caller::Caller;
use crate::telemetry::metrics::Exemplar;
use crate::telemetry::propagation::remote_context;

/// Samples calls and starts their spans.
pub(super) struct Traces {
    tracer: BoxedTracer,
    sampler: Sampler,
    ratio: f64,
    /// Continues the trace of the caller.
    listens: bool,
    exemplars: bool,
}

/// What is known when the span of a call starts.
#[derive(Clone, Copy)]
pub(crate) struct SpanStart<'a> {
    pub(crate) called: Called,
    pub(crate) correlation_id: &'a CorrelationId,
    pub(crate) arrived: Time,
}

/// What is known when it ends.
#[derive(Clone, Copy)]
pub(crate) struct SpanEnd {
    pub(crate) arrived: Time,
    pub(crate) took: Duration,
    pub(crate) outcome: RpcOutcome,
}

/// The trace that a call belongs to, if any. Clones share it.
#[derive(Clone)]
pub(crate) struct Trace(Option<Context>);

impl Traces {
    /// Needs telemetry to be started: it uses the global tracer.
    pub(super) fn of(config: &Telemetry) -> Self {
        let scope = InstrumentationScope::builder("lanyard").with_version(env!("CARGO_PKG_VERSION")).build();
        let is_on = config.sends(SignalKind::Traces);
        Self {
            tracer: opentelemetry::global::tracer_with_scope(scope),
            sampler: if is_on { config.sampler } else { Sampler::AlwaysOff },
            ratio: config.sampling_ratio,
            listens: config.propagation == Propagation::TraceContext,
            exemplars: config.exemplars == Exemplars::TraceBased,
        }
    }

    pub(crate) fn shows_exemplars(&self) -> bool {
        self.exemplars
    }

    /// For an authenticated call: continues the trace of the caller, whose sampled flag may decide.
    pub(crate) fn of_caller(&self, start: SpanStart<'_>, headers: Option<&HeaderMap>, caller: &Caller) -> Trace {
        let is_frequent = start.called.is_frequent();
        if is_frequent && self.sampler == Sampler::AlwaysOff {
            return Trace(None);
        }
        let parent = headers.filter(|_| self.listens).and_then(remote_context);
        if self.samples(parent.as_ref()) {
            let begun = self.begin(start, &parent.unwrap_or_default());
            begun.span().set_attribute(KeyValue::new("lanyard.caller", caller.name.clone()));
            return Trace(Some(begun));
        }
        // Outgoing requests continue the trace, and log lines carry its ID.
        Trace(parent.filter(|_| !is_frequent))
    }

    /// For a call that was refused before its caller was known.
    pub(crate) fn of_nobody(&self, start: SpanStart<'_>) -> Trace {
        Trace(self.samples(None).then(|| self.begin(start, &Context::new())))
    }

    fn samples(&self, parent: Option<&Context>) -> bool {
        let parent = parent.map(|parent| parent.span().span_context().clone());
        match (self.sampler, parent) {
            (Sampler::ParentOrOn | Sampler::ParentOrOff | Sampler::ParentOrRatio, Some(parent)) => parent.is_sampled(),
            (Sampler::AlwaysOn | Sampler::ParentOrOn, _) => true,
            (Sampler::AlwaysOff | Sampler::ParentOrOff, _) => false,
            // Deterministic by trace ID, so that all services sample the same traces.
            (Sampler::Ratio, Some(parent)) => position(parent.trace_id()) < self.ratio,
            (Sampler::Ratio | Sampler::ParentOrRatio, _) => fastrand::f64() < self.ratio,
        }
    }

    fn begin(&self, start: SpanStart<'_>, parent: &Context) -> Context {
        let method = match start.called {
            Called::Method(_, method) => format!("lanyard.v1.{}", method.name()),
            other => other.name().to_owned(),
        };
        let builder = SpanBuilder::from_name(method.clone())
            .with_kind(SpanKind::Server)
            .with_start_time(system_time(start.arrived))
            .with_attributes([
                KeyValue::new("rpc.system.name", "grpc"),
                KeyValue::new("rpc.method", method),
                KeyValue::new("lanyard.correlation_id", start.correlation_id.as_str().to_owned()),
            ]);
        let span = self.tracer.build_with_context(builder, parent);
        parent.with_span(span)
    }
}

impl Trace {
    /// Makes it the current one until the guard drops.
    pub(crate) fn enter(&self) -> Option<ContextGuard> {
        self.0.clone().map(Context::attach)
    }

    /// Ends the span of the call, if there is one, and returns an exemplar that refers to it.
    pub(crate) fn end(self, ended: SpanEnd) -> Option<Exemplar> {
        let context = self.0?;
        let span = context.span();
        if !span.is_recording() {
            return None;
        }
        let SpanEnd { arrived, took, outcome } = ended;
        let code = code_name(outcome.code);
        span.set_attribute(KeyValue::new("rpc.status_code", code));
        if outcome.code != Code::Ok {
            span.set_attribute(KeyValue::new("error.type", code));
        }
        if let Some(reason) = outcome.reason {
            span.set_attribute(KeyValue::new("lanyard.reason", reason.reason()));
        }
        if is_our_fault(outcome.code) {
            span.set_status(Status::error(code));
        }
        span.end_with_timestamp(system_time(arrived) + took);
        let ids = span.span_context();
        let (trace_id, span_id) = (ids.trace_id().to_bytes(), ids.span_id().to_bytes());
        let at = arrived.micros().saturating_add(i64::try_from(took.as_micros()).unwrap_or(i64::MAX));
        Some(Exemplar { trace_id: u128::from_be_bytes(trace_id), span_id: u64::from_be_bytes(span_id), took, at })
    }
}

/// The codes that are server errors by the semantic conventions.
const fn is_our_fault(code: Code) -> bool {
    matches!(
        code,
        Code::Unknown
            | Code::DeadlineExceeded
            | Code::Unimplemented
            | Code::Internal
            | Code::Unavailable
            | Code::DataLoss
    )
}

fn system_time(time: Time) -> SystemTime {
    UNIX_EPOCH + Duration::from_micros(u64::try_from(time.micros()).unwrap_or(0))
}

/// Position of the trace ID between 0 and 1, the same in every service.
fn position(trace_id: TraceId) -> f64 {
    let [.., a, b, c, d, _, _, _, _] = trace_id.to_bytes();
    f64::from(u32::from_be_bytes([a, b, c, d])) / (f64::from(u32::MAX) + 1.0)
}

#[cfg(test)]
mod tests {
    use opentelemetry::trace::{SpanContext, SpanId, TraceFlags, TraceState};

    use super::*;
    use crate::config::{Config, Exporter};

    fn traces(sampler: Sampler, ratio: f64) -> Traces {
        let telemetry =
            Telemetry { exporter: Exporter::Otlp, sampler, sampling_ratio: ratio, ..Config::default().telemetry };
        Traces::of(&telemetry)
    }

    fn parent(trace_id: TraceId, flags: TraceFlags) -> Context {
        let span = SpanContext::new(trace_id, SpanId::from(1), flags, true, TraceState::default());
        Context::new().with_remote_span_context(span)
    }

    #[test]
    fn a_sampler_takes_what_its_name_says() {
        let sampled = Some(parent(TraceId::from(u128::MAX), TraceFlags::SAMPLED));
        let unsampled = Some(parent(TraceId::from(1), TraceFlags::NOT_SAMPLED));
        for (sampler, ratio, expected) in [
            (Sampler::AlwaysOn, 0.0, [true, true, true]),
            (Sampler::AlwaysOff, 1.0, [false, false, false]),
            (Sampler::Ratio, 1.0, [true, true, true]),
            (Sampler::Ratio, 0.0, [false, false, false]),
            (Sampler::ParentOrOn, 0.0, [true, true, false]),
            (Sampler::ParentOrOff, 1.0, [false, true, false]),
            (Sampler::ParentOrRatio, 1.0, [true, true, false]),
            (Sampler::ParentOrRatio, 0.0, [false, true, false]),
        ] {
            let traces = traces(sampler, ratio);
            let taken = [None, sampled.as_ref(), unsampled.as_ref()].map(|parent| traces.samples(parent));
            assert_eq!(taken, expected, "{sampler:?} {ratio}: no parent, a sampled one, another");
        }
        let half = traces(Sampler::Ratio, 0.5);
        assert!(
            half.samples(unsampled.as_ref()) && !half.samples(sampled.as_ref()),
            "by the number of the trace, as everywhere"
        );
        let few = traces(Sampler::ParentOrRatio, 0.1);
        let taken = (0..10_000).filter(|_| few.samples(None)).count();
        assert!((800..1200).contains(&taken), "about a tenth: {taken}");
    }

    #[test]
    fn nothing_is_taken_while_nothing_is_sent() {
        let off = Traces::of(&Telemetry { sampler: Sampler::AlwaysOn, ..Config::default().telemetry });
        assert!(!off.samples(None));
    }
}
