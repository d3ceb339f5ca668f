"""The connection that a client and all that comes from it share."""

import threading
from typing import Any

from lanyard._channel import AsyncChannel, ChannelSettings


class Connection:
    """A channel and the methods that were called on it. It is opened by the first call: an asynchronous channel belongs to
    the event loop that runs then.
    """

    def __init__(self, settings: ChannelSettings, channel: AsyncChannel | None) -> None:
        self._settings = settings
        self._channel = channel
        self._methods: dict[Any, Any] = {}
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return self._settings.target

    def method(self, stub: Any, name: str) -> Any:
        """A method of a generated stub."""
        found = self._methods.get((stub, name))
        if found is None:
            found = self._methods[stub, name] = getattr(stub(self._opened()), name)
        return found

    def _opened(self) -> AsyncChannel:
        with self._lock:
            if self._channel is None:
                self._channel = self._settings.open_async_channel()
            return self._channel

    async def close(self) -> None:
        """Closes the channel, if there is one."""
        if self._channel is not None:
            await self._channel.close()
