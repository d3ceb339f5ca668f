package dev.lanyard.examples;

import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import dev.lanyard.LanyardClient;
import dev.lanyard.LanyardContext;
import dev.lanyard.LanyardServletFilter;
import io.opentelemetry.api.OpenTelemetry;
import io.opentelemetry.context.Context;
import io.opentelemetry.instrumentation.grpc.v1_6.GrpcTelemetry;
import io.opentelemetry.sdk.autoconfigure.AutoConfiguredOpenTelemetrySdk;
import jakarta.servlet.DispatcherType;
import jakarta.servlet.http.HttpServlet;
import jakarta.servlet.http.HttpServletRequest;
import jakarta.servlet.http.HttpServletResponse;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandlers;
import java.time.Duration;
import java.util.EnumSet;
import java.util.Map;
import org.eclipse.jetty.ee10.servlet.FilterHolder;
import org.eclipse.jetty.ee10.servlet.ServletContextHandler;
import org.eclipse.jetty.ee10.servlet.ServletHolder;
import org.eclipse.jetty.server.Server;

/**
 * A service that tells who is calling and how many accounts are linked to them, and asks the next service the same: {@code GET
 * /whoami} with {@code authorization: Bearer <ust>}. One correlation ID and one trace go through all of them.
 *
 * <p>Environment: {@code LISTEN} (host:port), {@code LANYARD_ENDPOINT}, {@code LANYARD_CALLER_KEY}, and {@code NEXT}, the address of
 * the next service, if there is one. Spans go to {@code OTEL_EXPORTER_OTLP_ENDPOINT}, if that is set.
 */
public final class Whoami extends HttpServlet {
    private static final long serialVersionUID = 1;
    private static final EnumSet<DispatcherType> REQUESTS = EnumSet.of(DispatcherType.REQUEST);
    private static final Duration PATIENCE = Duration.ofSeconds(10);

    private final transient HttpClient http = HttpClient.newBuilder().connectTimeout(PATIENCE).build();
    private final transient LanyardClient lanyard;
    private final transient OpenTelemetry telemetry;
    private final String next;

    private Whoami(LanyardClient lanyard, OpenTelemetry telemetry, String next) {
        this.lanyard = lanyard;
        this.telemetry = telemetry;
        this.next = next;
    }

    /** Serves until it is told to stop. */
    public static void main(String[] arguments) throws Exception {
        OpenTelemetry telemetry = telemetry();
        LanyardClient lanyard = LanyardClient.builder(System.getenv("LANYARD_ENDPOINT"))
                .apiKey(System.getenv("LANYARD_CALLER_KEY"))
                .intercept(GrpcTelemetry.create(telemetry).createClientInterceptor())
                .connect();

        ServletContextHandler context = new ServletContextHandler("/");
        context.addFilter(new FilterHolder(new Tracing(telemetry)), "/*", REQUESTS);
        context.addFilter(new FilterHolder(new LanyardServletFilter(lanyard)), "/*", REQUESTS);
        context.addServlet(new ServletHolder(new Whoami(lanyard, telemetry, System.getenv("NEXT"))), "/whoami");

        String[] listen = System.getenv().getOrDefault("LISTEN", "127.0.0.1:8080").split(":(?=\\d+$)");
        Server server = new Server(new InetSocketAddress(listen[0], Integer.parseInt(listen[1])));
        server.setHandler(context);
        server.setStopAtShutdown(true);
        server.start();
        System.out.println("whoami listens at " + server.getURI());
        server.join();
    }

    /** As the environment says (OTEL_...), but nothing is exported where it names nobody to export to. */
    private static OpenTelemetry telemetry() {
        String exporter = System.getenv("OTEL_EXPORTER_OTLP_ENDPOINT") == null ? "none" : "otlp";
        Map<String, String> defaults = Map.of(
                "otel.service.name", "whoami-java",
                "otel.traces.exporter", exporter,
                "otel.metrics.exporter", "none",
                "otel.logs.exporter", "none");
        return AutoConfiguredOpenTelemetrySdk.builder()
                .addPropertiesSupplier(() -> defaults)
                .build()
                .getOpenTelemetrySdk();
    }

    @Override
    protected void doGet(HttpServletRequest request, HttpServletResponse response) throws IOException {
        JsonObject answer = new JsonObject();
        answer.addProperty("language", "java");
        answer.addProperty("username", request.getUserPrincipal().getName());
        answer.addProperty("correlation_id", LanyardContext.correlationId().orElseThrow().value());
        answer.addProperty("links", lanyard.onBehalfOf(LanyardContext.ust().orElseThrow()).getLinkedAuthList().size());
        if (next != null && !next.isEmpty()) {
            HttpResponse<String> asked = askNext();
            if (asked.statusCode() != HttpServletResponse.SC_OK) {
                response.setStatus(HttpServletResponse.SC_BAD_GATEWAY);
            }
            answer.add("next", JsonParser.parseString(asked.body()));
        }
        response.setContentType("application/json");
        response.getWriter().println(answer);
    }

    /** The next service, for the same user, under the same correlation ID, in the same trace. */
    private HttpResponse<String> askNext() throws IOException {
        HttpRequest.Builder request = HttpRequest.newBuilder(URI.create(next + "/whoami"))
                .timeout(PATIENCE)
                .header("authorization", "Bearer " + LanyardContext.ust().orElseThrow().expose())
                .header("x-correlation-id", LanyardContext.correlationId().orElseThrow().value());
        telemetry.getPropagators().getTextMapPropagator().inject(Context.current(), request, HttpRequest.Builder::header);
        try {
            return http.send(request.build(), BodyHandlers.ofString());
        } catch (InterruptedException stopping) {
            Thread.currentThread().interrupt();
            throw new IOException(stopping);
        }
    }
}
