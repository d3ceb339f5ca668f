package dev.lanyard;

import io.grpc.CallOptions;
import io.grpc.Channel;
import io.grpc.MethodDescriptor;
import io.grpc.StatusRuntimeException;
import io.grpc.stub.ClientCalls;
import java.time.Duration;
import java.util.concurrent.TimeUnit;

/** One call: where it goes, its deadline and its correlation ID. */
record Call(Channel channel, Duration deadline, CorrelationId correlationId) {
    <Q, A> A send(MethodDescriptor<Q, A> method, Q request) {
        CallOptions options = CallOptions.DEFAULT
                .withDeadlineAfter(deadline.toNanos(), TimeUnit.NANOSECONDS)
                .withOption(CallHeaders.ID_OF_CALL, correlationId);
        try {
            return ClientCalls.blockingUnaryCall(channel, method, options, request);
        } catch (StatusRuntimeException failure) {
            throw LanyardException.of(failure, correlationId);
        }
    }

    void require(boolean isThere, String part) {
        if (!isThere) {
            throw LanyardException.incompleteAnswer(part, correlationId);
        }
    }
}
