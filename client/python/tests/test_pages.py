"""Lists in pages."""

import grpc
import pytest

from lanyard import Client, InvalidArgumentError, v1
from tests.support import UST, Fake, Refusal

PAGES = [
    v1.ListSessionsResponse(
        sessions=[v1.UserSession(session_id="1"), v1.UserSession(session_id="2")], next_page_token="b"
    ),
    v1.ListSessionsResponse(next_page_token="c"),
    v1.ListSessionsResponse(sessions=[v1.UserSession(session_id="3")]),
]


def test_a_list_is_asked_for_page_by_page_as_it_is_iterated_over(fake: Fake, client: Client) -> None:
    fake.then(*PAGES)
    sessions = iter(client.on_behalf_of(UST).list_sessions())
    assert next(sessions).session_id == "1"
    assert len(fake.asked) == 1
    assert [session.session_id for session in sessions] == ["2", "3"]
    assert [asked.request.page_token for asked in fake.asked] == ["", "b", "c"]


def test_pages_are_asked_for_one_by_one(fake: Fake, client: Client) -> None:
    fake.then(PAGES[0], PAGES[2])
    pages = client.on_behalf_of(UST).list_sessions()
    first = pages.next_page()
    assert first is not None and len(first) == 2
    assert pages.next_page_token == "b"
    assert [session.session_id for session in pages] == ["3"]
    assert pages.next_page() is None
    assert pages.next_page_token == ""


def test_after_an_error_a_list_goes_on_with_the_page_that_failed(fake: Fake, client: Client) -> None:
    fake.then(PAGES[0], Refusal(grpc.StatusCode.INVALID_ARGUMENT), PAGES[2])
    sessions = client.on_behalf_of(UST).list_sessions()
    seen = []
    with pytest.raises(InvalidArgumentError):
        for session in sessions:
            seen.append(session.session_id)
    seen += [session.session_id for session in sessions]
    assert seen == ["1", "2", "3"]
