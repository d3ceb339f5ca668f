package dev.lanyard;

import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.util.Objects;

/** A user session token (UST): whoever holds it <i>is</i> the user. It does not print itself. */
public final class Ust {
    private final String token;

    private Ust(String token) {
        this.token = Objects.requireNonNull(token, "token");
    }

    /** Takes any text for a token; whether it is a good one, {@link LanyardClient#verify} says. */
    public static Ust of(String token) {
        return new Ust(token);
    }

    /** The token itself, to hand it to its user. Not for logs, addresses or listings. */
    public String expose() {
        return token;
    }

    @Override
    public boolean equals(Object other) {
        return other instanceof Ust ust && MessageDigest.isEqual(bytes(token), bytes(ust.token));
    }

    @Override
    public int hashCode() {
        return token.hashCode();
    }

    /** Shows nothing of the token. */
    @Override
    public String toString() {
        return "Ust[redacted]";
    }

    private static byte[] bytes(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }
}
