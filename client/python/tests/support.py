"""A server that does as it is told and remembers what it was asked, and the real one."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent import futures
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
from google.protobuf.any_pb2 import Any as Packed
from google.protobuf.message import Message
from google.rpc.status_pb2 import Status

from lanyard._channel import every_rpc

# The repository: the tests may be run from elsewhere, on what was installed.
ROOT = Path(os.environ.get("LANYARD_ROOT", Path(__file__).parents[3]))
KEY = "lyk1_secret"
UST = "lyu1_secret"
# Only a test that fails waits this long.
PATIENCE = 180.0
# Hashing passwords comes last of all: on a busy machine a login may take long.
DEADLINE = 60


@dataclass
class Refusal:
    """An answer that is none."""

    code: grpc.StatusCode
    message: str = "no"
    details: tuple[Message, ...] = ()
    raw_details: bytes | None = None


@dataclass
class Asked:
    """What a call brought."""

    method: str
    request: Any
    metadata: dict[str, str | bytes]
    seconds_left: float


Step = Message | Refusal | Callable[[], Message]


class Fake(grpc.GenericRpcHandler):
    """A server of all RPCs. With nothing left to do it gives an empty answer."""

    def __init__(self) -> None:
        self.script: deque[Step] = deque()
        self.asked: list[Asked] = []
        self._rpcs = {f"/{rpc.service}/{rpc.name}": rpc for rpc in every_rpc()}
        self._server = grpc.server(futures.ThreadPoolExecutor(8), handlers=[self])
        self.address = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        self._server.start()

    def stop(self) -> None:
        self._server.stop(None).wait()

    def then(self, *steps: Step) -> None:
        self.script.extend(steps)

    def metadata(self, key: str) -> list[str | bytes | None]:
        return [asked.metadata.get(key) for asked in self.asked]

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[Any, Any] | None:
        rpc = self._rpcs.get(details.method)
        if rpc is None:
            return None

        def answer(request: Any, context: grpc.ServicerContext) -> Message:
            metadata = dict(context.invocation_metadata())
            self.asked.append(Asked(details.method, request, metadata, context.time_remaining()))
            step = self.script.popleft() if self.script else rpc.answer()
            if isinstance(step, Refusal):
                refuse(step, context)
                raise AssertionError("abort raises")
            return step if isinstance(step, Message) else step()

        return grpc.unary_unary_rpc_method_handler(
            answer, rpc.request.FromString, lambda message: message.SerializeToString()
        )


def refuse(refusal: Refusal, context: grpc.ServicerContext) -> None:
    status = Status(code=refusal.code.value[0], message=refusal.message)
    for detail in refusal.details:
        packed = Packed()
        packed.Pack(detail)
        status.details.append(packed)
    details = refusal.raw_details or (status.SerializeToString() if refusal.details else b"")
    if details:
        context.set_trailing_metadata((("grpc-status-details-bin", details),))
    context.abort(refusal.code, refusal.message)


@dataclass
class Lanyard:
    """A real server, as `lanyard serve --dev` makes it."""

    address: str
    api_key: str
    admin: tuple[str, str]
    demo: tuple[str, str]
    basic_auth: tuple[str, str]


def program(variable: str, name: str) -> str:
    """A program of the repository; `variable` says where it is, if not where cargo puts it."""
    binary = Path(os.environ.get(variable, ROOT / "target" / "debug" / name))
    if not binary.is_file():
        raise FileNotFoundError(f"{binary} is not there: build it (cargo build --bin {name}), or set {variable}")
    return str(binary)


@contextmanager
def real_server(config: str = "") -> Iterator[Lanyard]:
    """Starts one on a free port, with a configuration (TOML) over the defaults."""
    with tempfile.TemporaryDirectory(prefix="lanyard-python-") as folder:
        settings = {"LISTEN": "127.0.0.1:0", "DRAIN_DELAY": "0s", "MAX_DEADLINE": f"{DEADLINE}s"}
        environment = {**os.environ, **{f"LANYARD__SERVER__{key}": value for key, value in settings.items()}}
        Path(folder, "lanyard.toml").write_text(config)
        with subprocess.Popen(
            [
                program("LANYARD_BIN", "lanyard"),
                *f"serve --dev --json --config lanyard.toml --data-dir {folder}/data".split(),
            ],
            cwd=folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        ) as process:
            assert process.stdout is not None
            try:
                welcome = json.loads(first_line(process))
                credentials = json.loads(Path(folder, welcome["credentials_file"]).read_text())
                yield Lanyard(
                    welcome["endpoint"].removeprefix("http://"),
                    credentials["caller_key"],
                    _pair(credentials["super_user"], "password"),
                    _pair(credentials["demo_user"], "password"),
                    _pair(credentials["demo_definition"], "secret"),
                )
            finally:
                process.terminate()


def _pair(credentials: dict[str, str], secret: str) -> tuple[str, str]:
    return credentials["username"], credentials[secret]


def first_line(process: subprocess.Popen[str]) -> str:
    """The first line that a process writes; fails where none comes."""
    assert process.stdout is not None
    impatient = threading.Timer(PATIENCE, process.kill)
    impatient.start()
    try:
        line = process.stdout.readline()
    finally:
        impatient.cancel()
    assert line, f"{process.args!r} said nothing"
    return line
