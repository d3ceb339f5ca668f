package dev.lanyard;

import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.protobuf.DebugFormat;
import dev.lanyard.v1.*;
import io.grpc.Status;
import java.io.IOException;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.net.URISyntaxException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.logging.Handler;
import java.util.logging.Level;
import java.util.logging.LogRecord;
import java.util.logging.Logger;
import java.util.stream.Collectors;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.function.Executable;

/** Nothing that the layer makes shows a secret, however it is printed. */
class SecrecyTest {
    private static final String SECRET = "hunter2";
    private static final Ust UST = Ust.of("lyu1_" + SECRET);
    private static final UserSession ALICE =
            UserSession.newBuilder().setUsername("alice").setSessionAuth("lyu1_" + SECRET).build();

    private FakeLanyard fake;
    private LanyardClient lanyard;

    @BeforeEach
    void start() {
        fake = new FakeLanyard();
        lanyard = fake.client().apiKey("lyk1_" + SECRET).retry(RetryPolicy.NEVER).build();
    }

    @AfterEach
    void stop() {
        lanyard.close();
        fake.close();
    }

    private static void checkSecrecy(String name, Object value) {
        String shown = value instanceof Throwable problem ? trace(problem) : String.valueOf(value);
        assertFalse(shown.contains(SECRET), () -> name + " shows it: " + shown);
    }

    private static String trace(Throwable problem) {
        var text = new StringWriter();
        problem.printStackTrace(new PrintWriter(text));
        return text.toString();
    }

    /** One of each record, with a secret wherever one fits. Those of {@code dev.lanyard.v1} that are inside are as the verbs give them. */
    private Map<Class<?>, Object> records() {
        var attribute = Attribute.newBuilder().setName("phone").setValue(SECRET).build();
        var session = VerifiedSession.newBuilder().setUsername("alice").build();
        var id = CorrelationId.of("order-4711");
        var all = List.of(
                new Login(UST, Login.withoutToken(ALICE), List.of()),
                new Renewal(Login.withoutToken(ALICE), Optional.of(UST), Optional.empty()),
                new TotpEnrollment(SECRET, "otpauth://totp/x?secret=" + SECRET),
                new PlatformAuth("micetro", "https://m", "Bearer " + SECRET,
                        PlatformAuthScheme.PLATFORM_AUTH_SCHEME_BEARER, Duration.ZERO, PlatformSettings.getDefaultInstance()),
                new Page<>(List.of(attribute, ALICE), ""),
                new Verdict.Active(session, Optional.empty()),
                new Verdict.Inactive(InactiveReason.INACTIVE_REASON_UNKNOWN, RevokeReason.REVOKE_REASON_UNSPECIFIED),
                new Admission(id, UST, session),
                new UserChange(User.getDefaultInstance(), 0),
                new DefinitionChange(Definition.getDefaultInstance(), 0),
                new LinkChange(LinkedAuth.getDefaultInstance(), 0),
                new FieldViolation("password", "is too short"),
                id,
                RetryPolicy.DEFAULT);
        Map<Class<?>, Object> found = new TreeMap<>((one, other) -> one.getName().compareTo(other.getName()));
        all.forEach(value -> found.put(value.getClass(), value));
        return found;
    }

    @Test
    void no_record_and_no_object_of_the_layer_prints_a_secret() {
        records().forEach((type, value) -> checkSecrecy(type.getSimpleName(), value));
        var builder = LanyardClient.builder(fake.endpoint()).apiKey("lyk1_" + SECRET).identity(SECRET, SECRET);
        checkSecrecy("token", UST);
        checkSecrecy("builder", builder);
        checkSecrecy("client", lanyard);
        checkSecrecy("subject", lanyard.onBehalfOf(UST));
        checkSecrecy("headers", new CallHeaders("lyk1_" + SECRET));
        checkSecrecy("call", lanyard.newCall());
        checkSecrecy("context", LanyardContext.with(CorrelationId.generate()));
        checkSecrecy("list", List.of(UST, Optional.of(UST), Map.of(UST, UST)));
    }

    /** A record that is added has to say here what it prints: records print all that they hold. */
    @Test
    void every_public_record_of_the_layer_is_looked_at() throws IOException, URISyntaxException {
        Set<String> looked = records().keySet().stream().map(Class::getName).collect(Collectors.toCollection(TreeSet::new));
        var classes = Path.of(LanyardClient.class.getProtectionDomain().getCodeSource().getLocation().toURI());
        List<String> forgotten = new ArrayList<>();
        try (var files = Files.list(classes.resolve("dev/lanyard"))) {
            for (Path file : files.filter(file -> file.toString().endsWith(".class")).toList()) {
                String name = "dev.lanyard." + file.getFileName().toString().replaceFirst("\\.class$", "");
                if (isPublicRecord(name) && !looked.contains(name)) {
                    forgotten.add(name);
                }
            }
        }
        assertTrue(looked.size() > 5 && forgotten.isEmpty(), forgotten::toString);
    }

    private static boolean isPublicRecord(String name) {
        try {
            Class<?> type = Class.forName(name, false, SecrecyTest.class.getClassLoader());
            return type.isRecord() && java.lang.reflect.Modifier.isPublic(type.getModifiers());
        } catch (ClassNotFoundException absent) {
            throw new AssertionError(absent);
        }
    }

    @Test
    void a_page_shows_what_is_no_secret() {
        String shown = records().get(Page.class).toString();
        assertTrue(shown.contains("phone") && shown.contains("alice"), shown);
    }

    @Test
    void the_format_that_the_readme_names_leaves_secrets_out() {
        String shown = DebugFormat.singleLine().toString(ALICE);
        assertTrue(shown.contains("alice") && !shown.contains(SECRET), shown);
    }

    @Test
    void no_exception_shows_what_was_sent() {
        var alice = lanyard.onBehalfOf(UST);
        List<Executable> calls = List.of(
                () -> lanyard.logIn("alice", SECRET),
                () -> lanyard.logInBasicAuth("alice", SECRET),
                () -> lanyard.logInJwt(SECRET),
                () -> lanyard.logInPlatform("micetro", "alice", SECRET),
                () -> lanyard.verify(UST),
                alice::rotate,
                alice::getPlatformAuth);
        for (Executable call : calls) {
            for (Status status : List.of(Status.INVALID_ARGUMENT, Status.UNAUTHENTICATED, Status.INTERNAL, Status.UNAVAILABLE)) {
                fake.refuse(1, status);
                checkSecrecy(status.toString(), assertThrows(LanyardException.class, call));
            }
        }
        // An answer that is not whole is one too, and holds a token.
        fake.answer(CreateSessionResponse.newBuilder().setUst("lyu1_" + SECRET).build());
        checkSecrecy("half an answer", assertThrows(LanyardException.class, () -> lanyard.logIn("alice", SECRET)));
        fake.answer(VerifySessionResponse.getDefaultInstance());
        checkSecrecy(
                "no session", assertThrows(InactiveSessionException.class, () -> lanyard.verify(UST).orElseThrow()));
    }

    @Test
    void what_is_logged_of_a_session_that_cannot_be_verified_shows_no_token() throws Exception {
        var lines = new ArrayList<String>();
        var keeper = new Handler() {
            @Override
            public void publish(LogRecord line) {
                lines.add(new java.util.logging.SimpleFormatter().format(line));
            }

            @Override
            public void flush() {}

            @Override
            public void close() {}
        };
        var log = Logger.getLogger("dev.lanyard");
        log.setLevel(Level.ALL);
        log.addHandler(keeper);
        try {
            fake.refuse(1, Status.UNAVAILABLE);
            var gate = new Gate(lanyard);
            var refused = assertThrows(Gate.Refused.class, () -> gate.admit(
                    "Bearer " + UST.expose(), ClientInfo.getDefaultInstance(), CorrelationId.of("order-4711")));
            checkSecrecy("refusal", refused);
        } finally {
            log.removeHandler(keeper);
        }
        assertTrue(lines.toString().contains("order-4711"), lines::toString);
        checkSecrecy("log", lines);
    }
}
