"""How a channel comes to be."""

import ipaddress
import json
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version

import grpc
import grpc.aio

from lanyard import rpc
from lanyard._rpc import Rpc, StreamRpc

# Names without `Async` for the asynchronous client, and what its synchronous twin has in their place.
AsyncChannel = grpc.aio.Channel
SyncChannel = grpc.Channel

_CONNECT_TIMEOUT_MS = 5_000
_KEEP_ALIVE_INTERVAL_MS = 30_000
_KEEP_ALIVE_TIMEOUT_MS = 10_000
_FIRST_RECONNECT_MS = 100
_LAST_RECONNECT_MS = 5_000
# gRPC sends a call five times at most, whatever the policy says.
_MOST_ATTEMPTS = 5
# gRPC counts waits in milliseconds, draws each around its length, and does not wake up from one of none.
_SHORTEST_WAIT = 0.01
# gRPC's budget for second attempts: each UNAVAILABLE costs one of these, each success gives back a tenth, and with half
# or less of them left nothing is tried again.
_BUDGET = {"maxTokens": 10, "tokenRatio": 0.1}


@dataclass(frozen=True)
class RetryPolicy:
    """How often, and how soon, a *read* that answered UNAVAILABLE is sent again, as gRPC's service config says it.

    Writes never are: whether the server did it before the connection broke, nobody knows.
    """

    attempts: int = 4
    """How many times a read is sent at most, the first one included: 1 to 5."""
    initial_backoff: float = 0.05
    """The longest wait before the second attempt, in seconds: 0.01 at least. It doubles with each."""
    max_backoff: float = 1.0
    """The longest wait, in seconds: 0.01 at least."""

    def __post_init__(self) -> None:
        if not 1 <= self.attempts <= _MOST_ATTEMPTS:
            raise ValueError(f"attempts must be 1 to {_MOST_ATTEMPTS}")
        if not min(self.initial_backoff, self.max_backoff) >= _SHORTEST_WAIT:
            raise ValueError(f"a wait must be {_SHORTEST_WAIT} seconds at least")

    @classmethod
    def never(cls) -> "RetryPolicy":
        """Nothing is ever sent again."""
        return cls(attempts=1)

    def service_config(self) -> dict[str, object]:
        """The service config that does it."""
        if self.attempts == 1:
            return {}
        policy = {
            "maxAttempts": self.attempts,
            "initialBackoff": f"{self.initial_backoff:.9f}s",
            "maxBackoff": f"{self.max_backoff:.9f}s",
            "backoffMultiplier": 2,
            "retryableStatusCodes": ["UNAVAILABLE"],
        }
        reads = [{"service": read.service, "method": read.name} for read in every_rpc() if read.is_read]
        return {"methodConfig": [{"name": reads, "retryPolicy": policy}], "retryThrottling": _BUDGET}


def every_rpc() -> Iterator[Rpc | StreamRpc]:  # type: ignore[type-arg]
    """All RPCs of the contract."""
    for service in vars(rpc).values():
        if isinstance(service, type) and service.__module__ == rpc.__name__:
            yield from (found for found in vars(service).values() if isinstance(found, Rpc | StreamRpc))


class ChannelSettings:
    """Where the server is and how to talk to it. Whatever cannot be is refused here, with ValueError."""

    def __init__(
        self,
        address: str,
        *,
        tls: bool | None,
        ca: bytes | None,
        certificate: bytes | None,
        private_key: bytes | None,
        server_name: str | None,
        retry: RetryPolicy,
    ) -> None:
        scheme, _, self.target = address.rpartition("://")
        if scheme not in ("", "http", "https") or not self.target or self.target.endswith("/"):
            raise ValueError("the address must be host:port, http://host:port or https://host:port")
        if (certificate is None) != (private_key is None):
            raise ValueError("a certificate needs its private key, and a private key its certificate")
        has_certificates = not (ca is None and certificate is None and server_name is None)
        if tls is None:
            tls = has_certificates or scheme == "https" or (not scheme and not _is_here(self.target))
        # Never in the clear what was meant to be encrypted.
        if scheme == "https" and not tls:
            raise ValueError("https:// is with TLS")
        if has_certificates and (scheme == "http" or not tls):
            raise ValueError("certificates need TLS")
        if scheme == "http" and tls:
            raise ValueError("http:// is without TLS")
        self._credentials = grpc.ssl_channel_credentials(ca, private_key, certificate) if tls else None
        self._server_name = server_name
        self._retry = retry

    def options(self) -> list[tuple[str, str | int]]:
        """The options of the channel."""
        options: list[tuple[str, str | int]] = [
            ("grpc.primary_user_agent", f"lanyard-python/{version('lanyard')}"),
            ("grpc.min_reconnect_backoff_ms", _CONNECT_TIMEOUT_MS),
            ("grpc.initial_reconnect_backoff_ms", _FIRST_RECONNECT_MS),
            ("grpc.max_reconnect_backoff_ms", _LAST_RECONNECT_MS),
            ("grpc.keepalive_time_ms", _KEEP_ALIVE_INTERVAL_MS),
            ("grpc.keepalive_timeout_ms", _KEEP_ALIVE_TIMEOUT_MS),
            ("grpc.keepalive_permit_without_calls", 1),
            ("grpc.service_config", json.dumps(self._retry.service_config())),
            # The service config of this client, not one that a name server hands out.
            ("grpc.service_config_disable_resolution", 1),
        ]
        if self._server_name is not None:
            options.append(("grpc.ssl_target_name_override", self._server_name))
        return options

    # grpcio's functions are taken by their modules' names, where instrumentations put theirs.

    def open_channel(self) -> grpc.Channel:
        """A channel for the synchronous client. It connects with the first call."""
        if self._credentials is None:
            return grpc.insecure_channel(self.target, self.options())
        return grpc.secure_channel(self.target, self._credentials, self.options())

    def open_async_channel(self) -> grpc.aio.Channel:
        """A channel for the asynchronous client. It connects with the first call."""
        if self._credentials is None:
            return grpc.aio.insecure_channel(self.target, self.options())
        return grpc.aio.secure_channel(self.target, self._credentials, self.options())


def authorization(api_key: str | None) -> tuple[tuple[str, str], ...]:
    """The header that says who calls. A key that cannot be sent is refused, and not repeated."""
    if api_key is None:
        return ()
    if not api_key or not all("!" <= character <= "~" for character in api_key):
        raise ValueError("the API key is empty or holds characters that no key has")
    return (("authorization", f"Bearer {api_key}"),)


def _is_here(target: str) -> bool:
    """Whether it is on this machine, so that nobody on the way can listen."""
    if target.startswith("unix:"):
        return True
    host = target.rpartition(":")[0].strip("[]")
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
