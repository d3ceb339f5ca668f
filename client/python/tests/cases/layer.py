"""Steps through the client layer, as its page shows it: by threads, and by asyncio."""

import asyncio
from pathlib import Path
from typing import Any

from lanyard import Active, CallError, Client, aio, correlation, v1
from lanyard.enums import ErrorReason
from tests.cases.pattern import Mismatch, check, check_text
from tests.cases.story import NOT_SAID, Step
from tests.cases.wire import ID

VERIFY = "lanyard.v1.SessionService/VerifySession"
LOG_IN = "lanyard.v1.SessionService/CreateSession"
LIST = "lanyard.v1.LinkedAuthService/ListLinkedAuth"


def take_by_threads(step: Step, variables: dict[str, str]) -> None:
    """Takes a step with the client of `lanyard`."""

    def call(address: str, options: dict[str, Any]) -> dict[str, Any]:
        request = step.request
        with Client(address, **options) as client:
            if step.call == VERIFY:
                return {"verified": isinstance(client.verify(request["ust"]), Active)}
            if step.call == LOG_IN:
                login = client.log_in(request["password"]["username"], request["password"]["password"])
                return {"message": {"session": {"username": login.session.username}}}
            links = client.on_behalf_of(request["ust"]).list_linked_auth(_listed(request))
            return {"items": len(list(links))}

    _take(step, variables, call)


def take_by_asyncio(step: Step, variables: dict[str, str]) -> None:
    """Takes a step with the client of `lanyard.aio`."""

    async def call(address: str, options: dict[str, Any]) -> dict[str, Any]:
        request = step.request
        async with aio.Client(address, **options) as client:
            if step.call == VERIFY:
                return {"verified": isinstance(await client.verify(request["ust"]), Active)}
            if step.call == LOG_IN:
                login = await client.log_in(request["password"]["username"], request["password"]["password"])
                return {"message": {"session": {"username": login.session.username}}}
            links = client.on_behalf_of(request["ust"]).list_linked_auth(_listed(request))
            return {"items": len([link async for link in links])}

    _take(step, variables, lambda address, options: asyncio.run(call(address, options)))


def _listed(request: dict[str, Any]) -> v1.ListLinkedAuthRequest:
    return v1.ListLinkedAuthRequest(user_id=request.get("user_id", ""))


def _take(step: Step, variables: dict[str, str], call: Any) -> None:
    if step.call not in (VERIFY, LOG_IN, LIST):
        raise Mismatch(f"{step.call} is not called through the client layer")
    sent_id = step.metadata.get(ID, f"case-{variables['unique']}")
    address, options = _options(step, variables)
    with correlation(sent_id):
        try:
            given = call(address, options)
        except CallError as error:
            _check_error(step, error, str(sent_id))
            return
    check_text(step.expect.code, "OK", "code")
    for key in ("verified", "items", "message"):
        wanted = getattr(step.expect, key)
        if wanted is not NOT_SAID:
            check(wanted, given.get(key), key)
    if all(getattr(step.expect, key) is NOT_SAID for key in given):
        raise Mismatch(f"it was answered: {given}")


def _options(step: Step, variables: dict[str, str]) -> tuple[str, dict[str, Any]]:
    options: dict[str, Any] = {}
    if step.via == "client":
        address = f"http://{step.endpoint or variables['endpoint']}"
    elif step.via in ("client_tls", "client_mtls"):
        address = f"https://{step.endpoint or variables['tls_endpoint']}"
        options["ca"] = Path(variables["tls_ca_file"]).read_bytes()
    else:
        raise Mismatch(f"there is no way through {step.via}")
    if step.via == "client_mtls":
        options["certificate"] = Path(variables["tls_client_cert_file"]).read_bytes()
        options["private_key"] = Path(variables["tls_client_key_file"]).read_bytes()
    else:
        bearer = step.metadata.get("authorization") or f"Bearer {variables['caller_key']}"
        options["api_key"] = bearer.removeprefix("Bearer ")
    if step.deadline_ms is not None:
        options["deadline"] = step.deadline_ms / 1000
    return address, options


def _check_error(step: Step, error: CallError, sent_id: str) -> None:
    expect = step.expect
    if expect.verified is False and expect.code == "OK" and error.reason is ErrorReason.UNSPECIFIED:
        # It does not understand the answer.
        return
    check_text(expect.code, error.code.name, f"code ({error})")
    if expect.reason is not NOT_SAID:
        check_text(expect.reason or "UNSPECIFIED", error.reason.name, "reason")
    if expect.field_violations is not NOT_SAID:
        check(expect.field_violations, [violation.field for violation in error.field_violations], "field_violations")
    if expect.retry_info is not NOT_SAID and expect.retry_info != (error.retry_after is not None):
        raise Mismatch(f"retry_info: the delay is {error.retry_after}")
    wanted = sent_id if expect.correlation_id is NOT_SAID else expect.correlation_id
    if wanted is not None:
        check_text(wanted, error.correlation_id, "correlation_id")
        if error.correlation_id not in str(error):
            raise Mismatch(f"its text does not tell its ID: {error}")
