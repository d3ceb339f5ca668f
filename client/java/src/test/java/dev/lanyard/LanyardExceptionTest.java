package dev.lanyard;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.protobuf.Any;
import com.google.protobuf.ByteString;
import com.google.protobuf.Message;
import com.google.rpc.BadRequest;
import com.google.rpc.ErrorInfo;
import com.google.rpc.RequestInfo;
import com.google.rpc.RetryInfo;
import dev.lanyard.v1.ErrorReason;
import io.grpc.Metadata;
import io.grpc.Status;
import io.grpc.Status.Code;
import io.grpc.protobuf.StatusProto;
import java.time.Duration;
import java.util.List;
import java.util.Optional;
import org.junit.jupiter.api.Test;

class LanyardExceptionTest {
    private static final CorrelationId SENT = CorrelationId.of("sent-id");

    private static LanyardException exception(Code code, String message, Message... details) {
        var status = com.google.rpc.Status.newBuilder().setCode(code.value()).setMessage(message);
        for (Message detail : details) {
            status.addDetails(Any.pack(detail));
        }
        return LanyardException.of(StatusProto.toStatusRuntimeException(status.build()), SENT);
    }

    private static ErrorInfo info(String domain, String reason) {
        return ErrorInfo.newBuilder().setDomain(domain).setReason(reason).build();
    }

    private static RequestInfo request(String id) {
        return RequestInfo.newBuilder().setRequestId(id).build();
    }

    @Test
    void everything_that_a_refusal_says_is_decoded() {
        var violation = BadRequest.FieldViolation.newBuilder()
                .setField("user.username")
                .setDescription("must not be empty");
        var delay = com.google.protobuf.Duration.newBuilder().setNanos(250_000_000);
        var refusal = exception(
                Code.INVALID_ARGUMENT,
                "a field is not good",
                info("lanyard", "INVALID_FIELD"),
                request("server-id"),
                BadRequest.newBuilder().addFieldViolations(violation).build(),
                RetryInfo.newBuilder().setRetryDelay(delay).build());

        assertEquals(ErrorReason.ERROR_REASON_INVALID_FIELD, refusal.reason());
        assertEquals(Code.INVALID_ARGUMENT, refusal.code());
        assertEquals("a field is not good", refusal.description());
        assertEquals("server-id", refusal.correlationId().value());
        assertEquals(List.of(new FieldViolation("user.username", "must not be empty")), refusal.fieldViolations());
        assertEquals(Optional.of(Duration.ofMillis(250)), refusal.retryAfter());
        assertEquals(
                "a field is not good (INVALID_FIELD, user.username: must not be empty, correlation ID server-id)",
                refusal.getMessage());
    }

    @Test
    void a_reason_of_another_domain_or_of_the_future_is_unspecified() {
        for (ErrorInfo info : List.of(
                info("proxy.example", "LOGIN_FAILED"),
                info("lanyard", "FROM_THE_FUTURE"),
                info("lanyard", "")) ) {
            assertEquals(ErrorReason.ERROR_REASON_UNSPECIFIED, exception(Code.UNAUTHENTICATED, "no", info).reason());
        }
    }

    @Test
    void every_reason_of_the_contract_is_known_by_its_name_without_the_prefix() {
        for (ErrorReason reason : ErrorReason.values()) {
            if (reason != ErrorReason.UNRECOGNIZED) {
                String name = reason.name().replace("ERROR_REASON_", "");
                assertEquals(reason, exception(Code.INTERNAL, "no", info("lanyard", name)).reason());
            }
        }
    }

    @Test
    void a_status_without_details_keeps_its_code_and_the_id_that_was_sent() {
        var failure = LanyardException.of(Status.UNAVAILABLE.asRuntimeException(), SENT);
        assertEquals(ErrorReason.ERROR_REASON_UNSPECIFIED, failure.reason());
        assertTrue(failure.isUnavailable());
        assertEquals("the call failed (UNAVAILABLE, correlation ID sent-id)", failure.getMessage());
    }

    @Test
    void the_id_of_the_trailers_counts_where_the_details_have_none_and_a_bad_one_never() {
        var trailers = new Metadata();
        trailers.put(CallHeaders.CORRELATION_ID, "server-id");
        var failure = LanyardException.of(Status.INTERNAL.asRuntimeException(trailers), SENT);
        assertEquals("server-id", failure.correlationId().value());
        assertEquals(SENT, exception(Code.INTERNAL, "no", request("bad\nid")).correlationId());
    }

    @Test
    void details_that_cannot_be_read_are_as_if_they_were_not_there() {
        var broken = Any.newBuilder()
                .setTypeUrl("type.googleapis.com/google.rpc.ErrorInfo")
                .setValue(ByteString.fromHex("ff"));
        var status = com.google.rpc.Status.newBuilder().setCode(Code.NOT_FOUND.value()).addDetails(broken);
        var failure = LanyardException.of(StatusProto.toStatusRuntimeException(status.build()), SENT);
        assertEquals(ErrorReason.ERROR_REASON_UNSPECIFIED, failure.reason());
        assertTrue(failure.isNotFound());
    }
}
