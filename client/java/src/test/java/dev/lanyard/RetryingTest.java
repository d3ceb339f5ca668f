package dev.lanyard;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.lanyard.v1.ErrorReason;
import io.grpc.Context;
import io.grpc.Status;
import io.grpc.Status.Code;
import java.io.File;
import java.time.Duration;
import java.util.List;
import java.util.Set;
import java.util.concurrent.Executors;
import java.util.concurrent.TimeUnit;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** Deadlines and second attempts. */
class RetryingTest {
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

    private LanyardClient impatient(int attempts) {
        var policy = new RetryPolicy(attempts, Duration.ofMillis(1), Duration.ofMillis(1));
        return fake.client().retry(policy).build();
    }

    private static Code failure(Runnable call) {
        return assertThrows(LanyardException.class, call::run).code();
    }

    @Test
    void a_read_that_finds_the_server_unavailable_is_sent_again() {
        fake.refuse(2, Status.UNAVAILABLE);
        try (LanyardClient lanyard = impatient(4)) {
            assertTrue(lanyard.verify(UST) instanceof Verdict.Inactive);
        }
        assertEquals(3, fake.asked().size());
    }

    @Test
    void a_read_is_sent_as_often_as_the_policy_says_and_no_oftener() {
        for (int attempts : List.of(1, 3, 4)) {
            try (FakeLanyard other = new FakeLanyard()) {
                other.refuse(9, Status.UNAVAILABLE);
                var policy = new RetryPolicy(attempts, Duration.ofMillis(1), Duration.ofMillis(1));
                try (LanyardClient lanyard = other.client().retry(policy).build()) {
                    assertEquals(Code.UNAVAILABLE, failure(() -> lanyard.verify(UST)));
                }
                assertEquals(attempts, other.asked().size());
            }
        }
    }

    @Test
    void a_write_is_never_sent_again() {
        fake.refuse(4, Status.UNAVAILABLE);
        try (LanyardClient lanyard = impatient(4)) {
            Subject alice = lanyard.onBehalfOf(UST);
            assertEquals(Code.UNAVAILABLE, failure(() -> lanyard.logIn("alice", "secret")));
            assertEquals(Code.UNAVAILABLE, failure(alice::rotate));
            assertEquals(Code.UNAVAILABLE, failure(alice::logOut));
            assertEquals(Code.UNAVAILABLE, failure(alice::logOutElsewhere));
        }
        assertEquals(4, fake.asked().size());
    }

    @Test
    void only_unavailable_is_sent_again() {
        var codes = List.of(Code.ABORTED, Code.RESOURCE_EXHAUSTED, Code.INTERNAL, Code.UNAUTHENTICATED, Code.CANCELLED);
        try (LanyardClient lanyard = impatient(4)) {
            for (Code code : codes) {
                fake.refuse(1, code.toStatus());
                assertEquals(code, failure(() -> lanyard.verify(UST)));
            }
        }
        assertEquals(codes.size(), fake.asked().size());
    }

    @Test
    void an_exhausted_budget_stops_second_attempts_for_all_that_share_it() {
        fake.refuse(5, Status.UNAVAILABLE);
        try (LanyardClient lanyard = impatient(2)) {
            failure(() -> lanyard.verify(UST));
            failure(() -> lanyard.verify(UST));
            assertEquals(4, fake.asked().size());
            failure(() -> lanyard.withDeadline(Duration.ofSeconds(10)).verify(UST));
        }
        assertEquals(5, fake.asked().size(), "5 tokens of 10 are left: no second attempt");
    }

    @Test
    void a_server_that_does_not_answer_costs_the_deadline_and_no_more() {
        fake.hang();
        try (LanyardClient lanyard = impatient(4).withDeadline(Duration.ofMillis(50))) {
            var failure = assertThrows(LanyardException.class, () -> lanyard.verify(UST));
            assertEquals(Code.DEADLINE_EXCEEDED, failure.code());
            assertEquals(ErrorReason.ERROR_REASON_DEADLINE_EXCEEDED, failure.reason());
        }
    }

    @Test
    void the_server_is_told_how_long_the_client_waits() {
        try (LanyardClient lanyard = fake.client().build()) {
            assertTrue(lanyard.verify(UST) instanceof Verdict.Inactive);
        }
        String timeout = fake.headers("grpc-timeout").get(0);
        assertTrue(timeout.matches("1?[0-9]{7}u|20000000u"), "20 seconds at most: " + timeout);
    }

    @Test
    void a_deadline_of_the_context_that_is_earlier_counts() {
        fake.hang();
        var timer = Executors.newSingleThreadScheduledExecutor();
        var context = Context.current().withDeadlineAfter(50, TimeUnit.MILLISECONDS, timer);
        try (LanyardClient lanyard = impatient(4)) {
            context.run(() -> {
                Code code = failure(() -> lanyard.verify(UST));
                assertTrue(code == Code.DEADLINE_EXCEEDED || code == Code.CANCELLED, code::name);
            });
        } finally {
            context.cancel(null);
            timer.shutdownNow();
        }
    }

    @Test
    void a_server_that_is_not_there_is_unavailable() {
        fake.close();
        try (LanyardClient lanyard = impatient(2)) {
            var failure = assertThrows(LanyardException.class, () -> lanyard.verify(UST));
            assertTrue(failure.isUnavailable());
            assertEquals(ErrorReason.ERROR_REASON_UNSPECIFIED, failure.reason());
        }
    }

    @Test
    void connecting_fails_where_there_is_no_server_and_not_where_it_has_no_health() {
        LanyardClient.builder(fake.endpoint()).connect().close();
        fake.close();
        var failure = assertThrows(
                LanyardException.class, () -> LanyardClient.builder(fake.endpoint()).connect());
        assertTrue(failure.isUnavailable(), failure::getMessage);
    }

    @Test
    void every_service_of_the_contract_has_its_reads_listed() throws Exception {
        File stubs = new File(dev.lanyard.v1.SessionServiceGrpc.class.getResource("").toURI());
        Set<String> generated = Stream.of(stubs.list())
                .filter(name -> name.matches("[A-Za-z]+ServiceGrpc\\.class"))
                .map(name -> "lanyard.v1." + name.replace("Grpc.class", ""))
                .collect(Collectors.toSet());
        Set<String> listed =
                RetryPolicy.SERVICES.stream().map(service -> service.getName()).collect(Collectors.toSet());
        assertEquals(generated, listed);
    }

    @Test
    @SuppressWarnings("unchecked") // a service config is made of maps and lists
    void only_methods_without_side_effects_are_reads() {
        var configs = (List<Object>) RetryPolicy.DEFAULT.serviceConfig().get("methodConfig");
        var names = (List<Object>) ((java.util.Map<String, Object>) configs.get(0)).get("name");
        Set<String> reads = names.stream()
                .map(name -> ((java.util.Map<String, String>) name).get("method"))
                .collect(Collectors.toSet());
        assertEquals(
                Set.of("VerifySession", "BatchVerifySessions", "GetSession", "ListSessions", "GetUser",
                        "GetCurrentUser", "ListUsers", "ListAttributes", "ListAuditEvents", "GetDefinition",
                        "ListDefinitions", "ListLinkedAuth", "LookupLinkedAuth"),
                reads);
    }
}
