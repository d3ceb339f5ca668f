package dev.lanyard.consumer;

import com.google.gson.JsonArray;
import com.google.gson.JsonElement;
import com.google.gson.JsonNull;
import com.google.gson.JsonObject;
import com.google.gson.JsonPrimitive;
import java.util.Map;
import java.util.regex.Pattern;

/** What an answer must look like. */
final class Patterns {
    private Patterns() {}

    /** Says where {@code found} ({@code null}: it is not there) is not as {@code pattern} wants it. */
    static void check(JsonElement pattern, JsonElement found, String at) throws Problem {
        if (pattern instanceof JsonNull) {
            if (found != null) {
                throw new Problem(at + ": is " + found + " and should not be there");
            }
        } else if (found == null) {
            throw new Problem(at + ": is not there");
        } else if (pattern instanceof JsonObject rules && found instanceof JsonArray elements) {
            checkElements(rules, elements, at);
        } else if (pattern instanceof JsonObject fields && found instanceof JsonObject object) {
            for (Map.Entry<String, JsonElement> field : fields.entrySet()) {
                check(field.getValue(), object.get(field.getKey()), at + "." + field.getKey());
            }
        } else if (pattern instanceof JsonArray patterns && found instanceof JsonArray elements) {
            checkEach(patterns, elements, at);
        } else if (pattern instanceof JsonPrimitive text && found instanceof JsonPrimitive scalar) {
            checkText(text.getAsString(), scalar.getAsString(), at);
        } else {
            throw new Problem(at + ": is " + found + ", not " + pattern);
        }
    }

    /** Text or {@code ~regex}. */
    static void checkText(String pattern, String found, String at) throws Problem {
        boolean matches = pattern.startsWith("~")
                ? Pattern.compile(pattern.substring(1)).matcher(found).matches()
                : pattern.equals(found);
        if (!matches) {
            throw new Problem(at + ": is '" + found + "', not '" + pattern + "'");
        }
    }

    private static void checkEach(JsonArray patterns, JsonArray elements, String at) throws Problem {
        if (patterns.size() != elements.size()) {
            throw new Problem(at + ": has " + elements.size() + " elements and not " + patterns.size());
        }
        for (int i = 0; i < patterns.size(); i++) {
            check(patterns.get(i), elements.get(i), at + "." + i);
        }
    }

    private static void checkElements(JsonObject rules, JsonArray elements, String at) throws Problem {
        for (Map.Entry<String, JsonElement> rule : rules.entrySet()) {
            switch (rule.getKey()) {
                case "~length" -> check(rule.getValue(), new JsonPrimitive(elements.size()), at + ", its length");
                case "~each" -> {
                    for (int i = 0; i < elements.size(); i++) {
                        check(rule.getValue(), elements.get(i), at + "." + i);
                    }
                }
                case "~contains" -> checkContains(rule.getValue(), elements, at);
                default -> throw new Problem(at + ": is a list, and " + rule.getKey() + " is no rule for one");
            }
        }
    }

    private static void checkContains(JsonElement pattern, JsonArray elements, String at) throws Problem {
        for (JsonElement element : elements) {
            try {
                check(pattern, element, at);
                return;
            } catch (Problem notThisOne) {
                // The next one may be.
            }
        }
        throw new Problem(at + ": holds no " + pattern);
    }
}
