package dev.lanyard;

import com.google.protobuf.Any;
import com.google.protobuf.InvalidProtocolBufferException;
import com.google.protobuf.Message;
import com.google.rpc.BadRequest;
import com.google.rpc.ErrorInfo;
import com.google.rpc.RequestInfo;
import com.google.rpc.RetryInfo;
import dev.lanyard.v1.ErrorReason;
import io.grpc.Metadata;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import io.grpc.protobuf.StatusProto;
import java.time.Duration;
import java.util.List;
import java.util.Objects;
import java.util.Optional;
import java.util.stream.Collectors;

/**
 * Why a call failed. Decide by {@link #reason}; where that is unspecified (the connection failed, something between here and the
 * server answered, or the server is newer than this client), by {@link #code}.
 */
public final class LanyardException extends RuntimeException {
    private static final long serialVersionUID = 1;
    private static final String DOMAIN = "lanyard";
    private static final String REASON_PREFIX = "ERROR_REASON_";

    private final ErrorReason reason;
    private final Status.Code code;
    private final String description;
    private final String correlationId;
    private final List<FieldViolation> fieldViolations;
    private final Duration retryAfter;

    private LanyardException(StatusRuntimeException cause, Details details, CorrelationId correlationId) {
        this(cause.getStatus(), cause, details.reason(cause.getStatus()), details.fieldViolations(), details.retryAfter(),
                correlationId);
    }

    private LanyardException(
            Status status,
            Throwable cause,
            ErrorReason reason,
            List<FieldViolation> fieldViolations,
            Duration retryAfter,
            CorrelationId correlationId) {
        super(message(status, reason, fieldViolations, correlationId), cause);
        this.reason = reason;
        this.code = status.getCode();
        this.description = description(status);
        this.correlationId = correlationId.value();
        this.fieldViolations = fieldViolations;
        this.retryAfter = retryAfter;
    }

    static LanyardException of(StatusRuntimeException failure, CorrelationId sent) {
        Details details = Details.of(failure);
        return new LanyardException(failure, details, details.correlationId(failure.getTrailers()).orElse(sent));
    }

    /** The server answered OK and yet not what the contract says. */
    static LanyardException incompleteAnswer(String missing, CorrelationId sent) {
        Status status = Status.INTERNAL.withDescription("the answer has no " + missing);
        return new LanyardException(
                status, null, ErrorReason.ERROR_REASON_UNSPECIFIED, List.of(), null, sent);
    }

    /** The reason, one of the contract's list. */
    public ErrorReason reason() {
        return reason;
    }

    /** The gRPC status code. */
    public Status.Code code() {
        return code;
    }

    /** For people, without reason and correlation ID, which {@link #getMessage} names too; may change at any time. */
    public String description() {
        return description;
    }

    /** Find the call in logs, traces and the audit trail by it. */
    public CorrelationId correlationId() {
        return new CorrelationId(correlationId);
    }

    /** Which fields were refused, and why. */
    public List<FieldViolation> fieldViolations() {
        return fieldViolations;
    }

    /** How long the server asks to wait before trying again. */
    public Optional<Duration> retryAfter() {
        return Optional.ofNullable(retryAfter);
    }

    /** The acting user's token is not good: they must log in again. */
    public boolean isSessionInvalid() {
        return reason == ErrorReason.ERROR_REASON_SESSION_INVALID;
    }

    /** No such session, user or attribute, or not one that the acting user may see. */
    public boolean isNotFound() {
        return code == Status.Code.NOT_FOUND;
    }

    /** The server could not be reached or cannot answer now. It says nothing about any session. */
    public boolean isUnavailable() {
        return code == Status.Code.UNAVAILABLE;
    }

    private static String message(
            Status status, ErrorReason reason, List<FieldViolation> violations, CorrelationId correlationId) {
        String why = reason == ErrorReason.ERROR_REASON_UNSPECIFIED
                ? status.getCode().name()
                : reason.name().substring(REASON_PREFIX.length());
        String fields = violations.stream()
                .map(violation -> ", " + violation.field() + ": " + violation.description())
                .collect(Collectors.joining());
        return description(status) + " (" + why + fields + ", correlation ID " + correlationId + ")";
    }

    private static String description(Status status) {
        String text = status.getDescription();
        return text == null || text.isEmpty() ? "the call failed" : text;
    }

    /** The {@code google.rpc} details of a status; each is the default where it was not sent or cannot be read. */
    private record Details(ErrorInfo info, RequestInfo request, BadRequest badRequest, Optional<RetryInfo> retry) {
        static Details of(StatusRuntimeException failure) {
            com.google.rpc.Status status = StatusProto.fromThrowable(failure);
            List<Any> details = status == null ? List.of() : status.getDetailsList();
            return new Details(
                    first(details, ErrorInfo.class).orElse(ErrorInfo.getDefaultInstance()),
                    first(details, RequestInfo.class).orElse(RequestInfo.getDefaultInstance()),
                    first(details, BadRequest.class).orElse(BadRequest.getDefaultInstance()),
                    first(details, RetryInfo.class));
        }

        /** Only what Lanyard itself says is a reason of Lanyard; a proxy may send an ErrorInfo of its own. */
        ErrorReason reason(Status status) {
            if (info.getDomain().equals(DOMAIN)) {
                return byName(REASON_PREFIX + info.getReason());
            }
            // The deadline is kept here too, whatever the server says.
            return status.getCode() == Status.Code.DEADLINE_EXCEEDED
                    ? ErrorReason.ERROR_REASON_DEADLINE_EXCEEDED
                    : ErrorReason.ERROR_REASON_UNSPECIFIED;
        }

        List<FieldViolation> fieldViolations() {
            return badRequest.getFieldViolationsList().stream()
                    .map(violation -> new FieldViolation(violation.getField(), violation.getDescription()))
                    .toList();
        }

        Duration retryAfter() {
            return retry.filter(RetryInfo::hasRetryDelay).map(info -> Durations.toJava(info.getRetryDelay())).orElse(null);
        }

        /** The server replaces an ID that it cannot take, so its word counts before what was sent. */
        Optional<CorrelationId> correlationId(Metadata trailers) {
            return CorrelationId.parse(request.getRequestId()).or(() -> Optional.ofNullable(trailers)
                    .map(metadata -> metadata.get(CallHeaders.CORRELATION_ID))
                    .flatMap(CorrelationId::parse));
        }

        private static ErrorReason byName(String name) {
            for (ErrorReason reason : ErrorReason.values()) {
                if (reason.name().equals(name)) {
                    return reason;
                }
            }
            return ErrorReason.ERROR_REASON_UNSPECIFIED;
        }

        private static <M extends Message> Optional<M> first(List<Any> details, Class<M> type) {
            return details.stream()
                    .filter(detail -> detail.is(type))
                    .map(detail -> unpack(detail, type))
                    .filter(Objects::nonNull)
                    .findFirst();
        }

        private static <M extends Message> M unpack(Any detail, Class<M> type) {
            try {
                return detail.unpack(type);
            } catch (InvalidProtocolBufferException unreadable) {
                return null;
            }
        }
    }
}
