"""The credential of a platform: held for as long as Lanyard says, and put into requests to the platform only."""

import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3.util.retry import Retry

from lanyard import v1
from lanyard._correlation import outgoing_headers

# Where a server older than the settings sends none.
_CONNECT_TIMEOUT = 5.0
_TIMEOUT = 10.0
_MAX_RESPONSE_BYTES = 16 << 20

_CHUNK = 64 * 1024
_TOO_MUCH_TO_DO = (429, 503)
_READS = ("GET", "HEAD", "OPTIONS")


class PlatformAuth:
    """What Lanyard hands out for a session, asked for again when its time is over."""

    def __init__(self, ask: Callable[[bool], v1.GetPlatformAuthResponse]) -> None:
        """ask: gets it from Lanyard; given True where the platform refused what was handed out."""
        self._ask = ask
        self._lock = threading.Lock()
        self._answer: v1.GetPlatformAuthResponse | None = None
        self._good_until = 0.0

    def __repr__(self) -> str:
        return "PlatformAuth(...)"

    def current(self) -> v1.GetPlatformAuthResponse:
        """The credential, and how the platform is to be called."""
        with self._lock:
            if self._answer is None or time.monotonic() >= self._good_until:
                return self._asked(refused=False)
            return self._answer

    def after_refusal_of(self, header: str) -> str:
        """Another one in the place of one that the platform answered 401 to."""
        with self._lock:
            # Several requests may be refused at once: the first of them asks.
            if self._answer is None or self._answer.micetro_auth == header:
                return self._asked(refused=True).micetro_auth
            return self._answer.micetro_auth

    def _asked(self, *, refused: bool) -> v1.GetPlatformAuthResponse:
        self._answer = None
        # From before the call: the time that it takes is not added to the time that Lanyard allows.
        asked_at = time.monotonic()
        answer = self._ask(refused)
        self._good_until = asked_at + answer.valid_for.ToTimedelta().total_seconds()
        self._answer = answer
        return answer


class PlatformAdapter(HTTPAdapter):
    """Sends the requests of one platform: with its current credential, its timeouts, and not more of an answer than is
    allowed. A request that is answered 401 is sent once more, with what Lanyard hands out then.
    """

    def __init__(self, auth: PlatformAuth) -> None:
        self._auth = auth
        self._settings = auth.current().settings
        self._authorities = _Authorities(self._settings.ca_certificates) if self._settings.ca_certificates else None
        again = max(1, self._settings.max_attempts) - 1
        super().__init__(
            max_retries=Retry(
                total=again,
                redirect=False,
                allowed_methods=_READS,
                status_forcelist=_TOO_MUCH_TO_DO,
                backoff_factor=0.1,
                raise_on_status=False,
            )
        )

    def send(  # type: ignore[override]
        self, request: requests.PreparedRequest, *, stream: bool = False, timeout: Any = None, **others: Any
    ) -> requests.Response:
        """Sends a request."""
        if self._authorities is not None and others.get("verify") is True:
            others["verify"] = self._authorities.file
        for name, value in outgoing_headers().items():
            request.headers.setdefault(name, value)
        carries_credential = (request.headers.get("Authorization") or "").startswith(("Basic ", "Bearer "))
        if carries_credential:
            request.headers["Authorization"] = self._auth.current().micetro_auth
        response = self._send(request, stream, timeout, others)
        if response.status_code == requests.codes.unauthorized and carries_credential and _can_be_sent_again(request):
            refused = str(request.headers["Authorization"])
            response.close()
            request.headers["Authorization"] = self._auth.after_refusal_of(refused)
            response = self._send(request, stream, timeout, others)
        return response

    def _send(
        self, request: requests.PreparedRequest, stream: bool, timeout: Any, others: dict[str, Any]
    ) -> requests.Response:
        response = super().send(request, stream=True, timeout=timeout or self._timeout(), **others)
        if not stream:
            self._read(response)
        return response

    def _timeout(self) -> tuple[float, float]:
        connect = self._settings.connect_timeout.ToTimedelta().total_seconds()
        whole = self._settings.timeout.ToTimedelta().total_seconds()
        return connect or _CONNECT_TIMEOUT, whole or _TIMEOUT

    def _read(self, response: requests.Response) -> None:
        limit = self._settings.max_response_bytes or _MAX_RESPONSE_BYTES
        body = bytearray()
        for chunk in response.iter_content(_CHUNK):
            body += chunk
            if len(body) > limit:
                response.close()
                raise requests.exceptions.ContentDecodingError(f"the answer is longer than {limit} bytes")
        response._content = bytes(body)


def _can_be_sent_again(request: requests.PreparedRequest) -> bool:
    return request.body is None or isinstance(request.body, bytes | str)


class _Authorities:
    """Certificates in a file, from where alone requests takes them. The file goes with this."""

    def __init__(self, pem: str) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="lanyard-ca-")
        self.file = str(Path(self._folder.name) / "ca.pem")
        Path(self.file).write_text(pem)


def attach(session: requests.Session, url: str, auth: PlatformAuth) -> None:
    """Makes a session call the platform at `url` with its credential, and with nobody else's."""
    # With the slash: https://micetro.example is also how https://micetro.example.org begins.
    session.mount(url.rstrip("/") + "/", PlatformAdapter(auth))
    # With an `auth` of its own, a session does not put that of a netrc file in the place of the credential.
    session.auth = _as_it_is


def _as_it_is(request: requests.PreparedRequest) -> requests.PreparedRequest:
    return request
