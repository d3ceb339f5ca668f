"""The user session token."""

import hmac


class Ust:
    """A user session token (UST): whoever holds it *is* the user. It does not show when it is printed."""

    __slots__ = ("_token",)

    def __init__(self, token: str) -> None:
        """Takes any text for a token; whether it is a good one, `Client.verify` says."""
        self._token = token

    def expose(self) -> str:
        """The token itself, to hand it to its user. Not for logs, addresses or listings."""
        return self._token

    def __repr__(self) -> str:
        return "Ust(...)"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Ust):
            return NotImplemented
        return hmac.compare_digest(self._token.encode(), other._token.encode())

    def __hash__(self) -> int:
        return hash(self._token)


def exposed(ust: "Ust | str") -> str:
    """The text of a token that came as either."""
    return ust.expose() if isinstance(ust, Ust) else ust
