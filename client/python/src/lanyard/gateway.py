"""BlueCat Gateway's session of a user who is logged in with Micetro: `g.user`, with its properties.

    app = Flask(__name__)
    init_app(app, Client("127.0.0.1:50051", api_key=key))

    @route(app, "/example/servers")
    def get_servers():
        return jsonify(g.user.micetro_api.v2.http_get("/dnsServers"))

Needs the extra `gateway`.
"""

import logging
import threading
from collections.abc import Callable, MutableMapping
from contextlib import ExitStack
from typing import Any, TypeVar

from bluecat_libraries.micetro.apiv2 import Client as MicetroClient
from flask import Flask, Response, abort, g, request

from lanyard import _trace, micetro, v1
from lanyard._bearer import TRY_LATER, address, bearer, is_outage, logger
from lanyard._correlation import CORRELATION_ID_HEADER, accepted, correlation
from lanyard._error import CallError, SessionInvalidError
from lanyard._platform import PlatformAuth, attach
from lanyard._sync.client import Client
from lanyard._sync.subject import Subject
from lanyard._ust import Ust

View = TypeVar("View", bound=Callable[..., Any])


class MicetroAPI:
    """The authenticated clients of the Micetro API."""

    def __init__(self, auth: PlatformAuth) -> None:
        self._auth = auth
        self._lock = threading.Lock()
        self._v2: MicetroClient | None = None

    @property
    def v2(self) -> MicetroClient:
        """The client of the REST API v2, authenticated: the vendor's or, where the platform gives bearer tokens, the one
        of `lanyard.micetro`, with the same methods.
        """
        with self._lock:
            if self._v2 is None:
                self._v2 = _client(self._auth)
            return self._v2


class UserSession:
    """The session of a user who is logged in: what a workflow finds in `g.user`."""

    def __init__(
        self,
        username: str,
        unique_name: str = "",
        *,
        api: MicetroAPI,
        platform: v1.UserSession | None = None,
        **_: object,
    ) -> None:
        """Not for workflows: see `user_session`.

        api: the clients of the platform.
        platform: the session, as Lanyard tells it.
        """
        self._username = username
        self._unique_name = unique_name
        self._api = api
        self._session = platform or v1.UserSession()
        self._logger = _SessionLogger(logging.getLogger("lanyard.gateway"), {"logger_context": self.logger_context})

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.logger_context}>"

    @property
    def username(self) -> str:
        """The username of the currently logged-in user."""
        return self._username

    @property
    def authentication_host(self) -> str | None:
        """The host portion of the authentication URL."""
        return self._session.authentication_host if self._session.HasField("authentication_host") else None

    @property
    def authentication_url(self) -> str:
        """The base URL of the server that authenticated the session: scheme, host and, only if it is configured, port."""
        return self._session.authentication_url

    @property
    def authentication_version(self) -> str | None:
        """The version of the server that authenticated the session."""
        return self._session.authentication_version if self._session.HasField("authentication_version") else None

    @property
    def is_replication_user(self) -> bool:
        """Whether the user is authenticated with the Replication system."""
        return self._session.is_replication_user

    @property
    def logger(self) -> "logging.LoggerAdapter[logging.Logger]":
        """A logger whose messages have a context value that is unique to this session. Do not change its level."""
        return self._logger

    @property
    def logger_context(self) -> str:
        """That value: it derives from the username and the session."""
        return self._session.logger_context

    @property
    def micetro_api(self) -> MicetroAPI:
        """The already authenticated clients of the Micetro API."""
        return self._api

    @property
    def micetro_auth(self) -> str:
        """The value of the header `Authorization` for calls to Micetro. It is a secret."""
        return self._api._auth.current().micetro_auth

    @property
    def micetro_url(self) -> str:
        """The base URL of the Micetro that the session is for: scheme, host and, only if it is configured, port."""
        return self._session.micetro_url

    @property
    def session_auth(self) -> str:
        """The value that authenticates this session here. It is a secret."""
        return self._session.session_auth


def user_session(user: Subject) -> UserSession:
    """The session of a user, from Lanyard. The platform's credential is asked for when it is needed first.

    Raises SessionInvalidError if there is none.
    """
    session = user.current_session()
    api = MicetroAPI(PlatformAuth(user.get_platform_auth))
    return UserSession(session.username, session.unique_name, api=api, platform=session)


def route(app: Flask, rule: str, **options: Any) -> Callable[[View], View]:
    """Binds a function to a path of the application."""
    return app.route(rule, **options)


def init_app(app: Flask, client: Client) -> None:
    """Gives each request of an application its `g.user`: the session of the token that it brings, or None.

    The token comes as Gateway takes it, `auth: Basic <token>`, or as `Authorization: Bearer <token>`. The correlation ID of
    the request, or a new one, is in the context of the request and in its answer.
    """

    def begin() -> None:
        g.lanyard_context = ExitStack()
        g.correlation_id = g.lanyard_context.enter_context(
            correlation(accepted(request.headers.get(CORRELATION_ID_HEADER)))
        )
        g.lanyard_context.enter_context(_trace.continued(request.headers.get))
        g.user = _user(client)

    def end(_error: BaseException | None) -> None:
        context: ExitStack | None = g.pop("lanyard_context", None)
        if context is not None:
            context.close()

    def name_it(response: Response) -> Response:
        response.headers[CORRELATION_ID_HEADER] = g.correlation_id
        return response

    app.before_request(begin)
    app.after_request(name_it)
    app.teardown_request(end)


def _user(client: Client) -> UserSession | None:
    ust = _token()
    if ust is None:
        return None
    where = client.with_client_info(remote_addr=address(request.remote_addr), user_agent=request.user_agent.string)
    try:
        return user_session(where.on_behalf_of(ust))
    except SessionInvalidError:
        return None
    except CallError as error:
        if not is_outage(error):
            raise
        logger.warning("a session cannot be asked for: %s", error)
        abort(503, TRY_LATER)


def _token() -> Ust | None:
    scheme, _, token = request.headers.get("auth", "").partition(" ")
    if scheme.lower() == "basic" and token.strip():
        return Ust(token.strip())
    return bearer(request.headers.get("Authorization"))


def _client(auth: PlatformAuth) -> MicetroClient:
    answer = auth.current()
    is_bearer = answer.scheme == v1.PLATFORM_AUTH_SCHEME_BEARER
    client = micetro.Client(answer.micetro_url) if is_bearer else MicetroClient(answer.micetro_url)
    attach(client.session, answer.micetro_url, auth)
    micetro.set_auth(client, answer.micetro_auth)
    return client


class _SessionLogger(logging.LoggerAdapter):  # type: ignore[type-arg]
    """Puts the context of the session before each message and into the record's `logger_context`."""

    def process(self, msg: Any, kwargs: MutableMapping[str, Any]) -> tuple[Any, MutableMapping[str, Any]]:
        context = str((self.extra or {})["logger_context"])
        kwargs["extra"] = {**(kwargs.get("extra") or {}), "logger_context": context}
        # The message may be a format: nothing in a username shall be taken for a part of it.
        before = context.replace("%", r"\x25")
        return f"[{before}] {msg}", kwargs
