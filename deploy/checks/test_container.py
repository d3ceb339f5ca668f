"""What is in the image is enough to run Lanyard as nobody in particular, on a root that cannot be written."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from files import DEPLOY, LANYARD, ROOT, run, show_configuration

ACCOUNT = 65532
PROGRAM = "/usr/bin/lanyard"
CONTAINERFILE = (DEPLOY / "Containerfile").read_text()
CONFIGURATION = "/etc/lanyard/lanyard.toml"
FINAL_STAGE = CONTAINERFILE.split("\nFROM ")[-1]
# What the image asks itself.
HEALTH = json.loads(re.search(r"^HEALTHCHECK .*CMD (\[.*\])$", FINAL_STAGE, re.MULTILINE)[1])[1:]


def test_the_image_has_a_user_that_is_not_root_and_checks_its_own_health() -> None:
    assert FINAL_STAGE.startswith("scratch\n"), "nothing that Lanyard does not need"
    assert re.search(rf"^USER {ACCOUNT}:{ACCOUNT}$", FINAL_STAGE, re.MULTILINE)
    assert re.search(rf'^HEALTHCHECK .*CMD \["{PROGRAM}", "health"', FINAL_STAGE, re.MULTILINE)
    assert f'ENTRYPOINT ["{PROGRAM}"]' in FINAL_STAGE
    assert not re.search(r"^RUN", FINAL_STAGE, re.MULTILINE), "there is no shell"


def test_the_image_is_built_from_files_that_there_are_without_what_is_secret_or_large() -> None:
    assert "deploy/container/root target/dist/lanyard /image" in CONTAINERFILE and os.access(
        DEPLOY / "container" / "root", os.X_OK
    )
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    assert {".git", "target", "lanyard-data"} <= set(ignored)


def test_no_image_names_a_registry() -> None:
    for name in re.findall(r"^FROM (\S+)", CONTAINERFILE, re.MULTILINE):
        assert "/" not in name


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file system of the image, put together as in the Containerfile."""
    if os.geteuid() != 0:
        pytest.skip("running what is in the image: needs root, to change the root folder")
    folder = tmp_path_factory.mktemp("image") / "root"
    run(DEPLOY / "container" / "root", LANYARD, folder)
    (folder / "etc" / "lanyard" / "lanyard.toml").write_text(
        "[server]\nlisten = '127.0.0.1:0'\n[database]\nurl = 'sqlite:///var/lib/lanyard/lanyard.db'\n"
        "[keys]\nfile = '/var/lib/lanyard/keys.json'\n"
    )
    return folder


# The root of the image over itself, and its data over that: then the root can become read-only, and the data stay.
MOUNT = """
set -e
image=$1
shift
mount --bind "$image" "$image"
mount --bind "$image/var/lib/lanyard" "$image/var/lib/lanyard"
mount -o remount,bind,ro "$image"
exec setpriv --no-new-privs chroot --userspec=$ACCOUNT:$ACCOUNT --groups= "$image" "$@"
"""


def inside(image: Path, *arguments: str) -> list[str]:
    """A command that runs Lanyard in the image: as its account, without privileges, on a read-only root."""
    script = MOUNT.replace("$ACCOUNT", str(ACCOUNT))
    return ["unshare", "--mount", "sh", "-c", script, "sh", str(image), PROGRAM, *arguments]


@pytest.fixture(scope="module")
def server(image: Path) -> Iterator[str]:
    """Where Lanyard listens that runs in the image."""
    run(*inside(image, "keys", "init", "--config", CONFIGURATION))
    run(*inside(image, "migrate", "--config", CONFIGURATION))
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{listener.getsockname()[1]}"
    serve = inside(image, "serve", "--config", CONFIGURATION)
    environment = {**os.environ, "LANYARD__SERVER__LISTEN": address, "LANYARD__SERVER__DRAIN_DELAY": "0s"}
    with subprocess.Popen(
        serve, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        yield f"http://{address}"
        process.terminate()
        said = process.communicate(timeout=60)[0]
        assert process.returncode == 0, said


def healthy(image: Path, endpoint: str) -> bool:
    health = inside(image, *HEALTH)
    environment = {**os.environ, "LANYARD_ENDPOINT": endpoint}
    return subprocess.run(health, env=environment, capture_output=True, check=False, timeout=30).returncode == 0


def test_lanyard_serves_from_the_image_and_its_health_check_tells_so(image: Path, server: str) -> None:
    end = time.monotonic() + 60
    while not healthy(image, server):
        assert time.monotonic() < end, "it is still not healthy"
        time.sleep(0.1)
    assert not healthy(image, "http://127.0.0.1:1"), "where there is no server, there is no health"


def test_nobody_can_write_but_to_the_data(image: Path) -> None:
    refused = subprocess.run(
        inside(image, "keys", "init", "--data-dir", "/etc/lanyard"),
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert refused.returncode != 0
    assert "Read-only file system" in refused.stderr or "denied" in refused.stderr, refused.stderr


def test_the_image_has_no_shell_and_nothing_that_may_become_root(image: Path) -> None:
    programs = [
        path for path in image.rglob("*") if path.is_file() and os.access(path, os.X_OK) and ".so" not in path.name
    ]
    assert [str(path.relative_to(image)) for path in programs] == [PROGRAM.lstrip("/")]
    assert not [path for path in image.rglob("*") if path.is_file() and path.stat().st_mode & 0o6000]


def test_compose_and_the_image_agree_where_things_are() -> None:
    for variable, value in (("LANYARD_CONFIG", CONFIGURATION), ("LANYARD_DATA_DIR", "/var/lib/lanyard")):
        assert re.search(rf"{variable}={value}\b", FINAL_STAGE)
    assert 'file = "/var/lib/lanyard/keys.json"' in show_configuration(DEPLOY / "container" / "lanyard.toml")
