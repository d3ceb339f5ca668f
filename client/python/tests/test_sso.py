"""Zato SSO's call."""

import ast
import logging
from datetime import datetime
from pathlib import Path

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from lanyard import Client, PermissionDeniedError, Ust, v1
from lanyard.sso import SSO
from tests.support import DEADLINE, KEY, UST, Fake, Lanyard
from tests.zato_service import GetLinks

CREATED = datetime(2019, 6, 4, 11, 44, 59, 109637)
# As the documentation of Zato SSO prints it.
PRINTED = {
    "user_id": "zusr3tm8jhgqjd9smtdt7erb427s9x",
    "auth_type": "basic_auth",
    "auth_username": "my.username",
    "auth_id": 2,
    "creation_time": CREATED,
    "is_active": True,
    "is_internal": False,
    "auth_source": "reserved",
    "auth_principal": "reserved",
    "has_ext_principal": False,
}


def link() -> v1.LinkedAuth:
    time = Timestamp()
    time.FromDatetime(CREATED)
    fields = {**PRINTED, "creation_time": time, "link_id": "lnk_1", "last_used_time": time, "etag": "1"}
    return v1.LinkedAuth(**fields)  # type: ignore[arg-type]


def test_a_service_written_for_zato_runs_as_it_is(fake: Fake, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    fake.then(v1.ListLinkedAuthResponse(links=[link()]))
    with Client(fake.address, api_key=KEY) as client:
        GetLinks(SSO(client), cid="4f7b1f0c").handle()  # type: ignore[no-untyped-call]
    printed = caplog.records[-1].args or caplog.records[-1].msg
    assert printed == [PRINTED]
    assert list(printed[0]) == list(PRINTED)
    for key, value in PRINTED.items():
        assert type(printed[0][key]) is type(value), key
    asked = fake.asked[0]
    assert asked.metadata["x-correlation-id"] == "4f7b1f0c"
    assert asked.request.ust == "gAAAAABc9lm75ETkIfF2Wi8YvRU4szBg_2LGFFg3Fs..."
    assert asked.request.client == v1.ClientInfo(current_app="CRM", remote_addr="127.0.0.1")
    assert asked.request.user_id == "zusr3tm8jhgqjd9smtdt7erb427s9x"


def test_its_body_is_the_one_that_is_printed_there() -> None:
    lines = Path(__file__).with_name("zato_service.py").read_text(encoding="utf-8").splitlines()
    body = lines[lines.index("class GetLinks(Service):") :]
    assert "from lanyard.sso import Service" in lines
    assert [line for line in body if line] == [line for line in PRINTED_BODY.splitlines() if line]
    ast.parse("\n".join(body))


PRINTED_BODY = """\
class GetLinks(Service):
    def handle(self):

        # Request metadata
        current_ust = 'gAAAAABc9lm75ETkIfF2Wi8YvRU4szBg_2LGFFg3Fs...'
        current_app = 'CRM'
        remote_addr = '127.0.0.1'

        # ID of the user to return links for
        user_id = 'zusr3tm8jhgqjd9smtdt7erb427s9x'

        # Get user's links
        response = self.sso.user.get_linked_auth_list(self.cid, current_ust,
          current_app, remote_addr, user_id)

        self.logger.info(response)
"""


def test_all_pages_are_in_the_list(fake: Fake, client: Client) -> None:
    fake.then(
        v1.ListLinkedAuthResponse(links=[link()] * 200, next_page_token="2"),
        v1.ListLinkedAuthResponse(links=[link()] * 50),
    )
    assert len(SSO(client).user.get_linked_auth_list("cid", Ust(UST), "CRM", "127.0.0.1")) == 250
    assert [asked.request.user_id for asked in fake.asked] == ["", ""]


def test_a_cid_that_cannot_be_carried_is_refused(client: Client) -> None:
    with pytest.raises(ValueError, match="a correlation ID is"):
        SSO(client).user.get_linked_auth_list("no good", UST, "CRM", "127.0.0.1")


def test_on_a_real_server_users_see_their_own_links_and_super_users_everybodys(lanyard: Lanyard) -> None:
    with Client(lanyard.address, api_key=lanyard.api_key, deadline=DEADLINE) as client:
        sso = SSO(client)
        demo, admin = client.log_in(*lanyard.demo), client.log_in(*lanyard.admin)
        own = sso.user.get_linked_auth_list("own-links", demo.ust, "default", "127.0.0.1")
        assert [(one["auth_type"], one["auth_username"]) for one in own] == [("basic_auth", lanyard.basic_auth[0])]
        assert {key: type(value) for key, value in own[0].items()} == {
            key: type(value) for key, value in PRINTED.items()
        }
        now = datetime.now().astimezone().utctimetuple()
        assert own[0]["creation_time"].utctimetuple()[:3] == now[:3]
        of_demo = demo.session.user_id
        assert sso.user.get_linked_auth_list("links-of-demo", admin.ust, "default", "127.0.0.1", of_demo) == own
        with pytest.raises(PermissionDeniedError, match="SUPER_USER_REQUIRED, correlation ID links-of-admin"):
            sso.user.get_linked_auth_list("links-of-admin", demo.ust, "default", "127.0.0.1", admin.session.user_id)
        events = client.on_behalf_of(admin.ust).list_audit_events(
            v1.ListAuditEventsRequest(correlation_id="links-of-demo")
        )
        assert [(event.subject_user_id, event.target_user_id) for event in events] == [(admin.session.user_id, of_demo)]
