package dev.lanyard.examples;

import io.opentelemetry.api.OpenTelemetry;
import io.opentelemetry.api.trace.Span;
import io.opentelemetry.api.trace.SpanKind;
import io.opentelemetry.context.Context;
import io.opentelemetry.context.Scope;
import io.opentelemetry.context.propagation.TextMapGetter;
import jakarta.servlet.FilterChain;
import jakarta.servlet.ServletException;
import jakarta.servlet.http.HttpFilter;
import jakarta.servlet.http.HttpServletRequest;
import jakarta.servlet.http.HttpServletResponse;
import java.io.IOException;
import java.util.Collections;

/** A span for each request, in the trace of who sent it. The OpenTelemetry agent does this for a service by itself. */
final class Tracing extends HttpFilter {
    private static final long serialVersionUID = 1;

    private final transient OpenTelemetry telemetry;

    Tracing(OpenTelemetry telemetry) {
        this.telemetry = telemetry;
    }

    @Override
    protected void doFilter(HttpServletRequest request, HttpServletResponse response, FilterChain chain)
            throws IOException, ServletException {
        Context sender = telemetry.getPropagators()
                .getTextMapPropagator()
                .extract(Context.current(), request, new Headers());
        Span span = telemetry.getTracer("whoami")
                .spanBuilder(request.getMethod() + " " + request.getRequestURI())
                .setParent(sender)
                .setSpanKind(SpanKind.SERVER)
                .startSpan();
        try (Scope entered = span.makeCurrent()) {
            chain.doFilter(request, response);
            span.setAttribute("http.response.status_code", response.getStatus());
        } finally {
            span.end();
        }
    }

    private static final class Headers implements TextMapGetter<HttpServletRequest> {
        @Override
        public Iterable<String> keys(HttpServletRequest request) {
            return Collections.list(request.getHeaderNames());
        }

        @Override
        public String get(HttpServletRequest request, String name) {
            return request.getHeader(name);
        }
    }
}
