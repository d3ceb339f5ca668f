package dev.lanyard;

import dev.lanyard.v1.UserSession;
import java.time.Instant;
import java.util.Optional;

/**
 * A session with more time.
 *
 * @param session the session; without {@code session_auth}, which is the token
 * @param ust the new token, if there is one: hand it to the user in the place of the old one
 * @param graceTime until when the old token keeps working; only with a new one
 */
public record Renewal(UserSession session, Optional<Ust> ust, Optional<Instant> graceTime) {}
