"""Servers for tests."""

from collections.abc import Iterator

import pytest

from lanyard import Client
from tests.support import KEY, Fake, Lanyard, real_server


@pytest.fixture
def fake() -> Iterator[Fake]:
    server = Fake()
    yield server
    server.stop()


@pytest.fixture
def client(fake: Fake) -> Iterator[Client]:
    with Client(fake.address, api_key=KEY) as client:
        yield client


@pytest.fixture(scope="session")
def lanyard() -> Iterator[Lanyard]:
    with real_server() as server:
        yield server
