package dev.lanyard.consumer;

import com.google.gson.JsonArray;
import com.google.gson.JsonElement;
import com.google.gson.JsonNull;
import com.google.gson.JsonObject;
import com.google.gson.JsonPrimitive;
import dev.lanyard.CorrelationId;
import dev.lanyard.LanyardClient;
import dev.lanyard.LanyardClientBuilder;
import dev.lanyard.LanyardContext;
import dev.lanyard.LanyardException;
import dev.lanyard.Ust;
import dev.lanyard.Verdict;
import dev.lanyard.v1.ErrorReason;
import dev.lanyard.v1.ListLinkedAuthRequest;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Map;

/** Steps through the client layer, as its page shows it. */
final class ThroughClient {
    private ThroughClient() {}

    static void take(Step step, Variables variables) throws Problem {
        Map<String, String> metadata = step.metadata(variables);
        CorrelationId id = CorrelationId.of(metadata.get(CorrelationId.HEADER));
        try (LanyardClient lanyard = connect(step, variables, metadata)) {
            LanyardContext.with(id).call(() -> {
                call(lanyard, step, id);
                return null;
            });
        } catch (Problem problem) {
            throw problem;
        } catch (Exception unexpected) {
            throw new Problem(unexpected.toString());
        }
    }

    private static LanyardClient connect(Step step, Variables variables, Map<String, String> metadata) throws Problem {
        boolean isTls = !step.via().equals("client");
        String endpoint =
                step.endpoint().isPresent() ? step.endpoint().get() : variables.get(isTls ? "tls_endpoint" : "endpoint");
        LanyardClientBuilder builder = LanyardClient.builder(endpoint);
        if (isTls) {
            builder.ca(file(variables, "tls_ca_file"));
        }
        if (step.via().equals("client_mtls")) {
            builder.identity(file(variables, "tls_client_cert_file"), file(variables, "tls_client_key_file"));
        } else {
            builder.apiKey(metadata.get("authorization").replaceFirst("^Bearer ", ""));
        }
        step.deadlineMillis().map(Duration::ofMillis).ifPresent(builder::deadline);
        return builder.build();
    }

    private static String file(Variables variables, String name) throws Problem {
        try {
            return Files.readString(Path.of(variables.get(name)));
        } catch (IOException problem) {
            throw new Problem(name + ": " + problem);
        }
    }

    private static void call(LanyardClient lanyard, Step step, CorrelationId id) throws Problem {
        try {
            answered(lanyard, step);
        } catch (LanyardException refusal) {
            if (!isNotUnderstood(step, refusal)) {
                checkRefusal(step, refusal, id);
            }
        }
    }

    /** An answer that the layer cannot read, where the case wants no more than that nobody is let in. */
    private static boolean isNotUnderstood(Step step, LanyardException refusal) {
        return refusal.reason() == ErrorReason.ERROR_REASON_UNSPECIFIED
                && new JsonPrimitive(false).equals(step.expect().get("verified"));
    }

    private static void answered(LanyardClient lanyard, Step step) throws Problem {
        JsonObject request = step.request().getAsJsonObject();
        Ust ust = Ust.of(text(request, "ust"));
        switch (step.call()) {
            case "lanyard.v1.SessionService/VerifySession" -> {
                boolean isActive = lanyard.verify(ust) instanceof Verdict.Active;
                checkAnswer(step, "verified", new JsonPrimitive(isActive));
            }
            case "lanyard.v1.SessionService/CreateSession" -> {
                JsonObject password = request.getAsJsonObject("password");
                var login = lanyard.logIn(text(password, "username"), text(password, "password"));
                JsonObject session = new JsonObject();
                session.addProperty("username", login.session().getUsername());
                JsonObject message = new JsonObject();
                message.add("session", session);
                checkAnswer(step, "message", message);
            }
            case "lanyard.v1.LinkedAuthService/ListLinkedAuth" -> {
                var links = lanyard.onBehalfOf(ust)
                        .listLinkedAuth(ListLinkedAuthRequest.newBuilder().setUserId(text(request, "user_id")).build());
                checkAnswer(step, "items", new JsonPrimitive(links.stream().count()));
            }
            default -> throw new Problem(step.call() + " is not called through the client layer");
        }
    }

    private static String text(JsonObject object, String name) {
        return object.has(name) ? object.get(name).getAsString() : "";
    }

    private static void checkAnswer(Step step, String key, JsonElement found) throws Problem {
        if (!step.expectedCode().equals("OK") || !step.expect().has(key)) {
            throw new Problem("it was answered, with " + key + " " + found);
        }
        Patterns.check(step.expect().get(key), found, key);
    }

    private static void checkRefusal(Step step, LanyardException refusal, CorrelationId id) throws Problem {
        JsonObject expect = step.expect();
        if (!step.expectedCode().equals(refusal.code().name())) {
            throw new Problem("code: is " + refusal.code() + ", not " + step.expectedCode() + " (" + refusal + ")");
        }
        if (expect.has("reason")) {
            String reason = refusal.reason().name().replaceFirst("^ERROR_REASON_", "");
            Patterns.check(
                    expect.get("reason"), reason.equals("UNSPECIFIED") ? null : new JsonPrimitive(reason), "reason");
        }
        if (expect.has("field_violations")) {
            JsonArray fields = new JsonArray();
            refusal.fieldViolations().forEach(violation -> fields.add(violation.field()));
            Patterns.check(expect.get("field_violations"), fields, "field_violations");
        }
        if (expect.has("retry_info")) {
            Patterns.check(
                    expect.get("retry_info"), new JsonPrimitive(refusal.retryAfter().isPresent()), "retry_info");
        }
        JsonElement expected = expect.get("correlation_id");
        if (expected instanceof JsonNull) {
            return;
        }
        String found = refusal.correlationId().value();
        Patterns.checkText(expected == null ? id.value() : expected.getAsString(), found, "correlation_id");
        if (!refusal.getMessage().contains(found)) {
            throw new Problem("its text does not tell its ID: " + refusal);
        }
    }
}
