"""The answer to "is this token good?"."""

from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import NoReturn, Union

from google.protobuf.timestamp_pb2 import Timestamp

from lanyard import v1
from lanyard._error import LanyardError
from lanyard.enums import AuthType, InactiveReason, RevokeReason, Role


@dataclass(frozen=True)
class VerifiedSession:
    """A good session: what a service needs to know on every request."""

    session_id: str
    """`ses_...`; public, safe in logs."""
    user_id: str
    """`usr_...`."""
    username: str
    """The user's name, as they write it."""
    roles: tuple[Role, ...]
    """What the user may do."""
    auth_type: AuthType
    """How the user proved who they are."""
    current_app: str
    """The app into which the user logged in."""
    idle_expire_time: datetime
    """When the session ends if the user does nothing (UTC)."""
    absolute_expire_time: datetime
    """When the session ends whatever the user does (UTC)."""
    cache_for: timedelta | None
    """How long the verdict may be used again without asking; `None`: not at all."""

    @property
    def is_super_user(self) -> bool:
        """Whether the user may act on everybody's behalf."""
        return Role.SUPER_USER in self.roles


class SessionInactiveError(LanyardError):
    """A good session was needed and the token is not good. Why is for the calling service, not for the end user."""

    def __init__(self, inactive: "Inactive") -> None:
        super().__init__(f"the session is not active ({inactive.why})")
        self.inactive = inactive
        """Why the token is not good."""


class _Undecided:
    """Neither verdict is true or false: `if client.verify(ust):` would let everybody in."""

    def __bool__(self) -> NoReturn:
        raise TypeError("a verdict is neither true nor false: match Active and Inactive, or use .session, which raises")


@dataclass(frozen=True)
class Active(_Undecided):
    """The token is good."""

    session: VerifiedSession
    """The session that it is of."""


@dataclass(frozen=True)
class Inactive(_Undecided):
    """The token is not good."""

    reason: InactiveReason
    """Why; `UNSPECIFIED` where the server gave no reason that this client knows."""
    revoke_reason: RevokeReason
    """Why it was revoked, with `InactiveReason.REVOKED`."""

    @property
    def session(self) -> NoReturn:
        """Raises SessionInactiveError: there is no session."""
        raise SessionInactiveError(self)

    @property
    def why(self) -> str:
        """The reasons by their names, for logs."""
        if self.revoke_reason is RevokeReason.UNSPECIFIED:
            return self.reason.name
        return f"{self.reason.name}: {self.revoke_reason.name}"


Verdict = Union[Active, Inactive]
"""Whether a token is good: `Active`, with the session, or `Inactive`, with the reason."""


def verdict_of(answer: v1.VerifySessionResponse) -> Verdict:
    """A verdict with neither case is inactive: a server newer than this client may know a third."""
    if answer.WhichOneof("verdict") != "session":
        inactive = answer.inactive
        return Inactive(InactiveReason(inactive.reason), RevokeReason(inactive.revoke_reason))
    session = answer.session
    return Active(
        VerifiedSession(
            session_id=session.session_id,
            user_id=session.user_id,
            username=session.username,
            roles=tuple(map(Role, session.roles)),
            auth_type=AuthType(session.auth_type),
            current_app=session.current_app,
            idle_expire_time=_datetime(session.idle_expire_time),
            absolute_expire_time=_datetime(session.absolute_expire_time),
            cache_for=answer.cache_for.ToTimedelta() if answer.HasField("cache_for") else None,
        )
    )


def _datetime(time: Timestamp) -> datetime:
    return time.ToDatetime(timezone.utc)
