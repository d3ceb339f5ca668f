"""Calls under way, whatever happens to the collector."""

from __future__ import annotations

import threading
import time

from lanyard import Active, Client

from lanyard_server import Server
from processes import eventually

THREADS = 3
# Of a call, in seconds: the machine may be busy.
DEADLINE = 10.0
# What was not sent, or not taken.
DROPPED = 'lanyard_telemetry_dropped_total{job="lanyard"}'


class Load:
    """Verifies, and logs in now and then, as fast as it is answered."""

    def __init__(self, server: Server, client: Client) -> None:
        self._server = server
        self._client = client
        self._ust = client.log_in(*server.demo).ust
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run) for _ in range(THREADS)]
        self.done = 0
        self.failures: list[str] = []
        self.slowest = 0.0

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _run(self) -> None:
        while not self._stop.is_set():
            begun = time.monotonic()
            try:
                if not isinstance(self._client.verify(self._ust), Active):
                    self.failures.append("a good token was refused")
                if self.done % 100 == 0:
                    self._client.log_in(*self._server.demo)
            except Exception as error:
                self.failures.append(repr(error))
            self.done += 1
            self.slowest = max(self.slowest, time.monotonic() - begun)
            # Two cores for everything here.
            time.sleep(0.002)

    def go_on(self, calls: int) -> None:
        enough = self.done + calls
        eventually(lambda: self.done > enough, f"{calls} calls more")
