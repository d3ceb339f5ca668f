"""The Python client of Lanyard: whose session is this, and is it still good?

    lanyard = Client("127.0.0.1:50051", api_key=key, current_app="CRM")
    match lanyard.verify(ust):
        case Active(session):
            print(f"{session.username} may come in")
        case Inactive() as inactive:
            print(f"log in again: {inactive.why}")

`lanyard.aio` is the same for asyncio. `lanyard.v1` has the messages of the contract, `lanyard.rpc` its RPCs,
`lanyard.enums` its enums; `lanyard.starlette` and `lanyard.grpc_server` protect services, `lanyard.sso` and
`lanyard.gateway` are for those who come from Zato SSO and BlueCat Gateway.

Each call has a deadline; a read that finds the server unavailable is tried again; each carries a correlation ID, the
same in all its attempts, and the trace context of the current span.
"""

from lanyard._channel import RetryPolicy
from lanyard._correlation import (
    CORRELATION_ID_HEADER,
    CorrelationFilter,
    correlation,
    current_correlation_id,
    is_correlation_id,
    new_correlation_id,
    outgoing_headers,
)
from lanyard._error import (
    AlreadyExistsError,
    CallerRefusedError,
    CallError,
    ConflictError,
    DeadlineExceededError,
    FieldViolation,
    InvalidArgumentError,
    LanyardError,
    LoginError,
    NotFoundError,
    PermissionDeniedError,
    SessionInvalidError,
    UnavailableError,
)
from lanyard._results import DefinitionChange, LinkChange, Login, Renewal, UserChange
from lanyard._sync.client import Client
from lanyard._sync.pages import Pages
from lanyard._sync.subject import Subject
from lanyard._ust import Ust
from lanyard._verdict import Active, Inactive, SessionInactiveError, Verdict, VerifiedSession
from lanyard.enums import ErrorReason, InactiveReason, RevokeReason, Role

__all__ = [
    "CORRELATION_ID_HEADER",
    "Active",
    "AlreadyExistsError",
    "CallError",
    "CallerRefusedError",
    "Client",
    "ConflictError",
    "CorrelationFilter",
    "DeadlineExceededError",
    "DefinitionChange",
    "ErrorReason",
    "FieldViolation",
    "Inactive",
    "InactiveReason",
    "InvalidArgumentError",
    "LanyardError",
    "LinkChange",
    "Login",
    "LoginError",
    "NotFoundError",
    "Pages",
    "PermissionDeniedError",
    "Renewal",
    "RetryPolicy",
    "RevokeReason",
    "Role",
    "SessionInactiveError",
    "SessionInvalidError",
    "Subject",
    "UnavailableError",
    "UserChange",
    "Ust",
    "Verdict",
    "VerifiedSession",
    "correlation",
    "current_correlation_id",
    "is_correlation_id",
    "new_correlation_id",
    "outgoing_headers",
]
