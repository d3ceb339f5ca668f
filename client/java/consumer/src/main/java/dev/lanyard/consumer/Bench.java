package dev.lanyard.consumer;

import dev.lanyard.LanyardClient;
import dev.lanyard.Ust;
import dev.lanyard.Verdict;
import dev.lanyard.v1.SessionServiceGrpc;
import dev.lanyard.v1.SessionServiceGrpc.SessionServiceBlockingStub;
import dev.lanyard.v1.VerifySessionRequest;
import io.grpc.Grpc;
import io.grpc.InsecureChannelCredentials;
import io.grpc.ManagedChannel;
import io.grpc.Metadata;
import io.grpc.stub.MetadataUtils;
import java.util.Arrays;

/**
 * What the layer costs: the time of a verify call through it over that of the bare generated stub with the same metadata. One
 * JSON line.
 *
 * <p>{@code LANYARD_ENDPOINT} and {@code LANYARD_CALLER_KEY} say where the server is, {@code LANYARD_USERNAME} and {@code
 * LANYARD_PASSWORD} who logs in.
 */
public final class Bench {
    private static final int ROUNDS = 30;
    private static final int CALLS_A_ROUND = 500;
    private static final int WARM_UP_ROUNDS = 10;

    private interface Verify {
        void once();
    }

    private Bench() {}

    /** Both take turns, so that what else the machine does hits both. */
    public static void main(String[] arguments) {
        String endpoint = System.getenv("LANYARD_ENDPOINT");
        String key = System.getenv("LANYARD_CALLER_KEY");
        String address = endpoint.replaceFirst("^http://", "");
        ManagedChannel channel =
                Grpc.newChannelBuilder(address, InsecureChannelCredentials.create()).build();
        SessionServiceBlockingStub stub = SessionServiceGrpc.newBlockingStub(channel)
                .withInterceptors(MetadataUtils.newAttachHeadersInterceptor(authorization(key)));
        try (LanyardClient lanyard = LanyardClient.builder(endpoint).apiKey(key).connect()) {
            Ust ust = lanyard.logIn(System.getenv("LANYARD_USERNAME"), System.getenv("LANYARD_PASSWORD")).ust();
            String token = ust.expose();
            Verify bare = () -> mustBeGood(
                    stub.verifySession(VerifySessionRequest.newBuilder().setUst(token).build()).hasSession());
            Verify layer = () -> mustBeGood(lanyard.verify(ust) instanceof Verdict.Active);
            for (int i = 0; i < WARM_UP_ROUNDS; i++) {
                microseconds(bare);
                microseconds(layer);
            }
            double[] ofBare = new double[ROUNDS];
            double[] ofLayer = new double[ROUNDS];
            for (int i = 0; i < ROUNDS; i++) {
                ofBare[i] = microseconds(bare);
                ofLayer[i] = microseconds(layer);
            }
            double bareTime = median(ofBare);
            double layerTime = median(ofLayer);
            System.out.printf(
                    "{\"language\": \"java\", \"figure\": \"verify through the layer over the bare stub\","
                            + " \"goal\": 1.15, \"measured\": %.3f, \"bare_us\": %.1f, \"layer_us\": %.1f}%n",
                    layerTime / bareTime, bareTime, layerTime);
        } finally {
            channel.shutdownNow();
        }
    }

    private static Metadata authorization(String key) {
        Metadata metadata = new Metadata();
        metadata.put(Metadata.Key.of("authorization", Metadata.ASCII_STRING_MARSHALLER), "Bearer " + key);
        return metadata;
    }

    private static void mustBeGood(boolean isGood) {
        if (!isGood) {
            throw new IllegalStateException("the token of the bench is not good");
        }
    }

    /** For one call, of the mean of a round. */
    private static double microseconds(Verify verify) {
        long began = System.nanoTime();
        for (int i = 0; i < CALLS_A_ROUND; i++) {
            verify.once();
        }
        return (System.nanoTime() - began) / 1_000.0 / CALLS_A_ROUND;
    }

    private static double median(double[] values) {
        double[] sorted = values.clone();
        Arrays.sort(sorted);
        return sorted[sorted.length / 2];
    }
}
