"""What a request says about its user, and what those are told whose session is not good."""

import logging
from ipaddress import ip_address

from lanyard._error import CallError, DeadlineExceededError, UnavailableError
from lanyard._ust import Ust
from lanyard.enums import ErrorReason

logger = logging.getLogger("lanyard")

LOG_IN_AGAIN = "log in again"
TRY_LATER = "sessions cannot be verified now"
_BUSY = (ErrorReason.CALLER_LIMITED, ErrorReason.OVERLOADED)


def bearer(authorization: str | None) -> Ust | None:
    """The token of a header `Authorization: Bearer ...`."""
    scheme, _, token = (authorization or "").partition(" ")
    token = token.strip()
    return Ust(token) if scheme.lower() == "bearer" and token else None


def address(host: str | None) -> str:
    """Where the user is, if that is an address: behind a Unix socket it is a path, and in a test any word."""
    plain = (host or "").partition("%")[0]
    try:
        return str(ip_address(plain))
    except ValueError:
        return ""


def is_outage(error: CallError) -> bool:
    """Whether a call failed for a reason that passes. It says nothing about the session, so nobody is logged out by it."""
    return isinstance(error, UnavailableError | DeadlineExceededError) or error.reason in _BUSY
