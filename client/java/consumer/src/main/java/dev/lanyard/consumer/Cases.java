package dev.lanyard.consumer;

import com.google.gson.Gson;
import com.google.gson.GsonBuilder;
import com.google.gson.JsonArray;
import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.stream.Stream;
import org.snakeyaml.engine.v2.api.Load;
import org.snakeyaml.engine.v2.api.LoadSettings;
import org.snakeyaml.engine.v2.schema.CoreSchema;

/**
 * Tells the cases of all client languages, as {@code tests/cases/README.md} says: those of {@code LANYARD_CASES} to the server
 * {@code LANYARD_CASE_SERVER}, with a line for each in {@code LANYARD_CASES_REPORT}, if that is set.
 */
public final class Cases {
    /** Keeps what is null: in a pattern it means something. */
    private static final Gson GSON = new GsonBuilder().serializeNulls().create();

    private final JsonObject ofServer;
    private final Wire wire;

    private Cases(JsonObject ofServer, Wire wire) {
        this.ofServer = ofServer;
        this.wire = wire;
    }

    /** Fails, with exit code 1, if a case failed. */
    public static void main(String[] arguments) throws Exception {
        Process server = new ProcessBuilder(required("LANYARD_CASE_SERVER"))
                .redirectError(ProcessBuilder.Redirect.INHERIT)
                .start();
        int failed;
        int told = 0;
        try (Wire wire = new Wire()) {
            BufferedReader output =
                    new BufferedReader(new InputStreamReader(server.getInputStream(), StandardCharsets.UTF_8));
            String firstLine = Optional.ofNullable(output.readLine())
                    .orElseThrow(() -> new IOException("the server of the cases ended before it told its variables"));
            Cases cases = new Cases(JsonParser.parseString(firstLine).getAsJsonObject(), wire);
            failed = 0;
            for (JsonElement written : read(Path.of(required("LANYARD_CASES")))) {
                told++;
                failed += cases.tell(written.getAsJsonObject()) ? 0 : 1;
            }
        } finally {
            // It ends with its input.
            server.getOutputStream().close();
            server.waitFor();
        }
        System.out.printf("cases: %d passed, %d failed%n", told - failed, failed);
        System.exit(failed == 0 && told > 0 ? 0 : 1);
    }

    private static String required(String variable) {
        return Optional.ofNullable(System.getenv(variable))
                .filter(value -> !value.isEmpty())
                .orElseThrow(() -> new IllegalStateException(variable + " is not set"));
    }

    private static JsonArray read(Path folder) throws IOException {
        JsonArray all = new JsonArray();
        List<Path> files;
        try (Stream<Path> entries = Files.list(folder)) {
            files = entries.filter(path -> path.toString().endsWith(".yaml")).sorted().toList();
        }
        LoadSettings settings = LoadSettings.builder().setSchema(new CoreSchema()).build();
        for (Path file : files) {
            Object cases = new Load(settings).loadFromString(Files.readString(file));
            all.addAll(GSON.toJsonTree(cases).getAsJsonArray());
        }
        return all;
    }

    /** Whether the case passed. */
    private boolean tell(JsonObject written) throws IOException {
        String name = written.get("name").getAsString();
        try {
            run(written);
        } catch (Problem problem) {
            System.out.println("FAILED " + name + ": " + problem.getMessage());
            report(name, Map.of("result", "failed", "reason", problem.getMessage()));
            return false;
        }
        report(name, Map.of("result", "passed"));
        return true;
    }

    private void run(JsonObject written) throws Problem {
        for (String key : written.keySet()) {
            if (!key.equals("name") && !key.equals("steps")) {
                throw new Problem("this runner does not know the key " + key);
            }
        }
        Variables variables = Variables.ofCase(ofServer);
        int number = 0;
        for (JsonElement step : written.getAsJsonArray("steps")) {
            number++;
            try {
                take(Step.of(variables.fill(step)), variables);
            } catch (Problem problem) {
                String call = step.getAsJsonObject().get("call").getAsString();
                throw new Problem("step " + number + ", " + call + ": " + problem.getMessage());
            }
        }
    }

    private void take(Step step, Variables variables) throws Problem {
        switch (step.via()) {
            case "wire" -> {
                JsonElement answer = wire.take(step, variables);
                for (Map.Entry<String, JsonElement> saved : step.save().entrySet()) {
                    variables.save(saved.getKey(), saved.getValue().getAsString(), answer);
                }
            }
            case "client", "client_tls", "client_mtls" -> ThroughClient.take(step, variables);
            default -> throw new Problem("this runner knows no way " + step.via());
        }
    }

    private static void report(String name, Map<String, String> result) throws IOException {
        String file = System.getenv("LANYARD_CASES_REPORT");
        if (file == null || file.isEmpty()) {
            return;
        }
        JsonObject line = new JsonObject();
        line.addProperty("language", "java");
        line.addProperty("case", name);
        result.forEach(line::addProperty);
        // In one piece: others may write to it too.
        Files.writeString(Path.of(file), line + "\n", StandardOpenOption.CREATE, StandardOpenOption.APPEND);
    }
}
