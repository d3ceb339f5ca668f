"""What a refusal says."""

from datetime import timedelta

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RequestInfo, RetryInfo

import lanyard
from lanyard import CallError, Client, ErrorReason, FieldViolation
from tests.support import UST, Fake, Refusal


def refused(fake: Fake, client: Client, refusal: Refusal) -> CallError:
    fake.then(refusal)
    with pytest.raises(CallError) as raised:
        client.with_correlation_id("sent-id").log_in("alice", "secret")
    return raised.value


def info(reason: str, domain: str = "lanyard") -> ErrorInfo:
    return ErrorInfo(reason=reason, domain=domain)


def test_everything_that_a_refusal_says_is_decoded(fake: Fake, client: Client) -> None:
    bad = BadRequest(field_violations=[BadRequest.FieldViolation(field="user.username", description="is empty")])
    details = (
        info("INVALID_FIELD"),
        RequestInfo(request_id="server-id"),
        bad,
        RetryInfo(retry_delay=Duration(nanos=250_000_000)),
    )
    refusal = Refusal(grpc.StatusCode.INVALID_ARGUMENT, "a field is not good", details)
    error = refused(fake, client, refusal)
    assert isinstance(error, lanyard.InvalidArgumentError)
    assert (error.reason, error.code) == (ErrorReason.INVALID_FIELD, grpc.StatusCode.INVALID_ARGUMENT)
    assert error.field_violations == (FieldViolation("user.username", "is empty"),)
    assert error.retry_after == timedelta(milliseconds=250)
    assert error.correlation_id == "server-id"
    assert str(error) == ("a field is not good (INVALID_FIELD, user.username: is empty, correlation ID server-id)")


@pytest.mark.parametrize(
    ("reason", "code", "kind"),
    [
        ("CALLER_UNAUTHENTICATED", grpc.StatusCode.UNAUTHENTICATED, lanyard.CallerRefusedError),
        ("CALLER_FORBIDDEN", grpc.StatusCode.PERMISSION_DENIED, lanyard.CallerRefusedError),
        ("SESSION_INVALID", grpc.StatusCode.UNAUTHENTICATED, lanyard.SessionInvalidError),
        ("LOGIN_FAILED", grpc.StatusCode.UNAUTHENTICATED, lanyard.LoginError),
        ("LOGIN_THROTTLED", grpc.StatusCode.RESOURCE_EXHAUSTED, lanyard.LoginError),
        ("SUPER_USER_REQUIRED", grpc.StatusCode.PERMISSION_DENIED, lanyard.PermissionDeniedError),
        ("USER_NOT_FOUND", grpc.StatusCode.NOT_FOUND, lanyard.NotFoundError),
        ("USERNAME_TAKEN", grpc.StatusCode.ALREADY_EXISTS, lanyard.AlreadyExistsError),
        ("ETAG_MISMATCH", grpc.StatusCode.ABORTED, lanyard.ConflictError),
        ("STORE_UNAVAILABLE", grpc.StatusCode.UNAVAILABLE, lanyard.UnavailableError),
        ("INTERNAL", grpc.StatusCode.INTERNAL, CallError),
    ],
)
def test_an_error_is_of_the_class_of_its_reason(
    fake: Fake, client: Client, reason: str, code: grpc.StatusCode, kind: type[CallError]
) -> None:
    error = refused(fake, client, Refusal(code, details=(info(reason),)))
    assert type(error) is kind
    assert isinstance(error, lanyard.LanyardError)
    assert error.reason.name == reason


def test_a_reason_of_another_domain_or_of_the_future_is_unspecified(fake: Fake, client: Client) -> None:
    for foreign in (info("LOGIN_FAILED", "proxy.example"), info("FROM_THE_FUTURE")):
        error = refused(fake, client, Refusal(grpc.StatusCode.UNAUTHENTICATED, details=(foreign,)))
        assert error.reason is ErrorReason.UNSPECIFIED
        assert type(error) is CallError


def test_a_status_without_details_keeps_its_code_and_the_id_that_was_sent(fake: Fake, client: Client) -> None:
    error = refused(fake, client, Refusal(grpc.StatusCode.UNAVAILABLE, "not now"))
    assert isinstance(error, lanyard.UnavailableError)
    assert str(error) == "not now (UNAVAILABLE, correlation ID sent-id)"


def test_details_that_are_none_and_a_bad_id_count_for_nothing(fake: Fake, client: Client) -> None:
    error = refused(fake, client, Refusal(grpc.StatusCode.INTERNAL, raw_details=b"\xff\xff"))
    assert (error.reason, error.correlation_id) == (ErrorReason.UNSPECIFIED, "sent-id")
    bad_id = RequestInfo(request_id="bad\nid")
    error = refused(fake, client, Refusal(grpc.StatusCode.INTERNAL, details=(bad_id,)))
    assert error.correlation_id == "sent-id"


def test_an_answer_without_its_part_is_an_error(client: Client) -> None:
    with pytest.raises(CallError, match="the answer has no ust or session"):
        client.log_in("alice", "secret")
    with pytest.raises(CallError, match="the answer has no user"):
        client.on_behalf_of(UST).current_user()
