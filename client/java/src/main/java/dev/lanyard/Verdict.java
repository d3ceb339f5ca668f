package dev.lanyard;

import com.google.errorprone.annotations.CheckReturnValue;
import dev.lanyard.v1.InactiveReason;
import dev.lanyard.v1.InactiveSession;
import dev.lanyard.v1.RevokeReason;
import dev.lanyard.v1.Role;
import dev.lanyard.v1.VerifiedSession;
import dev.lanyard.v1.VerifySessionResponse;
import java.time.Duration;
import java.util.Optional;

/**
 * Whether a token is good. There is no way to the session but through {@link Active}:
 *
 * <pre>{@code
 * if (lanyard.verify(ust) instanceof Verdict.Active active) {
 *     greet(active.session().getUsername());
 * }
 * }</pre>
 */
@CheckReturnValue
public sealed interface Verdict permits Verdict.Active, Verdict.Inactive {
    /**
     * The session of a good token; everything else is an exception.
     *
     * @throws InactiveSessionException if the token is not good
     */
    VerifiedSession orElseThrow() throws InactiveSessionException;

    /**
     * The token is good.
     *
     * @param session what a service needs to know of the session
     * @param cacheFor how long the verdict may be used again without asking; empty: not at all
     */
    record Active(VerifiedSession session, Optional<Duration> cacheFor) implements Verdict {
        /** Whether the user may act on everybody's behalf. */
        public boolean isSuperUser() {
            return session.getRolesList().contains(Role.ROLE_SUPER_USER);
        }

        @Override
        public VerifiedSession orElseThrow() {
            return session;
        }
    }

    /**
     * The token is not good. Why is for the calling service, not for the end user.
     *
     * @param reason why; unspecified where the server gave no reason that this client knows
     * @param revokeReason why it was revoked, with {@link InactiveReason#INACTIVE_REASON_REVOKED}
     */
    record Inactive(InactiveReason reason, RevokeReason revokeReason) implements Verdict {
        @Override
        public VerifiedSession orElseThrow() throws InactiveSessionException {
            throw new InactiveSessionException(this);
        }

        /** For people: {@code the session is not active (REVOKED: LOGOUT)}. */
        @Override
        public String toString() {
            String why = reason.name().replaceFirst("^INACTIVE_REASON_", "");
            if (revokeReason != RevokeReason.REVOKE_REASON_UNSPECIFIED) {
                why += ": " + revokeReason.name().replaceFirst("^REVOKE_REASON_", "");
            }
            return "the session is not active (" + why + ")";
        }
    }

    /** A verdict with neither case is inactive: a server newer than this client may know a third. */
    static Verdict of(VerifySessionResponse answer) {
        if (!answer.hasSession()) {
            return inactive(answer.getInactive());
        }
        Optional<Duration> cacheFor =
                answer.hasCacheFor() ? Optional.of(Durations.toJava(answer.getCacheFor())) : Optional.empty();
        return new Active(answer.getSession(), cacheFor);
    }

    private static Inactive inactive(InactiveSession session) {
        InactiveReason reason = session.getReason();
        RevokeReason revokeReason = session.getRevokeReason();
        return new Inactive(
                reason == InactiveReason.UNRECOGNIZED ? InactiveReason.INACTIVE_REASON_UNSPECIFIED : reason,
                revokeReason == RevokeReason.UNRECOGNIZED ? RevokeReason.REVOKE_REASON_UNSPECIFIED : revokeReason);
    }
}
