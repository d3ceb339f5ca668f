"""Why a call failed."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

import grpc
from google.protobuf.message import DecodeError, Message
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RequestInfo, RetryInfo
from google.rpc.status_pb2 import Status

from lanyard._correlation import CORRELATION_ID_HEADER, is_correlation_id
from lanyard.enums import ErrorReason

ERROR_DOMAIN = "lanyard"
_DETAILS = "grpc-status-details-bin"


class LanyardError(Exception):
    """Whatever goes wrong between here and Lanyard."""


@dataclass(frozen=True)
class FieldViolation:
    """A field that was refused."""

    field: str
    """Its path in the request."""
    description: str
    """What is wrong with it."""


class CallError(LanyardError):
    """A call that failed.

    Decide by its class, or by `reason`; where that is `UNSPECIFIED` (the connection failed, something between here and the
    server answered, or the server is newer than this client), by `code`.
    """

    def __init__(
        self,
        reason: ErrorReason,
        code: grpc.StatusCode,
        message: str,
        correlation_id: str,
        *,
        field_violations: tuple[FieldViolation, ...] = (),
        retry_after: timedelta | None = None,
    ) -> None:
        super().__init__(reason, code, message, correlation_id)
        self.reason = reason
        """The reason, one of the contract's list."""
        self.code = code
        """The gRPC status code."""
        self.message = message
        """For people; may change at any time."""
        self.correlation_id = correlation_id
        """Find the call in logs, traces and the audit trail by it."""
        self.field_violations = field_violations
        """Which fields were refused, and why."""
        self.retry_after = retry_after
        """How long the server asks to wait before trying again."""

    def __str__(self) -> str:
        why = [self.code.name if self.reason is ErrorReason.UNSPECIFIED else self.reason.name]
        why += [f"{violation.field}: {violation.description}" for violation in self.field_violations]
        return f"{self.message} ({', '.join(why)}, correlation ID {self.correlation_id})"


class CallerRefusedError(CallError):
    """Lanyard does not know this service, or has no grant for what it asks: CALLER_UNAUTHENTICATED, CALLER_FORBIDDEN."""


class SessionInvalidError(CallError):
    """The acting user's token is not good, SESSION_INVALID: they must log in again."""


class LoginError(CallError):
    """The user is not logged in: LOGIN_FAILED, or TOTP_REQUIRED, PASSWORD_CHANGE_REQUIRED or LOGIN_THROTTLED by `reason`."""


class PermissionDeniedError(CallError):
    """The acting user may not do this: SUPER_USER_REQUIRED."""


class InvalidArgumentError(CallError):
    """The request is not good; `field_violations` says what of it."""


class NotFoundError(CallError):
    """No such thing, or not one that the acting user may see."""


class AlreadyExistsError(CallError):
    """There is one already."""


class ConflictError(CallError):
    """Somebody else was quicker: ETAG_MISMATCH, WRITE_CONFLICT. Read again and redo."""


class UnavailableError(CallError):
    """The server cannot be reached or cannot answer now. It says nothing about any session."""


class DeadlineExceededError(CallError):
    """There was no answer in time. Whether a write was done is not known."""


_OF_REASON: dict[ErrorReason, type[CallError]] = {
    ErrorReason.CALLER_UNAUTHENTICATED: CallerRefusedError,
    ErrorReason.CALLER_FORBIDDEN: CallerRefusedError,
    ErrorReason.SESSION_INVALID: SessionInvalidError,
    ErrorReason.LOGIN_FAILED: LoginError,
    ErrorReason.TOTP_REQUIRED: LoginError,
    ErrorReason.PASSWORD_CHANGE_REQUIRED: LoginError,
    ErrorReason.LOGIN_THROTTLED: LoginError,
}
_OF_CODE: dict[grpc.StatusCode, type[CallError]] = {
    grpc.StatusCode.PERMISSION_DENIED: PermissionDeniedError,
    grpc.StatusCode.INVALID_ARGUMENT: InvalidArgumentError,
    grpc.StatusCode.NOT_FOUND: NotFoundError,
    grpc.StatusCode.ALREADY_EXISTS: AlreadyExistsError,
    grpc.StatusCode.ABORTED: ConflictError,
    grpc.StatusCode.UNAVAILABLE: UnavailableError,
    grpc.StatusCode.DEADLINE_EXCEEDED: DeadlineExceededError,
}


class FailedCall(Protocol):
    """What grpcio and its asyncio twin raise."""

    def code(self) -> grpc.StatusCode: ...
    def details(self) -> str | None: ...
    def trailing_metadata(self) -> object: ...


def call_error(failed: FailedCall, sent_id: str) -> CallError:
    """The error of a call that carried `sent_id`."""
    metadata = _pairs(failed.trailing_metadata())
    details = _Details(metadata.get(_DETAILS))
    return _error(
        details.reason(failed.code()),
        failed.code(),
        failed.details() or failed.code().value[1],
        # The server replaces an ID that it cannot take, so its word counts before what was sent.
        details.correlation_id() or _accepted(metadata.get(CORRELATION_ID_HEADER)) or sent_id,
        field_violations=details.field_violations(),
        retry_after=details.retry_after(),
    )


def incomplete_answer(missing: str, sent_id: str) -> CallError:
    """The server answered OK and yet not what the contract says."""
    return _error(ErrorReason.UNSPECIFIED, grpc.StatusCode.INTERNAL, f"the answer has no {missing}", sent_id)


def _error(
    reason: ErrorReason,
    code: grpc.StatusCode,
    message: str,
    correlation_id: str,
    *,
    field_violations: tuple[FieldViolation, ...] = (),
    retry_after: timedelta | None = None,
) -> CallError:
    kind = _OF_REASON.get(reason) or _OF_CODE.get(code) or CallError
    return kind(reason, code, message, correlation_id, field_violations=field_violations, retry_after=retry_after)


def _pairs(metadata: object) -> dict[str, str | bytes]:
    return {key: value for key, value in metadata} if metadata else {}  # type: ignore[attr-defined]


def _accepted(text: str | bytes | None) -> str | None:
    return text if isinstance(text, str) and is_correlation_id(text) else None


class _Details:
    """The details of a status. Bytes that are none are as good as none."""

    def __init__(self, packed: str | bytes | None) -> None:
        self._status = Status()
        try:
            self._status.ParseFromString(packed if isinstance(packed, bytes) else b"")
        except DecodeError:
            self._status.Clear()

    def _unpack(self, detail: Message) -> bool:
        for packed in self._status.details:
            try:
                if packed.Unpack(detail):
                    return True
            except DecodeError:
                continue
        return False

    def reason(self, code: grpc.StatusCode) -> ErrorReason:
        """Only what Lanyard itself says is a reason of Lanyard; a proxy may send an ErrorInfo of its own."""
        info = ErrorInfo()
        if self._unpack(info) and info.domain == ERROR_DOMAIN:
            return ErrorReason.__members__.get(info.reason, ErrorReason.UNSPECIFIED)
        # Also where the time was over here, before the server could say so.
        is_late = code is grpc.StatusCode.DEADLINE_EXCEEDED
        return ErrorReason.DEADLINE_EXCEEDED if is_late else ErrorReason.UNSPECIFIED

    def correlation_id(self) -> str | None:
        info = RequestInfo()
        return _accepted(info.request_id) if self._unpack(info) else None

    def field_violations(self) -> tuple[FieldViolation, ...]:
        bad = BadRequest()
        self._unpack(bad)
        return tuple(FieldViolation(violation.field, violation.description) for violation in bad.field_violations)

    def retry_after(self) -> timedelta | None:
        info = RetryInfo()
        if not (self._unpack(info) and info.HasField("retry_delay")):
            return None
        delay: timedelta = info.retry_delay.ToTimedelta()
        return delay
