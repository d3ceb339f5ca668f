"""Patterns: what an answer must look like."""

import re
from typing import Any


class Mismatch(Exception):
    """Something is not as the case wants it."""


def check(pattern: Any, found: Any, at: str) -> None:
    """Raises Mismatch, and says where `found` is not as `pattern` wants it. `None` is what is not there."""
    if pattern is None:
        if found is not None:
            raise Mismatch(f"{at}: is {found!r} and should not be there")
    elif found is None:
        raise Mismatch(f"{at}: is not there")
    elif isinstance(pattern, dict) and isinstance(found, list):
        _check_elements(pattern, found, at)
    elif isinstance(pattern, dict) and isinstance(found, dict):
        for name, value in pattern.items():
            check(value, found.get(name), f"{at}.{name}")
    elif isinstance(pattern, list) and isinstance(found, list):
        if len(pattern) != len(found):
            raise Mismatch(f"{at}: has {len(found)} elements and not {len(pattern)}")
        for index, (wanted, element) in enumerate(zip(pattern, found, strict=True)):
            check(wanted, element, f"{at}.{index}")
    elif isinstance(pattern, dict | list) or isinstance(found, dict | list):
        raise Mismatch(f"{at}: is {found!r}, not {pattern!r}")
    else:
        check_text(_text(pattern), _text(found), at)


def check_text(pattern: str, found: str, at: str) -> None:
    """Text or `~regex`."""
    matches = re.fullmatch(pattern[1:], found) if pattern.startswith("~") else pattern == found
    if not matches:
        raise Mismatch(f"{at}: is {found!r}, not {pattern!r}")


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _check_elements(rules: dict[str, Any], found: list[Any], at: str) -> None:
    for rule, pattern in rules.items():
        if rule == "~length":
            check(pattern, len(found), f"{at}, its length")
        elif rule == "~each":
            for index, element in enumerate(found):
                check(pattern, element, f"{at}.{index}")
        elif rule == "~contains":
            if not any(_matches(pattern, element) for element in found):
                raise Mismatch(f"{at}: holds no {pattern!r}")
        else:
            raise Mismatch(f"{at}: is a list, and {rule} is no rule for one")


def _matches(pattern: Any, element: Any) -> bool:
    try:
        check(pattern, element, "")
    except Mismatch:
        return False
    return True
