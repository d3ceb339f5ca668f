"""A temporary PostgreSQL for the tests in Python, and for any command that finds its URL in a variable:

tests/support/postgres/cluster.py VARIABLE COMMAND...
"""

from __future__ import annotations

import itertools
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

# Below the ports that the system gives to whoever connects: nobody takes one of these by chance, not even while the server that
# listened there is started again.
PORTS = range(20_000, 32_000)
PORTS_TRIED = 20

# Processes that run at the same time begin at different places.
_next = itertools.count(os.getpid() * 37)


def free_port() -> int:
    """A port on which nobody listens now."""
    for _ in PORTS:
        port = PORTS[next(_next) % len(PORTS)]
        with socket.socket() as listener:
            try:
                listener.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port
    raise AssertionError(f"no free port in {PORTS}")


class Cluster:
    """It listens on a port of its own; where we are root, with an account of its own."""

    def __init__(self) -> None:
        found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda it: int(it.parts[4]))
        if not found:
            raise AssertionError("PostgreSQL is not there: install it (Debian: postgresql)")
        self._programs = found[-1].parent
        self._folder = Path(tempfile.mkdtemp(prefix="lanyard-postgres-"))
        self._account: dict[str, object] = {"cwd": "/"}
        if os.geteuid() == 0:
            shutil.chown(self._folder, "postgres")
            self._account |= {"user": "postgres", "group": "postgres", "extra_groups": []}
        self._run("initdb", "-U", "lanyard", "-A", "trust", "--no-sync")
        self.url = f"postgres://lanyard@127.0.0.1:{self._start()}/postgres"

    def _start(self) -> int:
        """The port. Whoever takes it before us costs one more try."""
        for tries_left in reversed(range(PORTS_TRIED)):
            port = free_port()
            options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories='' -c fsync=off"
            try:
                self._run("pg_ctl", "start", "-w", "-l", self._folder / "log", "-o", options)
                break
            except AssertionError:
                if tries_left == 0:
                    raise
        return port

    def stop(self) -> None:
        self._run("pg_ctl", "stop", "-w", "-m", "immediate")
        shutil.rmtree(self._folder)

    def _run(self, program: str, *words: object) -> None:
        command = [self._programs / program, *words, "-D", self._folder / "data"]
        # In a file: the server that is started would hold a pipe.
        with (self._folder / "output").open("a+") as output:
            done = subprocess.run(command, stdout=output, stderr=output, check=False, **self._account)
            output.seek(0)
            assert done.returncode == 0, output.read()


def main() -> int:
    variable, *command = sys.argv[1:]
    cluster = Cluster()
    try:
        return subprocess.run(command, env={**os.environ, variable: cluster.url}, check=False).returncode
    finally:
        cluster.stop()


if __name__ == "__main__":
    sys.exit(main())
