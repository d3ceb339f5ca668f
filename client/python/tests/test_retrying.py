"""Deadlines and second attempts."""

import socket
import threading

import grpc
import pytest

from lanyard import CallError, Client, DeadlineExceededError, ErrorReason, RetryPolicy, UnavailableError, v1
from tests.support import UST, Fake, Refusal

UNAVAILABLE = Refusal(grpc.StatusCode.UNAVAILABLE, "not now")
AT_ONCE = RetryPolicy(initial_backoff=0.01, max_backoff=0.01)


def impatient(fake: Fake, attempts: int = 4) -> Client:
    return Client(fake.address, retry=RetryPolicy(attempts, AT_ONCE.initial_backoff, AT_ONCE.max_backoff))


def test_a_read_that_finds_the_server_unavailable_is_tried_again(fake: Fake) -> None:
    fake.then(UNAVAILABLE, UNAVAILABLE)
    with impatient(fake) as client:
        client.verify(UST)
    assert len(fake.asked) == 3


def test_all_attempts_carry_the_same_id(fake: Fake) -> None:
    fake.then(UNAVAILABLE, UNAVAILABLE)
    with impatient(fake) as client:
        client.verify(UST)
    assert len(set(fake.metadata("x-correlation-id"))) == 1


def test_a_read_is_sent_as_often_as_the_policy_says_and_no_oftener(fake: Fake) -> None:
    fake.then(*[UNAVAILABLE] * 9)
    with impatient(fake, 3) as client, pytest.raises(UnavailableError):
        client.verify(UST)
    assert len(fake.asked) == 3


def test_a_policy_may_be_to_never_try_again(fake: Fake) -> None:
    fake.then(UNAVAILABLE)
    with Client(fake.address, retry=RetryPolicy.never()) as client, pytest.raises(UnavailableError):
        client.verify(UST)
    assert len(fake.asked) == 1


def test_a_write_is_never_tried_again(fake: Fake) -> None:
    fake.then(*[UNAVAILABLE] * 4)
    with impatient(fake) as client:
        user = client.on_behalf_of(UST)
        writes = (lambda: client.log_in("alice", "secret"), user.rotate, user.log_out, user.log_out_elsewhere)
        for write in writes:
            with pytest.raises(UnavailableError):
                write()
    assert len(fake.asked) == 4


def test_only_unavailable_is_tried_again(fake: Fake) -> None:
    codes = (grpc.StatusCode.ABORTED, grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.INTERNAL)
    with impatient(fake) as client:
        for code in codes:
            fake.then(Refusal(code))
            with pytest.raises(CallError) as raised:
                client.verify(UST)
            assert raised.value.code is code
    assert len(fake.asked) == len(codes)


def test_a_server_that_is_down_is_not_buried(fake: Fake) -> None:
    fake.then(*[UNAVAILABLE] * 100)
    with impatient(fake) as client:
        for _ in range(10):
            with pytest.raises(UnavailableError):
                client.verify(UST)
    assert len(fake.asked) < 20


@pytest.mark.parametrize(("attempts", "wait"), [(0, 1.0), (6, 1.0), (4, 0.0), (4, 0.001), (4, float("nan"))])
def test_a_policy_that_grpc_would_not_follow_is_refused(attempts: int, wait: float) -> None:
    with pytest.raises(ValueError):
        RetryPolicy(attempts, wait)


def test_a_server_that_does_not_answer_in_time_is_given_up(fake: Fake, client: Client) -> None:
    over = threading.Event()

    def never() -> v1.VerifySessionResponse:
        over.wait()
        return v1.VerifySessionResponse()

    fake.then(never)
    try:
        with pytest.raises(DeadlineExceededError) as raised:
            client.with_deadline(0.1).with_correlation_id("late").verify(UST)
    finally:
        over.set()
    assert raised.value.reason is ErrorReason.DEADLINE_EXCEEDED
    assert raised.value.correlation_id == "late"


@pytest.mark.parametrize("deadline", [0.0, -1.0, float("nan")])
def test_a_deadline_that_is_over_before_the_call_is_refused(client: Client, deadline: float) -> None:
    with pytest.raises(ValueError, match="a deadline is longer than nothing"):
        client.with_deadline(deadline)


def test_a_server_that_is_not_there_is_unavailable() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        with Client(f"127.0.0.1:{taken.getsockname()[1]}", deadline=5, retry=AT_ONCE) as client:
            with pytest.raises(UnavailableError):
                client.verify(UST)
