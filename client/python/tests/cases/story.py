"""Cases, steps, and the variables in them."""

import base64
import hashlib
import hmac
import re
import secrets
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import yaml

from tests.cases.pattern import Mismatch

_VARIABLE = re.compile(r"\$\{([^}]*)\}")
NOT_SAID: Any = object()


@dataclass
class Expect:
    """What a step wants."""

    code: str = "OK"
    reason: Any = NOT_SAID
    field_violations: Any = NOT_SAID
    retry_info: Any = NOT_SAID
    correlation_id: Any = NOT_SAID
    message: Any = NOT_SAID
    messages: Any = NOT_SAID
    verified: Any = NOT_SAID
    items: Any = NOT_SAID


@dataclass
class Step:
    """A call, and what must come back."""

    call: str
    via: str = "wire"
    endpoint: str | None = None
    metadata: dict[str, str | None] = field(default_factory=dict)
    request: dict[str, Any] = field(default_factory=dict)
    requests: list[dict[str, Any]] | None = None
    request_bytes: str | None = None
    deadline_ms: int | None = None
    expect: Expect = field(default_factory=Expect)
    save: dict[str, str] = field(default_factory=dict)


@dataclass
class Case:
    """A story."""

    name: str
    steps: list[dict[str, Any]]

    @property
    def uses_client(self) -> bool:
        """Whether a client layer takes part."""
        return any(step.get("via", "wire") != "wire" for step in self.steps)


def read_cases(folder: Path) -> list[Case]:
    """All cases there are."""
    return [
        _known(Case, case) for file in sorted(folder.glob("*.yaml")) for case in yaml.safe_load(file.read_text("utf-8"))
    ]


def tell(case: Case, variables: dict[str, str], take: Callable[[Step, dict[str, str]], Any]) -> None:
    """Takes the steps of a case, each with the variables that those before have saved."""
    variables = {**variables, "unique": secrets.token_hex(6)}
    for number, written in enumerate(case.steps, 1):
        try:
            step = _step(_replaced(written, variables))
            answer = take(step, variables)
            for name, path in step.save.items():
                variables[name] = _at(answer, path)
        except Mismatch as problem:
            raise Mismatch(f"step {number}, {written.get('call')}: {problem}") from problem


def _step(written: dict[str, Any]) -> Step:
    expect = _known(Expect, written.get("expect", {}))
    step: Step = _known(Step, {**written, "expect": expect})
    return step


def _known(kind: type[Any], written: dict[str, Any]) -> Any:
    unknown = set(written) - {one.name for one in fields(kind)}
    if unknown:
        raise Mismatch(f"keys that are not known: {sorted(unknown)}")
    return kind(**written)


def _replaced(value: Any, variables: dict[str, str]) -> Any:
    if isinstance(value, str):
        return _VARIABLE.sub(lambda found: _variable(found[1], variables), value)
    if isinstance(value, list):
        return [_replaced(element, variables) for element in value]
    if isinstance(value, dict):
        return {name: _replaced(element, variables) for name, element in value.items()}
    return value


def _variable(name: str, variables: dict[str, str]) -> str:
    kind, _, rest = name.rpartition(":")
    if rest not in variables or kind not in ("", "totp"):
        raise Mismatch(f"there is no variable {name}")
    return totp(variables[rest]) if kind else variables[rest]


def totp(secret: str) -> str:
    """The code of now (RFC 6238) for a secret in base32 without padding."""
    key = base64.b32decode(secret + "=" * (-len(secret) % 8))
    digest = hmac.digest(key, struct.pack(">Q", int(time.time()) // 30), hashlib.sha1)
    offset = digest[-1] & 0xF
    number = struct.unpack(">I", digest[offset : offset + 4])[0] & 0x7FFF_FFFF
    return f"{number % 1_000_000:06}"


def _at(answer: Any, path: str) -> str:
    found = answer
    for part in path.split("."):
        try:
            found = found[int(part)] if isinstance(found, list) else found[part]
        except (KeyError, IndexError, TypeError, ValueError) as problem:
            raise Mismatch(f"save: there is no {path} in the answer") from problem
    return str(found)
