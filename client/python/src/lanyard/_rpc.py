"""What there is to know of an RPC."""

from collections.abc import Callable
from typing import Any, Generic, TypeVar

from google.protobuf.message import Message

Request = TypeVar("Request", bound=Message)
Answer = TypeVar("Answer", bound=Message)


class _AnyRpc(Generic[Request, Answer]):
    def __init__(
        self,
        service: str,
        name: str,
        stub: Callable[[Any], Any],
        request: type[Request],
        answer: type[Answer],
        *,
        is_read: bool,
    ) -> None:
        self.service = service
        """Its service, with the package."""
        self.name = name
        """Its name in the service."""
        self.stub = stub
        """The generated stub that has it."""
        self.request = request
        """What is sent."""
        self.answer = answer
        """What comes back."""
        self.is_read = is_read
        """Whether it has no side effects and may be tried again."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.service}/{self.name}>"


class Rpc(_AnyRpc[Request, Answer]):
    """An RPC with one answer."""


class StreamRpc(_AnyRpc[Request, Answer]):
    """An RPC with a stream of answers."""
