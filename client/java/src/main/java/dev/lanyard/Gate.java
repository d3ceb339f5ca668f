package dev.lanyard;

import dev.lanyard.v1.ClientInfo;
import java.time.Duration;
import java.util.Optional;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** Decides who comes in: what the middleware of every kind of server has in common. */
record Gate(LanyardClient lanyard) {
    private static final System.Logger LOG = System.getLogger("dev.lanyard");
    /** The scheme is case-insensitive (RFC 9110), and one token follows (RFC 6750). */
    private static final Pattern BEARER = Pattern.compile("bearer +(\\S+) *", Pattern.CASE_INSENSITIVE);

    /** Why a request does not come in. */
    enum Refusal {
        /** No token was shown. */
        NO_TOKEN("a bearer token is needed"),
        /** The token is not good: the user must log in. */
        INACTIVE("the session is not active"),
        /** Nobody knows at this moment; it says nothing about the user. */
        UNAVAILABLE("the session cannot be verified now"),
        /** This service may not ask, or asked wrongly: an operator must see to it. */
        MISCONFIGURED("the session cannot be verified");

        /** For the caller of this service; it says nothing of the session. */
        final String text;

        Refusal(String text) {
            this.text = text;
        }
    }

    /** A request that was not let in. */
    static final class Refused extends Exception {
        private static final long serialVersionUID = 1;

        final Refusal refusal;
        final transient Optional<Duration> retryAfter;

        Refused(Refusal refusal, Optional<Duration> retryAfter) {
            // Refusals are everyday, and nobody looks at where they come from.
            super(refusal.text, null, false, false);
            this.refusal = refusal;
            this.retryAfter = retryAfter;
        }
    }

    /** The ID of a request: the one that came along or, if there is none or it is not one, a new one. */
    static CorrelationId correlationId(String header) {
        return CorrelationId.parse(header).orElseGet(CorrelationId::generate);
    }

    /** Asks Lanyard about the token of an {@code authorization} header, which may be {@code null}. */
    Admission admit(String authorization, ClientInfo client, CorrelationId correlationId) throws Refused {
        Matcher bearer = BEARER.matcher(authorization == null ? "" : authorization);
        if (!bearer.matches()) {
            throw new Refused(Refusal.NO_TOKEN, Optional.empty());
        }
        Ust ust = Ust.of(bearer.group(1));
        if (verify(ust, client, correlationId) instanceof Verdict.Active active) {
            return new Admission(correlationId, ust, active.session());
        }
        throw new Refused(Refusal.INACTIVE, Optional.empty());
    }

    private Verdict verify(Ust ust, ClientInfo client, CorrelationId correlationId) throws Refused {
        try {
            return lanyard.withClientInfo(client).withCorrelationId(correlationId).verify(ust);
        } catch (LanyardException failure) {
            // The one place where it is handled; its message names the correlation ID and no token.
            LOG.log(System.Logger.Level.WARNING, "a session could not be verified: {0}", failure.getMessage());
            throw new Refused(refusal(failure), failure.retryAfter());
        }
    }

    private static Refusal refusal(LanyardException failure) {
        return switch (failure.code()) {
            case UNAVAILABLE, DEADLINE_EXCEEDED, RESOURCE_EXHAUSTED, ABORTED, CANCELLED -> Refusal.UNAVAILABLE;
            default -> Refusal.MISCONFIGURED;
        };
    }
}
