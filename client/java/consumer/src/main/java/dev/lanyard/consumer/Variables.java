package dev.lanyard.consumer;

import com.google.gson.JsonArray;
import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import com.google.gson.JsonPrimitive;
import java.math.BigInteger;
import java.nio.ByteBuffer;
import java.security.GeneralSecurityException;
import java.security.SecureRandom;
import java.util.HashMap;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import javax.crypto.Mac;
import javax.crypto.spec.SecretKeySpec;

/** The variables of one case: what the server told, and what the case has saved. */
final class Variables {
    private static final Pattern PLACE = Pattern.compile("\\$\\{(?:(totp):)?([a-z0-9_]+)}");
    private static final String BASE32 = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    private static final int TOTP_SECONDS = 30;
    private static final SecureRandom RANDOM = new SecureRandom();

    private final Map<String, String> values;

    private Variables(Map<String, String> values) {
        this.values = values;
    }

    /** Those of the server, with what each case has for itself. */
    static Variables ofCase(JsonObject ofServer) {
        Map<String, String> values = new HashMap<>();
        ofServer.asMap().forEach((name, value) -> values.put(name, value.getAsString()));
        values.put("unique", "%012x".formatted(RANDOM.nextLong(1L << 48)));
        return new Variables(values);
    }

    String get(String name) throws Problem {
        String value = values.get(name);
        if (value == null) {
            throw new Problem("there is no variable " + name);
        }
        return value;
    }

    /** The same with the variables put in, in keys too. */
    JsonElement fill(JsonElement value) throws Problem {
        if (value instanceof JsonPrimitive text && text.isString()) {
            return new JsonPrimitive(fill(text.getAsString()));
        }
        if (value instanceof JsonArray elements) {
            JsonArray filled = new JsonArray();
            for (JsonElement element : elements) {
                filled.add(fill(element));
            }
            return filled;
        }
        if (value instanceof JsonObject fields) {
            JsonObject filled = new JsonObject();
            for (Map.Entry<String, JsonElement> field : fields.entrySet()) {
                filled.add(fill(field.getKey()), fill(field.getValue()));
            }
            return filled;
        }
        return value;
    }

    private String fill(String text) throws Problem {
        StringBuilder filled = new StringBuilder();
        Matcher place = PLACE.matcher(text);
        while (place.find()) {
            String value = get(place.group(2));
            place.appendReplacement(filled, Matcher.quoteReplacement(place.group(1) == null ? value : totp(value)));
        }
        return place.appendTail(filled).toString();
    }

    /** Takes a value from an answer. */
    void save(String name, String path, JsonElement answer) throws Problem {
        JsonElement found = answer;
        for (String step : path.split("\\.")) {
            found = child(found, step);
        }
        if (!(found instanceof JsonPrimitive scalar)) {
            throw new Problem("there is no " + path + " to save in " + answer);
        }
        values.put(name, scalar.getAsString());
    }

    private static JsonElement child(JsonElement parent, String step) {
        if (parent instanceof JsonObject fields) {
            return fields.get(step);
        }
        boolean isIndex = parent instanceof JsonArray elements
                && step.matches("\\d{1,6}")
                && Integer.parseInt(step) < elements.size();
        return isIndex ? ((JsonArray) parent).get(Integer.parseInt(step)) : null;
    }

    /** The code of now: RFC 6238 with SHA-1, 30 s and six digits. */
    private static String totp(String base32) throws Problem {
        try {
            Mac mac = Mac.getInstance("HmacSHA1");
            mac.init(new SecretKeySpec(decodeBase32(base32), "HmacSHA1"));
            long step = System.currentTimeMillis() / 1000 / TOTP_SECONDS;
            byte[] hash = mac.doFinal(ByteBuffer.allocate(Long.BYTES).putLong(step).array());
            int number = ByteBuffer.wrap(hash).getInt(hash[hash.length - 1] & 0xf) & Integer.MAX_VALUE;
            return "%06d".formatted(number % 1_000_000);
        } catch (GeneralSecurityException problem) {
            throw new Problem("no TOTP here: " + problem.getMessage());
        }
    }

    private static byte[] decodeBase32(String text) throws Problem {
        BigInteger number = BigInteger.ONE;
        for (char letter : text.toCharArray()) {
            int value = BASE32.indexOf(letter);
            if (value < 0) {
                throw new Problem("a secret of TOTP is base32");
            }
            number = number.shiftLeft(5).or(BigInteger.valueOf(value));
        }
        // Whole bytes; the one that went first kept leading zeros.
        int bytes = text.length() * 5 / 8;
        byte[] all = number.shiftRight(text.length() * 5 - bytes * 8).toByteArray();
        return java.util.Arrays.copyOfRange(all, all.length - bytes, all.length);
    }
}
