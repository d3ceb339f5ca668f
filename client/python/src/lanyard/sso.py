"""Zato SSO's call for linked accounts, with its arguments and its answer, so that the body of a service stays as it is.

sso = SSO(Client("127.0.0.1:50051", api_key=key))
for link in sso.user.get_linked_auth_list(cid, ust, current_app, remote_addr, user_id):
    print(link["auth_type"], link["auth_username"])
"""

import logging
from datetime import datetime
from typing import TypedDict

from lanyard import v1
from lanyard._correlation import new_correlation_id
from lanyard._sync.client import Client
from lanyard._ust import Ust


class LinkedAuth(TypedDict):
    """A link, with the keys and types of Zato SSO."""

    user_id: str
    """ID of the user linked to."""
    auth_type: str
    """Type of the definition linked to, `basic_auth` or `jwt`."""
    auth_username: str
    """Username from the definition linked to."""
    auth_id: int
    """ID of the definition linked to."""
    creation_time: datetime
    """When the link was created: UTC, and as in Zato SSO without a timezone."""
    is_active: bool
    """Can the definition be used to log the user in?"""
    is_internal: bool
    """False for all links that users made."""
    auth_source: str
    """Reserved for future use."""
    auth_principal: str
    """Reserved for future use."""
    has_ext_principal: bool
    """Reserved for future use."""


class UserAPI:
    """Calls about users: `sso.user`."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def get_linked_auth_list(
        self, cid: str, ust: Ust | str, current_app: str, remote_addr: str, user_id: str | None = None
    ) -> list[LinkedAuth]:
        """A list of accounts linked to a user, oldest first. If `user_id` is given and not the own one, `ust` must belong
        to a super-user.

        cid: correlation ID used by the audit log.
        ust: current user's UST.
        current_app: name of the application the call is made from.
        remote_addr: current user's remote address.
        user_id: ID of the user to return links of; without it, the current user.

        Raises CallError if it is refused or fails (Zato SSO returns None), ValueError if `cid` is no correlation ID.
        """
        client = self._client.with_correlation_id(cid)
        client = client.with_client_info(current_app=current_app, remote_addr=remote_addr)
        return [_as_in_zato(link) for link in client.on_behalf_of(ust).get_linked_auth_list(user_id)]


class SSO:
    """What is `self.sso` in a service of Zato."""

    def __init__(self, client: Client) -> None:
        self.user = UserAPI(client)
        """Calls about users."""


class Service:
    """What a body of a service written for Zato expects of its class: `self.sso`, `self.cid`, `self.logger`."""

    def __init__(self, sso: SSO, cid: str | None = None) -> None:
        """cid: the correlation ID of what is being done; without it, a new one."""
        self.sso = sso
        self.cid = cid or new_correlation_id()
        self.logger = logging.getLogger(type(self).__module__)

    def handle(self) -> None:
        """What the service does."""
        raise NotImplementedError(f"{type(self).__name__} does not say what it does")


def _as_in_zato(link: v1.LinkedAuth) -> LinkedAuth:
    return {
        "user_id": link.user_id,
        "auth_type": link.auth_type,
        "auth_username": link.auth_username,
        "auth_id": link.auth_id,
        "creation_time": link.creation_time.ToDatetime(),
        "is_active": link.is_active,
        "is_internal": link.is_internal,
        "auth_source": link.auth_source,
        "auth_principal": link.auth_principal,
        "has_ext_principal": link.has_ext_principal,
    }
