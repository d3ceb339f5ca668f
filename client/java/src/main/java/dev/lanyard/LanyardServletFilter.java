package dev.lanyard;

import dev.lanyard.v1.ClientInfo;
import dev.lanyard.v1.Role;
import dev.lanyard.v1.VerifiedSession;
import io.grpc.Context;
import jakarta.servlet.FilterChain;
import jakarta.servlet.ServletException;
import jakarta.servlet.http.HttpFilter;
import jakarta.servlet.http.HttpServletRequest;
import jakarta.servlet.http.HttpServletRequestWrapper;
import jakarta.servlet.http.HttpServletResponse;
import java.io.IOException;
import java.security.Principal;
import java.util.Optional;
import java.util.function.Function;

/**
 * Protects servlets: only requests with {@code authorization: Bearer <ust>} of a good session come through.
 *
 * <p>Behind it, {@code request.getUserPrincipal()} is the user, {@code request.isUserInRole("SUPER_USER")} their role, {@link
 * #session} the session, and {@link LanyardContext} holds correlation ID, session and token, so that calls to Lanyard carry the ID by
 * themselves. The context is of the thread; a servlet that goes on asynchronously carries it along.
 *
 * <p>A request without a good token is answered 401; where Lanyard cannot be asked, 503, and where this service may not ask, 500. Every
 * answer names the correlation ID in {@code x-correlation-id}.
 */
public final class LanyardServletFilter extends HttpFilter {
    private static final long serialVersionUID = 1;
    private static final String SESSION = LanyardServletFilter.class.getName() + ".session";

    private final transient Gate gate;
    private final transient Function<HttpServletRequest, ClientInfo> clientInfo;

    /** Says where the user is by the address of the request and its {@code user-agent}. */
    public LanyardServletFilter(LanyardClient lanyard) {
        this(lanyard, LanyardServletFilter::whereTheRequestIsFrom);
    }

    /** Says by {@code clientInfo} where the user is: behind a proxy whose headers the server does not evaluate itself. */
    public LanyardServletFilter(LanyardClient lanyard, Function<HttpServletRequest, ClientInfo> clientInfo) {
        this.gate = new Gate(lanyard);
        this.clientInfo = clientInfo;
    }

    /** The session of the user who sends this request; empty where the filter does not stand before the servlet. */
    public static Optional<VerifiedSession> session(HttpServletRequest request) {
        return Optional.ofNullable((VerifiedSession) request.getAttribute(SESSION));
    }

    @Override
    protected void doFilter(HttpServletRequest request, HttpServletResponse response, FilterChain chain)
            throws IOException, ServletException {
        CorrelationId correlationId = Gate.correlationId(request.getHeader(CorrelationId.HEADER));
        response.setHeader(CorrelationId.HEADER, correlationId.value());
        try {
            Admission admission =
                    gate.admit(request.getHeader("authorization"), clientInfo.apply(request), correlationId);
            proceed(admission, request, response, chain);
        } catch (Gate.Refused refused) {
            refuse(refused, correlationId, response);
        }
    }

    private static void proceed(
            Admission admission, HttpServletRequest request, HttpServletResponse response, FilterChain chain)
            throws IOException, ServletException {
        request.setAttribute(SESSION, admission.session());
        Context context = LanyardContext.with(admission);
        Context before = context.attach();
        try {
            chain.doFilter(new AdmittedRequest(request, admission.session()), response);
        } finally {
            context.detach(before);
        }
    }

    private static void refuse(Gate.Refused refused, CorrelationId correlationId, HttpServletResponse response)
            throws IOException {
        switch (refused.refusal) {
            case NO_TOKEN -> response.setHeader("www-authenticate", "Bearer");
            case INACTIVE -> response.setHeader("www-authenticate", "Bearer error=\"invalid_token\"");
            case UNAVAILABLE, MISCONFIGURED -> {}
        }
        refused.retryAfter.ifPresent(
                wait -> response.setHeader("retry-after", String.valueOf(wait.plusNanos(999_999_999).toSeconds())));
        response.setStatus(status(refused.refusal));
        response.setContentType("application/json");
        // Neither text has a character that JSON would escape.
        response.getWriter()
                .printf("{\"error\": \"%s\", \"correlation_id\": \"%s\"}%n", refused.getMessage(), correlationId);
    }

    private static int status(Gate.Refusal refusal) {
        return switch (refusal) {
            case NO_TOKEN, INACTIVE -> HttpServletResponse.SC_UNAUTHORIZED;
            case UNAVAILABLE -> HttpServletResponse.SC_SERVICE_UNAVAILABLE;
            case MISCONFIGURED -> HttpServletResponse.SC_INTERNAL_SERVER_ERROR;
        };
    }

    private static ClientInfo whereTheRequestIsFrom(HttpServletRequest request) {
        String userAgent = request.getHeader("user-agent");
        return ClientInfo.newBuilder()
                .setRemoteAddr(request.getRemoteAddr())
                .setUserAgent(userAgent == null ? "" : userAgent)
                .build();
    }

    private static final class AdmittedRequest extends HttpServletRequestWrapper {
        private final VerifiedSession session;

        AdmittedRequest(HttpServletRequest request, VerifiedSession session) {
            super(request);
            this.session = session;
        }

        @Override
        public String getRemoteUser() {
            return session.getUsername();
        }

        @Override
        public Principal getUserPrincipal() {
            return session::getUsername;
        }

        @Override
        public String getAuthType() {
            return "Bearer";
        }

        /** {@code SUPER_USER} or {@code REGULAR}. */
        @Override
        public boolean isUserInRole(String role) {
            return session.getRolesList().stream().map(Role::name).anyMatch(("ROLE_" + role)::equals);
        }
    }
}
