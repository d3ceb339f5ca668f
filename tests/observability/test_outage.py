"""A collector that hangs, dies and comes back costs telemetry and nothing else."""

from __future__ import annotations

import signal
import threading
import time

from lanyard import Active, Client

from backends import Collector, Jaeger, Prometheus
from lanyard_server import Server
from processes import eventually

THREADS = 3
DROPPED = 'sum(lanyard_telemetry_dropped_total{job="lanyard"})'
DEADLINE = 10.0


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


def test_a_collector_that_hangs_and_dies_during_load_fails_no_call(
    client: Client, server: Server, collector: Collector, prometheus: Prometheus, jaeger: Jaeger, correlation_id: str
) -> None:
    prometheus.scraped()
    before = prometheus.value(DROPPED)
    with Load(server, client) as load:
        load.go_on(200)
        collector.process.signal(signal.SIGSTOP)
        load.go_on(500)
        collector.process.kill()
        load.go_on(500)
        eventually(lambda: prometheus.value(DROPPED) > before, "count of what is dropped")
        collector.start()
        load.go_on(200)
    print(f"{load.done} calls, the slowest {load.slowest:.3f} s")

    assert not load.failures, f"{len(load.failures)} of {load.done} calls failed, such as {load.failures[0]}"
    assert load.slowest < DEADLINE / 2
    # And it is seen again.
    with_id = client.with_correlation_id(correlation_id)
    eventually(lambda: (with_id.log_in(*server.demo), jaeger.traces_of(correlation_id))[1], "trace after the restart")
