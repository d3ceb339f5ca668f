package dev.lanyard.consumer;

import com.google.gson.JsonArray;
import com.google.gson.JsonElement;
import com.google.gson.JsonNull;
import com.google.gson.JsonObject;
import java.util.HashMap;
import java.util.Map;
import java.util.Optional;
import java.util.Set;

/** A step of a case with its variables put in. {@code tests/cases/README.md} says what the keys mean. */
record Step(JsonObject written, JsonObject expect) {
    private static final Set<String> KEYS = Set.of(
            "call", "via", "endpoint", "metadata", "request", "requests", "request_bytes", "deadline_ms", "expect", "save");
    private static final Set<String> EXPECTED = Set.of(
            "code", "reason", "field_violations", "retry_info", "correlation_id", "message", "messages", "verified",
            "items");

    static Step of(JsonElement filled) throws Problem {
        JsonObject written = filled.getAsJsonObject();
        JsonObject expect = written.has("expect") ? written.getAsJsonObject("expect") : new JsonObject();
        refuseOthers(written, KEYS);
        refuseOthers(expect, EXPECTED);
        return new Step(written, expect);
    }

    private static void refuseOthers(JsonObject object, Set<String> known) throws Problem {
        for (String key : object.keySet()) {
            if (!known.contains(key)) {
                throw new Problem("this runner does not know the key " + key);
            }
        }
    }

    String call() {
        return written.get("call").getAsString();
    }

    String via() {
        return written.has("via") ? written.get("via").getAsString() : "wire";
    }

    Optional<String> endpoint() {
        return Optional.ofNullable(written.get("endpoint")).map(JsonElement::getAsString);
    }

    JsonElement request() {
        return written.has("request") ? written.get("request") : new JsonObject();
    }

    Optional<JsonArray> requests() {
        return Optional.ofNullable(written.getAsJsonArray("requests"));
    }

    Optional<String> requestBytes() {
        return Optional.ofNullable(written.get("request_bytes")).map(JsonElement::getAsString);
    }

    Optional<Long> deadlineMillis() {
        return Optional.ofNullable(written.get("deadline_ms")).map(JsonElement::getAsLong);
    }

    /** The metadata to send: that of the step over the defaults. */
    Map<String, String> metadata(Variables variables) throws Problem {
        Map<String, String> all = new HashMap<>();
        all.put("authorization", "Bearer " + variables.get("caller_key"));
        all.put("x-correlation-id", "case-" + variables.get("unique"));
        if (written.has("metadata")) {
            written.getAsJsonObject("metadata").asMap().forEach((name, value) -> {
                if (value instanceof JsonNull) {
                    all.remove(name);
                } else {
                    all.put(name, value.getAsString());
                }
            });
        }
        return all;
    }

    /** What is to be saved: the path by the name of the variable. */
    Map<String, JsonElement> save() {
        return written.has("save") ? written.getAsJsonObject("save").asMap() : Map.of();
    }

    String expectedCode() {
        return expect.has("code") ? expect.get("code").getAsString() : "OK";
    }
}
