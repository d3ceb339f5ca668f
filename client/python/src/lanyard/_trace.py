"""The W3C trace context, where the OpenTelemetry API is installed."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

Headers = tuple[tuple[str, str], ...]

try:
    from opentelemetry import context, trace
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
except ImportError:

    def headers() -> Headers:
        """Nothing: there is no OpenTelemetry here."""
        return ()

    @contextmanager
    def continued(header: Callable[[str], str | None]) -> Iterator[None]:
        """Nothing: there is no OpenTelemetry here."""
        yield

else:
    _propagator = TraceContextTextMapPropagator()
    _FIELDS = ("traceparent", "tracestate")

    def headers() -> Headers:
        """`traceparent` and `tracestate` of the current span, if there is one."""
        span = trace.get_current_span()
        if span is trace.INVALID_SPAN or not span.get_span_context().is_valid:
            return ()
        carrier: dict[str, str] = {}
        _propagator.inject(carrier)
        return tuple(carrier.items())

    @contextmanager
    def continued(header: Callable[[str], str | None]) -> Iterator[None]:
        """Inside, the trace of a request that came in goes on; unless an instrumentation has taken it up already."""
        if trace.get_current_span().get_span_context().is_valid:
            yield
            return
        found = {field: header(field) for field in _FIELDS}
        carrier: Mapping[str, str] = {field: value for field, value in found.items() if value}
        token = context.attach(_propagator.extract(carrier))
        try:
            yield
        finally:
            context.detach(token)
