package dev.lanyard;

import dev.lanyard.v1.UserSession;
import dev.lanyard.v1.Warning;
import java.util.List;

/**
 * A login that succeeded.
 *
 * @param ust the token; that of a login with a password cannot be shown again
 * @param session the new session, or the live one of the same external credential; without {@code session_auth}, which is the token
 * @param warnings what the user should know: the password expires soon, ...
 */
public record Login(Ust ust, UserSession session, List<Warning> warnings) {
    /** Messages print all that they hold, and {@code session_auth} is the token again. */
    static UserSession withoutToken(UserSession session) {
        return session.toBuilder().clearSessionAuth().build();
    }
}
