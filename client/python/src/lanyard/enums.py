# Made by client/python/generate: do not edit.
"""The enums of the contract. A value of the future is `UNSPECIFIED`."""

from lanyard._enum import ContractEnum


class AuditOutcome(ContractEnum):
    """AuditOutcome is what came of an operation."""

    UNSPECIFIED = 0
    """Never sent. In a filter: any."""
    OK = 1
    """It was done."""
    REFUSED = 2
    """It was refused: see `reason`."""


class ErrorReason(ContractEnum):
    """ErrorReason lists every reason there is. New values may be added: treat one you do not know as
    ERROR_REASON_UNSPECIFIED and go by the status code."""

    UNSPECIFIED = 0
    """Never sent."""
    CALLER_UNAUTHENTICATED = 1
    """UNAUTHENTICATED. The calling *service* did not prove who it is: no key, an unknown, expired or revoked
    one, or a client certificate that belongs to nobody. Mend the credential of the service."""
    CALLER_FORBIDDEN = 2
    """PERMISSION_DENIED. The calling service is known but has no grant for this method, may not
    name this app, or may not relay this kind of session. Ask an operator for the grant."""
    SESSION_INVALID = 3
    """UNAUTHENTICATED. The UST of the acting user is not good, for whatever reason. Log in again."""
    LOGIN_FAILED = 4
    """UNAUTHENTICATED. The login failed: unknown user, wrong password or code, locked, not approved,
    not from here, not into this app. Which of them is written to the audit trail only."""
    TOTP_REQUIRED = 5
    """FAILED_PRECONDITION. The password is right, and a code of the second factor is needed: send it as `totp_code`."""
    PASSWORD_CHANGE_REQUIRED = 6
    """FAILED_PRECONDITION. The password is right but has expired or must be changed: send `new_password` too."""
    SUPER_USER_REQUIRED = 7
    """PERMISSION_DENIED. Only a super-user may do this. Said before anything is looked up."""
    NOT_ON_YOURSELF = 8
    """FAILED_PRECONDITION. A super-user may not do this to themself (lock, reject, delete, give up the role)."""
    PLATFORM_ROLE_MISSING = 9
    """PERMISSION_DENIED. The platform accepts the user, who has none of the roles there that one must have to log in here (those
    whose names begin with the configured prefix). Only said to who knows the password."""
    PLATFORM_ACCESS_DENIED = 10
    """PERMISSION_DENIED. The platform knows the user and does not let them do what logging in takes. The platform's number of the
    error is in ErrorInfo.metadata, as `upstream_code`; so with every reason below that begins with PLATFORM and comes from one."""
    INVALID_FIELD = 20
    """INVALID_ARGUMENT. A field is missing, too long, out of range or malformed; BadRequest names it."""
    PAGE_TOKEN_INVALID = 21
    """INVALID_ARGUMENT. The page token is damaged, too old or belongs to another query. Start the list again."""
    APP_UNKNOWN = 22
    """INVALID_ARGUMENT. `client.current_app` names no app of the configuration."""
    PASSWORD_REFUSED = 23
    """INVALID_ARGUMENT. The new password breaks a rule of the password policy; BadRequest says which."""
    PLATFORM_UNKNOWN = 24
    """INVALID_ARGUMENT. `platform` names no platform of the configuration."""
    SESSION_NOT_FOUND = 40
    """NOT_FOUND. No such session, or not one that the acting user may see."""
    USER_NOT_FOUND = 41
    """NOT_FOUND. No such user."""
    ATTRIBUTE_NOT_FOUND = 42
    """NOT_FOUND. No attribute of that name, or it has expired."""
    USERNAME_TAKEN = 43
    """ALREADY_EXISTS. The username is taken (upper and lower case are the same name)."""
    TOTP_ALREADY_ENABLED = 44
    """FAILED_PRECONDITION. TOTP is on already; turn it off first."""
    TOTP_NOT_ENROLLED = 45
    """FAILED_PRECONDITION. TOTP was not enrolled: call EnrollTotp first."""
    SESSION_QUOTA_REACHED = 46
    """RESOURCE_EXHAUSTED. The user has as many live sessions in this app as its policy allows, and the
    policy is to deny. End one first."""
    ATTRIBUTE_QUOTA_REACHED = 47
    """RESOURCE_EXHAUSTED. The user or session has as many attributes as are allowed."""
    DEFINITION_NOT_FOUND = 48
    """NOT_FOUND. No such definition."""
    DEFINITION_NAME_TAKEN = 49
    """ALREADY_EXISTS. Another definition has this name."""
    DEFINITION_EXISTS = 50
    """ALREADY_EXISTS. Another definition is of the same principal: the same username, or issuer and `sub`."""
    LINK_NOT_FOUND = 51
    """NOT_FOUND. No such link."""
    LINK_UNAVAILABLE = 52
    """FAILED_PRECONDITION. The definition is linked already; to whom is not said. Remove that link first."""
    LAST_LOGIN_METHOD = 53
    """FAILED_PRECONDITION. Without this link the user could not log in any more: they have no password and no
    other active link. Set a password first."""
    REAUTHENTICATION_REQUIRED = 54
    """FAILED_PRECONDITION. The session began too long ago, or not with a password. Log in anew and call again."""
    USER_NOT_ELIGIBLE = 55
    """FAILED_PRECONDITION. The user is not approved, or is a super-user: nobody links anything to one but they themself,
    with `proof`, where the policy of the app allows it."""
    PLATFORM_SESSION_REQUIRED = 56
    """FAILED_PRECONDITION. The session is not logged in to a platform."""
    ETAG_MISMATCH = 60
    """ABORTED. Somebody changed it since: the etag does not match. Read again and redo."""
    WRITE_CONFLICT = 61
    """ABORTED, with RetryInfo. The transaction lost against others too often. Redo the whole call."""
    LOGIN_THROTTLED = 62
    """RESOURCE_EXHAUSTED, with RetryInfo. Too many failed logins for this name or from this place."""
    CALLER_LIMITED = 63
    """RESOURCE_EXHAUSTED, with RetryInfo. This caller has too many calls under way."""
    OVERLOADED = 64
    """UNAVAILABLE, with RetryInfo. The server has too much to do. Try again after the delay."""
    STORE_UNAVAILABLE = 65
    """UNAVAILABLE, with RetryInfo. The database cannot be reached. It is never an answer about a session."""
    SHUTTING_DOWN = 66
    """UNAVAILABLE. The server is stopping. Try another replica."""
    DEADLINE_EXCEEDED = 67
    """DEADLINE_EXCEEDED. The call took longer than its deadline or the server's own limit."""
    INTERNAL = 68
    """INTERNAL. A fault of Lanyard. Report the correlation ID."""
    METHOD_UNKNOWN = 69
    """UNIMPLEMENTED. No such method here."""
    REQUEST_UNREADABLE = 70
    """The request could not be read as a gRPC message: malformed bytes, text that is not UTF-8, or
    larger than the limit. The status code says which (INVALID_ARGUMENT, OUT_OF_RANGE, RESOURCE_EXHAUSTED, ...)."""
    KEYS_UNAVAILABLE = 71
    """UNAVAILABLE, with RetryInfo. The keys that the token was signed with cannot be fetched from their URL."""
    PLATFORM_UNAVAILABLE = 72
    """UNAVAILABLE, with RetryInfo. The platform cannot be reached, does not answer in time, or says that it is out of service."""
    PLATFORM_BUSY = 73
    """RESOURCE_EXHAUSTED, with RetryInfo. The platform has as many connections of the user open as it allows."""
    PLATFORM_ANSWER_INVALID = 74
    """INTERNAL. What answered is not the platform, or not as it should: a redirect, HTML, broken JSON, too many bytes, an error that
    nobody here knows. An operator should look at the platform's URL and at what stands before it."""


class AuthType(ContractEnum):
    """AuthType says how the user proved who they are."""

    UNSPECIFIED = 0
    """Never sent. In a filter: any."""
    PASSWORD = 1
    """Username and password of Lanyard itself."""
    BASIC_AUTH = 2
    """Username and secret of a linked basic-auth definition."""
    JWT = 3
    """A token of a linked JWT definition."""
    PLATFORM = 4
    """Username and password of a platform, which said that they are right."""


class PlatformAuthScheme(ContractEnum):
    """PlatformAuthScheme is the kind of credential with which a platform is called."""

    UNSPECIFIED = 0
    """Never sent."""
    BEARER = 1
    """`Bearer` and a session of the platform: it ends with the session here, and is not the password."""
    BASIC = 2
    """`Basic`: username and password in a form that is as good as plain. For platforms that know nothing better."""


class Role(ContractEnum):
    """Role is what the user may do beyond their own affairs."""

    UNSPECIFIED = 0
    """Never sent."""
    REGULAR = 1
    """The own sessions, attributes and profile."""
    SUPER_USER = 2
    """Everybody's. Read from the database, never from a token."""


class SessionState(ContractEnum):
    """SessionState is where a session is in its life."""

    UNSPECIFIED = 0
    """Never sent. In a filter: any."""
    ACTIVE = 1
    """Good until its expiry."""
    EXPIRED = 2
    """Ended by itself, at its idle or absolute limit."""
    REVOKED = 3
    """Ended early by somebody or something: see RevokeReason."""


class RevokeReason(ContractEnum):
    """RevokeReason says why a session ended early."""

    UNSPECIFIED = 0
    """Never sent."""
    LOGOUT = 1
    """The user logged out."""
    ADMINISTRATOR = 2
    """A super-user ended it."""
    PASSWORD_CHANGED = 3
    """The user's password was changed or set."""
    USER_LOCKED = 4
    """The user was locked."""
    USER_REJECTED = 5
    """The user was rejected."""
    USER_DELETED = 6
    """The user was deleted."""
    QUOTA = 7
    """A newer login pushed it out: by the quota of its app, or because its external credential has one session at most."""
    TOKEN_REUSED = 8
    """A token from before the last rotation was used: somebody else may have it."""
    TOTP_CHANGED = 9
    """The user's second factor was turned on or off."""
    LINK_INACTIVE = 10
    """The link through which the user had logged in was turned off."""
    LINK_DELETED = 11
    """The link through which the user had logged in was deleted."""
    DEFINITION_INACTIVE = 12
    """The definition with which the user had logged in was turned off."""
    DEFINITION_DELETED = 13
    """The definition with which the user had logged in was deleted."""
    SECRET_ROTATED = 14
    """The secret with which the user had logged in was replaced."""
    PLATFORM_REFUSED = 15
    """The platform refuses the credential of the session."""
    PLATFORM_REMOVED = 16
    """The platform of the session was taken out of the configuration, or is at another URL now."""


class InactiveReason(ContractEnum):
    """InactiveReason says why a UST is not good. It is for the calling service (its logs, its choice of page), not
    for the end user."""

    UNSPECIFIED = 0
    """Never sent."""
    MALFORMED = 1
    """Not a UST at all: wrong length, alphabet, prefix or checksum. Nothing was looked up."""
    UNKNOWN = 2
    """Well formed, but no session has it (any more)."""
    IDLE_EXPIRED = 3
    """Idle for too long."""
    ABSOLUTE_EXPIRED = 4
    """The absolute limit is over."""
    REVOKED = 5
    """Ended early; `revoke_reason` says why."""
    ROTATED = 6
    """Replaced by rotation, and its grace is over. The session itself may be live."""
    ADDRESS_MISMATCH = 7
    """The address is not the one that the session is bound to."""
    ADDRESS_NOT_ALLOWED = 8
    """The address is outside the networks that the user may come from."""


class WarningKind(ContractEnum):
    """WarningKind is something the user should know that did not stop the login."""

    UNSPECIFIED = 0
    """Never sent."""
    PASSWORD_EXPIRES_SOON = 1
    """The password expires soon; `time` says when."""


class ApprovalStatus(ContractEnum):
    """ApprovalStatus says whether somebody has let the user in."""

    UNSPECIFIED = 0
    """Never sent. In a filter: any. In CreateUser: approved."""
    PENDING = 1
    """Nobody has decided yet; the user cannot log in."""
    APPROVED = 2
    """The user may log in."""
    REJECTED = 3
    """The user may not log in."""
