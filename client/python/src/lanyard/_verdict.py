"""The answer to "is this token good?"."""

from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import NoReturn

from lanyard import v1
from lanyard._error import LanyardError
from lanyard.enums import AuthType, InactiveReason, RevokeReason, Role


class VerifiedSession:
    """A good session: what a service needs to know on every request."""

    __slots__ = ("_answer", "_session")

    # Fields are read when they are asked for: most services look at one or two of them.

    def __init__(self, answer: v1.VerifySessionResponse) -> None:
        """The session in a verdict of the contract."""
        self._answer = answer
        self._session = answer.session

    @property
    def session_id(self) -> str:
        """`ses_...`; public, safe in logs."""
        return self._session.session_id

    @property
    def user_id(self) -> str:
        """`usr_...`."""
        return self._session.user_id

    @property
    def username(self) -> str:
        """The user's name, as they write it."""
        return self._session.username

    @property
    def roles(self) -> tuple[Role, ...]:
        """What the user may do."""
        return tuple(map(Role, self._session.roles))

    @property
    def is_super_user(self) -> bool:
        """Whether the user may act on everybody's behalf."""
        return Role.SUPER_USER in self.roles

    @property
    def auth_type(self) -> AuthType:
        """How the user proved who they are."""
        return AuthType(self._session.auth_type)

    @property
    def current_app(self) -> str:
        """The app into which the user logged in."""
        return self._session.current_app

    @property
    def idle_expire_time(self) -> datetime:
        """When the session ends if the user does nothing (UTC)."""
        return self._session.idle_expire_time.ToDatetime(timezone.utc)

    @property
    def absolute_expire_time(self) -> datetime:
        """When the session ends whatever the user does (UTC)."""
        return self._session.absolute_expire_time.ToDatetime(timezone.utc)

    @property
    def cache_for(self) -> timedelta | None:
        """How long the verdict may be used again without asking; `None`: not at all."""
        return self._answer.cache_for.ToTimedelta() if self._answer.HasField("cache_for") else None

    def __eq__(self, other: object) -> bool:
        return self._answer == other._answer if isinstance(other, VerifiedSession) else NotImplemented

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"VerifiedSession(session_id={self.session_id!r}, username={self.username!r})"


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


Verdict = Active | Inactive
"""Whether a token is good: `Active`, with the session, or `Inactive`, with the reason."""


def verdict_of(answer: v1.VerifySessionResponse) -> Verdict:
    """A verdict with neither case is inactive: a server newer than this client may know a third."""
    if answer.HasField("session"):
        return Active(VerifiedSession(answer))
    inactive = answer.inactive
    return Inactive(InactiveReason(inactive.reason), RevokeReason(inactive.revoke_reason))
