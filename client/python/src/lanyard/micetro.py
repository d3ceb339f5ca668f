"""Micetro's API with a bearer token: the vendor's client, which knows Basic authentication only, taught the other kind.

Needs the extra `gateway`.
"""

from typing import Any

from bluecat_libraries.http_client import ClientError
from bluecat_libraries.micetro.apiv2 import Client as BasicClient


class Client(BasicClient):  # type: ignore[misc]
    """The vendor's `bluecat_libraries.micetro.apiv2.Client`, with the same methods and errors, for Micetro 11.1 and
    later: `Authorization: Bearer`, and no password that is kept.
    """

    @staticmethod
    def generate_token(username: str, password: str) -> str:
        """Raises ClientError: a bearer token is given by Micetro and not made here."""
        raise ClientError("A bearer token is given by Micetro: use authenticate.")

    def authenticate(self, username: str, password: str, refresh_token: bool = False) -> str:
        """Logs in to Micetro and keeps the token that it gives. The password is not kept."""
        if self.is_authenticated and not refresh_token:
            raise ClientError("Client is already authenticated.")
        credentials = {"loginName": username, "password": password}
        # Without the token so far, which may be over.
        answer = self.http_post("/micetro/sessions", json=credentials, headers={"Authorization": None})
        self.auth = f"Bearer {_session(answer)}"
        return str(self.auth)

    @property
    def auth(self) -> str | None:
        """The value of the header `Authorization`."""
        value: str | None = self.session.headers.get("Authorization")
        return value

    @auth.setter
    def auth(self, value: str) -> None:
        if not value:
            raise ClientError("Empty value for authentication to Micetro REST v2 API.")
        if not value.startswith("Bearer "):
            raise ClientError("This client of Micetro REST v2 API only supports bearer tokens.")
        set_auth(self, value)


def set_auth(client: BasicClient, value: str) -> None:
    """Makes a client authenticated with a credential that is known to be good. (The vendor's setter asks Micetro first,
    and takes most errors for a yes.)
    """
    client.token_type = value.partition(" ")[0]
    client.token = value
    client.session.headers["Authorization"] = value


def _session(answer: Any) -> str:
    session = answer.get("result", {}).get("session") if isinstance(answer, dict) else None
    if not isinstance(session, str) or not session:
        raise ClientError("Micetro gave no session.")
    return session
