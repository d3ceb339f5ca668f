package dev.lanyard;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.lanyard.v1.*;
import io.grpc.Status;
import io.grpc.health.v1.HealthCheckRequest;
import java.time.Duration;
import java.util.List;
import java.util.Optional;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

class VerbsTest {
    private static final Ust UST = Ust.of("lyu1_alice");

    private FakeLanyard fake;
    private LanyardClient lanyard;

    @BeforeEach
    void start() {
        fake = new FakeLanyard();
        lanyard = fake.client().build();
    }

    @AfterEach
    void stop() {
        lanyard.close();
        fake.close();
    }

    private static ListSessionsResponse page(String nextToken, String... ids) {
        var page = ListSessionsResponse.newBuilder().setNextPageToken(nextToken);
        for (String id : ids) {
            page.addSessions(UserSession.newBuilder().setSessionId(id));
        }
        return page.build();
    }

    @Test
    void a_list_is_gone_through_page_by_page_and_only_as_far_as_somebody_looks() {
        fake.answer(page("second", "ses_1", "ses_2"));
        fake.answer(page("third"));
        fake.answer(page("", "ses_3"));
        var request = ListSessionsRequest.newBuilder().setPageSize(2).build();
        var sessions = lanyard.onBehalfOf(UST).listSessions(request).iterator();
        assertEquals(0, fake.asked().size());
        assertEquals("ses_1", sessions.next().getSessionId());
        assertEquals(1, fake.asked().size());
        assertEquals("ses_2", sessions.next().getSessionId());
        assertEquals("ses_3", sessions.next().getSessionId());
        assertFalse(sessions.hasNext());

        var asked = fake.asked().stream().map(call -> (ListSessionsRequest) call.request()).toList();
        assertEquals(List.of("", "second", "third"), asked.stream().map(ListSessionsRequest::getPageToken).toList());
        assertTrue(asked.stream().allMatch(page -> page.getUst().equals("lyu1_alice") && page.getPageSize() == 2));
    }

    @Test
    void a_page_that_failed_may_be_asked_for_again() {
        fake.answer(page("second", "ses_1"));
        fake.refuse(1, Status.INTERNAL);
        fake.answer(page("", "ses_2"));
        var pages = lanyard.onBehalfOf(UST).listSessions(ListSessionsRequest.getDefaultInstance()).byPage().iterator();
        assertEquals(1, pages.next().items().size());
        assertThrows(LanyardException.class, pages::next);
        assertTrue(pages.hasNext());
        assertEquals("ses_2", pages.next().items().get(0).getSessionId());
        assertFalse(pages.hasNext());
    }

    @Test
    void an_answer_that_is_not_whole_is_an_error_and_not_a_login() {
        fake.answer(CreateSessionResponse.newBuilder().setUst("lyu1_x").build());
        var failure = assertThrows(LanyardException.class, () -> lanyard.logIn("alice", "secret"));
        assertTrue(failure.getMessage().startsWith("the answer has no session or token (INTERNAL"), failure::getMessage);
        assertThrows(LanyardException.class, () -> lanyard.onBehalfOf(UST).currentUser());
    }

    @Test
    void a_rotation_without_a_new_token_is_an_error_and_a_renewal_without_one_is_not() {
        var answer = RenewSessionResponse.newBuilder().setSession(UserSession.getDefaultInstance()).build();
        fake.answer(answer);
        assertEquals(Optional.empty(), lanyard.onBehalfOf(UST).renew().ust());
        fake.answer(answer);
        assertThrows(LanyardException.class, () -> lanyard.onBehalfOf(UST).rotate());
    }

    @Test
    void verdicts_of_a_batch_are_one_for_each_token_or_an_error() {
        var good = VerifySessionResponse.newBuilder().setSession(VerifiedSession.getDefaultInstance());
        fake.answer(BatchVerifySessionsResponse.newBuilder()
                .addVerdicts(good)
                .addVerdicts(VerifySessionResponse.getDefaultInstance())
                .build());
        var verdicts = lanyard.batchVerify(List.of(UST, UST));
        assertTrue(verdicts.get(0) instanceof Verdict.Active && verdicts.get(1) instanceof Verdict.Inactive);
        fake.answer(BatchVerifySessionsResponse.newBuilder().addVerdicts(good).build());
        assertThrows(LanyardException.class, () -> lanyard.batchPeek(List.of(UST, UST)));
    }

    @Test
    void a_definition_that_is_linked_to_nobody_is_empty_and_the_others_stay_in_their_places() {
        fake.answer(LookupLinkedAuthResponse.newBuilder()
                .addUsers(LinkedUser.getDefaultInstance())
                .addUsers(LinkedUser.newBuilder().setUserId("usr_1"))
                .build());
        var definition = DefinitionRef.newBuilder().setAuthId(7).build();
        var users = lanyard.lookupLinkedAuth(List.of(definition, definition));
        assertEquals(Optional.empty(), users.get(0));
        assertEquals("usr_1", users.get(1).orElseThrow().getUserId());
    }

    @Test
    void a_request_that_is_nobodys_is_not_sent_on_behalf_of_a_user() {
        var health = HealthCheckRequest.getDefaultInstance();
        assertThrows(
                IllegalArgumentException.class,
                () -> lanyard.onBehalfOf(UST).call(io.grpc.health.v1.HealthGrpc.getCheckMethod(), health));
        assertEquals(0, fake.asked().size());
    }

    @Test
    void what_holds_a_secret_does_not_print_it() {
        var login = new Login(UST, UserSession.getDefaultInstance(), List.of());
        var renewal = new Renewal(UserSession.getDefaultInstance(), Optional.of(UST), Optional.empty());
        var totp = new TotpEnrollment("JBSWY3DP", "otpauth://totp/x?secret=JBSWY3DP");
        var platform = new PlatformAuth(
                "micetro", "https://m", "Bearer JBSWY", PlatformAuthScheme.PLATFORM_AUTH_SCHEME_BEARER, Duration.ZERO,
                PlatformSettings.getDefaultInstance());
        String shown = login + " " + renewal + " " + totp + " " + platform;
        assertFalse(shown.contains("lyu1") || shown.contains("JBSWY"), shown);
    }

    @Test
    void the_session_of_a_login_holds_no_token_and_so_prints_none() {
        var session = UserSession.newBuilder().setUsername("alice").setSessionAuth("lyu1_alice").build();
        fake.answer(CreateSessionResponse.newBuilder().setUst("lyu1_alice").setSession(session).build());
        fake.answer(RenewSessionResponse.newBuilder().setUst("lyu1_alice").setSession(session).build());
        fake.answer(GetSessionResponse.newBuilder().setSession(session).build());
        Login login = lanyard.logIn("alice", "secret");
        Subject alice = lanyard.onBehalfOf(login.ust());
        String shown = login + " " + alice.rotate() + " " + alice.currentSession();
        assertTrue(shown.contains("alice") && !shown.contains("lyu1"), shown);
        assertEquals("lyu1_alice", login.ust().expose());
    }

    @Test
    void the_credential_of_a_platform_is_handed_out_with_how_to_use_it() {
        fake.answer(GetPlatformAuthResponse.newBuilder()
                .setPlatform("micetro")
                .setMicetroUrl("https://micetro.example")
                .setMicetroAuth("Bearer x")
                .setValidFor(com.google.protobuf.Duration.newBuilder().setSeconds(60))
                .build());
        PlatformAuth auth = lanyard.onBehalfOf(UST).getPlatformAuth();
        assertEquals("Bearer x", auth.micetroAuth());
        assertEquals(Duration.ofMinutes(1), auth.validFor());
        assertThrows(LanyardException.class, () -> lanyard.onBehalfOf(UST).getPlatformAuthAfterRefusal());
        var asked = fake.asked().stream().map(call -> (GetPlatformAuthRequest) call.request()).toList();
        assertEquals(List.of(false, true), asked.stream().map(GetPlatformAuthRequest::getRefused).toList());
    }
}
