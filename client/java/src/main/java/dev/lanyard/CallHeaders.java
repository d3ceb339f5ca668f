package dev.lanyard;

import io.grpc.CallOptions;
import io.grpc.Channel;
import io.grpc.ClientCall;
import io.grpc.ClientInterceptor;
import io.grpc.ForwardingClientCall.SimpleForwardingClientCall;
import io.grpc.Metadata;
import io.grpc.MethodDescriptor;

/** What every call carries: who calls, and the correlation ID. */
final class CallHeaders implements ClientInterceptor {
    static final Metadata.Key<String> AUTHORIZATION =
            Metadata.Key.of("authorization", Metadata.ASCII_STRING_MARSHALLER);
    static final Metadata.Key<String> CORRELATION_ID =
            Metadata.Key.of(CorrelationId.HEADER, Metadata.ASCII_STRING_MARSHALLER);
    static final CallOptions.Key<CorrelationId> ID_OF_CALL = CallOptions.Key.create("lanyard-correlation-id");

    private final String authorization;

    /** Without a key ({@code null}) the connection itself says who calls. */
    CallHeaders(String apiKey) {
        this.authorization = apiKey == null ? null : "Bearer " + apiKey;
    }

    @Override
    public <Q, A> ClientCall<Q, A> interceptCall(MethodDescriptor<Q, A> method, CallOptions options, Channel next) {
        return new SimpleForwardingClientCall<>(next.newCall(method, options)) {
            @Override
            public void start(Listener<A> listener, Metadata headers) {
                headers.put(CORRELATION_ID, options.getOption(ID_OF_CALL).value());
                if (authorization != null) {
                    headers.put(AUTHORIZATION, authorization);
                }
                super.start(listener, headers);
            }
        };
    }
}
