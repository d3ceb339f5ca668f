"""For services made with Starlette or FastAPI: whose request is it?

    app.add_middleware(CorrelationMiddleware)
    require_session = RequireSession(client)

    @app.get("/whoami")
    async def whoami(session: Annotated[VerifiedSession, Depends(require_session)]) -> dict[str, str]:
        return {"username": session.username}

Needs the extra `starlette`.
"""

from contextlib import ExitStack
from math import ceil

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from lanyard import _trace
from lanyard._async.client import Client
from lanyard._bearer import LOG_IN_AGAIN, TRY_LATER, address, bearer, is_outage, logger
from lanyard._correlation import CORRELATION_ID_HEADER, accepted, correlation
from lanyard._error import CallError
from lanyard._ust import Ust
from lanyard._verdict import Inactive, VerifiedSession

_NO_TOKEN = {"WWW-Authenticate": "Bearer"}
_BAD_TOKEN = {"WWW-Authenticate": 'Bearer error="invalid_token"'}


class CorrelationMiddleware:
    """Takes the correlation ID of each request, or makes one where it is missing or bad, puts it into the context and
    into the answer; goes on with the request's trace.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)

        async def send_with_id(message: Message) -> None:
            if message["type"] in ("http.response.start", "websocket.accept"):
                MutableHeaders(scope=message)[CORRELATION_ID_HEADER] = correlation_id
            await send(message)

        with ExitStack() as context:
            correlation_id = context.enter_context(correlation(accepted(headers.get(CORRELATION_ID_HEADER))))
            context.enter_context(_trace.continued(headers.get))
            await self.app(scope, receive, send_with_id)


def bearer_ust(request: HTTPConnection) -> Ust:
    """The token of the request, from `Authorization: Bearer ...`; whether it is good is not asked. For `Depends`.

    Answers 401 where there is none.
    """
    ust = bearer(request.headers.get("authorization"))
    if ust is None:
        raise HTTPException(401, LOG_IN_AGAIN, _NO_TOKEN)
    return ust


class RequireSession:
    """The session of a request's token. For `Depends`; in Starlette, `await require_session(request)`.

    Answers 401 where there is no good one (why is in the log: it is not for the end user) and 503 where it cannot be
    asked. An error that an operator must mend, a bad API key for one, is raised.
    """

    def __init__(self, client: Client, *, peek: bool = False) -> None:
        """peek: do not count requests as the users' activity."""
        self._client = client
        self._peek = peek

    # FastAPI reads this: what it does not know as a request it takes for a parameter. HTTPConnection it knows.
    async def __call__(self, request: HTTPConnection) -> VerifiedSession:
        """The session of this request."""
        ust = bearer_ust(request)
        client = self._client.with_client_info(
            remote_addr=address(request.client.host if request.client else None),
            user_agent=request.headers.get("user-agent", ""),
        )
        try:
            verdict = await (client.peek(ust) if self._peek else client.verify(ust))
        except CallError as error:
            if not is_outage(error):
                raise
            logger.warning("a session cannot be verified: %s", error)
            raise HTTPException(503, TRY_LATER, _retry_after(error)) from error
        if isinstance(verdict, Inactive):
            logger.info("the session of a request is not active: %s", verdict.why)
            raise HTTPException(401, LOG_IN_AGAIN, _BAD_TOKEN)
        return verdict.session


def _retry_after(error: CallError) -> dict[str, str]:
    if error.retry_after is None:
        return {}
    return {"Retry-After": str(max(1, ceil(error.retry_after.total_seconds())))}
