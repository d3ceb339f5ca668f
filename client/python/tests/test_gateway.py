"""BlueCat Gateway's session of a user."""

import inspect
import json
import logging
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import grpc
import pytest
import requests
from bluecat_libraries.http_client import ClientError, GeneralError
from bluecat_libraries.micetro.apiv2 import Client as VendorsClient
from bluecat_libraries.micetro.apiv2.exceptions import MicetroV2ErrorResponse
from flask import Flask, g, jsonify
from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import ErrorInfo

from lanyard import Client, SessionInvalidError, correlation, current_correlation_id, v1
from lanyard.gateway import MicetroAPI, UserSession, init_app, user_session
from lanyard.micetro import Client as BearerClient
from tests.support import UST, Fake, Refusal

# What the documentation of Gateway lists.
PROPERTIES = [
    "authentication_host",
    "authentication_url",
    "authentication_version",
    "is_replication_user",
    "logger",
    "logger_context",
    "micetro_api",
    "micetro_auth",
    "micetro_url",
    "session_auth",
    "username",
]
SERVERS = {"result": {"dnsServers": [{"name": "ns1."}], "totalResults": 1}}
BEARER = v1.PLATFORM_AUTH_SCHEME_BEARER
BASIC = v1.PLATFORM_AUTH_SCHEME_BASIC
INVALID = Refusal(grpc.StatusCode.UNAUTHENTICATED, details=(ErrorInfo(reason="SESSION_INVALID", domain="lanyard"),))


class Platform(ThreadingHTTPServer):
    """Something that speaks HTTP and takes one credential."""

    def __init__(self) -> None:
        self.good = "Bearer one"
        self.seen: list[tuple[str, str | None]] = []
        self.headers: list[dict[str, str]] = []
        self.answer: Callable[[str], tuple[int, Any]] = lambda path: (200, SERVERS)
        super().__init__(("127.0.0.1", 0), _Handler)
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    server: Platform

    def do_GET(self) -> None:
        self.rfile.read(int(self.headers.get("content-length", 0)))
        auth = self.headers.get("authorization")
        self.server.seen.append((self.path, auth))
        self.server.headers.append(dict(self.headers))
        status, body = self.server.answer(self.path)
        if auth != self.server.good and status == 200:
            status, body = 401, {"error": {"code": 5003, "message": "Session is not valid."}}
        self.send_response(status)
        if status == 302:
            self.send_header("Location", body)
            body = ""
        encoded = json.dumps(body).encode()
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(encoded)))
        self.end_headers()
        self.wfile.write(encoded)

    do_POST = do_GET

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def platform() -> Iterator[Platform]:
    server = Platform()
    yield server
    server.shutdown()
    server.server_close()


def session(**fields: Any) -> v1.GetSessionResponse:
    every: dict[str, Any] = {
        "username": "alice",
        "session_id": "ses_1",
        "logger_context": "alice:3f9a1c07",
        "session_auth": UST,
        "platform": "micetro",
        "authentication_url": "https://micetro.example",
        "authentication_host": "micetro.example",
        "authentication_version": "26.1.0",
        "micetro_url": "https://micetro.example",
        **fields,
    }
    return v1.GetSessionResponse(session=v1.UserSession(**every))


def auth(platform: Platform, value: str = "Bearer one", **settings: Any) -> v1.GetPlatformAuthResponse:
    return v1.GetPlatformAuthResponse(
        micetro_auth=value,
        scheme=BASIC if value.startswith("Basic") else BEARER,
        micetro_url=platform.url,
        valid_for=Duration(seconds=60),
        settings=v1.PlatformSettings(
            connect_timeout=Duration(seconds=2), timeout=Duration(seconds=5), max_attempts=3, **settings
        ),
    )


def logged_in(fake: Fake, client: Client, *answers: Any) -> UserSession:
    fake.then(session(), *answers)
    return user_session(client.on_behalf_of(UST))


# ---------------------------------------------------------------- properties


def test_the_class_has_the_properties_and_the_constructor_of_the_original() -> None:
    here = sorted(name for name, found in vars(UserSession).items() if isinstance(found, property))
    assert here == PROPERTIES
    parameters = inspect.signature(UserSession).parameters
    assert list(parameters) == ["username", "unique_name", "api", "platform", "_"]
    assert parameters["unique_name"].default == ""
    assert parameters["api"].kind is inspect.Parameter.KEYWORD_ONLY
    assert parameters["_"].kind is inspect.Parameter.VAR_KEYWORD


def test_properties_are_those_of_the_session_and_cannot_be_assigned(
    fake: Fake, client: Client, platform: Platform
) -> None:
    user = logged_in(fake, client, auth(platform))
    assert user.username == "alice"
    assert user.authentication_url == user.micetro_url == "https://micetro.example"
    assert (user.authentication_host, user.authentication_version) == ("micetro.example", "26.1.0")
    assert user.is_replication_user is False
    assert user.logger_context == "alice:3f9a1c07"
    assert user.session_auth == UST
    assert user.micetro_auth == "Bearer one"
    assert isinstance(user.micetro_api, MicetroAPI)
    for name in PROPERTIES:
        with pytest.raises(AttributeError):
            setattr(user, name, "another")


def test_a_session_without_a_platform_has_no_host_and_no_version(fake: Fake, client: Client) -> None:
    fake.then(v1.GetSessionResponse(session=v1.UserSession(username="bob", session_id="ses_2")))
    user = user_session(client.on_behalf_of(UST))
    assert (user.authentication_host, user.authentication_version) == (None, None)
    assert (user.authentication_url, user.micetro_url) == ("", "")


def test_secrets_do_not_show(fake: Fake, client: Client, platform: Platform) -> None:
    user = logged_in(fake, client, auth(platform))
    user.micetro_api.v2.http_get("/dnsServers")
    for shown in (user, user.micetro_api, user.micetro_api.v2, user.logger):
        assert UST not in repr(shown) and "Bearer" not in repr(shown)


def test_the_logger_is_an_adapter_whose_messages_have_the_context(
    fake: Fake, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    fake.then(session(logger_context="100%s:3f9a1c07"))
    logger = user_session(client.on_behalf_of(UST)).logger
    assert isinstance(logger, logging.LoggerAdapter)
    logger.info("changed %d zones", 3, extra={"more": "x"})
    logger.info("done: 100%")
    assert [record.getMessage() for record in caplog.records] == [
        r"[100\x25s:3f9a1c07] changed 3 zones",
        r"[100\x25s:3f9a1c07] done: 100%",
    ]
    assert vars(caplog.records[0])["logger_context"] == "100%s:3f9a1c07"
    assert vars(caplog.records[0])["more"] == "x"
    assert caplog.records[0].filename == "test_gateway.py"


# ---------------------------------------------------------------- the platform's API


def test_the_credential_is_asked_for_when_it_is_needed_and_then_kept(
    fake: Fake, client: Client, platform: Platform
) -> None:
    user = logged_in(fake, client, auth(platform))
    assert len(fake.asked) == 1
    api = user.micetro_api.v2
    assert api is user.micetro_api.v2
    assert [api.http_get("/dnsServers") for _ in range(3)] == [SERVERS] * 3
    assert len(fake.asked) == 2
    assert platform.seen == [("/mmws/api/v2/dnsServers", "Bearer one")] * 3


def test_in_basic_mode_it_is_the_vendors_client_and_authenticated(
    fake: Fake, client: Client, platform: Platform
) -> None:
    platform.good = "Basic YWxpY2U6c2VjcmV0"
    api = logged_in(fake, client, auth(platform, platform.good)).micetro_api.v2
    assert type(api) is VendorsClient
    assert (api.is_authenticated, api.auth, api.token_type) == (True, platform.good, "Basic")
    assert not platform.seen, "nobody need ask whether it is good"
    assert api.http_get("/dnsServers", params={"limit": 1}) == SERVERS


def test_in_bearer_mode_it_has_the_same_methods_and_errors(fake: Fake, client: Client, platform: Platform) -> None:
    api = logged_in(fake, client, auth(platform)).micetro_api.v2
    assert type(api) is BearerClient
    assert isinstance(api, VendorsClient)
    assert (api.is_authenticated, api.auth, api.token, api.token_type) == (True, "Bearer one", "Bearer one", "Bearer")
    platform.answer = lambda path: (400, {"error": {"code": 2049, "message": "Object not found for reference"}})
    with pytest.raises(MicetroV2ErrorResponse, match="Object not found") as raised:
        api.http_get("/dnsZones/9")
    assert raised.value.code == 2049


def test_a_bearer_client_of_ones_own_logs_in(platform: Platform) -> None:
    platform.good = "Bearer given"
    platform.answer = lambda path: (201, {"result": {"session": "given"}}) if "sessions" in path else (200, SERVERS)
    with BearerClient(platform.url) as api:
        assert not api.is_authenticated
        assert api.authenticate("alice", "secret") == "Bearer given"
        assert api.http_get("/dnsServers") == SERVERS
        with pytest.raises(ClientError, match="already authenticated"):
            api.authenticate("alice", "secret")
        api.authenticate("alice", "secret", refresh_token=True)
        api.clear_token()
        assert not api.is_authenticated
        for bad in ("", "Basic x"):
            with pytest.raises(ClientError):
                api.auth = bad
        with pytest.raises(ClientError):
            api.generate_token("alice", "secret")
        platform.answer = lambda path: (201, {"result": {}})
        with pytest.raises(ClientError, match="gave no session"):
            api.authenticate("alice", "secret")
    assert [auth for path, auth in platform.seen if "sessions" in path] == [None] * 3


def test_a_credential_that_is_refused_is_asked_for_anew_once(fake: Fake, client: Client, platform: Platform) -> None:
    user = logged_in(fake, client, auth(platform), auth(platform, "Bearer two"))
    platform.good = "Bearer two"
    assert user.micetro_api.v2.http_post("/dnsZones", json={"a": 1}, expected_status_codes=[200]) == SERVERS
    assert [auth for _, auth in platform.seen] == ["Bearer one", "Bearer two"]
    assert [asked.request.refused for asked in fake.asked[1:]] == [False, True]
    assert user.micetro_auth == "Bearer two"

    fake.then(auth(platform, "Bearer three"))
    platform.good = "Bearer none"
    with pytest.raises(MicetroV2ErrorResponse, match="Session is not valid"):
        user.micetro_api.v2.http_get("/dnsServers")
    assert len(platform.seen) == 4


def test_a_session_that_ended_ends_the_client(fake: Fake, client: Client, platform: Platform) -> None:
    answer = auth(platform)
    answer.ClearField("valid_for")
    user = logged_in(fake, client, answer, answer, answer, INVALID)
    api = user.micetro_api.v2
    # Each time is asked for again where the credential may not be kept.
    assert api.http_get("/dnsServers") == SERVERS
    with pytest.raises(GeneralError) as raised:
        api.http_get("/dnsServers")
    assert isinstance(raised.value.__cause__, SessionInvalidError)
    assert len(platform.seen) == 1


def test_the_credential_goes_to_the_platform_only(
    fake: Fake, client: Client, platform: Platform, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login nobody password other\n")
    monkeypatch.setenv("NETRC", str(netrc))
    elsewhere = Platform()
    api = logged_in(fake, client, auth(platform)).micetro_api.v2
    platform.answer = lambda path: (302, f"{elsewhere.url}/stolen")
    with pytest.raises(MicetroV2ErrorResponse):
        api.http_get("/dnsServers")
    elsewhere.shutdown()
    elsewhere.server_close()
    assert [auth for _, auth in platform.seen] == ["Bearer one"]
    assert [(path, (auth or "").startswith("Bearer")) for path, auth in elsewhere.seen] == [("/stolen", False)]


def test_what_is_busy_is_tried_again_for_reads_only(fake: Fake, client: Client, platform: Platform) -> None:
    api = logged_in(fake, client, auth(platform)).micetro_api.v2
    platform.answer = lambda path: (503, {"error": {"code": 0, "message": "busy"}})
    for call, times in ((api.http_get, 3), (api.http_post, 1)):
        platform.seen.clear()
        with pytest.raises(MicetroV2ErrorResponse, match="busy"):
            call("/dnsServers")
        assert len(platform.seen) == times


def test_an_answer_that_is_too_long_is_not_read(fake: Fake, client: Client, platform: Platform) -> None:
    api = logged_in(fake, client, auth(platform, max_response_bytes=100)).micetro_api.v2
    assert api.http_get("/dnsServers") == SERVERS
    platform.answer = lambda path: (200, "x" * 101)
    with pytest.raises(GeneralError) as raised:
        api.http_get("/dnsServers")
    assert isinstance(raised.value.__cause__, requests.exceptions.ContentDecodingError)


def test_calls_to_the_platform_carry_the_id(fake: Fake, client: Client, platform: Platform) -> None:
    api = logged_in(fake, client, auth(platform)).micetro_api.v2
    with correlation("order-4711"):
        api.http_get("/dnsServers")
    assert platform.headers[0]["x-correlation-id"] == "order-4711"


def test_only_the_platforms_own_authorities_count(fake: Fake, client: Client, platform: Platform) -> None:
    api = logged_in(fake, client, auth(platform, ca_certificates="PEM")).micetro_api.v2
    adapter = api.session.get_adapter(f"{platform.url}/mmws")
    file = Path(adapter._authorities.file)
    assert file.read_text() == "PEM"
    assert type(api.session.get_adapter(f"{platform.url}0/mmws")) is not type(adapter)
    del adapter._authorities
    assert not file.exists()


# ---------------------------------------------------------------- g.user


@pytest.fixture
def app(client: Client) -> Flask:
    app = Flask(__name__)
    init_app(app, client)

    @app.get("/who")
    def who() -> Any:
        return jsonify(username=g.user and g.user.username, correlation_id=current_correlation_id())

    return app


@pytest.mark.parametrize("header", [{"auth": f"Basic {UST}"}, {"Authorization": f"Bearer {UST}"}])
def test_the_user_of_a_request_is_whose_token_it_brings(fake: Fake, app: Flask, header: dict[str, str]) -> None:
    fake.then(session())
    answer = app.test_client().get("/who", headers={**header, "x-correlation-id": "order-4711"})
    assert answer.json == {"username": "alice", "correlation_id": "order-4711"}
    assert answer.headers["x-correlation-id"] == "order-4711"
    assert fake.metadata("x-correlation-id") == ["order-4711"]
    assert (fake.asked[0].request.ust, fake.asked[0].request.client.remote_addr) == (UST, "127.0.0.1")
    assert current_correlation_id() is None


def test_there_is_no_user_without_a_good_token(fake: Fake, app: Flask) -> None:
    http = app.test_client()
    for headers in ({}, {"auth": "Basic "}, {"Authorization": "Basic eA=="}):
        assert http.get("/who", headers=headers).json["username"] is None  # type: ignore[index]
    assert not fake.asked
    fake.then(INVALID)
    assert http.get("/who", headers={"auth": f"Basic {UST}"}).json["username"] is None  # type: ignore[index]


def test_an_outage_logs_nobody_out(fake: Fake, app: Flask) -> None:
    fake.then(*[Refusal(grpc.StatusCode.UNAVAILABLE)] * 4)
    assert app.test_client().get("/who", headers={"auth": f"Basic {UST}"}).status_code == 503
