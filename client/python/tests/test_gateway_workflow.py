"""The example of Gateway's documentation, on a real server and a Micetro that is almost one."""

import importlib
import json
import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from bluecat_libraries.micetro.apiv2 import Client as VendorsClient
from bluecat_libraries.micetro.apiv2.exceptions import MicetroV2ErrorResponse

from lanyard import Client, LoginError, SessionInvalidError, v1
from lanyard.gateway import UserSession, init_app, user_session
from lanyard.micetro import Client as BearerClient
from tests import gateway_app, gateway_workflow
from tests.support import DEADLINE, Lanyard, first_line, program, real_server

ALICE = ("alice", "alice-secret")
PASSWORD_IN_BASE64 = "YWxpY2U6YWxpY2Utc2VjcmV0"
CLIENTS = {"basic": VendorsClient, "bearer": BearerClient}


@contextmanager
def micetro() -> Iterator[str]:
    command = [program("LANYARD_FAKE_MICETRO", "fake-micetro"), "--listen", "127.0.0.1:0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            found = re.search(r"https?://\S+", first_line(process))
            assert found is not None
            yield found[0]
        finally:
            process.send_signal(signal.SIGINT)


@pytest.fixture(scope="module", params=CLIENTS)
def server(request: pytest.FixtureRequest) -> Iterator[tuple[str, str, Lanyard]]:
    """The kind of credential, the URL of the platform, and Lanyard."""
    with micetro() as url:
        config = (
            f'[platforms.ipam]\nkind = "micetro"\nurl = "{url}"\nusers = "create"\ncredential = "{request.param}"\n'
        )
        with real_server(config) as lanyard:
            yield request.param, url, lanyard


@pytest.fixture
def client(server: tuple[str, str, Lanyard]) -> Iterator[Client]:
    with Client(server[2].address, api_key=server[2].api_key, deadline=DEADLINE) as client:
        yield client


def logged_in(client: Client) -> UserSession:
    login = client.log_in_platform("ipam", *ALICE, unique_name="desk")
    return user_session(client.on_behalf_of(login.ust))


def test_a_workflow_written_for_gateway_runs(client: Client) -> None:
    # Both kinds of credentials: an application is set up once.
    app = importlib.reload(gateway_app).app
    importlib.reload(gateway_workflow)
    init_app(app, client)
    login = client.log_in_platform("ipam", *ALICE)
    answer = app.test_client().get("/example/servers", headers={"auth": f"Basic {login.ust.expose()}"})
    assert answer.status_code == 200
    found: Any = answer.json
    assert found["result"]["totalResults"] == len(found["result"]["dnsServers"]) > 0


def test_properties_are_those_of_the_platform(client: Client, server: tuple[str, str, Lanyard]) -> None:
    _, url, _ = server
    user = logged_in(client)
    assert user.username == "alice"
    assert user.authentication_url == user.micetro_url == url
    assert (user.authentication_host, user.authentication_version) == ("127.0.0.1", "26.1.0")
    assert user.is_replication_user is False
    assert re.fullmatch(r"alice:[0-9a-f]+", user.logger_context)
    assert client.verify_or_raise(user.session_auth).username == "alice"


def test_the_client_is_authenticated_and_of_its_kind(client: Client, server: tuple[str, str, Lanyard]) -> None:
    kind, _, _ = server
    user = logged_in(client)
    api = user.micetro_api.v2
    assert type(api) is CLIENTS[kind]
    assert user.micetro_auth == api.auth
    assert (user.micetro_auth == f"Basic {PASSWORD_IN_BASE64}") is (kind == "basic")
    assert api.micetro_version == "26.1.0"
    with pytest.raises(MicetroV2ErrorResponse):
        api.http_get("/servers")


def test_objects_are_made_changed_and_removed(client: Client) -> None:
    api = logged_in(client).micetro_api.v2
    view = api.http_get("/dnsViews", params={"limit": 1})["result"]["dnsViews"][0]["ref"]
    zone = {"name": "python.example.", "type": "Primary", "dnsViewRef": view}
    ref = api.http_post("/dnsZones", json={"dnsZone": zone}, expected_status_codes=[201])["result"]["ref"]
    assert api.http_get(f"/{ref}")["result"]["dnsZone"]["name"] == "python.example."
    api.http_delete(f"/{ref}", expected_status_codes=[204])
    with pytest.raises(MicetroV2ErrorResponse):
        api.http_get(f"/{ref}")


def test_a_session_that_is_logged_out_hands_out_no_credential(client: Client) -> None:
    user = logged_in(client)
    client.on_behalf_of(user.session_auth).log_out()
    with pytest.raises(SessionInvalidError):
        user.micetro_auth  # noqa: B018


def test_each_hand_out_is_in_the_audit_trail(client: Client, server: tuple[str, str, Lanyard]) -> None:
    user = logged_in(client)
    for _ in range(2):
        user.micetro_api.v2.http_get("/dnsServers")
    admin = client.on_behalf_of(client.log_in(*server[2].admin).ust)
    session_id = client.verify_or_raise(user.session_auth).session_id
    events = list(admin.list_audit_events(v1.ListAuditEventsRequest(session_id=session_id)))
    assert len([event for event in events if "platform" in event.operation]) == 1
    assert PASSWORD_IN_BASE64 not in json.dumps([str(event) for event in events])


def test_who_has_a_wrong_password_there_does_not_come_in(client: Client) -> None:
    with pytest.raises(LoginError):
        client.log_in_platform("ipam", "alice", "wrong")
