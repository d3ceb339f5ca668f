package dev.lanyard;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import dev.lanyard.v1.VerifiedSession;
import dev.lanyard.v1.VerifySessionRequest;
import dev.lanyard.v1.VerifySessionResponse;
import io.grpc.ClientInterceptors;
import io.grpc.Grpc;
import io.grpc.InsecureChannelCredentials;
import io.grpc.InsecureServerCredentials;
import io.grpc.ManagedChannel;
import io.grpc.Metadata;
import io.grpc.Server;
import io.grpc.Status;
import io.grpc.Status.Code;
import io.grpc.StatusRuntimeException;
import io.grpc.health.v1.HealthCheckRequest;
import io.grpc.health.v1.HealthCheckResponse;
import io.grpc.health.v1.HealthGrpc;
import io.grpc.stub.MetadataUtils;
import io.grpc.stub.StreamObserver;
import java.util.concurrent.atomic.AtomicReference;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** The service that is protected here happens to be the health service. */
class LanyardServerInterceptorTest {
    private static final VerifySessionResponse ALICE = VerifySessionResponse.newBuilder()
            .setSession(VerifiedSession.newBuilder().setUsername("alice"))
            .build();

    private final AtomicReference<String> seen = new AtomicReference<>();
    private final AtomicReference<Metadata> headers = new AtomicReference<>();
    private final AtomicReference<Metadata> trailers = new AtomicReference<>();
    private FakeLanyard fake;
    private LanyardClient lanyard;
    private Server server;
    private ManagedChannel channel;

    private final class Protected extends HealthGrpc.HealthImplBase {
        @Override
        public void check(HealthCheckRequest request, StreamObserver<HealthCheckResponse> observer) {
            seen.set(LanyardContext.session().map(VerifiedSession::getUsername).orElse("nobody")
                    + " " + LanyardContext.correlationId().orElseThrow()
                    + " " + LanyardContext.ust().map(Ust::expose).orElse("no token"));
            observer.onNext(HealthCheckResponse.getDefaultInstance());
            observer.onCompleted();
        }
    }

    @BeforeEach
    void start() throws Exception {
        fake = new FakeLanyard();
        lanyard = fake.client().retry(RetryPolicy.NEVER).build();
        start(new LanyardServerInterceptor(lanyard));
    }

    private void start(LanyardServerInterceptor interceptor) throws Exception {
        server = Grpc.newServerBuilderForPort(0, InsecureServerCredentials.create())
                .addService(new Protected())
                .intercept(interceptor)
                .build()
                .start();
        channel = Grpc.newChannelBuilder("127.0.0.1:" + server.getPort(), InsecureChannelCredentials.create())
                .build();
    }

    @AfterEach
    void stop() {
        channel.shutdownNow();
        server.shutdownNow();
        lanyard.close();
        fake.close();
    }

    private void call(String... metadata) {
        var sent = new Metadata();
        for (int i = 0; i < metadata.length; i += 2) {
            sent.put(Metadata.Key.of(metadata[i], Metadata.ASCII_STRING_MARSHALLER), metadata[i + 1]);
        }
        var through = ClientInterceptors.intercept(
                channel,
                MetadataUtils.newAttachHeadersInterceptor(sent),
                MetadataUtils.newCaptureMetadataInterceptor(headers, trailers));
        HealthGrpc.newBlockingStub(through).check(HealthCheckRequest.getDefaultInstance());
    }

    private Code refusal(String... metadata) {
        return assertThrows(StatusRuntimeException.class, () -> call(metadata)).getStatus().getCode();
    }

    @Test
    void a_call_of_a_good_session_comes_in_and_the_service_knows_whose_it_is() {
        fake.answer(ALICE);
        call("authorization", "Bearer lyu1_alice", "x-correlation-id", "order-4711");
        assertEquals("alice order-4711 lyu1_alice", seen.get());
        assertEquals("order-4711", headers.get().get(CallHeaders.CORRELATION_ID));
        assertEquals("order-4711", trailers.get().get(CallHeaders.CORRELATION_ID));

        var asked = (VerifySessionRequest) fake.asked().get(0).request();
        assertEquals("127.0.0.1", asked.getClient().getRemoteAddr());
        assertTrue(asked.getClient().getUserAgent().startsWith("grpc-java"), asked.getClient().getUserAgent());
        assertEquals("order-4711", fake.headers("x-correlation-id").get(0));
    }

    @Test
    void a_call_without_a_good_token_does_not_come_in() {
        assertEquals(Code.UNAUTHENTICATED, refusal("x-correlation-id", "order-4711"));
        assertEquals("order-4711", trailers.get().get(CallHeaders.CORRELATION_ID));
        assertEquals(0, fake.asked().size());
        assertEquals(Code.UNAUTHENTICATED, refusal("authorization", "Bearer lyu1_bad"));
        assertEquals(1, fake.asked().size());
        assertEquals(null, seen.get());
    }

    @Test
    void a_fault_is_not_taken_for_a_bad_token() {
        fake.refuse(1, Status.UNAVAILABLE);
        assertEquals(Code.UNAVAILABLE, refusal("authorization", "Bearer lyu1_alice"));
        fake.refuse(1, Status.UNAUTHENTICATED);
        assertEquals(Code.INTERNAL, refusal("authorization", "Bearer lyu1_alice"));
        assertEquals(null, seen.get());
    }

    @Test
    void a_service_that_is_left_open_is_everybodys() throws Exception {
        channel.shutdownNow();
        server.shutdownNow();
        start(new LanyardServerInterceptor(lanyard).leaveOpen("grpc.health.v1.Health"));
        call("x-correlation-id", "order-4711");
        assertEquals("nobody order-4711 no token", seen.get());
        assertEquals(0, fake.asked().size());
    }
}
