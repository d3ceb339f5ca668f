"""The files of deploy/, read."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import yaml

DEPLOY = Path(__file__).parents[1]
ROOT = DEPLOY.parent
LANYARD = os.environ["LANYARD_BIN"]


def read(path: str) -> Any:
    return yaml.safe_load((DEPLOY / path).read_text())


def run(*command: str | Path, **environment: str) -> str:
    """What a program prints; fails where it fails."""
    done = subprocess.run(
        [str(part) for part in command],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, f"{' '.join(map(str, command))}:\n{done.stdout}{done.stderr}"
    return done.stdout


def show_configuration(file: Path) -> str:
    """What the server makes of a configuration; fails where it refuses it."""
    return run(
        LANYARD, "config", "show", "--config", file, LANYARD__DATABASE__URL="postgres://lanyard:secret@db/lanyard"
    )


def commands_of(page: str) -> list[list[str]]:
    """The commands of `lanyard` that a page tells people to type."""
    text = (DEPLOY / page).read_text()
    inline = re.findall(r"`(lanyard [^`]+)`", text)
    blocks = re.findall(
        r"^(?:\$ )?(lanyard .+)$", "\n".join(re.findall(r"```sh\n(.*?)```", text, re.DOTALL)), re.MULTILINE
    )
    return [shlex.split(command.replace("...", ""), comments=True) for command in inline + blocks]
