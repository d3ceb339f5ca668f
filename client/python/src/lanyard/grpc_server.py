"""For services made with grpcio: whose call is it?

    server = grpc.server(pool, interceptors=[SessionInterceptor(client)])

    class Greeter(GreeterServicer):
        def Greet(self, request, context):
            return Greeting(text=f"hello, {current_session().username}")

`AsyncSessionInterceptor` is for `grpc.aio.server`, with a client of `lanyard.aio`. A call brings the token as
`authorization: Bearer ...` and, if it likes, `x-correlation-id`, which comes back in the trailers.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import grpc
import grpc.aio

from lanyard import _trace
from lanyard._async.client import Client as AsyncClient
from lanyard._bearer import LOG_IN_AGAIN, TRY_LATER, bearer, is_outage, logger
from lanyard._correlation import CORRELATION_ID_HEADER, accepted, correlation
from lanyard._error import CallError
from lanyard._sync.client import Client
from lanyard._verdict import Inactive, Verdict, VerifiedSession

if TYPE_CHECKING:
    _Handler = grpc.RpcMethodHandler[Any, Any]
else:
    # Only its type information has parameters.
    _Handler = grpc.RpcMethodHandler

PUBLIC = (
    "/grpc.health.v1.Health/",
    "/grpc.reflection.v1.ServerReflection/",
    "/grpc.reflection.v1alpha.ServerReflection/",
)
"""The methods that need no session by default: health and reflection."""

_session: ContextVar[VerifiedSession | None] = ContextVar("lanyard_session", default=None)


def current_session() -> VerifiedSession:
    """The session of the call that is being handled.

    Raises LookupError outside of one, and in methods that need no session.
    """
    session = _session.get()
    if session is None:
        raise LookupError("no session here: the method is public, or no SessionInterceptor is before it")
    return session


class SessionInterceptor(grpc.ServerInterceptor):
    """Lets only calls with a good token through, to methods that are not public.

    UNAUTHENTICATED where there is none (why is in the log: it is not for the end user), UNAVAILABLE where it cannot be
    asked, INTERNAL where an operator must mend something, a bad API key for one.
    """

    def __init__(self, client: Client, *, public: Collection[str] = PUBLIC, peek: bool = False) -> None:
        """public: beginnings of the paths of methods that need no session. peek: do not count calls as activity."""
        self._client = client
        self._public = tuple(public)
        self._peek = peek

    def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], _Handler | None],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> _Handler | None:
        """Puts the question before the handler, in the handler's own thread."""
        handler = continuation(handler_call_details)
        if handler is None or handler_call_details.method.startswith(self._public):
            return handler
        behaviour, make_handler = _parts(handler)

        def answer(request: Any, context: grpc.ServicerContext) -> Any:
            with _Call(context) as call:
                _session.set(self._verify(call, context))
                return behaviour(request, context)

        def answers(request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
            with _Call(context) as call:
                _session.set(self._verify(call, context))
                yield from behaviour(request, context)

        wrapped = answers if handler.response_streaming else answer
        remade: _Handler = make_handler(wrapped)
        return remade

    def _verify(self, call: _Call, context: grpc.ServicerContext) -> VerifiedSession:
        if call.ust is None:
            context.abort(grpc.StatusCode.UNAUTHENTICATED, LOG_IN_AGAIN)
        client = self._client.with_client_info(remote_addr=call.remote_addr)
        try:
            verdict = client.peek(call.ust) if self._peek else client.verify(call.ust)
        except CallError as error:
            context.abort(*_fault(error))
        if isinstance(verdict, Inactive):
            context.abort(*_refusal(verdict))
        return verdict.session


class AsyncSessionInterceptor(grpc.aio.ServerInterceptor):
    """The same for `grpc.aio.server`."""

    def __init__(self, client: AsyncClient, *, public: Collection[str] = PUBLIC, peek: bool = False) -> None:
        """public: beginnings of the paths of methods that need no session. peek: do not count calls as activity."""
        self._client = client
        self._public = tuple(public)
        self._peek = peek

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[_Handler | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> _Handler | None:
        """Puts the question before the handler, in the handler's own task."""
        handler = await continuation(handler_call_details)
        if handler is None or handler_call_details.method.startswith(self._public):
            return handler
        behaviour, make_handler = _parts(handler)

        async def answer(request: Any, context: Any) -> Any:
            with _Call(context) as call:
                _session.set(await self._verify(call, context))
                return await behaviour(request, context)

        async def answers(request: Any, context: Any) -> Any:
            with _Call(context) as call:
                _session.set(await self._verify(call, context))
                async for message in behaviour(request, context):
                    yield message

        wrapped = answers if handler.response_streaming else answer
        remade: _Handler = make_handler(wrapped)
        return remade

    async def _verify(self, call: _Call, context: Any) -> VerifiedSession:
        if call.ust is None:
            await context.abort(grpc.StatusCode.UNAUTHENTICATED, LOG_IN_AGAIN)
            raise AssertionError("abort raises")
        client = self._client.with_client_info(remote_addr=call.remote_addr)
        try:
            verdict: Verdict = await (client.peek(call.ust) if self._peek else client.verify(call.ust))
        except CallError as error:
            await context.abort(*_fault(error))
            raise AssertionError("abort raises") from error
        if isinstance(verdict, Inactive):
            await context.abort(*_refusal(verdict))
        return verdict.session


class _Call:
    """What a call brings, and its context while it is handled."""

    def __init__(self, context: Any) -> None:
        metadata = dict(context.invocation_metadata() or ())
        self.ust = bearer(metadata.get("authorization"))
        self.remote_addr = _address(context.peer())
        self._context = context
        self._header = metadata.get
        self._entered = ExitStack()

    def __enter__(self) -> _Call:
        correlation_id = self._entered.enter_context(correlation(accepted(self._header(CORRELATION_ID_HEADER))))
        self._entered.enter_context(_trace.continued(self._header))
        self._entered.enter_context(_no_session_after())
        self._context.set_trailing_metadata(((CORRELATION_ID_HEADER, correlation_id),))
        return self

    def __exit__(self, *_: object) -> None:
        self._entered.close()


@contextmanager
def _no_session_after() -> Iterator[None]:
    """A thread handles many calls, one after the other."""
    token = _session.set(None)
    try:
        yield
    finally:
        _session.reset(token)


def _parts(handler: Any) -> tuple[Callable[..., Any], Callable[[Callable[..., Any]], Any]]:
    """The function of a handler, and what makes a handler of its kind of another one."""
    if handler.request_streaming and handler.response_streaming:
        behaviour, make = handler.stream_stream, grpc.stream_stream_rpc_method_handler
    elif handler.request_streaming:
        behaviour, make = handler.stream_unary, grpc.stream_unary_rpc_method_handler
    elif handler.response_streaming:
        behaviour, make = handler.unary_stream, grpc.unary_stream_rpc_method_handler
    else:
        behaviour, make = handler.unary_unary, grpc.unary_unary_rpc_method_handler
    return behaviour, lambda other: make(other, handler.request_deserializer, handler.response_serializer)


def _fault(error: CallError) -> tuple[grpc.StatusCode, str]:
    if is_outage(error):
        logger.warning("a session cannot be verified: %s", error)
        return grpc.StatusCode.UNAVAILABLE, TRY_LATER
    logger.error("sessions cannot be verified until somebody mends it: %s", error)
    return grpc.StatusCode.INTERNAL, TRY_LATER


def _refusal(inactive: Inactive) -> tuple[grpc.StatusCode, str]:
    logger.info("the session of a call is not active: %s", inactive.why)
    return grpc.StatusCode.UNAUTHENTICATED, LOG_IN_AGAIN


def _address(peer: str) -> str:
    """The address in what gRPC calls a peer: `ipv4:127.0.0.1:5000`, `ipv6:%5B::1%5D:5000`, `unix:`."""
    kind, _, address = peer.partition(":")
    return unquote(address) if kind in ("ipv4", "ipv6") else ""
