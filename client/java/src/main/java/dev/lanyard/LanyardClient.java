package dev.lanyard;

import com.google.protobuf.Descriptors.FieldDescriptor;
import com.google.protobuf.Message;
import dev.lanyard.v1.BasicAuthCredential;
import dev.lanyard.v1.BatchVerifySessionsRequest;
import dev.lanyard.v1.ClientInfo;
import dev.lanyard.v1.CreateSessionRequest;
import dev.lanyard.v1.DefinitionRef;
import dev.lanyard.v1.JwtCredential;
import dev.lanyard.v1.LinkedAuthServiceGrpc;
import dev.lanyard.v1.LinkedUser;
import dev.lanyard.v1.LookupLinkedAuthRequest;
import dev.lanyard.v1.PasswordCredential;
import dev.lanyard.v1.PlatformCredential;
import dev.lanyard.v1.SessionServiceGrpc;
import dev.lanyard.v1.SessionToVerify;
import dev.lanyard.v1.VerifySessionRequest;
import io.grpc.Channel;
import io.grpc.ManagedChannel;
import io.grpc.MethodDescriptor;
import io.grpc.health.v1.HealthCheckRequest;
import io.grpc.health.v1.HealthCheckResponse.ServingStatus;
import io.grpc.health.v1.HealthGrpc;
import java.time.Duration;
import java.util.List;
import java.util.Objects;
import java.util.Optional;
import java.util.concurrent.TimeUnit;

/**
 * A connection to Lanyard, for the service itself; {@link #onBehalfOf} for its users. It may be used by many threads at once, and
 * the {@code with...} methods are cheap: what they return shares the connection. Every verb throws {@link LanyardException}.
 */
public final class LanyardClient implements AutoCloseable {
    private static final Duration TIME_TO_CLOSE = Duration.ofSeconds(5);

    private final Channel channel;
    /** The connection, if it was made here and is to be closed here. */
    private final ManagedChannel owned;
    private final Duration deadline;
    /** Where the user is; {@code null}: not known. */
    private final ClientInfo clientInfo;
    /** {@code null}: of the context, or a new one for each call. */
    private final CorrelationId correlationId;

    LanyardClient(Channel channel, ManagedChannel owned, Duration deadline, ClientInfo clientInfo) {
        this(channel, owned, deadline, clientInfo, null);
    }

    private LanyardClient(
            Channel channel,
            ManagedChannel owned,
            Duration deadline,
            ClientInfo clientInfo,
            CorrelationId correlationId) {
        this.channel = channel;
        this.owned = owned;
        this.deadline = deadline;
        this.clientInfo = clientInfo;
        this.correlationId = correlationId;
    }

    /**
     * Begins a client of the server at {@code endpoint}: {@code https://host:port}, {@code http://host:port} or, for this
     * machine or with TLS asked for by name, {@code host:port}.
     */
    public static LanyardClientBuilder builder(String endpoint) {
        return new LanyardClientBuilder(endpoint);
    }

    /** The same client for a user who is elsewhere. Where {@code current_app} is empty, the one so far stays. */
    public LanyardClient withClientInfo(ClientInfo elsewhere) {
        boolean keepsApp = clientInfo != null && elsewhere.getCurrentApp().isEmpty();
        ClientInfo info =
                keepsApp ? elsewhere.toBuilder().setCurrentApp(clientInfo.getCurrentApp()).build() : elsewhere;
        return new LanyardClient(channel, owned, deadline, info, correlationId);
    }

    /** The same client with a correlation ID for all its calls; it goes before the one of the current context. */
    public LanyardClient withCorrelationId(CorrelationId id) {
        return new LanyardClient(channel, owned, deadline, clientInfo, Objects.requireNonNull(id));
    }

    /** The same client with another deadline. */
    public LanyardClient withDeadline(Duration other) {
        return new LanyardClient(channel, owned, LanyardClientBuilder.checked(other), clientInfo, correlationId);
    }

    /** The client on behalf of the user whose token this is. */
    public Subject onBehalfOf(Ust ust) {
        return new Subject(this, ust);
    }

    /** Asks whether a token is good, and counts this as the user's activity. */
    public Verdict verify(Ust ust) {
        return verify(ust, false);
    }

    /** Asks whether a token is good, and does not count this as the user's activity. */
    public Verdict peek(Ust ust) {
        return verify(ust, true);
    }

    private Verdict verify(Ust ust, boolean peek) {
        VerifySessionRequest.Builder request =
                VerifySessionRequest.newBuilder().setUst(ust.expose()).setPeek(peek);
        if (clientInfo != null) {
            request.setClient(clientInfo);
        }
        return Verdict.of(newCall().send(SessionServiceGrpc.getVerifySessionMethod(), request.build()));
    }

    /** Asks about up to 500 tokens at once: one verdict each, in the same order. Counts as the users' activity. */
    public List<Verdict> batchVerify(List<Ust> usts) {
        return batchVerifySessions(toVerify(usts), false);
    }

    /** The same as {@link #batchVerify}, but not counted as the users' activity. */
    public List<Verdict> batchPeek(List<Ust> usts) {
        return batchVerifySessions(toVerify(usts), true);
    }

    /** The same as {@link #batchVerify} and {@link #batchPeek}, where each user is elsewhere. */
    public List<Verdict> batchVerifySessions(List<SessionToVerify> sessions, boolean peek) {
        var request = BatchVerifySessionsRequest.newBuilder().addAllSessions(sessions).setPeek(peek);
        Call call = newCall();
        var answer = call.send(SessionServiceGrpc.getBatchVerifySessionsMethod(), complete(request.build()));
        // A verdict that is one place off is somebody else's.
        call.require(answer.getVerdictsCount() == sessions.size(), "verdict for each token");
        return answer.getVerdictsList().stream().map(Verdict::of).toList();
    }

    private static List<SessionToVerify> toVerify(List<Ust> usts) {
        return usts.stream()
                .map(ust -> SessionToVerify.newBuilder().setUst(ust.expose()).build())
                .toList();
    }

    /** Logs a user in with username and password. For a code or a new password see {@link #createSession}. */
    public Login logIn(String username, String password) {
        var credential = PasswordCredential.newBuilder().setUsername(username).setPassword(password);
        return createSession(CreateSessionRequest.newBuilder().setPassword(credential).build());
    }

    /** Logs in the user that a basic-auth definition is linked to, into the live session of that definition or a new one. */
    public Login logInBasicAuth(String username, String secret) {
        var credential = BasicAuthCredential.newBuilder().setUsername(username).setSecret(secret);
        return createSession(CreateSessionRequest.newBuilder().setBasicAuth(credential).build());
    }

    /**
     * Logs in the user that the definition of a JWT is linked to, into the live session of that token or a new one. For a code see
     * {@link #createSession}.
     */
    public Login logInJwt(String token) {
        var credential = JwtCredential.newBuilder().setToken(token);
        return createSession(CreateSessionRequest.newBuilder().setJwt(credential).build());
    }

    /**
     * Logs in the user who has this name on a platform, with the password there. For a code or a unique name see {@link
     * #createSession}.
     */
    public Login logInPlatform(String platform, String username, String password) {
        var credential = PlatformCredential.newBuilder()
                .setPlatform(platform)
                .setUsername(username)
                .setPassword(password);
        return createSession(CreateSessionRequest.newBuilder().setPlatform(credential).build());
    }

    /** Logs a user in with any credential. */
    public Login createSession(CreateSessionRequest request) {
        Call call = newCall();
        var answer = call.send(SessionServiceGrpc.getCreateSessionMethod(), complete(request));
        call.require(answer.hasSession() && !answer.getUst().isEmpty(), "session or token");
        return new Login(
                Ust.of(answer.getUst()), Login.withoutToken(answer.getSession()), answer.getWarningsList());
    }

    /**
     * Whom up to 500 definitions are linked to: one answer each, in the same order. Empty: there is no such definition, or it is
     * linked to nobody.
     */
    public List<Optional<LinkedUser>> lookupLinkedAuth(List<DefinitionRef> definitions) {
        var request = LookupLinkedAuthRequest.newBuilder().addAllDefinitions(definitions).build();
        Call call = newCall();
        var answer = call.send(LinkedAuthServiceGrpc.getLookupLinkedAuthMethod(), complete(request));
        // An answer that is one place off is of somebody else.
        call.require(answer.getUsersCount() == definitions.size(), "answer for each definition");
        return answer.getUsersList().stream()
                .map(user -> Optional.of(user).filter(found -> !found.getUserId().isEmpty()))
                .toList();
    }

    /**
     * Asks the server whether it serves; needs no key. {@code service} is empty for the server as a whole. Not sent again: the
     * answer is about this moment.
     */
    public boolean isServing(String service) {
        var request = HealthCheckRequest.newBuilder().setService(service).build();
        return newCall().send(HealthGrpc.getCheckMethod(), request).getStatus() == ServingStatus.SERVING;
    }

    /**
     * Sends any request of the contract and gives the whole answer: {@code call(SessionServiceGrpc.getVerifySessionMethod(),
     * request)}. {@code client} is filled in if it is absent; {@code ust} is sent as it is: see {@link Subject#call}.
     */
    public <Q extends Message, A> A call(MethodDescriptor<Q, A> method, Q request) {
        return newCall().send(method, complete(request));
    }

    Call newCall() {
        return new Call(channel, deadline, idOfCall());
    }

    /** The ID that a call made here and now has. */
    private CorrelationId idOfCall() {
        return correlationId != null
                ? correlationId
                : LanyardContext.correlationId().orElseGet(CorrelationId::generate);
    }

    /** The request, with where the user is. */
    @SuppressWarnings("unchecked") // the builder of a Q builds a Q
    <Q extends Message> Q complete(Q request) {
        FieldDescriptor client = request.getDescriptorForType().findFieldByName("client");
        if (clientInfo == null || client == null || request.hasField(client)) {
            return request;
        }
        return (Q) request.toBuilder().setField(client, clientInfo).build();
    }

    /**
     * Closes the connection, also of the clients that came from this one by {@code with...}, after the calls under way have ended or
     * 5 seconds have passed. A channel that was made elsewhere stays open.
     */
    @Override
    public void close() {
        if (owned == null) {
            return;
        }
        owned.shutdown();
        try {
            if (owned.awaitTermination(TIME_TO_CLOSE.toMillis(), TimeUnit.MILLISECONDS)) {
                return;
            }
        } catch (InterruptedException interrupted) {
            Thread.currentThread().interrupt();
        }
        owned.shutdownNow();
    }
}
