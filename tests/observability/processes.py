"""Programs that run while the tests do, each on ports of its own."""

from __future__ import annotations

import atexit
import os
import signal
import socket
import subprocess
import time
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
# Only a test that fails waits this long.
PATIENCE = 60.0

Found = TypeVar("Found")


def new_name() -> str:
    """Nobody else's: of a request, or of a user."""
    return f"order-{uuid.uuid4().hex[:12]}"


def free_address() -> str:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{listener.getsockname()[1]}"


def listens(address: str) -> bool:
    host, port = address.split(":")
    try:
        socket.create_connection((host, int(port)), timeout=2).close()
    except OSError:
        return False
    return True


def eventually(ask: Callable[[], Found | None], what: str, patience: float = PATIENCE) -> Found:
    """What `ask` finds, once it finds something."""
    end = time.monotonic() + patience
    while True:
        found = ask()
        if found:
            return found
        if time.monotonic() > end:
            raise AssertionError(f"after {patience:.0f} s there is still no {what}")
        time.sleep(0.1)


class Process:
    """A program whose output goes into a file."""

    def __init__(
        self, command: list[str], log: Path, environment: Mapping[str, str] | None = None, folder: Path | None = None
    ) -> None:
        self.log = log
        self._name = Path(command[0]).name
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                command,
                stdout=output,
                stderr=output,
                stdin=subprocess.DEVNULL,
                env={**os.environ, **(environment or {})},
                cwd=folder,
            )
        # Also where a test ends before it has said who stops this.
        atexit.register(self.kill)

    def ready(self, is_ready: Callable[[], bool]) -> None:
        def ask() -> bool:
            if self._process.poll() is not None:
                raise AssertionError(f"{self._name} has ended:\n{self.log.read_text()[-4000:]}")
            return is_ready()

        eventually(ask, f"answer from {self._name}; see {self.log}")

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def stop(self) -> int:
        """The exit code."""
        if self._process.poll() is None:
            self._process.terminate()
        try:
            return self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.kill()
            raise
