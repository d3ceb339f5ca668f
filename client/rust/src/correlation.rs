//! The correlation ID and the trace context of the span that a call is made in.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry::Context;
use opentelemetry::propagation::{Injector, TextMapPropagator as _};
use opentelemetry::trace::TraceContextExt as _;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Span, Subscriber};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;
use tracing_subscriber::layer::{Context as LayerContext, Layer};
use tracing_subscriber::registry::{LookupSpan, Registry};

const FIELD: &str = "correlation_id";
const LONGEST: usize = 128;

/// The business ID of a request, carried through every service, log line, span, error and audit row:
/// 1 to 128 of letters, digits, `.`, `_`, `:` and `-`.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct CorrelationId(Arc<str>);

/// The text is not a correlation ID. It is not repeated here: it may be anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a correlation ID is 1 to 128 of letters, digits, `.`, `_`, `:` and `-`")]
pub struct InvalidCorrelationId;

impl CorrelationId {
    /// A new one (a `UUIDv7`).
    #[expect(clippy::disallowed_methods, reason = "a client has no server's clock; nothing is decided by this time")]
    pub fn generate() -> Self {
        Self(uuid::Uuid::now_v7().to_string().into())
    }

    /// The one of the current span or of the nearest span around it that has one; needs a [`CorrelationLayer`].
    pub fn current() -> Option<Self> {
        Span::current()
            .with_subscriber(|(id, dispatch)| {
                let span = dispatch.downcast_ref::<Registry>()?.span(id)?;
                span.scope().find_map(|span| span.extensions().get::<Self>().cloned())
            })
            .flatten()
    }

    /// The ID as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for CorrelationId {
    type Err = InvalidCorrelationId;

    fn from_str(text: &str) -> Result<Self, InvalidCorrelationId> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._:-".contains(&byte);
        if text.is_empty() || text.len() > LONGEST || !text.bytes().all(allowed) {
            return Err(InvalidCorrelationId);
        }
        Ok(Self(text.into()))
    }
}

impl fmt::Display for CorrelationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for CorrelationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Remembers the field `correlation_id` of spans, so that calls made inside them carry it:
///
/// ```
/// use lanyard_client::{CorrelationId, CorrelationLayer};
/// use tracing_subscriber::layer::SubscriberExt as _;
///
/// let subscriber = tracing_subscriber::registry().with(CorrelationLayer);
/// tracing::subscriber::with_default(subscriber, || {
///     let request = tracing::info_span!("request", correlation_id = "order-4711");
///     request.in_scope(|| assert_eq!(CorrelationId::current().unwrap().as_str(), "order-4711"));
/// });
/// ```
///
/// The field counts when the span begins or when it is recorded later, with `%` or as text; a value that is no
/// correlation ID does not count. The subscriber must be built on [`Registry`].
#[derive(Clone, Copy, Debug, Default)]
pub struct CorrelationLayer;

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for CorrelationLayer {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: LayerContext<'_, S>) {
        remember(id, &context, |found| attributes.record(found));
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: LayerContext<'_, S>) {
        remember(id, &context, |found| values.record(found));
    }
}

fn remember<S: Subscriber + for<'a> LookupSpan<'a>>(
    id: &Id,
    context: &LayerContext<'_, S>,
    record: impl FnOnce(&mut Found),
) {
    let mut found = Found(None);
    record(&mut found);
    if let (Some(correlation_id), Some(span)) = (found.0, context.span(id)) {
        span.extensions_mut().replace(correlation_id);
    }
}

struct Found(Option<CorrelationId>);

impl Visit for Found {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == FIELD {
            self.0 = value.parse().ok();
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == FIELD {
            self.0 = format!("{value:?}").parse().ok();
        }
    }
}

/// Writes `traceparent` and `tracestate` of the current span, if it is part of a trace. A service that uses
/// OpenTelemetry without `tracing` is heard too.
pub(crate) fn inject_trace_context(headers: &mut HeaderMap) {
    let of_span = Span::current().context();
    let context = if of_span.span().span_context().is_valid() { of_span } else { Context::current() };
    TraceContextPropagator::new().inject_context(&context, &mut HeaderInjector(headers));
}

struct HeaderInjector<'a>(&'a mut HeaderMap);

impl Injector for HeaderInjector<'_> {
    fn set(&mut self, key: &str, value: String) {
        // The propagator writes an empty tracestate, too; that says nothing.
        if value.is_empty() {
            return;
        }
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(key.as_bytes()), HeaderValue::try_from(value)) {
            self.0.insert(name, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use tracing::field::Empty;
    use tracing::info_span;
    use tracing::subscriber::with_default;
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    fn current() -> Option<String> {
        CorrelationId::current().map(|id| id.to_string())
    }

    fn with_layer(test: impl FnOnce()) {
        with_default(tracing_subscriber::registry().with(CorrelationLayer), test);
    }

    #[test]
    fn only_what_the_contract_allows_is_a_correlation_id() {
        for good in ["a", "order-4711", "A.b_c:d-9", "x".repeat(128).as_str()] {
            assert_eq!(good.parse::<CorrelationId>().unwrap().as_str(), good);
        }
        for bad in ["", " ", "a b", "ä", "a\nb", "a/b", "x".repeat(129).as_str()] {
            assert_eq!(bad.parse::<CorrelationId>(), Err(InvalidCorrelationId), "{bad}");
        }
    }

    #[test]
    fn new_ids_are_valid_and_differ() {
        let (one, two) = (CorrelationId::generate(), CorrelationId::generate());
        assert_ne!(one, two);
        assert_eq!(one.as_str().parse(), Ok(one));
    }

    #[test]
    fn the_nearest_span_that_has_an_id_counts() {
        with_layer(|| {
            assert_eq!(current(), None);
            info_span!("outer", correlation_id = %"outer-id").in_scope(|| {
                info_span!("between", user = "alice").in_scope(|| assert_eq!(current().unwrap(), "outer-id"));
                info_span!("inner", correlation_id = "inner-id")
                    .in_scope(|| assert_eq!(current().unwrap(), "inner-id"));
                assert_eq!(current().unwrap(), "outer-id");
            });
        });
    }

    #[test]
    fn an_id_recorded_later_counts_and_a_bad_one_does_not() {
        with_layer(|| {
            let span = info_span!("request", correlation_id = Empty);
            let _entered = span.enter();
            assert_eq!(current(), None);
            span.record("correlation_id", "late-id");
            assert_eq!(current().unwrap(), "late-id");
            info_span!("inner", correlation_id = "no good").in_scope(|| assert_eq!(current().unwrap(), "late-id"));
        });
    }
}
