package dev.lanyard;

import java.security.SecureRandom;
import java.util.Optional;
import java.util.UUID;

/**
 * The business ID of a request, carried through every service, log line, span, error and audit row: 1 to 128 of letters,
 * digits, {@code .}, {@code _}, {@code :} and {@code -}.
 *
 * @param value the ID as text
 */
public record CorrelationId(String value) {
    /** The HTTP header and gRPC metadata that carry it. */
    public static final String HEADER = "x-correlation-id";

    private static final int LONGEST = 128;
    private static final SecureRandom RANDOM = new SecureRandom();

    /**
     * Takes text that is a correlation ID.
     *
     * @throws IllegalArgumentException if it is none; the text is not repeated: it may be anything
     */
    public CorrelationId {
        if (!isGood(value)) {
            throw new IllegalArgumentException(
                    "a correlation ID is 1 to 128 of letters, digits, '.', '_', ':' and '-'");
        }
    }

    /** The same as the constructor, for those who read it aloud. */
    public static CorrelationId of(String value) {
        return new CorrelationId(value);
    }

    /** The ID, or nothing if the text (which may be {@code null}) is none. */
    public static Optional<CorrelationId> parse(String text) {
        return isGood(text) ? Optional.of(new CorrelationId(text)) : Optional.empty();
    }

    /** A new one (a UUIDv7, which the JDK does not make yet). */
    public static CorrelationId generate() {
        long high = System.currentTimeMillis() << 16 | 0x7000 | RANDOM.nextInt(0x1000);
        long low = RANDOM.nextLong() >>> 2 | Long.MIN_VALUE;
        return new CorrelationId(new UUID(high, low).toString());
    }

    @Override
    public String toString() {
        return value;
    }

    private static boolean isGood(String text) {
        return text != null && !text.isEmpty() && text.length() <= LONGEST && text.chars().allMatch(CorrelationId::isAllowed);
    }

    private static boolean isAllowed(int c) {
        return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || "._:-".indexOf(c) >= 0;
    }
}
