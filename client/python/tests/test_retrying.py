"""Deadlines and second attempts."""

import contextlib
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


class Wire:
    """Between a client and a server, so that it can break."""

    def __init__(self, server: str) -> None:
        host, _, port = server.rpartition(":")
        self._server = (host, int(port))
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._sockets: list[socket.socket] = []
        self._lock = threading.Lock()
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            far = socket.create_connection(self._server)
            with self._lock:
                self._sockets += [near, far]
            for one, other in ((near, far), (far, near)):
                threading.Thread(target=self._carry, args=(one, other), daemon=True).start()

    @staticmethod
    def _carry(one: socket.socket, other: socket.socket) -> None:
        try:
            while data := one.recv(65536):
                other.sendall(data)
        except OSError:
            return

    def cut(self) -> None:
        # The server cuts while it answers, and the test may be here before that has ended.
        with self._lock:
            while self._sockets:
                end = self._sockets.pop()
                with contextlib.suppress(OSError):  # the other side may have closed it
                    end.shutdown(socket.SHUT_RDWR)
                end.close()

    def close(self) -> None:
        self._listener.close()
        self.cut()


def test_a_read_whose_connection_breaks_is_tried_again_and_a_write_is_not(fake: Fake) -> None:
    wire = Wire(fake.address)

    def cut() -> v1.VerifySessionResponse:
        wire.cut()
        return v1.VerifySessionResponse()

    with Client(wire.address, retry=AT_ONCE) as client:
        fake.then(cut)
        client.verify(UST)
        assert len(fake.asked) == 2
        fake.then(cut)
        with pytest.raises(UnavailableError):
            client.log_in("alice", "secret")
    wire.close()
    assert len(fake.asked) == 3
