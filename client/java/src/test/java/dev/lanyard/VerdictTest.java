package dev.lanyard;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.protobuf.ByteString;
import dev.lanyard.v1.InactiveReason;
import dev.lanyard.v1.InactiveSession;
import dev.lanyard.v1.RevokeReason;
import dev.lanyard.v1.Role;
import dev.lanyard.v1.VerifiedSession;
import dev.lanyard.v1.VerifySessionResponse;
import java.time.Duration;
import java.util.Optional;
import org.junit.jupiter.api.Test;

class VerdictTest {
    private static VerifySessionResponse active(Role role) {
        var session = VerifiedSession.newBuilder().setUsername("alice").addRoles(role);
        var cacheFor = com.google.protobuf.Duration.newBuilder().setSeconds(3).setNanos(5);
        return VerifySessionResponse.newBuilder().setSession(session).setCacheFor(cacheFor).build();
    }

    private static Verdict.Inactive inactive(VerifySessionResponse answer) {
        return assertInstanceOf(Verdict.Inactive.class, Verdict.of(answer));
    }

    @Test
    void a_good_token_gives_its_session_and_how_long_to_remember_it() throws Exception {
        var verdict = assertInstanceOf(Verdict.Active.class, Verdict.of(active(Role.ROLE_REGULAR)));
        assertEquals("alice", verdict.session().getUsername());
        assertEquals("alice", verdict.orElseThrow().getUsername());
        assertEquals(Optional.of(Duration.ofSeconds(3, 5)), verdict.cacheFor());
        assertFalse(verdict.isSuperUser());
        assertTrue(assertInstanceOf(Verdict.Active.class, Verdict.of(active(Role.ROLE_SUPER_USER))).isSuperUser());
    }

    @Test
    void a_verdict_without_a_case_is_inactive() {
        assertEquals(
                InactiveReason.INACTIVE_REASON_UNSPECIFIED,
                inactive(VerifySessionResponse.getDefaultInstance()).reason());
    }

    @Test
    void a_case_that_this_client_does_not_know_is_inactive() throws Exception {
        // Field 100, of one byte.
        var ofTheFuture = VerifySessionResponse.parseFrom(ByteString.fromHex("a2060178"));
        assertEquals(InactiveReason.INACTIVE_REASON_UNSPECIFIED, inactive(ofTheFuture).reason());
    }

    @Test
    void a_reason_that_this_client_does_not_know_is_inactive_too() {
        var unknown = InactiveSession.newBuilder().setReasonValue(999).setRevokeReasonValue(999);
        var verdict = inactive(VerifySessionResponse.newBuilder().setInactive(unknown).build());
        assertEquals(InactiveReason.INACTIVE_REASON_UNSPECIFIED, verdict.reason());
        assertEquals(RevokeReason.REVOKE_REASON_UNSPECIFIED, verdict.revokeReason());
    }

    @Test
    void an_inactive_session_says_why_it_ended_and_gives_no_session() {
        var locked = new Verdict.Inactive(
                InactiveReason.INACTIVE_REASON_REVOKED, RevokeReason.REVOKE_REASON_USER_LOCKED);
        assertEquals("the session is not active (REVOKED: USER_LOCKED)", locked.toString());
        var idle = new Verdict.Inactive(
                InactiveReason.INACTIVE_REASON_IDLE_EXPIRED, RevokeReason.REVOKE_REASON_UNSPECIFIED);
        var refusal = assertThrows(InactiveSessionException.class, idle::orElseThrow);
        assertEquals("the session is not active (IDLE_EXPIRED)", refusal.getMessage());
        assertEquals(idle, refusal.verdict());
    }
}
