package dev.lanyard;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;

import java.time.Duration;
import java.util.List;
import org.junit.jupiter.api.Test;

class BuilderTest {
    @Test
    void an_address_says_where_the_server_is_and_whether_to_encrypt() {
        assertEquals(new Endpoint("dns:///127.0.0.1:50051", false), Endpoint.parse("127.0.0.1:50051", false));
        assertEquals(new Endpoint("dns:///localhost:50051", true), Endpoint.parse("localhost:50051", true));
        assertEquals(new Endpoint("dns:///[::1]:50051", false), Endpoint.parse("[::1]:50051", false));
        assertEquals(new Endpoint("dns:///sso_server:1", false), Endpoint.parse("http://sso_server:1/", false));
        assertEquals(new Endpoint("dns:///sso.example:443", true), Endpoint.parse("https://sso.example:443", false));
    }

    @Test
    void what_is_no_endpoint_is_refused() {
        for (String text : List.of("", "127.0.0.1", "ftp://127.0.0.1:1", "http://", "not an address", "http://a:1/b")) {
            assertThrows(IllegalArgumentException.class, () -> LanyardClient.builder(text).build(), text);
        }
    }

    @Test
    void key_and_tokens_go_to_another_machine_in_the_clear_only_where_that_is_said() {
        var refusal = assertThrows(
                IllegalArgumentException.class, () -> LanyardClient.builder("sso.example:50051").build());
        assertEquals(
                "'sso.example' is another machine: say https://, or http:// to send key and tokens in the clear",
                refusal.getMessage());
        for (String lookalike : List.of("127.0.0.1.example:1", "localhost.example:1", "127.example:1")) {
            assertThrows(IllegalArgumentException.class, () -> Endpoint.parse(lookalike, false), lookalike);
        }
    }

    @Test
    void certificates_are_never_forgotten_on_a_connection_in_the_clear() {
        for (LanyardClientBuilder builder : List.of(
                LanyardClient.builder("http://127.0.0.1:1").tls(),
                LanyardClient.builder("http://127.0.0.1:1").ca("pem"),
                LanyardClient.builder("http://127.0.0.1:1").identity("cert", "key"),
                LanyardClient.builder("http://127.0.0.1:1").serverName("lanyard"))) {
            assertThrows(IllegalArgumentException.class, builder::build);
        }
    }

    @Test
    void certificates_that_cannot_be_used_are_refused_without_showing_the_key() {
        var builder = LanyardClient.builder("https://127.0.0.1:1").identity("cert", "private");
        var refusal = assertThrows(IllegalArgumentException.class, builder::build);
        assertFalse(String.valueOf(refusal).contains("private"), refusal::toString);
    }

    @Test
    void a_key_that_cannot_be_sent_is_refused_and_not_repeated() {
        for (String key : List.of("", "secret\n", "se cret", "secrét")) {
            var refusal = assertThrows(
                    IllegalArgumentException.class, () -> LanyardClient.builder("127.0.0.1:1").apiKey(key));
            assertFalse(refusal.getMessage().contains("se c") || refusal.getMessage().contains("secr"));
        }
    }

    @Test
    void a_deadline_is_more_than_nothing_and_at_most_a_day() {
        for (Duration bad : List.of(Duration.ZERO, Duration.ofMillis(-1), Duration.ofHours(25))) {
            assertThrows(
                    IllegalArgumentException.class, () -> LanyardClient.builder("127.0.0.1:1").deadline(bad));
        }
    }

    @Test
    void a_retry_policy_that_grpc_cannot_follow_is_refused() {
        Duration wait = Duration.ofMillis(1);
        assertThrows(IllegalArgumentException.class, () -> new RetryPolicy(0, wait, wait));
        assertThrows(IllegalArgumentException.class, () -> new RetryPolicy(2, Duration.ZERO, wait));
        assertThrows(IllegalArgumentException.class, () -> new RetryPolicy(2, Duration.ofSeconds(1), wait));
    }
}
