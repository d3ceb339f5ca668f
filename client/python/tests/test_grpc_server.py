"""Services made with grpcio: the health service stands for theirs."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent import futures
from contextlib import contextmanager
from typing import Any

import grpc
import grpc.aio
import pytest
from google.rpc.error_details_pb2 import ErrorInfo
from grpc_health.v1 import health_pb2, health_pb2_grpc

from lanyard import Client, RetryPolicy, aio, current_correlation_id, v1
from lanyard.grpc_server import AsyncSessionInterceptor, SessionInterceptor, current_session
from tests.support import UST, Fake, Refusal

GOOD = v1.VerifySessionResponse(session=v1.VerifiedSession(username="alice"))
BEARER = (("authorization", f"Bearer {UST}"), ("x-correlation-id", "order-4711"))
Answer = health_pb2.HealthCheckResponse
seen: list[tuple[str, str | None]] = []


def see() -> Any:
    seen.append((current_session().username, current_correlation_id()))
    return Answer(status=Answer.SERVING)


class Service(health_pb2_grpc.HealthServicer):
    def Check(self, request: Any, context: Any) -> Any:
        return see()

    def Watch(self, request: Any, context: Any) -> Iterator[Any]:
        yield see()
        yield see()


class AsyncService(health_pb2_grpc.HealthServicer):
    async def Check(self, request: Any, context: Any) -> Any:
        return see()

    async def Watch(self, request: Any, context: Any) -> AsyncIterator[Any]:
        yield see()
        yield see()


@contextmanager
def served(fake: Fake, **options: Any) -> Iterator[health_pb2_grpc.HealthStub]:
    with Client(fake.address, retry=RetryPolicy.never()) as client:
        server = grpc.server(
            futures.ThreadPoolExecutor(1), interceptors=[SessionInterceptor(client, **{"public": (), **options})]
        )
        health_pb2_grpc.add_HealthServicer_to_server(Service(), server)
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            yield health_pb2_grpc.HealthStub(channel)
        server.stop(None).wait()


@contextmanager
def served_by_asyncio(fake: Fake, **options: Any) -> Iterator[health_pb2_grpc.HealthStub]:
    """The server runs in a loop of its own, in another thread."""
    loop = asyncio.new_event_loop()
    runner = futures.ThreadPoolExecutor(1)
    running = runner.submit(loop.run_forever)

    async def start() -> tuple[aio.Client, grpc.aio.Server, int]:
        client = aio.Client(fake.address, retry=RetryPolicy.never())
        server = grpc.aio.server(interceptors=[AsyncSessionInterceptor(client, **{"public": (), **options})])
        health_pb2_grpc.add_HealthServicer_to_server(AsyncService(), server)
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        return client, server, port

    async def stop(client: aio.Client, server: grpc.aio.Server) -> None:
        await server.stop(None)
        await client.close()

    client, server, port = asyncio.run_coroutine_threadsafe(start(), loop).result()
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield health_pb2_grpc.HealthStub(channel)
    asyncio.run_coroutine_threadsafe(stop(client, server), loop).result()
    loop.call_soon_threadsafe(loop.stop)
    running.result()
    runner.shutdown()


BOTH = pytest.mark.parametrize("serve", [served, served_by_asyncio])
Serve = Callable[..., Any]


def ask(stub: Any, metadata: Any = BEARER) -> Any:
    return stub.Check.with_call(health_pb2.HealthCheckRequest(), metadata=metadata, timeout=10)


def refusal(stub: Any, metadata: Any = BEARER) -> Any:
    with pytest.raises(grpc.RpcError) as raised:
        ask(stub, metadata)
    return raised.value


@BOTH
def test_a_good_token_comes_in_and_its_session_is_at_hand(fake: Fake, serve: Serve) -> None:
    seen.clear()
    fake.then(GOOD)
    with serve(fake) as stub:
        _, call = ask(stub)
    assert seen == [("alice", "order-4711")]
    assert ("x-correlation-id", "order-4711") in [tuple(pair) for pair in call.trailing_metadata()]
    assert fake.metadata("x-correlation-id") == ["order-4711"]
    asked = fake.asked[0].request
    assert asked.ust == UST
    assert asked.client.remote_addr.startswith("127.0.0.1:")


@BOTH
def test_a_stream_has_its_session_until_its_end(fake: Fake, serve: Serve) -> None:
    seen.clear()
    fake.then(GOOD)
    with serve(fake) as stub:
        assert len(list(stub.Watch(health_pb2.HealthCheckRequest(), metadata=BEARER, timeout=10))) == 2
    assert seen == [("alice", "order-4711")] * 2


@BOTH
def test_without_a_token_nobody_comes_in_and_nobody_is_asked(fake: Fake, serve: Serve) -> None:
    with serve(fake) as stub:
        for metadata in ((), (("authorization", "Basic eA=="),), (("authorization", "Bearer "),)):
            assert refusal(stub, metadata).code() is grpc.StatusCode.UNAUTHENTICATED
    assert not fake.asked


@BOTH
def test_an_inactive_session_stays_out_and_is_not_told_why(fake: Fake, serve: Serve) -> None:
    seen.clear()
    fake.then(v1.VerifySessionResponse(inactive=v1.InactiveSession(reason=v1.INACTIVE_REASON_REVOKED)))
    with serve(fake) as stub:
        error = refusal(stub)
        assert (error.code(), error.details()) == (grpc.StatusCode.UNAUTHENTICATED, "log in again")
        with pytest.raises(grpc.RpcError) as raised:
            list(stub.Watch(health_pb2.HealthCheckRequest(), metadata=BEARER, timeout=10))
        assert raised.value.code() is grpc.StatusCode.UNAUTHENTICATED
    assert not seen


@BOTH
def test_an_outage_is_unavailable_and_a_bad_key_is_a_fault(fake: Fake, serve: Serve) -> None:
    reason = ErrorInfo(reason="CALLER_UNAUTHENTICATED", domain="lanyard")
    fake.then(Refusal(grpc.StatusCode.UNAVAILABLE), Refusal(grpc.StatusCode.UNAUTHENTICATED, details=(reason,)))
    with serve(fake) as stub:
        assert refusal(stub).code() is grpc.StatusCode.UNAVAILABLE
        assert refusal(stub).code() is grpc.StatusCode.INTERNAL


@BOTH
def test_a_session_is_not_left_behind_for_the_next_call(fake: Fake, serve: Serve) -> None:
    seen.clear()
    fake.then(GOOD)
    with serve(fake) as stub:
        ask(stub)
        assert refusal(stub).code() is grpc.StatusCode.UNAUTHENTICATED
    assert len(seen) == 1
    with pytest.raises(LookupError):
        current_session()


@BOTH
def test_public_methods_need_no_session_and_have_none(fake: Fake, serve: Serve) -> None:
    with serve(fake, public=("/grpc.health.v1.Health/Check",)) as stub:
        assert refusal(stub, ()).code() is grpc.StatusCode.UNKNOWN
        with pytest.raises(grpc.RpcError) as raised:
            list(stub.Watch(health_pb2.HealthCheckRequest(), timeout=10))
        assert raised.value.code() is grpc.StatusCode.UNAUTHENTICATED
    assert not fake.asked


@BOTH
def test_a_peek_is_no_activity(fake: Fake, serve: Serve) -> None:
    fake.then(GOOD)
    with serve(fake, peek=True) as stub:
        ask(stub)
    assert fake.asked[0].request.peek
