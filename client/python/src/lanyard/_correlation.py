"""The correlation ID of whatever is being done, kept in a context variable."""

import logging
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from lanyard import _trace

CORRELATION_ID_HEADER = "x-correlation-id"

_ALLOWED = re.compile(r"[A-Za-z0-9._:-]{1,128}\Z")
_current: ContextVar[str | None] = ContextVar("lanyard_correlation_id", default=None)


def new_correlation_id() -> str:
    """A new one (a UUIDv7)."""
    now = f"{time.time_ns() // 1_000_000:012x}"
    chance = os.urandom(10).hex()
    # RFC 9562: the version, and the variant in the two upper bits.
    variant = "89ab"[int(chance[4], 16) & 3]
    return f"{now[:8]}-{now[8:]}-7{chance[1:4]}-{variant}{chance[5:8]}-{chance[8:]}"


def is_correlation_id(text: str) -> bool:
    """Whether it is one: 1 to 128 of letters, digits, `.`, `_`, `:` and `-`."""
    return _ALLOWED.match(text) is not None


def check_correlation_id(text: str) -> str:
    """The same text.

    Raises ValueError if it is no correlation ID. It is not repeated there: it may be anything.
    """
    if not is_correlation_id(text):
        raise ValueError("a correlation ID is 1 to 128 of letters, digits, `.`, `_`, `:` and `-`")
    return text


def current_correlation_id() -> str | None:
    """The one of whatever is being done here."""
    return _current.get()


@contextmanager
def correlation(correlation_id: str | None = None) -> Iterator[str]:
    """Inside, all calls carry this correlation ID; without one, that of the context around, or else a new one.

    Raises ValueError if it is no correlation ID.
    """
    if correlation_id is None:
        correlation_id = current_correlation_id() or new_correlation_id()
    token = _current.set(check_correlation_id(correlation_id))
    try:
        yield correlation_id
    finally:
        _current.reset(token)


def accepted(header: str | None) -> str:
    """The ID of a request that came in: what it carries, or a new one where that is missing or bad."""
    return header if header is not None and is_correlation_id(header) else new_correlation_id()


def outgoing_headers() -> dict[str, str]:
    """Headers for a request to another service: the correlation ID and the trace context of whatever is being done here."""
    headers = dict(_trace.headers())
    correlation_id = current_correlation_id()
    if correlation_id is not None:
        headers[CORRELATION_ID_HEADER] = correlation_id
    return headers


class CorrelationFilter(logging.Filter):
    """Gives each record of a log handler its `correlation_id`; `-` outside of any."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Never drops a record."""
        record.correlation_id = current_correlation_id() or "-"
        return True
