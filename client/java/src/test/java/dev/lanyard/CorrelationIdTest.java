package dev.lanyard;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.List;
import java.util.UUID;
import org.junit.jupiter.api.Test;

class CorrelationIdTest {
    @Test
    void what_the_contract_allows_is_taken_and_nothing_else() {
        for (String good : List.of("a", "order-4711", "A.b_C:d-9", "x".repeat(128))) {
            assertEquals(good, CorrelationId.of(good).value());
        }
        for (String bad : List.of("", "x".repeat(129), "a b", "a\n", "é", "a/b", "０")) {
            assertThrows(IllegalArgumentException.class, () -> CorrelationId.of(bad), bad);
            assertTrue(CorrelationId.parse(bad).isEmpty(), bad);
        }
        assertTrue(CorrelationId.parse(null).isEmpty());
    }

    @Test
    void a_bad_one_is_not_repeated() {
        var refusal = assertThrows(IllegalArgumentException.class, () -> CorrelationId.of("secret\n"));
        assertFalse(refusal.getMessage().contains("secret"));
    }

    @Test
    void a_new_one_is_a_uuid_of_version_7_of_now_and_never_the_same() {
        long before = System.currentTimeMillis();
        UUID id = UUID.fromString(CorrelationId.generate().value());
        assertEquals(7, id.version());
        assertEquals(2, id.variant());
        long time = id.getMostSignificantBits() >>> 16;
        assertTrue(before <= time && time <= System.currentTimeMillis());
        assertNotEquals(CorrelationId.generate(), CorrelationId.generate());
    }

    @Test
    void the_context_has_the_nearest_one() {
        assertTrue(LanyardContext.correlationId().isEmpty());
        LanyardContext.with(CorrelationId.of("outer")).run(() -> {
            LanyardContext.with(CorrelationId.of("inner"))
                    .run(() -> assertEquals("inner", LanyardContext.correlationId().orElseThrow().value()));
            assertEquals("outer", LanyardContext.correlationId().orElseThrow().value());
        });
        assertTrue(LanyardContext.correlationId().isEmpty());
    }
}
