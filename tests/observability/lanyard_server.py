"""Lanyard itself, which sends to the collector and is scraped by Prometheus."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

from lanyard import Client

from processes import Process, free_address

# What the tests of telemetry need and no production has: everything is traced, and sent at once.
EAGER = {
    "OTEL_TRACES_SAMPLER": "parentbased_always_on",
    "OTEL_BSP_SCHEDULE_DELAY": "100",
    "OTEL_BLRP_SCHEDULE_DELAY": "100",
    "OTEL_METRIC_EXPORT_INTERVAL": "500",
    # A receiver that is gone is given up soon.
    "OTEL_BSP_EXPORT_TIMEOUT": "1000",
    "OTEL_BLRP_EXPORT_TIMEOUT": "1000",
    "OTEL_METRIC_EXPORT_TIMEOUT": "1000",
    # One user logs in all the time here, and each session stays.
    "LANYARD__SESSION__QUOTA": "1000000",
    # Refusals, too.
    "LANYARD__LOG__LEVEL": "info,lanyard_server=debug",
}


class Server:
    """`lanyard serve --dev`."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        folder.mkdir()
        self.admin_port = free_address()
        self.log_file = folder / "lanyard.log"
        self._data = folder / "data"
        self._settings = {name: value for name, value in environment.items() if name.startswith("LANYARD__")}
        self._address = free_address()
        self._process = Process(
            [os.environ["LANYARD_BIN"], "serve", "--dev", "--data-dir", str(self._data)],
            self.log_file,
            {
                "LANYARD__SERVER__LISTEN": self._address,
                "LANYARD__SERVER__DRAIN_DELAY": "0s",
                "LANYARD__ADMIN__LISTEN": self.admin_port,
                "LANYARD__LOG__FORMAT": "json",
                **environment,
            },
        )
        self._process.ready(self._serves)
        self.credentials = json.loads((self._data / "credentials.json").read_text())

    def stop(self) -> int:
        return self._process.stop()

    @property
    def endpoint(self) -> str:
        return f"http://{self._address}"

    @property
    def caller_key(self) -> str:
        return str(self.credentials["caller_key"])

    @property
    def admin(self) -> tuple[str, str]:
        user = self.credentials["super_user"]
        return user["username"], user["password"]

    @property
    def demo(self) -> tuple[str, str]:
        user = self.credentials["demo_user"]
        return user["username"], user["password"]

    @property
    def basic_auth(self) -> tuple[str, str]:
        definition = self.credentials["demo_definition"]
        return definition["username"], definition["secret"]

    def client(self, deadline: float) -> Client:
        return Client(self._address, api_key=self.caller_key, deadline=deadline)

    def command(self, *arguments: str, **environment: str) -> str:
        """What the command-line client prints."""
        done = subprocess.run(
            [os.environ["LANYARD_BIN"], "--json", *arguments],
            env={
                **os.environ,
                "LANYARD_ENDPOINT": self.endpoint,
                "LANYARD_CALLER_KEY": self.caller_key,
                "LANYARD_DATA_DIR": str(self._data),
                **self._settings,
                **environment,
            },
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def log_lines(self) -> list[dict[str, object]]:
        whole = self.log_file.read_text().rpartition("\n")[0]
        return [json.loads(line) for line in whole.splitlines() if line.startswith("{")]

    def _serves(self) -> bool:
        if not (self._data / "credentials.json").exists():
            return False
        health = [os.environ["LANYARD_BIN"], "health", "--endpoint", self.endpoint, "--data-dir", str(self._data)]
        return subprocess.run(health, capture_output=True, check=False).returncode == 0
