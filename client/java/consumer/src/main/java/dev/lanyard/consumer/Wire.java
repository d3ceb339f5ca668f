package dev.lanyard.consumer;

import com.google.gson.JsonArray;
import com.google.gson.JsonElement;
import com.google.gson.JsonNull;
import com.google.gson.JsonParser;
import com.google.gson.JsonPrimitive;
import com.google.protobuf.Any;
import com.google.protobuf.InvalidProtocolBufferException;
import com.google.protobuf.Message;
import com.google.protobuf.util.JsonFormat;
import com.google.rpc.BadRequest;
import com.google.rpc.ErrorInfo;
import com.google.rpc.RequestInfo;
import com.google.rpc.RetryInfo;
import dev.lanyard.v1.AttributeServiceGrpc;
import dev.lanyard.v1.AuditServiceGrpc;
import dev.lanyard.v1.DefinitionServiceGrpc;
import dev.lanyard.v1.LinkedAuthServiceGrpc;
import dev.lanyard.v1.SessionServiceGrpc;
import dev.lanyard.v1.UserServiceGrpc;
import io.grpc.ManagedChannel;
import io.grpc.Metadata;
import io.grpc.MethodDescriptor;
import io.grpc.MethodDescriptor.PrototypeMarshaller;
import io.grpc.ServiceDescriptor;
import io.grpc.Status;
import io.grpc.StatusException;
import io.grpc.health.v1.HealthGrpc;
import io.grpc.protobuf.StatusProto;
import io.grpc.reflection.v1.ServerReflectionGrpc;
import java.util.ArrayList;
import java.util.Base64;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;

/** Steps by the bare runtime with the generated messages: exactly the metadata of the step, and all of what comes back. */
final class Wire implements AutoCloseable {
    private static final long DEADLINE_MILLIS = 10_000;
    private static final String CORRELATION_ID = "x-correlation-id";
    private static final JsonFormat.Printer PRINTER =
            JsonFormat.printer().preservingProtoFieldNames().omittingInsignificantWhitespace();

    private final Map<String, MethodDescriptor<?, ?>> methods = new HashMap<>();
    private final Map<String, ManagedChannel> channels = new HashMap<>();

    Wire() {
        Stream.of(
                        AttributeServiceGrpc.getServiceDescriptor(),
                        AuditServiceGrpc.getServiceDescriptor(),
                        DefinitionServiceGrpc.getServiceDescriptor(),
                        LinkedAuthServiceGrpc.getServiceDescriptor(),
                        SessionServiceGrpc.getServiceDescriptor(),
                        UserServiceGrpc.getServiceDescriptor(),
                        HealthGrpc.getServiceDescriptor(),
                        ServerReflectionGrpc.getServiceDescriptor())
                .map(ServiceDescriptor::getMethods)
                .forEach(all -> all.forEach(method -> methods.put(method.getFullMethodName(), method)));
    }

    /** Takes a step and returns its answer. */
    JsonElement take(Step step, Variables variables) throws Problem {
        Map<String, String> metadata = step.metadata(variables);
        RawCall call = new RawCall(step.call(), step.requests().isPresent());
        metadata.forEach(call::header);
        requests(step).forEach(call::request);

        String endpoint = step.endpoint().isPresent() ? step.endpoint().get() : variables.get("endpoint");
        int wanted = step.expect().has("messages") ? step.expect().getAsJsonArray("messages").size() : 0;
        RawCall.Came came = call.make(channel(endpoint), wanted, step.deadlineMillis().orElse(DEADLINE_MILLIS));

        JsonElement answer = answer(step, came);
        check(step, came, answer, metadata.get(CORRELATION_ID));
        return answer;
    }

    private ManagedChannel channel(String endpoint) {
        return channels.computeIfAbsent(endpoint, RawCall::connect);
    }

    private List<byte[]> requests(Step step) throws Problem {
        if (step.requestBytes().isPresent()) {
            return List.of(Base64.getDecoder().decode(step.requestBytes().get()));
        }
        MethodDescriptor<?, ?> method = methods.get(step.call());
        if (method == null) {
            return List.of(new byte[0]);
        }
        List<byte[]> written = new ArrayList<>();
        for (JsonElement request : step.requests().map(JsonArray::asList).orElse(List.of(step.request()))) {
            written.add(write(prototype(method.getRequestMarshaller()), request));
        }
        return written;
    }

    private static Message prototype(MethodDescriptor.Marshaller<?> marshaller) {
        return (Message) ((PrototypeMarshaller<?>) marshaller).getMessagePrototype();
    }

    private static byte[] write(Message prototype, JsonElement json) throws Problem {
        try {
            Message.Builder message = prototype.newBuilderForType();
            JsonFormat.parser().merge(json.toString(), message);
            return message.build().toByteArray();
        } catch (InvalidProtocolBufferException problem) {
            throw new Problem("the request: " + problem.getMessage());
        }
    }

    private JsonElement answer(Step step, RawCall.Came came) throws Problem {
        JsonArray answers = new JsonArray();
        for (byte[] message : came.messages()) {
            answers.add(read(step.call(), message));
        }
        if (step.requests().isPresent()) {
            return answers;
        }
        boolean isOk = came.status().isOk();
        if (answers.size() != (isOk ? 1 : 0)) {
            throw new Problem(answers.size() + " answers with " + came.status());
        }
        return isOk ? answers.get(0) : JsonNull.INSTANCE;
    }

    private JsonElement read(String call, byte[] bytes) throws Problem {
        MethodDescriptor<?, ?> method = methods.get(call);
        if (method == null) {
            throw new Problem("a method that there is not has answered");
        }
        try {
            Message message =
                    prototype(method.getResponseMarshaller()).getParserForType().parseFrom(bytes);
            return JsonParser.parseString(PRINTER.print(message));
        } catch (InvalidProtocolBufferException problem) {
            throw new Problem("the answer: " + problem.getMessage());
        }
    }

    private static void check(Step step, RawCall.Came came, JsonElement answer, String sent) throws Problem {
        if (!came.isCutShort()) {
            if (!step.expectedCode().equals(came.status().getCode().name())) {
                throw new Problem("code: is " + came.status() + ", not " + step.expectedCode());
            }
            checkCorrelationId(step, came, sent);
            if (!came.status().isOk()) {
                checkStatus(step, came);
            }
        }
        if (step.expect().has("message")) {
            Patterns.check(step.expect().get("message"), answer, "message");
        }
        if (step.expect().has("messages")) {
            Patterns.check(step.expect().get("messages"), answer, "messages");
        }
    }

    private static void checkStatus(Step step, RawCall.Came came) throws Problem {
        if (step.expect().has("reason")) {
            checkReason(step.expect().get("reason"), came);
        }
        if (step.expect().has("field_violations")) {
            JsonArray fields = new JsonArray();
            details(came, BadRequest.class).stream()
                    .flatMap(bad -> bad.getFieldViolationsList().stream())
                    .forEach(violation -> fields.add(violation.getField()));
            Patterns.check(step.expect().get("field_violations"), fields, "field_violations");
        }
        if (step.expect().has("retry_info")) {
            boolean found = details(came, RetryInfo.class).stream()
                    .map(RetryInfo::getRetryDelay)
                    .anyMatch(delay -> delay.getSeconds() > 0 || delay.getNanos() > 0);
            Patterns.check(step.expect().get("retry_info"), new JsonPrimitive(found), "retry_info");
        }
    }

    private static void checkReason(JsonElement wanted, RawCall.Came came) throws Problem {
        List<ErrorInfo> infos = details(came, ErrorInfo.class);
        if (infos.size() > 1) {
            throw new Problem("reason: there are several: " + infos);
        }
        JsonElement found = infos.isEmpty() ? null : new JsonPrimitive(infos.get(0).getReason());
        Patterns.check(wanted, found, "reason");
        if (infos.isEmpty()) {
            return;
        }
        String text = came.status().getDescription();
        if (!infos.get(0).getDomain().equals("lanyard") || text == null || text.isEmpty()) {
            throw new Problem("it is of another domain or says nothing: " + came.status() + " " + infos);
        }
    }

    private static void checkCorrelationId(Step step, RawCall.Came came, String sent) throws Problem {
        JsonElement expected = step.expect().get("correlation_id");
        if (expected instanceof JsonNull) {
            return;
        }
        String wanted = expected == null ? sent : expected.getAsString();
        if (wanted == null) {
            throw new Problem("none was sent, and the case does not say what comes back");
        }
        List<String> found = new ArrayList<>();
        // An answer of trailers only has no initial metadata here.
        if (came.headers() != null || came.status().isOk()) {
            found.add(only("the initial metadata", came.headers()));
        }
        found.add(only("the trailers", came.trailers()));
        if (!came.status().isOk()) {
            List<RequestInfo> infos = details(came, RequestInfo.class);
            if (infos.size() != 1) {
                throw new Problem("correlation_id: not one RequestInfo: " + infos);
            }
            found.add(infos.get(0).getRequestId());
        }
        for (String id : found) {
            Patterns.checkText(wanted, id, "correlation_id");
            Patterns.checkText(found.get(0), id, "correlation_id");
        }
    }

    private static String only(String place, Metadata metadata) throws Problem {
        List<String> ids = new ArrayList<>();
        var all = metadata == null
                ? null
                : metadata.getAll(Metadata.Key.of(CORRELATION_ID, Metadata.ASCII_STRING_MARSHALLER));
        if (all != null) {
            all.forEach(ids::add);
        }
        if (ids.size() != 1) {
            throw new Problem("correlation_id: in " + place + " stands " + ids);
        }
        return ids.get(0);
    }

    private static <M extends Message> List<M> details(RawCall.Came came, Class<M> type) throws Problem {
        var status = StatusProto.fromThrowable(new StatusException(came.status(), came.trailers()));
        List<M> found = new ArrayList<>();
        for (Any detail : status.getDetailsList()) {
            if (detail.is(type)) {
                try {
                    found.add(detail.unpack(type));
                } catch (InvalidProtocolBufferException problem) {
                    throw new Problem("its details: " + problem.getMessage());
                }
            }
        }
        return found;
    }

    @Override
    public void close() {
        channels.values().forEach(ManagedChannel::shutdownNow);
    }
}
