package dev.lanyard;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.lanyard.v1.ClientInfo;
import dev.lanyard.v1.ListSessionsRequest;
import dev.lanyard.v1.VerifySessionRequest;
import io.grpc.Status;
import io.opentelemetry.api.trace.Span;
import io.opentelemetry.api.trace.propagation.W3CTraceContextPropagator;
import io.opentelemetry.context.propagation.ContextPropagators;
import io.opentelemetry.instrumentation.grpc.v1_6.GrpcTelemetry;
import io.opentelemetry.sdk.OpenTelemetrySdk;
import io.opentelemetry.sdk.trace.SdkTracerProvider;
import java.time.Duration;
import java.util.List;
import java.util.UUID;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** What each call carries: caller, correlation ID, trace context, where the user is. */
class CarryingTest {
    private static final Ust UST = Ust.of("lyu1_alice");

    private FakeLanyard fake;

    @BeforeEach
    void start() {
        fake = new FakeLanyard();
    }

    @AfterEach
    void stop() {
        fake.close();
    }

    private LanyardClientBuilder builder() {
        var quick = new RetryPolicy(4, Duration.ofMillis(1), Duration.ofMillis(1));
        return fake.client().retry(quick);
    }

    private static Verdict verify(LanyardClient lanyard) {
        return lanyard.verify(UST);
    }

    private List<String> correlationIds() {
        return fake.headers(CorrelationId.HEADER);
    }

    @Test
    void a_new_correlation_id_is_the_same_in_all_attempts_and_another_in_the_next_call() {
        fake.refuse(2, Status.UNAVAILABLE);
        try (LanyardClient lanyard = builder().build()) {
            verify(lanyard);
            verify(lanyard);
        }
        List<String> ids = correlationIds();
        assertEquals(4, ids.size());
        assertEquals(1, ids.stream().limit(3).distinct().count());
        assertNotEquals(ids.get(2), ids.get(3));
        assertEquals(7, UUID.fromString(ids.get(0)).version());
    }

    @Test
    void the_correlation_id_of_the_context_is_carried_and_named_by_the_exception() {
        fake.refuse(1, Status.INTERNAL);
        try (LanyardClient lanyard = builder().build()) {
            LanyardContext.with(CorrelationId.of("order-4711")).run(() -> {
                var failure = assertThrows(LanyardException.class, () -> verify(lanyard));
                assertTrue(failure.getMessage().contains("order-4711"), failure::getMessage);
            });
        }
        assertEquals(List.of("order-4711"), correlationIds());
    }

    @Test
    void an_explicit_correlation_id_goes_before_the_one_of_the_context() {
        try (LanyardClient lanyard = builder().build()) {
            LanyardClient explicit = lanyard.withCorrelationId(CorrelationId.of("explicit"));
            LanyardContext.with(CorrelationId.of("of-the-context")).run(() -> verify(explicit));
        }
        assertEquals(List.of("explicit"), correlationIds());
    }

    @Test
    void the_trace_of_the_current_span_is_carried_by_the_standard_instrumentation() {
        var openTelemetry = OpenTelemetrySdk.builder()
                .setTracerProvider(SdkTracerProvider.builder().build())
                .setPropagators(ContextPropagators.create(W3CTraceContextPropagator.getInstance()))
                .build();
        Span span = openTelemetry.getTracer("test").spanBuilder("request").startSpan();
        var telemetry = GrpcTelemetry.create(openTelemetry).createClientInterceptor();
        try (LanyardClient lanyard = builder().intercept(telemetry).build(); var scope = span.makeCurrent()) {
            verify(lanyard);
        }
        String traceparent = fake.headers("traceparent").get(0);
        assertTrue(traceparent.startsWith("00-" + span.getSpanContext().getTraceId() + "-"), traceparent);
        assertNotEquals(span.getSpanContext().getSpanId(), traceparent.split("-")[2], "the call has a span of its own");
    }

    @Test
    void a_call_outside_of_any_trace_carries_none() {
        try (LanyardClient lanyard = builder().build()) {
            verify(lanyard);
        }
        assertNull(fake.headers("traceparent").get(0));
    }

    @Test
    void the_key_is_sent_as_a_bearer_and_shown_nowhere() {
        fake.refuse(1, Status.UNAUTHENTICATED.withDescription("who are you?"));
        var builder = builder().apiKey("lyk1_secret");
        try (LanyardClient lanyard = builder.build()) {
            Subject subject = lanyard.onBehalfOf(UST);
            var failure = assertThrows(LanyardException.class, subject::currentSession);
            assertEquals(List.of("Bearer lyk1_secret"), fake.headers("authorization"));

            var pages = subject.listSessions(ListSessionsRequest.getDefaultInstance());
            String shown = builder + " " + lanyard + " " + subject + " " + UST + " " + pages + " " + failure;
            assertFalse(shown.contains("lyk1") || shown.contains("lyu1"), shown);
        }
    }

    @Test
    void where_the_user_is_goes_along_and_the_app_stays_unless_it_is_named() {
        var elsewhere = ClientInfo.newBuilder().setRemoteAddr("203.0.113.7").build();
        var shop = elsewhere.toBuilder().setCurrentApp("Shop").build();
        try (LanyardClient lanyard = builder().currentApp("CRM").build()) {
            verify(lanyard);
            verify(lanyard.withClientInfo(elsewhere));
            lanyard.withClientInfo(shop).onBehalfOf(UST).logOut();
        }
        List<String> told = fake.asked().stream()
                .map(asked -> (ClientInfo) asked.request().getField(
                        asked.request().getDescriptorForType().findFieldByName("client")))
                .map(client -> client.getCurrentApp() + " " + client.getRemoteAddr())
                .toList();
        assertEquals(List.of("CRM ", "CRM 203.0.113.7", "Shop 203.0.113.7"), told);
    }

    @Test
    void what_a_request_says_of_itself_is_not_overwritten() {
        var request = VerifySessionRequest.newBuilder()
                .setClient(ClientInfo.newBuilder().setCurrentApp("Shop"))
                .build();
        try (LanyardClient lanyard = builder().currentApp("CRM").build()) {
            lanyard.call(dev.lanyard.v1.SessionServiceGrpc.getVerifySessionMethod(), request);
        }
        assertEquals(request, fake.asked().get(0).request());
    }
}
