"""The page is followed: its blocks of Python are run as they are printed, on a real server."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import ROOT, Lanyard

PAGE = (ROOT / "client" / "python" / "README.md").read_text()
BLOCKS = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
# What all but the first block take for granted.
BEFORE = """
import os
from concurrent.futures import ThreadPoolExecutor
import grpc
from lanyard import Client

key, password, user_id = os.environ["LANYARD_CALLER_KEY"], os.environ["LANYARD_PASSWORD"], None
lanyard = client = Client(os.environ["LANYARD_ENDPOINT"], api_key=key, deadline=60)
ust = current_ust = lanyard.log_in("demo", password).ust
"""
# In the order of the page: what a reader does before and after a block, and what that prints.
FOLLOWED = {
    "first.py": ("", "", "demo may come in"),
    "FastAPI": (
        BEFORE,
        """
from fastapi.testclient import TestClient

with TestClient(app) as http:
    print(http.get("/hello").status_code)
    print(http.get("/hello", headers={"authorization": f"Bearer {ust.expose()}"}).text)
""",
        '401\n"hello, demo"',
    ),
    "grpcio": (
        BEFORE,
        """
server.add_insecure_port("127.0.0.1:0")
server.start()
server.stop(None).wait()
print("served")
""",
        "served",
    ),
    "errors": (BEFORE + "password = 'wrong'\n", "", "wrong name or password"),
    "tracing": (BEFORE, "print(headers['x-correlation-id'])\n", "order-4711"),
    "Zato SSO": (
        BEFORE
        + "import logging, sys\nlogging.basicConfig(level=logging.INFO, stream=sys.stdout, format='%(message)s')\n",
        "",
        r".*'auth_type': 'basic_auth'.*",
    ),
    "BlueCat Gateway": (
        BEFORE,
        "print(app.test_client().get('/example/servers').status_code)\n",
        "401",
    ),
}


def test_every_block_is_followed() -> None:
    assert len(BLOCKS) == len(FOLLOWED)


@pytest.mark.parametrize("name", FOLLOWED)
def test_a_block_of_the_page_does_what_it_says(name: str, lanyard: Lanyard, tmp_path: Path) -> None:
    before, after, printed = FOLLOWED[name]
    block = BLOCKS[list(FOLLOWED).index(name)]
    program = tmp_path / "program.py"
    program.write_text(before + block.replace("127.0.0.1:50051", lanyard.address) + after)
    environment = {
        **os.environ,
        "LANYARD_ENDPOINT": f"http://{lanyard.address}",
        "LANYARD_CALLER_KEY": lanyard.api_key,
        "LANYARD_PASSWORD": lanyard.demo[1],
    }
    done = subprocess.run([sys.executable, program], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(printed, done.stdout.strip(), re.DOTALL), done.stdout
