"""The example services of the clients in a row: each asks Lanyard whose session it is, and then the next one."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

from lanyard_server import Server
from processes import ROOT, Process, free_address, listens

TOOLS = ROOT / ".tools"
JAVA = ROOT / "client" / "java" / "examples" / "whoami" / "target"


@dataclass(frozen=True)
class Example:
    """How a service is started; LISTEN is where it listens, except where the command says it."""

    language: str
    command: list[str]
    folder: Path = ROOT
    environment: dict[str, str] = field(default_factory=dict)


def examples(python_address: str) -> list[Example]:
    """In the order in which they ask each other."""
    host, port = python_address.split(":")
    scripts = TOOLS / "observability" / "bin"
    python = [f"{scripts}/opentelemetry-instrument", f"{scripts}/uvicorn", "whoami:app", "--host", host, "--port", port]
    return [
        Example(
            "python",
            python,
            ROOT / "client" / "python" / "examples",
            {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc", "OTEL_METRICS_EXPORTER": "none", "OTEL_LOGS_EXPORTER": "none"},
        ),
        Example("go", ["whoami-go"]),
        Example(
            "typescript",
            ["node", "--import", "./dist/tracing.js", "dist/whoami.js"],
            TOOLS / "whoami-typescript" / "whoami",
        ),
        Example(
            "java",
            ["java", "-cp", f"{JAVA}/classes:{(JAVA / 'class-path').read_text()}", "dev.lanyard.examples.Whoami"],
        ),
        Example("rust", [str(ROOT / "target" / "debug" / "examples" / "whoami")]),
    ]


def caller(server: Server, name: str) -> str:
    """The key of a new caller, which may do what such a service does."""
    grants = "session.verify,link.read"
    return str(json.loads(server.command("caller", "create", name, "--grant", grants))["key"])


class Chain:
    """One service in each language, each with a key of its own. The last one is started first."""

    def __init__(self, folder: Path, server: Server, otlp: str) -> None:
        self._processes: list[Process] = []
        address = free_address()
        self.languages = [example.language for example in examples(address)]
        next_service = ""
        for example in reversed(examples(address)):
            listen = address if example.language == "python" else free_address()
            process = Process(
                example.command,
                folder / f"whoami-{example.language}.log",
                {
                    "LISTEN": listen,
                    "NEXT": next_service,
                    "LANYARD_ENDPOINT": server.endpoint,
                    "LANYARD_CALLER_KEY": caller(server, example.language),
                    "OTEL_SERVICE_NAME": example.language,
                    "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://{otlp}",
                    "OTEL_BSP_SCHEDULE_DELAY": "100",
                    **example.environment,
                },
                example.folder,
            )
            process.ready(lambda listen=listen: listens(listen))
            self._processes.append(process)
            next_service = f"http://{listen}"
        self.url = f"{next_service}/whoami"

    def stop(self) -> None:
        for process in self._processes:
            process.stop()
