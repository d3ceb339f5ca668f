"""The client on behalf of a user."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timezone
from typing import TYPE_CHECKING, Any

from lanyard import rpc as rpcs
from lanyard import v1
from lanyard._async.pages import Pages
from lanyard._results import DefinitionChange, LinkChange, Renewal, UserChange
from lanyard._rpc import Answer, Request, Rpc
from lanyard._ust import Ust, exposed

if TYPE_CHECKING:
    from lanyard._async.client import Client

# More than the server gives at once: as much as it gives.
_LARGEST_PAGE = 2**31 - 1


class Subject:
    """A user on whose behalf the service acts: a client and the user's token. `Client.on_behalf_of` makes it."""

    def __init__(self, client: Client, ust: Ust | str) -> None:
        self._client = client
        self._ust = exposed(ust)

    def __repr__(self) -> str:
        return f"<{type(self).__module__}.{type(self).__name__} by {self._client!r}>"

    async def call(self, rpc: Rpc[Request, Answer], request: Request) -> Answer:
        """Sends any acting request of the contract with the user's token and gives the whole answer."""
        return await self._client.call(rpc, self._sign(rpc, request))

    def _sign(self, rpc: Rpc[Request, Answer], request: Request) -> Request:
        signed: Any = rpc.request()
        signed.CopyFrom(request)
        signed.ust = self._ust
        message: Request = signed
        return message

    async def _call_whole(self, rpc: Rpc[Request, Answer], request: Request, *fields: str) -> Answer:
        return await self._client._call_whole(rpc, self._sign(rpc, request), *fields)

    def _pages(self, rpc: Rpc[Request, Answer], request: Request | None, field: str) -> Pages[Any]:
        first = self._sign(rpc, rpc.request() if request is None else request)
        return Pages(lambda page: self._client.call(rpc, page), first, field)

    # ------------------------------------------------------------------ sessions

    async def current_session(self) -> v1.UserSession:
        """The own session."""
        return await self.get_session("")

    async def get_session(self, session_id: str) -> v1.UserSession:
        """A session by its ID; another's needs a super-user."""
        request = v1.GetSessionRequest(session_id=session_id)
        return (await self._call_whole(rpcs.SessionService.GetSession, request, "session")).session

    def list_sessions(self, request: v1.ListSessionsRequest | None = None) -> Pages[v1.UserSession]:
        """Sessions, newest first: the own ones or, for super-users, those of a user or of everybody."""
        return self._pages(rpcs.SessionService.ListSessions, request, "sessions")

    async def renew(self) -> Renewal:
        """Gives the own session more time. If its token had been replaced already, the new one comes along."""
        return await self._renew(False)

    async def rotate(self) -> Renewal:
        """Gives the own session more time and a new token. The old one keeps working for a short grace."""
        return await self._renew(True)

    async def _renew(self, rotate: bool) -> Renewal:
        needed = ("session", "ust") if rotate else ("session",)
        request = v1.RenewSessionRequest(rotate=rotate)
        answer = await self._call_whole(rpcs.SessionService.RenewSession, request, *needed)
        grace_time = answer.grace_time.ToDatetime(timezone.utc) if answer.HasField("grace_time") else None
        return Renewal(answer.session, Ust(answer.ust) if answer.ust else None, grace_time)

    async def log_out(self) -> bool:
        """Ends the own session. True if it was live."""
        return await self.revoke_session("")

    async def revoke_session(self, session_id: str) -> bool:
        """Ends a session by its ID; another's needs a super-user. True if it was live."""
        request = v1.RevokeSessionRequest(session_id=session_id)
        return (await self.call(rpcs.SessionService.RevokeSession, request)).revoked

    async def log_out_elsewhere(self) -> int:
        """Ends all own sessions but this one, and returns how many were live."""
        return await self.revoke_sessions(v1.RevokeSessionsRequest(keep_current=True))

    async def revoke_sessions(self, request: v1.RevokeSessionsRequest) -> int:
        """Ends many sessions (without a target: the own ones), and returns how many were live."""
        return (await self.call(rpcs.SessionService.RevokeSessions, request)).revoked_count

    async def get_platform_auth(self, refused: bool = False) -> v1.GetPlatformAuthResponse:
        """The credential with which the platform of the own session is called. The service needs a grant of its own for
        it. `refused`: the platform answered 401 to the one that was handed out.
        """
        request = v1.GetPlatformAuthRequest(refused=refused)
        return await self._call_whole(rpcs.SessionService.GetPlatformAuth, request, "micetro_auth", "micetro_url")

    # ------------------------------------------------------------------ links

    async def get_linked_auth_list(self, user_id: str | None = None) -> list[v1.LinkedAuth]:
        """The accounts that are linked to a user, oldest first, all of them (Zato SSO's `get_linked_auth_list`). `None`:
        the own ones. Another's need a super-user.
        """
        request = v1.ListLinkedAuthRequest(user_id=user_id or "", page_size=_LARGEST_PAGE)
        return [link async for link in self.list_linked_auth(request)]

    def list_linked_auth(self, request: v1.ListLinkedAuthRequest | None = None) -> Pages[v1.LinkedAuth]:
        """The same, page by page."""
        return self._pages(rpcs.LinkedAuthService.ListLinkedAuth, request, "links")

    async def create_linked_auth(self, user_id: str, definition: v1.DefinitionRef) -> v1.LinkedAuth:
        """Links a definition to a user. Super-users only."""
        request = v1.CreateLinkedAuthRequest(user_id=user_id, definition=definition)
        return (await self._call_whole(rpcs.LinkedAuthService.CreateLinkedAuth, request, "link")).link

    async def create_own_linked_auth(self, proof: v1.BasicAuthCredential | v1.JwtCredential) -> v1.LinkedAuth:
        """Links to the acting user the definition of which `proof` is a good credential. They must have logged in with a
        password in the last five minutes, and the policy of the app must allow it.
        """
        request = v1.CreateLinkedAuthRequest()
        if isinstance(proof, v1.JwtCredential):
            request.jwt.CopyFrom(proof)
        else:
            request.basic_auth.CopyFrom(proof)
        return (await self._call_whole(rpcs.LinkedAuthService.CreateLinkedAuth, request, "link")).link

    async def update_linked_auth(self, link_id: str, is_active: bool) -> LinkChange:
        """Turns a link on or off; the sessions that began with one that is turned off end. Super-users only."""
        request = v1.UpdateLinkedAuthRequest(link_id=link_id, is_active=is_active)
        answer = await self._call_whole(rpcs.LinkedAuthService.UpdateLinkedAuth, request, "link")
        return LinkChange(answer.link, answer.revoked_count)

    async def delete_linked_auth(self, link_id: str) -> int:
        """Removes a link, and returns how many live sessions ended: those that began with it. Super-users only."""
        request = v1.DeleteLinkedAuthRequest(link_id=link_id)
        return (await self.call(rpcs.LinkedAuthService.DeleteLinkedAuth, request)).revoked_count

    # ------------------------------------------------------------------ users

    async def create_user(self, request: v1.CreateUserRequest) -> v1.User:
        """Adds a user. Super-users only."""
        return (await self._call_whole(rpcs.UserService.CreateUser, request, "user")).user

    async def get_user(self, user_id: str) -> v1.User:
        """A user by ID. Super-users only; see `current_user`."""
        request = v1.GetUserRequest(user_id=user_id)
        return (await self._call_whole(rpcs.UserService.GetUser, request, "user")).user

    async def get_user_by_name(self, username: str) -> v1.User:
        """A user by name. Super-users only."""
        request = v1.GetUserRequest(username=username)
        return (await self._call_whole(rpcs.UserService.GetUser, request, "user")).user

    async def current_user(self) -> v1.User:
        """The acting user."""
        request = v1.GetCurrentUserRequest()
        return (await self._call_whole(rpcs.UserService.GetCurrentUser, request, "user")).user

    def list_users(self, request: v1.ListUsersRequest | None = None) -> Pages[v1.User]:
        """Users in the order of their creation. Super-users only."""
        return self._pages(rpcs.UserService.ListUsers, request, "users")

    async def update_user(self, request: v1.UpdateUserRequest) -> v1.User:
        """Changes the fields that the mask of the request names."""
        return (await self._call_whole(rpcs.UserService.UpdateUser, request, "user")).user

    async def delete_user(self, user_id: str) -> int:
        """Removes a user, and returns how many live sessions ended. Super-users only."""
        request = v1.DeleteUserRequest(user_id=user_id)
        return (await self.call(rpcs.UserService.DeleteUser, request)).revoked_count

    async def lock_user(self, user_id: str) -> UserChange:
        """Keeps a user out and ends their sessions. Super-users only."""
        request = v1.LockUserRequest(user_id=user_id)
        answer = await self._call_whole(rpcs.UserService.LockUser, request, "user")
        return UserChange(answer.user, answer.revoked_count)

    async def unlock_user(self, user_id: str) -> v1.User:
        """Lets a locked user log in again. Super-users only."""
        request = v1.UnlockUserRequest(user_id=user_id)
        return (await self._call_whole(rpcs.UserService.UnlockUser, request, "user")).user

    async def approve_user(self, user_id: str) -> v1.User:
        """Lets a user in who was waiting or rejected. Super-users only."""
        request = v1.ApproveUserRequest(user_id=user_id)
        return (await self._call_whole(rpcs.UserService.ApproveUser, request, "user")).user

    async def reject_user(self, user_id: str) -> UserChange:
        """Keeps a user out for good and ends their sessions. Super-users only."""
        request = v1.RejectUserRequest(user_id=user_id)
        answer = await self._call_whole(rpcs.UserService.RejectUser, request, "user")
        return UserChange(answer.user, answer.revoked_count)

    async def change_password(self, old: str, new: str) -> int:
        """Replaces the own password, ends all other own sessions and returns how many."""
        request = v1.ChangePasswordRequest(old_password=old, new_password=new)
        return (await self.call(rpcs.UserService.ChangePassword, request)).revoked_count

    async def set_password(self, user_id: str, new: str, must_change: bool = False) -> int:
        """Gives a user a new password, ends their sessions and returns how many; `must_change`: they must choose another
        one at the next login. Super-users only.
        """
        request = v1.SetPasswordRequest(user_id=user_id, new_password=new, must_change=must_change)
        return (await self.call(rpcs.UserService.SetPassword, request)).revoked_count

    async def enroll_totp(self, password: str) -> v1.EnrollTotpResponse:
        """Makes a new TOTP secret for the acting user and shows it, once. It counts after `confirm_totp`."""
        return await self.call(rpcs.UserService.EnrollTotp, v1.EnrollTotpRequest(password=password))

    async def confirm_totp(self, code: str) -> int:
        """Turns the second factor on with a code, ends all other own sessions and returns how many."""
        request = v1.ConfirmTotpRequest(totp_code=code)
        return (await self.call(rpcs.UserService.ConfirmTotp, request)).revoked_count

    async def disable_totp(self, password: str) -> int:
        """Turns the own second factor off, ends all other own sessions and returns how many."""
        request = v1.DisableTotpRequest(password=password)
        return (await self.call(rpcs.UserService.DisableTotp, request)).revoked_count

    async def disable_totp_of(self, user_id: str) -> int:
        """Turns another's second factor off, ends their sessions and returns how many. Super-users only."""
        request = v1.DisableTotpRequest(user_id=user_id)
        return (await self.call(rpcs.UserService.DisableTotp, request)).revoked_count

    # ------------------------------------------------------------------ attributes

    async def set_attributes(
        self, attributes: Iterable[v1.AttributeToSet], owner: v1.AttributeOwner | None = None
    ) -> list[v1.Attribute]:
        """Creates or replaces attributes of a user or session (`None`: the acting user): all of them or, with an error,
        none.
        """
        request = v1.SetAttributesRequest(owner=owner, attributes=attributes)
        return list((await self.call(rpcs.AttributeService.SetAttributes, request)).attributes)

    def list_attributes(self, request: v1.ListAttributesRequest | None = None) -> Pages[v1.Attribute]:
        """Attributes that have not expired, in the order of their names."""
        return self._pages(rpcs.AttributeService.ListAttributes, request, "attributes")

    async def delete_attributes(self, names: Iterable[str], owner: v1.AttributeOwner | None = None) -> int:
        """Removes attributes of a user or session (`None`: the acting user): all of them or, if one is not there, none."""
        request = v1.DeleteAttributesRequest(owner=owner, names=names)
        return (await self.call(rpcs.AttributeService.DeleteAttributes, request)).deleted_count

    # ------------------------------------------------------------------ definitions

    async def create_definition(self, definition: v1.Definition, secret: v1.DefinitionSecret) -> v1.Definition:
        """Adds a definition, with what its credentials are checked against. Super-users only."""
        request = v1.CreateDefinitionRequest(definition=definition, secret=secret)
        answer = await self._call_whole(rpcs.DefinitionService.CreateDefinition, request, "definition")
        return answer.definition

    async def get_definition(self, auth_id: int) -> v1.Definition:
        """A definition by its number. Super-users only."""
        request = v1.GetDefinitionRequest(auth_id=auth_id)
        return (await self._call_whole(rpcs.DefinitionService.GetDefinition, request, "definition")).definition

    def list_definitions(self, request: v1.ListDefinitionsRequest | None = None) -> Pages[v1.Definition]:
        """Definitions in the order of their numbers. Super-users only."""
        return self._pages(rpcs.DefinitionService.ListDefinitions, request, "definitions")

    async def update_definition(self, request: v1.UpdateDefinitionRequest) -> DefinitionChange:
        """Changes the fields that the mask of the request names. Super-users only."""
        answer = await self._call_whole(rpcs.DefinitionService.UpdateDefinition, request, "definition")
        return DefinitionChange(answer.definition, answer.revoked_count)

    async def delete_definition(self, auth_id: int) -> int:
        """Removes a definition with its link, and returns how many live sessions ended: those that began with it.
        Super-users only.
        """
        request = v1.DeleteDefinitionRequest(auth_id=auth_id)
        return (await self.call(rpcs.DefinitionService.DeleteDefinition, request)).revoked_count

    async def rotate_definition_secret(self, request: v1.RotateDefinitionSecretRequest) -> DefinitionChange:
        """Gives a definition another secret or other keys. Super-users only."""
        answer = await self._call_whole(rpcs.DefinitionService.RotateDefinitionSecret, request, "definition")
        return DefinitionChange(answer.definition, answer.revoked_count)

    # ------------------------------------------------------------------ audit

    def list_audit_events(self, request: v1.ListAuditEventsRequest | None = None) -> Pages[v1.AuditEvent]:
        """Audit events, newest first. Super-users only."""
        return self._pages(rpcs.AuditService.ListAuditEvents, request, "events")
