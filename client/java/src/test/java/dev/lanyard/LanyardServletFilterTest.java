package dev.lanyard;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.protobuf.Any;
import com.google.rpc.RetryInfo;
import dev.lanyard.v1.InactiveReason;
import dev.lanyard.v1.InactiveSession;
import dev.lanyard.v1.Role;
import dev.lanyard.v1.VerifiedSession;
import dev.lanyard.v1.VerifySessionRequest;
import dev.lanyard.v1.VerifySessionResponse;
import io.grpc.Status;
import io.grpc.protobuf.StatusProto;
import jakarta.servlet.DispatcherType;
import jakarta.servlet.http.HttpServlet;
import jakarta.servlet.http.HttpServletRequest;
import jakarta.servlet.http.HttpServletResponse;
import java.io.IOException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandlers;
import java.util.EnumSet;
import org.eclipse.jetty.ee10.servlet.FilterHolder;
import org.eclipse.jetty.ee10.servlet.ServletContextHandler;
import org.eclipse.jetty.ee10.servlet.ServletHolder;
import org.eclipse.jetty.server.Server;
import org.eclipse.jetty.server.ServerConnector;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

class LanyardServletFilterTest {
    private static final VerifySessionResponse ALICE = VerifySessionResponse.newBuilder()
            .setSession(VerifiedSession.newBuilder()
                    .setUsername("alice")
                    .setSessionId("ses_1")
                    .addRoles(Role.ROLE_SUPER_USER))
            .build();

    private FakeLanyard fake;
    private LanyardClient lanyard;
    private Server server;

    /** Says who is there, as a service behind the filter sees it. */
    private static final class Whoami extends HttpServlet {
        private static final long serialVersionUID = 1;

        @Override
        protected void doGet(HttpServletRequest request, HttpServletResponse response) throws IOException {
            response.getWriter().print(String.join(" ",
                    request.getUserPrincipal().getName(),
                    request.getRemoteUser(),
                    String.valueOf(request.isUserInRole("SUPER_USER")),
                    String.valueOf(request.isUserInRole("REGULAR")),
                    LanyardServletFilter.session(request).orElseThrow().getSessionId(),
                    LanyardContext.session().orElseThrow().getSessionId(),
                    LanyardContext.correlationId().orElseThrow().value(),
                    LanyardContext.ust().orElseThrow().expose()));
        }
    }

    @BeforeEach
    void start() throws Exception {
        fake = new FakeLanyard();
        lanyard = fake.client().currentApp("CRM").retry(RetryPolicy.NEVER).build();
        server = new Server();
        var connector = new ServerConnector(server);
        connector.setHost("127.0.0.1");
        server.addConnector(connector);
        var context = new ServletContextHandler("/");
        context.addFilter(
                new FilterHolder(new LanyardServletFilter(lanyard)), "/*", EnumSet.of(DispatcherType.REQUEST));
        context.addServlet(new ServletHolder(new Whoami()), "/whoami");
        server.setHandler(context);
        server.start();
    }

    @AfterEach
    void stop() throws Exception {
        server.stop();
        lanyard.close();
        fake.close();
    }

    private HttpResponse<String> get(String... headers) throws Exception {
        var request = HttpRequest.newBuilder(URI.create(server.getURI().resolve("/whoami").toString()));
        if (headers.length > 0) {
            request.headers(headers);
        }
        return HttpClient.newHttpClient().send(request.build(), BodyHandlers.ofString());
    }

    private static String header(HttpResponse<String> response, String name) {
        return response.headers().firstValue(name).orElse("");
    }

    @Test
    void a_request_of_a_good_session_comes_in_and_the_servlet_knows_whose_it_is() throws Exception {
        fake.answer(ALICE);
        var response = get("authorization", "Bearer lyu1_alice", "x-correlation-id", "order-4711", "user-agent", "test");
        assertEquals(200, response.statusCode());
        assertEquals("alice alice true false ses_1 ses_1 order-4711 lyu1_alice", response.body());
        assertEquals("order-4711", header(response, "x-correlation-id"));

        var asked = (VerifySessionRequest) fake.asked().get(0).request();
        assertEquals("lyu1_alice", asked.getUst());
        assertEquals("CRM", asked.getClient().getCurrentApp());
        assertEquals("127.0.0.1", asked.getClient().getRemoteAddr());
        assertEquals("test", asked.getClient().getUserAgent());
        assertEquals("order-4711", fake.headers("x-correlation-id").get(0));
    }

    @Test
    void a_request_without_a_token_does_not_come_in_and_nobody_is_asked() throws Exception {
        for (String authorization : new String[] {"", "Basic YWxpY2U6eA==", "Bearer", "Bearer a b", "lyu1_alice"}) {
            var response = get("authorization", authorization);
            assertEquals(401, response.statusCode(), authorization);
            assertEquals("Bearer", header(response, "www-authenticate"));
        }
        assertEquals(401, get().statusCode());
        assertEquals(0, fake.asked().size());
    }

    @Test
    void a_token_that_is_not_good_does_not_come_in_and_why_is_not_said() throws Exception {
        var revoked = InactiveSession.newBuilder().setReason(InactiveReason.INACTIVE_REASON_REVOKED);
        fake.answer(VerifySessionResponse.newBuilder().setInactive(revoked).build());
        var response = get("authorization", "bearer lyu1_alice", "x-correlation-id", "order-4711");
        assertEquals(401, response.statusCode());
        assertEquals("Bearer error=\"invalid_token\"", header(response, "www-authenticate"));
        assertEquals("order-4711", header(response, "x-correlation-id"));
        assertEquals(
                "{\"error\": \"the session is not active\", \"correlation_id\": \"order-4711\"}",
                response.body().strip());
    }

    @Test
    void a_verdict_that_the_client_does_not_understand_does_not_come_in() throws Exception {
        assertEquals(401, get("authorization", "Bearer lyu1_alice").statusCode());
        assertEquals(1, fake.asked().size());
    }

    @Test
    void where_lanyard_cannot_be_asked_the_answer_is_503_with_the_time_to_wait() throws Exception {
        var delay = com.google.protobuf.Duration.newBuilder().setSeconds(1).setNanos(1);
        var details = Any.pack(RetryInfo.newBuilder().setRetryDelay(delay).build());
        var overloaded = com.google.rpc.Status.newBuilder()
                .setCode(Status.Code.UNAVAILABLE.value())
                .addDetails(details)
                .build();
        fake.refuse(1, StatusProto.toStatusRuntimeException(overloaded));
        var response = get("authorization", "Bearer lyu1_alice");
        assertEquals(503, response.statusCode());
        assertEquals("2", header(response, "retry-after"));
    }

    @Test
    void where_this_service_may_not_ask_it_is_not_the_users_fault() throws Exception {
        for (Status status : new Status[] {Status.UNAUTHENTICATED, Status.PERMISSION_DENIED, Status.INVALID_ARGUMENT}) {
            fake.refuse(1, status);
            assertEquals(500, get("authorization", "Bearer lyu1_alice").statusCode(), status.toString());
        }
    }

    @Test
    void a_bad_correlation_id_is_replaced_and_not_repeated() throws Exception {
        var response = get("x-correlation-id", "no good");
        String id = header(response, "x-correlation-id");
        assertTrue(CorrelationId.parse(id).isPresent() && !id.equals("no good"), id);
        assertFalse(response.body().contains("no good"));
    }
}
