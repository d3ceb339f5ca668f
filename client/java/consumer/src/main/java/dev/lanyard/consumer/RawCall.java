package dev.lanyard.consumer;

import io.grpc.CallOptions;
import io.grpc.ClientCall;
import io.grpc.Grpc;
import io.grpc.InsecureChannelCredentials;
import io.grpc.ManagedChannel;
import io.grpc.Metadata;
import io.grpc.MethodDescriptor;
import io.grpc.MethodDescriptor.MethodType;
import io.grpc.Status;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;

/** A call whose messages are bytes, of a method that need not exist. */
final class RawCall {
    private static final int MOST_MESSAGES = 1_000;

    private final MethodDescriptor<byte[], byte[]> method;
    private final Metadata headers = new Metadata();
    private final List<byte[]> requests = new ArrayList<>();

    /** What came back; {@code headers} is {@code null} where the answer was of trailers only. */
    record Came(Status status, Metadata headers, Metadata trailers, List<byte[]> messages, boolean isCutShort) {}

    RawCall(String name, boolean isStreaming) {
        method = MethodDescriptor.<byte[], byte[]>newBuilder()
                .setFullMethodName(name)
                .setType(isStreaming ? MethodType.BIDI_STREAMING : MethodType.UNARY)
                .setRequestMarshaller(new Bytes())
                .setResponseMarshaller(new Bytes())
                .build();
    }

    static ManagedChannel connect(String endpoint) {
        return Grpc.newChannelBuilder(endpoint, InsecureChannelCredentials.create()).build();
    }

    void header(String name, String value) {
        headers.put(Metadata.Key.of(name, Metadata.ASCII_STRING_MARSHALLER), value);
    }

    void request(byte[] message) {
        requests.add(message);
    }

    /** Ends with the call or, if {@code wanted} is not 0, when as many messages have come. */
    Came make(ManagedChannel channel, int wanted, long deadlineMillis) {
        CallOptions options = CallOptions.DEFAULT.withDeadlineAfter(deadlineMillis, TimeUnit.MILLISECONDS);
        ClientCall<byte[], byte[]> call = channel.newCall(method, options);
        Collector collector = new Collector(wanted);
        call.start(collector, headers);
        call.request(MOST_MESSAGES);
        requests.forEach(call::sendMessage);
        call.halfClose();
        Came came = collector.came.join();
        if (came.isCutShort()) {
            call.cancel("as many messages as were wanted have come", null);
        }
        return came;
    }

    private static final class Collector extends ClientCall.Listener<byte[]> {
        final CompletableFuture<Came> came = new CompletableFuture<>();
        private final int wanted;
        private final List<byte[]> messages = new ArrayList<>();
        private Metadata headers;

        Collector(int wanted) {
            this.wanted = wanted;
        }

        @Override
        public void onHeaders(Metadata initial) {
            headers = initial;
        }

        @Override
        public void onMessage(byte[] message) {
            messages.add(message);
            if (messages.size() == wanted) {
                came.complete(new Came(Status.OK, headers, null, List.copyOf(messages), true));
            }
        }

        @Override
        public void onClose(Status status, Metadata trailers) {
            came.complete(new Came(status, headers, trailers, messages, false));
        }
    }

    private static final class Bytes implements MethodDescriptor.Marshaller<byte[]> {
        @Override
        public InputStream stream(byte[] message) {
            return new ByteArrayInputStream(message);
        }

        @Override
        public byte[] parse(InputStream stream) {
            try (stream) {
                return stream.readAllBytes();
            } catch (IOException broken) {
                throw new UncheckedIOException(broken);
            }
        }
    }
}
