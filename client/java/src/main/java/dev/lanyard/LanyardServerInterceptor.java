package dev.lanyard;

import dev.lanyard.v1.ClientInfo;
import io.grpc.Context;
import io.grpc.Contexts;
import io.grpc.ForwardingServerCall.SimpleForwardingServerCall;
import io.grpc.Grpc;
import io.grpc.Metadata;
import io.grpc.ServerCall;
import io.grpc.ServerCallHandler;
import io.grpc.ServerInterceptor;
import io.grpc.Status;
import java.net.InetSocketAddress;
import java.net.SocketAddress;
import java.util.HashSet;
import java.util.Set;
import java.util.function.BiFunction;

/**
 * Protects a grpc-java server: only calls with the metadata {@code authorization: Bearer <ust>} of a good session come through.
 *
 * <p>Behind it, {@link LanyardContext} holds correlation ID, session and token, so that calls to Lanyard carry the ID by themselves.
 * A call without a good token is answered UNAUTHENTICATED; where Lanyard cannot be asked, UNAVAILABLE, and where this service may not
 * ask, INTERNAL. Every answer names the correlation ID in {@code x-correlation-id}.
 *
 * <p>It waits for Lanyard on the thread of the call, so it is not for a server with a {@code directExecutor}.
 */
public final class LanyardServerInterceptor implements ServerInterceptor {
    private static final Metadata.Key<String> USER_AGENT =
            Metadata.Key.of("user-agent", Metadata.ASCII_STRING_MARSHALLER);

    private final Gate gate;
    private final BiFunction<ServerCall<?, ?>, Metadata, ClientInfo> clientInfo;
    private final Set<String> openServices;

    /** Says where the user is by the address that the call comes from and its {@code user-agent}. */
    public LanyardServerInterceptor(LanyardClient lanyard) {
        this(lanyard, LanyardServerInterceptor::whereTheCallIsFrom);
    }

    /** Says by {@code clientInfo} where the user is: where other services call on their behalf. */
    public LanyardServerInterceptor(
            LanyardClient lanyard, BiFunction<ServerCall<?, ?>, Metadata, ClientInfo> clientInfo) {
        this(new Gate(lanyard), clientInfo, Set.of());
    }

    private LanyardServerInterceptor(
            Gate gate, BiFunction<ServerCall<?, ?>, Metadata, ClientInfo> clientInfo, Set<String> openServices) {
        this.gate = gate;
        this.clientInfo = clientInfo;
        this.openServices = openServices;
    }

    /** The same, but a service that everybody may call: {@code leaveOpen("grpc.health.v1.Health")}. */
    public LanyardServerInterceptor leaveOpen(String service) {
        Set<String> open = new HashSet<>(openServices);
        open.add(service);
        return new LanyardServerInterceptor(gate, clientInfo, Set.copyOf(open));
    }

    @Override
    public <Q, A> ServerCall.Listener<Q> interceptCall(
            ServerCall<Q, A> call, Metadata headers, ServerCallHandler<Q, A> next) {
        CorrelationId correlationId = Gate.correlationId(headers.get(CallHeaders.CORRELATION_ID));
        ServerCall<Q, A> named = new NamedCall<>(call, correlationId);
        if (openServices.contains(call.getMethodDescriptor().getServiceName())) {
            return Contexts.interceptCall(LanyardContext.with(correlationId), named, headers, next);
        }
        try {
            Context context = LanyardContext.with(gate.admit(
                    headers.get(CallHeaders.AUTHORIZATION), clientInfo.apply(call, headers), correlationId));
            return Contexts.interceptCall(context, named, headers, next);
        } catch (Gate.Refused refused) {
            named.close(status(refused.refusal), new Metadata());
            return new ServerCall.Listener<>() {};
        }
    }

    private static Status status(Gate.Refusal refusal) {
        Status status = switch (refusal) {
            case NO_TOKEN, INACTIVE -> Status.UNAUTHENTICATED;
            case UNAVAILABLE -> Status.UNAVAILABLE;
            case MISCONFIGURED -> Status.INTERNAL;
        };
        return status.withDescription(refusal.text);
    }

    private static ClientInfo whereTheCallIsFrom(ServerCall<?, ?> call, Metadata headers) {
        ClientInfo.Builder info = ClientInfo.newBuilder();
        SocketAddress address = call.getAttributes().get(Grpc.TRANSPORT_ATTR_REMOTE_ADDR);
        if (address instanceof InetSocketAddress inet && inet.getAddress() != null) {
            info.setRemoteAddr(inet.getAddress().getHostAddress());
        }
        String userAgent = headers.get(USER_AGENT);
        return info.setUserAgent(userAgent == null ? "" : userAgent).build();
    }

    /** Names the correlation ID in the headers of its answer and, where it ends, in the trailers. */
    private static final class NamedCall<Q, A> extends SimpleForwardingServerCall<Q, A> {
        private final CorrelationId correlationId;

        NamedCall(ServerCall<Q, A> call, CorrelationId correlationId) {
            super(call);
            this.correlationId = correlationId;
        }

        @Override
        public void sendHeaders(Metadata headers) {
            name(headers);
            super.sendHeaders(headers);
        }

        @Override
        public void close(Status status, Metadata trailers) {
            name(trailers);
            super.close(status, trailers);
        }

        private void name(Metadata metadata) {
            metadata.discardAll(CallHeaders.CORRELATION_ID);
            metadata.put(CallHeaders.CORRELATION_ID, correlationId.value());
        }
    }
}
