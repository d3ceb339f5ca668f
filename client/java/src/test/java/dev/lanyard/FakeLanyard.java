package dev.lanyard;

import com.google.protobuf.Message;
import io.grpc.Context;
import io.grpc.Contexts;
import io.grpc.Grpc;
import io.grpc.InsecureServerCredentials;
import io.grpc.Metadata;
import io.grpc.MethodDescriptor;
import io.grpc.MethodDescriptor.PrototypeMarshaller;
import io.grpc.Server;
import io.grpc.ServerBuilder;
import io.grpc.ServerCall;
import io.grpc.ServerCallHandler;
import io.grpc.ServerInterceptor;
import io.grpc.ServerServiceDefinition;
import io.grpc.ServiceDescriptor;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import io.grpc.stub.ServerCalls;
import io.grpc.stub.StreamObserver;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.time.Duration;
import java.util.List;
import java.util.Queue;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.CopyOnWriteArrayList;

/** A server that does as it is told and remembers what it was asked. With nothing left to do it gives an empty answer. */
final class FakeLanyard implements AutoCloseable {
    private static final Context.Key<Metadata> HEADERS = Context.key("headers");

    private final Queue<Step> script = new ConcurrentLinkedQueue<>();
    private final List<Asked> asked = new CopyOnWriteArrayList<>();
    private final Server server;
    private final int port;

    record Asked(String method, Metadata headers, Message request) {
        String header(String name) {
            return headers.get(Metadata.Key.of(name, Metadata.ASCII_STRING_MARSHALLER));
        }
    }

    private interface Step {
        void serve(StreamObserver<Message> observer);
    }

    FakeLanyard() {
        ServerBuilder<?> builder = Grpc.newServerBuilderForPort(0, InsecureServerCredentials.create())
                .intercept(new KeepsHeaders());
        RetryPolicy.SERVICES.forEach(service -> builder.addService(definition(service)));
        try {
            server = builder.build().start();
            port = server.getPort();
        } catch (IOException cannotListen) {
            throw new UncheckedIOException(cannotListen);
        }
    }

    String endpoint() {
        return "127.0.0.1:" + port;
    }

    /** A client of this server, with patience: the machine may have other things to do. */
    LanyardClientBuilder client() {
        return LanyardClient.builder(endpoint()).deadline(Duration.ofSeconds(20));
    }

    void answer(Message answer) {
        script.add(observer -> {
            observer.onNext(answer);
            observer.onCompleted();
        });
    }

    void refuse(int times, Status status) {
        refuse(times, status.asRuntimeException());
    }

    void refuse(int times, StatusRuntimeException refusal) {
        for (int i = 0; i < times; i++) {
            script.add(observer -> observer.onError(refusal));
        }
    }

    /** Never answers. */
    void hang() {
        script.add(observer -> {});
    }

    List<Asked> asked() {
        return asked;
    }

    List<String> headers(String name) {
        return asked.stream().map(call -> call.header(name)).toList();
    }

    @Override
    public void close() {
        server.shutdownNow();
    }

    private ServerServiceDefinition definition(ServiceDescriptor service) {
        ServerServiceDefinition.Builder definition = ServerServiceDefinition.builder(service);
        service.getMethods().forEach(method -> add(definition, method));
        return definition.build();
    }

    @SuppressWarnings("unchecked") // all messages are messages
    private void add(ServerServiceDefinition.Builder definition, MethodDescriptor<?, ?> method) {
        var unary = (MethodDescriptor<Message, Message>) method;
        definition.addMethod(unary, ServerCalls.asyncUnaryCall((request, observer) -> {
            asked.add(new Asked(unary.getBareMethodName(), HEADERS.get(), request));
            Step step = script.poll();
            if (step == null) {
                observer.onNext(((PrototypeMarshaller<Message>) unary.getResponseMarshaller()).getMessagePrototype());
                observer.onCompleted();
            } else {
                step.serve(observer);
            }
        }));
    }

    private static final class KeepsHeaders implements ServerInterceptor {
        @Override
        public <Q, A> ServerCall.Listener<Q> interceptCall(
                ServerCall<Q, A> call, Metadata headers, ServerCallHandler<Q, A> next) {
            return Contexts.interceptCall(Context.current().withValue(HEADERS, headers), call, headers, next);
        }
    }
}
