"""A verdict cannot be mistaken for a yes."""

from datetime import datetime, timedelta, timezone

import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from lanyard import Active, Client, Inactive, InactiveReason, RevokeReason, Role, SessionInactiveError, v1
from tests.support import UST, Fake

TIME = datetime(2026, 11, 23, 22, 53, 39, 109637, timezone.utc)


def active(*roles: "v1.Role.ValueType") -> v1.VerifySessionResponse:
    time = Timestamp()
    time.FromDatetime(TIME)
    session = v1.VerifiedSession(username="alice", roles=roles, idle_expire_time=time, absolute_expire_time=time)
    return v1.VerifySessionResponse(session=session, cache_for=Duration(seconds=3))


def revoked() -> v1.VerifySessionResponse:
    inactive = v1.InactiveSession(reason=v1.INACTIVE_REASON_REVOKED, revoke_reason=v1.REVOKE_REASON_USER_LOCKED)
    return v1.VerifySessionResponse(inactive=inactive)


def test_a_good_token_gives_its_session_and_how_long_to_remember_it(fake: Fake, client: Client) -> None:
    fake.then(active(v1.ROLE_REGULAR), active(v1.ROLE_SUPER_USER))
    verdict = client.verify(UST)
    assert isinstance(verdict, Active)
    assert verdict.session.username == "alice"
    assert verdict.session.idle_expire_time == TIME
    assert verdict.session.cache_for == timedelta(seconds=3)
    assert not verdict.session.is_super_user
    assert client.verify_or_raise(UST).is_super_user


def test_verdicts_are_neither_true_nor_false(fake: Fake, client: Client) -> None:
    fake.then(active(), revoked())
    for _ in range(2):
        with pytest.raises(TypeError, match="neither true nor false"):
            if client.verify(UST):
                pytest.fail("somebody was let in")


def test_there_is_no_session_in_an_inactive_verdict(fake: Fake, client: Client) -> None:
    fake.then(revoked(), revoked())
    verdict = client.verify(UST)
    assert isinstance(verdict, Inactive)
    assert (verdict.reason, verdict.revoke_reason) == (InactiveReason.REVOKED, RevokeReason.USER_LOCKED)
    with pytest.raises(SessionInactiveError, match=r"the session is not active \(REVOKED: USER_LOCKED\)") as raised:
        verdict.session  # noqa: B018
    assert raised.value.inactive == verdict
    with pytest.raises(SessionInactiveError):
        client.verify_or_raise(UST)


def test_a_verdict_without_a_case_is_inactive(client: Client) -> None:
    assert client.verify(UST) == Inactive(InactiveReason.UNSPECIFIED, RevokeReason.UNSPECIFIED)


def test_a_reason_that_this_client_does_not_know_is_inactive_too(fake: Fake, client: Client) -> None:
    answer = v1.VerifySessionResponse()
    answer.inactive.MergeFromString(b"\x08\xe7\x07\x10\xe7\x07")
    fake.then(answer)
    assert client.verify(UST) == Inactive(InactiveReason.UNSPECIFIED, RevokeReason.UNSPECIFIED)


def test_a_role_that_this_client_does_not_know_is_no_super_user(fake: Fake, client: Client) -> None:
    answer = active()
    answer.session.MergeFromString(b"\x22\x02\xe7\x07")
    fake.then(answer)
    session = client.verify_or_raise(UST)
    assert session.roles == (Role.UNSPECIFIED,)
    assert not session.is_super_user


def test_a_verdict_is_matched_by_its_case(fake: Fake, client: Client) -> None:
    fake.then(active(), revoked())
    seen = []
    for _ in range(2):
        match client.verify(UST):
            case Active(session):
                seen.append(session.username)
            case Inactive() as inactive:
                seen.append(inactive.why)
    assert seen == ["alice", "REVOKED: USER_LOCKED"]


def test_verdicts_of_a_batch_are_in_order_and_none_is_missing(fake: Fake, client: Client) -> None:
    fake.then(v1.BatchVerifySessionsResponse(verdicts=[active(), revoked()]))
    assert [type(verdict) for verdict in client.batch_verify([UST, UST])] == [Active, Inactive]
    fake.then(v1.BatchVerifySessionsResponse(verdicts=[active()]))
    with pytest.raises(Exception, match="the answer has no verdict for each token"):
        client.batch_peek([UST, v1.SessionToVerify(ust=UST)])
    assert [asked.request.peek for asked in fake.asked] == [False, True]
