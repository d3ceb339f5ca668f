"""The client."""

import copy
from collections.abc import Iterable
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from lanyard import _trace, v1
from lanyard import rpc as rpcs
from lanyard._async.connection import Connection
from lanyard._async.subject import Subject
from lanyard._channel import AsyncChannel, ChannelSettings, RetryPolicy, authorization
from lanyard._correlation import (
    CORRELATION_ID_HEADER,
    check_correlation_id,
    current_correlation_id,
    new_correlation_id,
)
from lanyard._error import call_error, incomplete_answer
from lanyard._results import Login
from lanyard._rpc import Answer, Request, Rpc
from lanyard._ust import Ust, exposed
from lanyard._verdict import Verdict, VerifiedSession, verdict_of

_DEFAULT_DEADLINE = 2.0


class Client:
    """A connection to Lanyard. What its `with_...` methods give shares the connection."""

    def __init__(
        self,
        address: str,
        *,
        api_key: str | None = None,
        tls: bool | None = None,
        ca: bytes | None = None,
        certificate: bytes | None = None,
        private_key: bytes | None = None,
        server_name: str | None = None,
        current_app: str = "",
        deadline: float = _DEFAULT_DEADLINE,
        retry: RetryPolicy = RetryPolicy(),  # noqa: B008
        channel: AsyncChannel | None = None,
    ) -> None:
        """A client of the server at `address`: `host:port`, `http://host:port` or `https://host:port`.

        It connects with the first call. Without a scheme, and unless `tls` says it, the connection is with TLS to
        everywhere but this machine itself.

        api_key: the key by which Lanyard knows the calling service (`lyk1_...`).
        ca: the authority that signed the server's certificate, PEM. Without it the ones that come with gRPC count.
        certificate, private_key: by which Lanyard knows the calling service, PEM; in the place of a key.
        server_name: the name in the server's certificate, where it is not the host of the address.
        current_app: the app in which the users act, for all calls that do not say otherwise.
        deadline: how many seconds a call may take with all its attempts.
        retry: how reads are tried again.
        channel: a channel that was made elsewhere, in the place of one to `address`; its own settings count.
        """
        self._authorization = authorization(api_key)
        settings = ChannelSettings(
            address,
            tls=tls,
            ca=ca,
            certificate=certificate,
            private_key=private_key,
            server_name=server_name,
            retry=retry,
        )
        self._connection = Connection(settings, channel)
        self._info = v1.ClientInfo(current_app=current_app)
        self._correlation_id: str | None = None
        self._deadline = _checked_deadline(deadline)

    def __repr__(self) -> str:
        return f"<{type(self).__module__}.{type(self).__name__} of {self._connection!r}>"

    async def close(self) -> None:
        """Closes the connection, for everything that shares it."""
        await self._connection.close()

    async def __aenter__(self) -> "Client":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def with_client_info(
        self, *, current_app: str | None = None, remote_addr: str = "", user_agent: str = ""
    ) -> "Client":
        """The same client for a user who is elsewhere. Without `current_app`, the one so far stays."""
        if current_app is None:
            current_app = self._info.current_app
        info = v1.ClientInfo(current_app=current_app, remote_addr=remote_addr, user_agent=user_agent)
        return self._with(_info=info)

    def with_correlation_id(self, correlation_id: str) -> "Client":
        """The same client with a correlation ID for all its calls; it goes before the one of the context.

        Raises ValueError if it is none.
        """
        return self._with(_correlation_id=check_correlation_id(correlation_id))

    def with_deadline(self, deadline: float) -> "Client":
        """The same client with another deadline, in seconds."""
        return self._with(_deadline=_checked_deadline(deadline))

    def _with(self, **changes: object) -> "Client":
        other = copy.copy(self)
        other.__dict__.update(changes)
        return other

    def on_behalf_of(self, ust: Ust | str) -> Subject:
        """The client on behalf of the user whose token this is."""
        return Subject(self, ust)

    # ------------------------------------------------------------------ sessions

    async def log_in(self, username: str, password: str) -> Login:
        """Logs a user in with username and password. For a code or a new password see `create_session`."""
        return await self.create_session(v1.PasswordCredential(username=username, password=password))

    async def log_in_basic_auth(self, username: str, secret: str) -> Login:
        """Logs in the user that a basic-auth definition is linked to, into the live session of that definition or a new
        one.
        """
        return await self.create_session(v1.BasicAuthCredential(username=username, secret=secret))

    async def log_in_jwt(self, token: str) -> Login:
        """Logs in the user that the definition of a JWT is linked to, into the live session of that token or a new one.
        For a code see `create_session`.
        """
        return await self.create_session(v1.JwtCredential(token=token))

    async def log_in_platform(self, platform: str, username: str, password: str, unique_name: str = "") -> Login:
        """Logs in the user that a platform knows by this name and password. For a code see `create_session`.

        unique_name: tells the sessions of one user apart, for people.
        """
        return await self.create_session(
            v1.PlatformCredential(platform=platform, username=username, password=password, unique_name=unique_name)
        )

    async def create_session(
        self,
        credential: v1.PasswordCredential | v1.BasicAuthCredential | v1.JwtCredential | v1.PlatformCredential,
    ) -> Login:
        """Logs a user in."""
        request = v1.CreateSessionRequest()
        if isinstance(credential, v1.PasswordCredential):
            request.password.CopyFrom(credential)
        elif isinstance(credential, v1.BasicAuthCredential):
            request.basic_auth.CopyFrom(credential)
        elif isinstance(credential, v1.JwtCredential):
            request.jwt.CopyFrom(credential)
        else:
            request.platform.CopyFrom(credential)
        answer = await self._call_whole(rpcs.SessionService.CreateSession, request, "ust", "session")
        return Login(Ust(answer.ust), answer.session, tuple(answer.warnings))

    async def verify(self, ust: Ust | str) -> Verdict:
        """Asks whether a token is good, and counts this as the user's activity."""
        return await self._verify(ust, False)

    async def peek(self, ust: Ust | str) -> Verdict:
        """Asks whether a token is good, and does not count this as the user's activity."""
        return await self._verify(ust, True)

    async def verify_or_raise(self, ust: Ust | str) -> VerifiedSession:
        """The session of a good token, where anything else is the end of it; counts as the user's activity.

        Raises SessionInactiveError if the token is not good.
        """
        return (await self._verify(ust, False)).session

    async def _verify(self, ust: Ust | str, peek: bool) -> Verdict:
        request = v1.VerifySessionRequest(ust=exposed(ust), peek=peek)
        return verdict_of(await self._send(rpcs.SessionService.VerifySession, request, self._id_of_call()))

    async def batch_verify(self, sessions: Iterable[Ust | str | v1.SessionToVerify]) -> list[Verdict]:
        """Asks about up to 500 tokens at once: one verdict each, in the same order. Takes tokens, or `SessionToVerify`
        where each user is elsewhere. Counts as the users' activity.
        """
        return await self._batch_verify(sessions, False)

    async def batch_peek(self, sessions: Iterable[Ust | str | v1.SessionToVerify]) -> list[Verdict]:
        """The same as `batch_verify`, but not counted as the users' activity."""
        return await self._batch_verify(sessions, True)

    async def _batch_verify(self, sessions: Iterable[Ust | str | v1.SessionToVerify], peek: bool) -> list[Verdict]:
        asked = [
            entry if isinstance(entry, v1.SessionToVerify) else v1.SessionToVerify(ust=exposed(entry))
            for entry in sessions
        ]
        request = v1.BatchVerifySessionsRequest(sessions=asked, peek=peek)
        correlation_id = self._id_of_call()
        answer = await self._send(rpcs.SessionService.BatchVerifySessions, request, correlation_id)
        # A verdict that is one place off is somebody else's.
        if len(answer.verdicts) != len(asked):
            raise incomplete_answer("verdict for each token", correlation_id)
        return [verdict_of(verdict) for verdict in answer.verdicts]

    # ------------------------------------------------------------------ links

    async def lookup_linked_auth(self, definitions: Iterable[v1.DefinitionRef]) -> list[v1.LinkedUser | None]:
        """Whom up to 500 definitions are linked to: one answer each, in the same order. `None`: there is no such
        definition, or it is linked to nobody.
        """
        request = v1.LookupLinkedAuthRequest(definitions=definitions)
        correlation_id = self._id_of_call()
        answer = await self._send(rpcs.LinkedAuthService.LookupLinkedAuth, request, correlation_id)
        # An answer that is one place off is of somebody else.
        if len(answer.users) != len(request.definitions):
            raise incomplete_answer("answer for each definition", correlation_id)
        return [user if user.user_id else None for user in answer.users]

    # ------------------------------------------------------------------ health

    async def is_serving(self, service: str = "") -> bool:
        """Asks the server whether it serves; needs no key. Not tried again: the answer is about this moment."""
        correlation_id = self._id_of_call()
        request = health_pb2.HealthCheckRequest(service=service)
        check = self._connection.method(health_pb2_grpc.HealthStub, "Check")
        try:
            answer = await check(request, timeout=self._deadline, metadata=self._metadata(correlation_id))
        except grpc.RpcError as error:
            raise call_error(error, correlation_id) from error
        return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)

    # ------------------------------------------------------------------ calls

    async def call(self, rpc: Rpc[Request, Answer], request: Request) -> Answer:
        """Sends any request of the contract and gives the whole answer.

        `client` is filled in if it is absent; `ust` is sent as it is: see `Subject.call`.
        """
        sent = rpc.request()
        sent.CopyFrom(request)
        return await self._send(rpc, sent, self._id_of_call())

    async def _call_whole(self, rpc: Rpc[Request, Answer], request: Request, *fields: str) -> Answer:
        """A call that must have these fields in its answer. The request is this client's own."""
        correlation_id = self._id_of_call()
        answer = await self._send(rpc, request, correlation_id)
        present = {field.name for field, _ in answer.ListFields()}
        if not present.issuperset(fields):
            raise incomplete_answer(" or ".join(fields), correlation_id)
        return answer

    async def _send(self, rpc: Rpc[Request, Answer], request: Request, correlation_id: str) -> Answer:
        message: Any = request
        if not message.HasField("client"):
            message.client.CopyFrom(self._info)
        method = self._connection.method(rpc.stub, rpc.name)
        try:
            answer: Answer = await method(message, timeout=self._deadline, metadata=self._metadata(correlation_id))
        except grpc.RpcError as error:
            raise call_error(error, correlation_id) from error
        return answer

    def _metadata(self, correlation_id: str) -> tuple[tuple[str, str], ...]:
        return (*self._authorization, (CORRELATION_ID_HEADER, correlation_id), *_trace.headers())

    def _id_of_call(self) -> str:
        """The ID that a call made here and now has."""
        return self._correlation_id or current_correlation_id() or new_correlation_id()


def _checked_deadline(seconds: float) -> float:
    if not seconds > 0:
        raise ValueError("a deadline is longer than nothing")
    return seconds
