"""What verbs give, where it is more than one thing."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from lanyard import v1
from lanyard._ust import Ust


@dataclass(frozen=True)
class Login:
    """A login that succeeded."""

    ust: Ust
    """The token. That of a login with a password cannot be shown again."""
    session: v1.UserSession = field(repr=False)
    """The new session, or the live one of the same external credential."""
    warnings: Sequence[v1.Warning]
    """What the user should know: the password expires soon, ..."""


@dataclass(frozen=True)
class Renewal:
    """A session with more time."""

    session: v1.UserSession = field(repr=False)
    """The session."""
    ust: Ust | None
    """The new token, if there is one: hand it to the user in the place of the old one."""
    grace_time: datetime | None
    """Until when the old token keeps working (UTC); only with a new one."""


@dataclass(frozen=True)
class UserChange:
    """A user after a change that ends sessions."""

    user: v1.User
    """The user."""
    revoked_count: int
    """How many live sessions ended."""


@dataclass(frozen=True)
class DefinitionChange:
    """A definition after a change that may end sessions."""

    definition: v1.Definition
    """The definition."""
    revoked_count: int
    """How many live sessions ended."""


@dataclass(frozen=True)
class LinkChange:
    """A link after a change that may end sessions."""

    link: v1.LinkedAuth
    """The link."""
    revoked_count: int
    """How many live sessions ended."""
