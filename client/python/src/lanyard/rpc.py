# Made by client/python/generate: do not edit.
"""The RPCs of the contract, for `Client.call` and `Subject.call`."""

from lanyard import v1
from lanyard._rpc import Rpc, StreamRpc
from lanyard.v1 import attribute_pb2_grpc
from lanyard.v1 import audit_pb2_grpc
from lanyard.v1 import definition_pb2_grpc
from lanyard.v1 import session_pb2_grpc
from lanyard.v1 import linked_auth_pb2_grpc
from lanyard.v1 import user_pb2_grpc


class AttributeService:
    """AttributeService keeps named values with a user or with a session. A regular user reaches their own, a super-user
    everybody's. A session's attributes go with the session, a user's with the user.

    Every call can answer SESSION_INVALID, SUPER_USER_REQUIRED (before any look-up), USER_NOT_FOUND and SESSION_NOT_FOUND."""
    SetAttributes = Rpc(
        "lanyard.v1.AttributeService", "SetAttributes", attribute_pb2_grpc.AttributeServiceStub,
        v1.SetAttributesRequest, v1.SetAttributesResponse, is_read=False,
    )
    """SetAttributes creates or replaces attributes: all of them or, with an error, none. An expired attribute never blocks
    its name.

    Errors: ETAG_MISMATCH, ATTRIBUTE_QUOTA_REACHED, INVALID_FIELD."""
    ListAttributes = Rpc(
        "lanyard.v1.AttributeService", "ListAttributes", attribute_pb2_grpc.AttributeServiceStub,
        v1.ListAttributesRequest, v1.ListAttributesResponse, is_read=True,
    )
    """ListAttributes returns attributes that have not expired, in the order of their names.

    Errors: PAGE_TOKEN_INVALID."""
    DeleteAttributes = Rpc(
        "lanyard.v1.AttributeService", "DeleteAttributes", attribute_pb2_grpc.AttributeServiceStub,
        v1.DeleteAttributesRequest, v1.DeleteAttributesResponse, is_read=False,
    )
    """DeleteAttributes removes attributes: all that are named or, if one is not there, none.

    Errors: ATTRIBUTE_NOT_FOUND."""


class AuditService:
    """AuditService reads the audit trail.

    Each change writes its event in its own transaction; refused logins and refused attempts on others write one too.
    Events are chained by a keyed hash: `lanyard audit verify` finds a changed, removed or reordered one."""
    ListAuditEvents = Rpc(
        "lanyard.v1.AuditService", "ListAuditEvents", audit_pb2_grpc.AuditServiceStub,
        v1.ListAuditEventsRequest, v1.ListAuditEventsResponse, is_read=True,
    )
    """ListAuditEvents lists events, newest first. Super-users only. All filters that are set must match.

    Errors: SESSION_INVALID, SUPER_USER_REQUIRED, PAGE_TOKEN_INVALID, INVALID_FIELD."""


class DefinitionService:
    """DefinitionService keeps security definitions: external credentials, each of which belongs to one principal and can be
    linked to one user (LinkedAuthService), who can then log in with it. All calls need a super-user.

    Every call can answer SESSION_INVALID and SUPER_USER_REQUIRED (before any look-up)."""
    CreateDefinition = Rpc(
        "lanyard.v1.DefinitionService", "CreateDefinition", definition_pb2_grpc.DefinitionServiceStub,
        v1.CreateDefinitionRequest, v1.CreateDefinitionResponse, is_read=False,
    )
    """CreateDefinition adds a definition.

    Errors: DEFINITION_NAME_TAKEN, DEFINITION_EXISTS (another definition is of the same principal), INVALID_FIELD."""
    GetDefinition = Rpc(
        "lanyard.v1.DefinitionService", "GetDefinition", definition_pb2_grpc.DefinitionServiceStub,
        v1.GetDefinitionRequest, v1.GetDefinitionResponse, is_read=True,
    )
    """GetDefinition returns a definition, without its secret.

    Errors: DEFINITION_NOT_FOUND."""
    ListDefinitions = Rpc(
        "lanyard.v1.DefinitionService", "ListDefinitions", definition_pb2_grpc.DefinitionServiceStub,
        v1.ListDefinitionsRequest, v1.ListDefinitionsResponse, is_read=True,
    )
    """ListDefinitions lists definitions in the order of their `auth_id`.

    Errors: PAGE_TOKEN_INVALID."""
    UpdateDefinition = Rpc(
        "lanyard.v1.DefinitionService", "UpdateDefinition", definition_pb2_grpc.DefinitionServiceStub,
        v1.UpdateDefinitionRequest, v1.UpdateDefinitionResponse, is_read=False,
    )
    """UpdateDefinition changes what `update_mask` names. Whose credential it is never changes: make another one for that.
    One that is turned off logs nobody in, and the sessions that began with it end in the same transaction.

    Errors: DEFINITION_NOT_FOUND, DEFINITION_NAME_TAKEN, ETAG_MISMATCH, INVALID_FIELD."""
    DeleteDefinition = Rpc(
        "lanyard.v1.DefinitionService", "DeleteDefinition", definition_pb2_grpc.DefinitionServiceStub,
        v1.DeleteDefinitionRequest, v1.DeleteDefinitionResponse, is_read=False,
    )
    """DeleteDefinition removes a definition with its link and, in the same transaction, ends the sessions that began with
    it, and no others.

    Errors: DEFINITION_NOT_FOUND, ETAG_MISMATCH."""
    RotateDefinitionSecret = Rpc(
        "lanyard.v1.DefinitionService", "RotateDefinitionSecret", definition_pb2_grpc.DefinitionServiceStub,
        v1.RotateDefinitionSecretRequest, v1.RotateDefinitionSecretResponse, is_read=False,
    )
    """RotateDefinitionSecret replaces the secret or the keys. The ones before keep working for `overlap`; those before them
    no more.

    Errors: DEFINITION_NOT_FOUND, ETAG_MISMATCH, INVALID_FIELD."""


class SessionService:
    """SessionService owns the sessions of users.

    A session is one login of one user. It has a public `session_id` (`ses_...`, safe in logs) and a secret
    user session token, the UST (`lyu1_...`), which is stored as a keyed hash and shown once; that of a session which
    began with an external credential is kept sealed too, so that the same credential finds it again. A session
    ends by itself at the earlier of its idle limit (counted from the last activity) and its absolute limit
    (counted from the login), or early when it is revoked."""
    CreateSession = Rpc(
        "lanyard.v1.SessionService", "CreateSession", session_pb2_grpc.SessionServiceStub,
        v1.CreateSessionRequest, v1.CreateSessionResponse, is_read=False,
    )
    """CreateSession logs a user in and returns the UST.

    A password begins a session each time. An external credential (the definition of basic auth, each single JWT) has one
    live session in each app and, where the app binds sessions to addresses, for each place: it is found again, which
    counts as the user's activity, or begins; never are there two, however many logins come at once.

    A platform's credential begins a session each time. The platform is asked, once, before anything is written: only
    its plain yes makes a session.

    Errors: LOGIN_FAILED (one reason for every cause), TOTP_REQUIRED and PASSWORD_CHANGE_REQUIRED (only after
    the password or the token was right), PASSWORD_REFUSED (the new one), SESSION_QUOTA_REACHED, LOGIN_THROTTLED, OVERLOADED,
    KEYS_UNAVAILABLE; of a platform PLATFORM_UNKNOWN, PLATFORM_ROLE_MISSING, PLATFORM_ACCESS_DENIED, PLATFORM_UNAVAILABLE,
    PLATFORM_BUSY and PLATFORM_ANSWER_INVALID."""
    VerifySession = Rpc(
        "lanyard.v1.SessionService", "VerifySession", session_pb2_grpc.SessionServiceStub,
        v1.VerifySessionRequest, v1.VerifySessionResponse, is_read=True,
    )
    """VerifySession answers whether a UST is good, and whose it is. A token that is not good is an answer, not
    an error. A database that cannot be read is an error (STORE_UNAVAILABLE), never an answer.

    It counts as the user's activity, which moves the idle limit, unless `peek` is set."""
    BatchVerifySessions = Rpc(
        "lanyard.v1.SessionService", "BatchVerifySessions", session_pb2_grpc.SessionServiceStub,
        v1.BatchVerifySessionsRequest, v1.BatchVerifySessionsResponse, is_read=True,
    )
    """BatchVerifySessions answers for up to 500 tokens at once: one verdict each, in the order of the request."""
    GetSession = Rpc(
        "lanyard.v1.SessionService", "GetSession", session_pb2_grpc.SessionServiceStub,
        v1.GetSessionRequest, v1.GetSessionResponse, is_read=True,
    )
    """GetSession returns the whole session: the own one or, for super-users, any by `session_id`.

    Errors: SESSION_INVALID, SUPER_USER_REQUIRED (before any look-up), SESSION_NOT_FOUND."""
    ListSessions = Rpc(
        "lanyard.v1.SessionService", "ListSessions", session_pb2_grpc.SessionServiceStub,
        v1.ListSessionsRequest, v1.ListSessionsResponse, is_read=True,
    )
    """ListSessions lists the own sessions or, for super-users, those of one user or of everybody; newest first.
    It never returns a token.

    Errors: SESSION_INVALID, SUPER_USER_REQUIRED, USER_NOT_FOUND (super-users only), PAGE_TOKEN_INVALID."""
    RenewSession = Rpc(
        "lanyard.v1.SessionService", "RenewSession", session_pb2_grpc.SessionServiceStub,
        v1.RenewSessionRequest, v1.RenewSessionResponse, is_read=False,
    )
    """RenewSession moves the expiry out, never past the absolute limit.

    With `rotate` it also returns a new UST. The old one keeps working for a short grace, and renewing with
    it in that time yields the same new UST, so that a lost answer costs nothing. A token older than that is
    being used by somebody who should not have it: the session is revoked (SESSION_INVALID)."""
    RevokeSession = Rpc(
        "lanyard.v1.SessionService", "RevokeSession", session_pb2_grpc.SessionServiceStub,
        v1.RevokeSessionRequest, v1.RevokeSessionResponse, is_read=False,
    )
    """RevokeSession logs out: the own session or, by `session_id`, another of one's own; anyone's for super-users.
    Revoking a session that has ended already succeeds and changes nothing.

    Errors: SESSION_INVALID, SESSION_NOT_FOUND (also for another's session, to regular users)."""
    RevokeSessions = Rpc(
        "lanyard.v1.SessionService", "RevokeSessions", session_pb2_grpc.SessionServiceStub,
        v1.RevokeSessionsRequest, v1.RevokeSessionsResponse, is_read=False,
    )
    """RevokeSessions ends many at once and returns how many were live.

    Errors: SESSION_INVALID, SUPER_USER_REQUIRED (for anything but one's own sessions), USER_NOT_FOUND."""
    GetPlatformAuth = Rpc(
        "lanyard.v1.SessionService", "GetPlatformAuth", session_pb2_grpc.SessionServiceStub,
        v1.GetPlatformAuthRequest, v1.GetPlatformAuthResponse, is_read=False,
    )
    """GetPlatformAuth hands out the credential with which the platform of a session is called: an authenticated client
    of the platform's API, on whichever service holds the session. It takes a grant of its own (`platform.auth`), and
    each time is written to the audit trail before it is answered.

    It counts as the user's activity. The platform is not asked whether the credential is still good; a service that
    was answered 401 with it calls again with `refused`.

    Errors: SESSION_INVALID (also: the platform refuses the credential for good, which ended the session),
    PLATFORM_SESSION_REQUIRED; with `refused` also PLATFORM_UNAVAILABLE, PLATFORM_BUSY and PLATFORM_ANSWER_INVALID,
    which change nothing."""


class LinkedAuthService:
    """LinkedAuthService keeps the links between users and definitions. A definition is linked to at most one user, a user to
    any number of definitions."""
    ListLinkedAuth = Rpc(
        "lanyard.v1.LinkedAuthService", "ListLinkedAuth", linked_auth_pb2_grpc.LinkedAuthServiceStub,
        v1.ListLinkedAuthRequest, v1.ListLinkedAuthResponse, is_read=True,
    )
    """ListLinkedAuth returns the accounts that are linked to a user (Zato SSO's `get_linked_auth_list`), oldest first: the
    own ones, without `user_id` or with the own; another's to super-users only.

    Errors: SESSION_INVALID, SUPER_USER_REQUIRED (before any look-up), USER_NOT_FOUND (super-users only),
    PAGE_TOKEN_INVALID."""
    CreateLinkedAuth = Rpc(
        "lanyard.v1.LinkedAuthService", "CreateLinkedAuth", linked_auth_pb2_grpc.LinkedAuthServiceStub,
        v1.CreateLinkedAuthRequest, v1.CreateLinkedAuthResponse, is_read=False,
    )
    """CreateLinkedAuth links a definition to a user: done by a super-user, for anybody who is approved and no other
    super-user; or, with `proof`, by a user for themself, where the policy of the app allows it (`self_service_links`).
    Then both sides are proved afresh: the session began by a password within the last five minutes, and `proof` is a
    good credential of the definition.

    Errors: SESSION_INVALID, SUPER_USER_REQUIRED, DEFINITION_NOT_FOUND, USER_NOT_FOUND, LINK_UNAVAILABLE (the definition
    is linked already; not said to whom), USER_NOT_ELIGIBLE, REAUTHENTICATION_REQUIRED, LOGIN_FAILED (the proof),
    LOGIN_THROTTLED, INVALID_FIELD."""
    UpdateLinkedAuth = Rpc(
        "lanyard.v1.LinkedAuthService", "UpdateLinkedAuth", linked_auth_pb2_grpc.LinkedAuthServiceStub,
        v1.UpdateLinkedAuthRequest, v1.UpdateLinkedAuthResponse, is_read=False,
    )
    """UpdateLinkedAuth turns a link on or off; needs a super-user. The sessions that began with one that is turned off end
    in the same transaction.

    Errors: SESSION_INVALID, SUPER_USER_REQUIRED, LINK_NOT_FOUND, ETAG_MISMATCH, LAST_LOGIN_METHOD."""
    DeleteLinkedAuth = Rpc(
        "lanyard.v1.LinkedAuthService", "DeleteLinkedAuth", linked_auth_pb2_grpc.LinkedAuthServiceStub,
        v1.DeleteLinkedAuthRequest, v1.DeleteLinkedAuthResponse, is_read=False,
    )
    """DeleteLinkedAuth removes a link; needs a super-user. The sessions that began with it, and no others, end in the same
    transaction.

    Errors: SESSION_INVALID, SUPER_USER_REQUIRED, LINK_NOT_FOUND, ETAG_MISMATCH, LAST_LOGIN_METHOD."""
    LookupLinkedAuth = Rpc(
        "lanyard.v1.LinkedAuthService", "LookupLinkedAuth", linked_auth_pb2_grpc.LinkedAuthServiceStub,
        v1.LookupLinkedAuthRequest, v1.LookupLinkedAuthResponse, is_read=True,
    )
    """LookupLinkedAuth tells which users some definitions are linked to. No user acts: the calling service needs a grant of
    its own (`link.lookup`). It tells no username.

    Errors: INVALID_FIELD."""


class UserService:
    """UserService owns the people known to the SSO.

    A regular user sees and changes themself; a super-user everybody. Whoever may not do a thing is told so
    (SUPER_USER_REQUIRED) before anything is looked up. Every call can answer SESSION_INVALID."""
    CreateUser = Rpc(
        "lanyard.v1.UserService", "CreateUser", user_pb2_grpc.UserServiceStub,
        v1.CreateUserRequest, v1.CreateUserResponse, is_read=False,
    )
    """CreateUser adds a user. Super-users only.

    Errors: USERNAME_TAKEN, PASSWORD_REFUSED, INVALID_FIELD."""
    GetUser = Rpc(
        "lanyard.v1.UserService", "GetUser", user_pb2_grpc.UserServiceStub,
        v1.GetUserRequest, v1.GetUserResponse, is_read=True,
    )
    """GetUser returns one user by ID or by name. Super-users only; see GetCurrentUser.

    Errors: USER_NOT_FOUND."""
    GetCurrentUser = Rpc(
        "lanyard.v1.UserService", "GetCurrentUser", user_pb2_grpc.UserServiceStub,
        v1.GetCurrentUserRequest, v1.GetCurrentUserResponse, is_read=True,
    )
    """GetCurrentUser returns the acting user."""
    ListUsers = Rpc(
        "lanyard.v1.UserService", "ListUsers", user_pb2_grpc.UserServiceStub,
        v1.ListUsersRequest, v1.ListUsersResponse, is_read=True,
    )
    """ListUsers lists users in the order of their creation. Super-users only.

    Errors: PAGE_TOKEN_INVALID, INVALID_FIELD."""
    UpdateUser = Rpc(
        "lanyard.v1.UserService", "UpdateUser", user_pb2_grpc.UserServiceStub,
        v1.UpdateUserRequest, v1.UpdateUserResponse, is_read=False,
    )
    """UpdateUser changes the fields that the mask names. A regular user may change `display_name` and `email` of
    themself; a super-user of everybody, and `username`, `is_super_user`, `password_must_change`,
    `password_expire_time` and `allowed_networks` too.

    Errors: USER_NOT_FOUND, USERNAME_TAKEN, ETAG_MISMATCH, NOT_ON_YOURSELF (giving up the super-user role)."""
    DeleteUser = Rpc(
        "lanyard.v1.UserService", "DeleteUser", user_pb2_grpc.UserServiceStub,
        v1.DeleteUserRequest, v1.DeleteUserResponse, is_read=False,
    )
    """DeleteUser removes a user with all attributes and ends their sessions in the same transaction. Super-users only,
    and not themselves. The audit trail keeps the user ID.

    Errors: USER_NOT_FOUND, NOT_ON_YOURSELF."""
    LockUser = Rpc(
        "lanyard.v1.UserService", "LockUser", user_pb2_grpc.UserServiceStub,
        v1.LockUserRequest, v1.LockUserResponse, is_read=False,
    )
    """LockUser keeps a user out and ends their sessions in the same transaction. Locking twice changes nothing.
    Super-users only, and not themselves.

    Errors: USER_NOT_FOUND, NOT_ON_YOURSELF."""
    UnlockUser = Rpc(
        "lanyard.v1.UserService", "UnlockUser", user_pb2_grpc.UserServiceStub,
        v1.UnlockUserRequest, v1.UnlockUserResponse, is_read=False,
    )
    """UnlockUser lets a locked user log in again. Ended sessions stay ended. Super-users only.

    Errors: USER_NOT_FOUND."""
    ApproveUser = Rpc(
        "lanyard.v1.UserService", "ApproveUser", user_pb2_grpc.UserServiceStub,
        v1.ApproveUserRequest, v1.ApproveUserResponse, is_read=False,
    )
    """ApproveUser lets a user log in who was waiting or rejected. Ended sessions stay ended. Super-users only.

    Errors: USER_NOT_FOUND."""
    RejectUser = Rpc(
        "lanyard.v1.UserService", "RejectUser", user_pb2_grpc.UserServiceStub,
        v1.RejectUserRequest, v1.RejectUserResponse, is_read=False,
    )
    """RejectUser keeps a user out and ends their sessions in the same transaction. Super-users only, and not themselves.

    Errors: USER_NOT_FOUND, NOT_ON_YOURSELF."""
    ChangePassword = Rpc(
        "lanyard.v1.UserService", "ChangePassword", user_pb2_grpc.UserServiceStub,
        v1.ChangePasswordRequest, v1.ChangePasswordResponse, is_read=False,
    )
    """ChangePassword replaces the own password and ends all *other* sessions of the user in the same transaction.

    Errors: LOGIN_FAILED (the old password is wrong), LOGIN_THROTTLED, PASSWORD_REFUSED."""
    SetPassword = Rpc(
        "lanyard.v1.UserService", "SetPassword", user_pb2_grpc.UserServiceStub,
        v1.SetPasswordRequest, v1.SetPasswordResponse, is_read=False,
    )
    """SetPassword gives a user a new password and ends all their sessions (but the acting one) in the same
    transaction. Super-users only.

    Errors: USER_NOT_FOUND, PASSWORD_REFUSED."""
    EnrollTotp = Rpc(
        "lanyard.v1.UserService", "EnrollTotp", user_pb2_grpc.UserServiceStub,
        v1.EnrollTotpRequest, v1.EnrollTotpResponse, is_read=False,
    )
    """EnrollTotp makes a new TOTP secret (RFC 6238: SHA-1, six digits, 30 seconds) for the acting user and shows it,
    once. It counts only after ConfirmTotp.

    Errors: TOTP_ALREADY_ENABLED, LOGIN_FAILED (the password is wrong), LOGIN_THROTTLED."""
    ConfirmTotp = Rpc(
        "lanyard.v1.UserService", "ConfirmTotp", user_pb2_grpc.UserServiceStub,
        v1.ConfirmTotpRequest, v1.ConfirmTotpResponse, is_read=False,
    )
    """ConfirmTotp turns the second factor on, with one valid code, and ends all other sessions of the user.

    Errors: TOTP_NOT_ENROLLED, TOTP_ALREADY_ENABLED, LOGIN_FAILED (the code is wrong), LOGIN_THROTTLED."""
    DisableTotp = Rpc(
        "lanyard.v1.UserService", "DisableTotp", user_pb2_grpc.UserServiceStub,
        v1.DisableTotpRequest, v1.DisableTotpResponse, is_read=False,
    )
    """DisableTotp turns the second factor off and forgets the secret: the own one with the password, another's as a super-user.
    It ends all other sessions of that user.

    Errors: USER_NOT_FOUND, TOTP_NOT_ENROLLED, LOGIN_FAILED (the password is wrong), LOGIN_THROTTLED."""
