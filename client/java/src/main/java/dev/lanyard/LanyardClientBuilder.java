package dev.lanyard;

import dev.lanyard.v1.ClientInfo;
import io.grpc.Channel;
import io.grpc.ChannelCredentials;
import io.grpc.ClientInterceptor;
import io.grpc.ClientInterceptors;
import io.grpc.Grpc;
import io.grpc.InsecureChannelCredentials;
import io.grpc.ManagedChannel;
import io.grpc.ManagedChannelBuilder;
import io.grpc.Status;
import io.grpc.TlsChannelCredentials;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import java.util.concurrent.TimeUnit;

/** Builds a {@link LanyardClient}; begin with {@link LanyardClient#builder}. It does not print its secrets. */
public final class LanyardClientBuilder {
    private static final Duration DEFAULT_DEADLINE = Duration.ofSeconds(2);
    private static final Duration CONNECT_TIMEOUT = Duration.ofSeconds(10);
    private static final Duration LONGEST_DEADLINE = Duration.ofDays(1);
    private static final long KEEP_ALIVE_SECONDS = 30;
    private static final long KEEP_ALIVE_TIMEOUT_SECONDS = 10;

    private final String endpoint;
    private final ClientInfo.Builder clientInfo = ClientInfo.newBuilder();
    private final List<ClientInterceptor> interceptors = new ArrayList<>();
    private boolean wantsTls;
    private String apiKey;
    private String authorityPem;
    private String certificatePem;
    private String keyPem;
    private String serverName;
    private Duration deadline = DEFAULT_DEADLINE;
    private RetryPolicy retry = RetryPolicy.DEFAULT;

    LanyardClientBuilder(String endpoint) {
        this.endpoint = Objects.requireNonNull(endpoint, "endpoint");
    }

    /**
     * The key by which Lanyard knows the calling service ({@code lyk1_...}).
     *
     * @throws IllegalArgumentException if it holds characters that no key has; it is not repeated
     */
    public LanyardClientBuilder apiKey(String key) {
        if (key.isEmpty() || !key.chars().allMatch(c -> c > ' ' && c < 0x7f)) {
            throw new IllegalArgumentException("the API key is empty or holds characters that no key has");
        }
        apiKey = key;
        return this;
    }

    /** Encrypts; the server must prove who it is, by the authorities of the system or {@link #ca}. */
    public LanyardClientBuilder tls() {
        wantsTls = true;
        return this;
    }

    /** The authority that signed the server's certificate, PEM. Without it the system's authorities count. */
    public LanyardClientBuilder ca(String pem) {
        authorityPem = Objects.requireNonNull(pem, "pem");
        return tls();
    }

    /**
     * The certificate, with its chain, by which Lanyard knows the calling service, and its private key (PKCS#8); both PEM. With it
     * each side proves who it is (mTLS).
     */
    public LanyardClientBuilder identity(String chainPem, String privateKeyPem) {
        certificatePem = Objects.requireNonNull(chainPem, "chainPem");
        keyPem = Objects.requireNonNull(privateKeyPem, "privateKeyPem");
        return tls();
    }

    /** The name in the server's certificate, where it is not the host of the endpoint. */
    public LanyardClientBuilder serverName(String name) {
        serverName = Objects.requireNonNull(name, "name");
        return tls();
    }

    /** The app in which the users act, for all calls that do not say otherwise. */
    public LanyardClientBuilder currentApp(String app) {
        clientInfo.setCurrentApp(app);
        return this;
    }

    /** How long a call may take with all its attempts; at most a day. Default: 2 seconds. */
    public LanyardClientBuilder deadline(Duration limit) {
        deadline = checked(limit);
        return this;
    }

    /** How reads are sent again. Default: {@link RetryPolicy#DEFAULT}. */
    public LanyardClientBuilder retry(RetryPolicy policy) {
        retry = Objects.requireNonNull(policy, "policy");
        return this;
    }

    /** Goes around every call: {@code GrpcTelemetry.create(openTelemetry).createClientInterceptor()}. */
    public LanyardClientBuilder intercept(ClientInterceptor interceptor) {
        interceptors.add(Objects.requireNonNull(interceptor, "interceptor"));
        return this;
    }

    /**
     * Makes the client and connects, so that a service knows at its start, and no user waits for it.
     *
     * @throws IllegalArgumentException if the endpoint is no address, or the TLS settings cannot be used
     * @throws LanyardException if the server cannot be reached, or does not answer within 10 seconds
     */
    public LanyardClient connect() {
        LanyardClient lanyard = build();
        try {
            // Whatever it says of its health, it is there.
            lanyard.withDeadline(CONNECT_TIMEOUT).withCorrelationId(CorrelationId.generate()).isServing("");
        } catch (LanyardException failure) {
            if (failure.isUnavailable() || failure.code() == Status.Code.DEADLINE_EXCEEDED) {
                lanyard.close();
                throw failure;
            }
        }
        return lanyard;
    }

    /**
     * Makes the client; it connects with the first call, whose deadline includes that.
     *
     * @throws IllegalArgumentException if the endpoint is no address, or the TLS settings cannot be used
     */
    public LanyardClient build() {
        Endpoint server = Endpoint.parse(endpoint, wantsTls);
        ChannelCredentials credentials = server.isTls() ? tlsCredentials() : InsecureChannelCredentials.create();
        ManagedChannelBuilder<?> channel = Grpc.newChannelBuilder(server.target(), credentials)
                .userAgent("lanyard-client-java/" + version())
                .keepAliveTime(KEEP_ALIVE_SECONDS, TimeUnit.SECONDS)
                .keepAliveTimeout(KEEP_ALIVE_TIMEOUT_SECONDS, TimeUnit.SECONDS)
                .keepAliveWithoutCalls(true)
                .maxRetryAttempts(Math.max(retry.attempts(), 2))
                .defaultServiceConfig(retry.serviceConfig());
        if (serverName != null) {
            channel.overrideAuthority(serverName);
        }
        ManagedChannel connection = channel.build();
        return client(connection, connection);
    }

    /**
     * Uses a channel that was made elsewhere: balanced over several replicas, or over a connection of another kind. Its own settings
     * count; endpoint, certificates and retry policy given here do not (see {@link RetryPolicy#serviceConfig}). It is not closed with
     * the client.
     */
    public LanyardClient over(Channel channel) {
        return client(channel, null);
    }

    private LanyardClient client(Channel channel, ManagedChannel owned) {
        List<ClientInterceptor> all = new ArrayList<>(interceptors);
        all.add(new CallHeaders(apiKey));
        ClientInfo info = clientInfo.build();
        boolean isKnown = !info.equals(ClientInfo.getDefaultInstance());
        return new LanyardClient(
                ClientInterceptors.interceptForward(channel, all), owned, deadline, isKnown ? info : null);
    }

    private ChannelCredentials tlsCredentials() {
        TlsChannelCredentials.Builder credentials = TlsChannelCredentials.newBuilder();
        try {
            if (authorityPem != null) {
                credentials.trustManager(stream(authorityPem));
            }
            if (certificatePem != null) {
                credentials.keyManager(stream(certificatePem), stream(keyPem));
            }
        } catch (IOException unreadable) {
            throw new IllegalArgumentException("the TLS settings cannot be used", unreadable);
        }
        return credentials.build();
    }

    private static InputStream stream(String pem) {
        return new ByteArrayInputStream(pem.getBytes(StandardCharsets.UTF_8));
    }

    static Duration checked(Duration deadline) {
        if (deadline.isNegative() || deadline.isZero() || deadline.compareTo(LONGEST_DEADLINE) > 0) {
            throw new IllegalArgumentException("a deadline is more than nothing and at most a day");
        }
        return deadline;
    }

    /** Known to the jar; classes that lie elsewhere have none. */
    private static String version() {
        String version = LanyardClientBuilder.class.getPackage().getImplementationVersion();
        return version == null ? "unversioned" : version;
    }
}
