package dev.lanyard;

import com.google.protobuf.DescriptorProtos.MethodOptions.IdempotencyLevel;
import dev.lanyard.v1.AttributeServiceGrpc;
import dev.lanyard.v1.AuditServiceGrpc;
import dev.lanyard.v1.DefinitionServiceGrpc;
import dev.lanyard.v1.LinkedAuthServiceGrpc;
import dev.lanyard.v1.SessionServiceGrpc;
import dev.lanyard.v1.UserServiceGrpc;
import io.grpc.MethodDescriptor;
import io.grpc.ServiceDescriptor;
import io.grpc.protobuf.ProtoMethodDescriptorSupplier;
import java.time.Duration;
import java.util.List;
import java.util.Map;

/**
 * How often, and how soon, a <i>read</i> that answered UNAVAILABLE is sent again. Writes never are: whether the server did it
 * before the connection broke, nobody knows. gRPC itself does it, by a service config ({@link #serviceConfig}): the wait doubles
 * from {@code initialBackoff} to {@code maxBackoff}, drawn around that; where the server asks for a delay, that counts; no wait
 * goes beyond the deadline of the call.
 *
 * <p>All calls of a client share a budget of 10 tokens: each UNAVAILABLE costs one, each success gives back a tenth, and with half
 * or less of them left nothing is sent again. A server that is down is thus not met with a multiple of the load that brought it
 * down.
 *
 * @param attempts how many times a read is sent at most, the first one included
 * @param initialBackoff the wait before the second attempt
 * @param maxBackoff the longest wait
 */
public record RetryPolicy(int attempts, Duration initialBackoff, Duration maxBackoff) {
    /** At most 4 attempts, with waits from 50 ms to 1 s. */
    public static final RetryPolicy DEFAULT = new RetryPolicy(4, Duration.ofMillis(50), Duration.ofSeconds(1));

    /** Nothing is ever sent again. */
    public static final RetryPolicy NEVER = new RetryPolicy(1, DEFAULT.initialBackoff, DEFAULT.maxBackoff);

    /** Every service of the contract. */
    static final List<ServiceDescriptor> SERVICES = List.of(
            AttributeServiceGrpc.getServiceDescriptor(),
            AuditServiceGrpc.getServiceDescriptor(),
            DefinitionServiceGrpc.getServiceDescriptor(),
            LinkedAuthServiceGrpc.getServiceDescriptor(),
            SessionServiceGrpc.getServiceDescriptor(),
            UserServiceGrpc.getServiceDescriptor());

    /** Refuses what gRPC cannot do: no attempt at all, or no wait. */
    public RetryPolicy {
        if (attempts < 1) {
            throw new IllegalArgumentException("attempts must be at least 1");
        }
        if (initialBackoff.isNegative() || initialBackoff.isZero() || maxBackoff.compareTo(initialBackoff) < 0) {
            throw new IllegalArgumentException("initialBackoff must be positive, and maxBackoff not below it");
        }
    }

    /**
     * The policy as a gRPC service config, for a channel that is made elsewhere ({@link LanyardClientBuilder#over}): give it to
     * {@link io.grpc.ManagedChannelBuilder#defaultServiceConfig}.
     */
    public Map<String, ?> serviceConfig() {
        if (attempts == 1) {
            return Map.of();
        }
        Map<String, ?> retry = Map.of(
                "maxAttempts", (double) attempts,
                "initialBackoff", seconds(initialBackoff),
                "maxBackoff", seconds(maxBackoff),
                "backoffMultiplier", 2.0,
                "retryableStatusCodes", List.of("UNAVAILABLE"));
        return Map.of(
                "methodConfig", List.of(Map.of("name", reads(), "retryPolicy", retry)),
                "retryThrottling", Map.of("maxTokens", 10.0, "tokenRatio", 0.1));
    }

    private static List<Map<String, String>> reads() {
        return SERVICES.stream()
                .flatMap(service -> service.getMethods().stream())
                .filter(RetryPolicy::isRead)
                .map(method -> Map.of("service", method.getServiceName(), "method", method.getBareMethodName()))
                .toList();
    }

    /** The contract says which methods have no side effects. */
    private static boolean isRead(MethodDescriptor<?, ?> method) {
        var schema = (ProtoMethodDescriptorSupplier) method.getSchemaDescriptor();
        var level = schema.getMethodDescriptor().getOptions().getIdempotencyLevel();
        return level == IdempotencyLevel.NO_SIDE_EFFECTS;
    }

    private static String seconds(Duration duration) {
        return "%d.%09ds".formatted(duration.getSeconds(), duration.getNano());
    }
}
