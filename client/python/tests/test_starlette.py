"""Services made with FastAPI and Starlette."""

import re
from collections.abc import Iterator
from typing import Annotated

import grpc
import pytest
from fastapi import Depends, FastAPI
from fastapi.testclient import TestClient
from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import ErrorInfo, RetryInfo
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from lanyard import RetryPolicy, Ust, VerifiedSession, aio, current_correlation_id, outgoing_headers, v1
from lanyard.starlette import CorrelationMiddleware, RequireSession, bearer_ust
from tests.support import KEY, UST, Fake, Refusal

BEARER = {"authorization": f"Bearer {UST}", "user-agent": "browser"}
GOOD = v1.VerifySessionResponse(session=v1.VerifiedSession(username="alice"))


@pytest.fixture
def http(fake: Fake) -> Iterator[TestClient]:
    client = aio.Client(fake.address, api_key=KEY, retry=RetryPolicy.never())
    app = FastAPI()
    app.add_middleware(CorrelationMiddleware)
    require_session = RequireSession(client)

    @app.get("/whoami")
    async def whoami(
        session: Annotated[VerifiedSession, Depends(require_session)], ust: Annotated[Ust, Depends(bearer_ust)]
    ) -> dict[str, str | None]:
        assert ust == Ust(UST)
        return {"username": session.username, "correlation_id": current_correlation_id(), **outgoing_headers()}

    with TestClient(app, client=("203.0.113.7", 50000)) as http:
        yield http


def test_a_good_token_comes_in_and_its_session_is_at_hand(fake: Fake, http: TestClient) -> None:
    fake.then(GOOD)
    answer = http.get("/whoami", headers={**BEARER, "x-correlation-id": "order-4711"})
    assert answer.status_code == 200
    assert answer.json()["username"] == "alice"
    assert answer.json()["correlation_id"] == "order-4711"
    assert answer.headers["x-correlation-id"] == "order-4711"
    assert fake.metadata("x-correlation-id") == ["order-4711"]
    asked = fake.asked[0].request
    assert (asked.ust, asked.client.remote_addr, asked.client.user_agent) == (UST, "203.0.113.7", "browser")
    assert not asked.peek


@pytest.mark.parametrize(
    ("host", "sent"),
    [("testclient", ""), ("/run/service.sock", ""), ("", ""), ("fe80::1%eth0", "fe80::1"), ("::1", "::1")],
)
def test_what_is_no_address_is_not_sent_as_one(fake: Fake, http: TestClient, host: str, sent: str) -> None:
    fake.then(GOOD)
    with TestClient(http.app, client=(host, 0)) as elsewhere:
        assert elsewhere.get("/whoami", headers=BEARER).status_code == 200
    assert fake.asked[0].request.client.remote_addr == sent


def test_the_trace_of_a_request_goes_on(fake: Fake, http: TestClient) -> None:
    fake.then(GOOD)
    trace = "0af7651916cd43dd8448eb211c80319c"
    answer = http.get("/whoami", headers={**BEARER, "traceparent": f"00-{trace}-b7ad6b7169203331-01"})
    # FastAPI may have made spans of its own in between.
    assert [str(parent).split("-")[1] for parent in fake.metadata("traceparent")] == [trace]
    assert answer.json()["traceparent"].split("-")[1] == trace


@pytest.mark.parametrize("bad", ["", "a b", "x" * 129])
def test_a_request_without_a_good_id_gets_a_new_one(fake: Fake, http: TestClient, bad: str) -> None:
    fake.then(GOOD)
    answer = http.get("/whoami", headers={**BEARER, "x-correlation-id": bad})
    assert re.fullmatch(r"[0-9a-f-]{36}", answer.headers["x-correlation-id"])
    assert fake.metadata("x-correlation-id") == [answer.headers["x-correlation-id"]]


@pytest.mark.parametrize("authorization", [None, "", "Bearer", "Bearer ", "Basic eA==", UST])
def test_without_a_token_nobody_comes_in_and_nobody_is_asked(
    fake: Fake, http: TestClient, authorization: str | None
) -> None:
    headers = {} if authorization is None else {"authorization": authorization}
    answer = http.get("/whoami", headers=headers)
    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
    assert not fake.asked


def test_an_inactive_session_stays_out_and_is_not_told_why(
    fake: Fake, http: TestClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "lanyard")
    fake.then(v1.VerifySessionResponse(inactive=v1.InactiveSession(reason=v1.INACTIVE_REASON_IDLE_EXPIRED)))
    answer = http.get("/whoami", headers=BEARER)
    assert (answer.status_code, answer.json()) == (401, {"detail": "log in again"})
    assert answer.headers["www-authenticate"] == 'Bearer error="invalid_token"'
    assert "IDLE_EXPIRED" in caplog.text
    assert UST not in caplog.text


def test_a_verdict_that_is_none_lets_nobody_in(http: TestClient) -> None:
    assert http.get("/whoami", headers=BEARER).status_code == 401


def test_an_outage_logs_nobody_out(fake: Fake, http: TestClient) -> None:
    fake.then(Refusal(grpc.StatusCode.UNAVAILABLE, details=(RetryInfo(retry_delay=Duration(nanos=1)),)))
    answer = http.get("/whoami", headers=BEARER)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    fake.then(
        Refusal(grpc.StatusCode.RESOURCE_EXHAUSTED, details=(ErrorInfo(reason="CALLER_LIMITED", domain="lanyard"),))
    )
    assert http.get("/whoami", headers=BEARER).status_code == 503


def test_what_an_operator_must_mend_is_raised(fake: Fake, http: TestClient) -> None:
    reason = ErrorInfo(reason="CALLER_UNAUTHENTICATED", domain="lanyard")
    fake.then(Refusal(grpc.StatusCode.UNAUTHENTICATED, details=(reason,)))
    with pytest.raises(Exception, match="CALLER_UNAUTHENTICATED"):
        http.get("/whoami", headers=BEARER)


def test_starlette_alone_asks_by_awaiting(fake: Fake) -> None:
    require_session = RequireSession(aio.Client(fake.address), peek=True)

    async def whoami(request: Request) -> PlainTextResponse:
        return PlainTextResponse((await require_session(request)).username)

    fake.then(GOOD)
    with TestClient(Starlette(routes=[Route("/whoami", whoami)])) as http:
        assert http.get("/whoami", headers=BEARER).text == "alice"
        assert http.get("/whoami").status_code == 401
    assert fake.asked[0].request.peek
