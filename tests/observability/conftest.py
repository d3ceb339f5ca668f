"""One installation for all tests: Jaeger, the collector, Prometheus, Lanyard, a service in Go, a chain of services in all
languages, and this process, a service in Python. What is started later sends to what is started before it."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from cluster import Cluster
from lanyard import Client
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.instrumentation.grpc import GrpcInstrumentorClient
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from backends import Collector, Jaeger, Prometheus
from chain import Chain
from lanyard_server import EAGER, Server
from load import DEADLINE, DROPPED, Load
from processes import DEPLOY, Process, eventually, free_address, new_name


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--pictures", action="store_true", help="draw the pictures of deploy/pictures anew")


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("observability")


@pytest.fixture(scope="session")
def jaeger(folder: Path) -> Iterator[Jaeger]:
    jaeger = Jaeger(folder)
    yield jaeger
    jaeger.stop()


@pytest.fixture(scope="session")
def collector(folder: Path, jaeger: Jaeger) -> Iterator[Collector]:
    collector = Collector(folder, jaeger)
    yield collector
    collector.process.stop()


@pytest.fixture(scope="session")
def postgres() -> Iterator[Cluster]:
    cluster = Cluster()
    yield cluster
    cluster.stop()


@pytest.fixture(scope="session")
def server(folder: Path, collector: Collector, postgres: Cluster) -> Iterator[Server]:
    """On PostgreSQL, as in production."""
    server = Server(
        folder / "lanyard",
        {
            **EAGER,
            "LANYARD__DATABASE__URL": postgres.url,
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://{collector.grpc}",
        },
    )
    yield server
    server.stop()


@pytest.fixture(scope="session")
def prometheus(folder: Path, collector: Collector, server: Server) -> Iterator[Prometheus]:
    prometheus = Prometheus(
        folder, {"lanyard": server.admin_port, "lanyard-otlp": collector.metrics, "collector": collector.own_metrics}
    )
    yield prometheus
    prometheus.stop()


@pytest.fixture(scope="session")
def provider(collector: Collector) -> Iterator[TracerProvider]:
    """Traces this process as the service `shop`, by the standard instrumentation."""
    provider = TracerProvider(resource=Resource.create({"service.name": "shop"}))
    exporter = OTLPSpanExporter(endpoint=f"http://{collector.grpc}", insecure=True)
    provider.add_span_processor(BatchSpanProcessor(exporter, schedule_delay_millis=100))
    trace.set_tracer_provider(provider)
    GrpcInstrumentorClient().instrument()
    yield provider
    provider.shutdown()


@pytest.fixture(scope="session")
def client(server: Server, provider: TracerProvider) -> Iterator[Client]:
    with server.client(DEADLINE) as client:
        yield client


@pytest.fixture(scope="session")
def whoami(folder: Path, server: Server, collector: Collector) -> Iterator[str]:
    """The address of the service in Go, which asks Lanyard whose session it is."""
    address = free_address()
    service = Process(
        ["whoami-go"],
        folder / "whoami.log",
        {
            "LISTEN": address,
            "LANYARD_ENDPOINT": server.endpoint,
            "LANYARD_CALLER_KEY": server.caller_key,
            "OTEL_SERVICE_NAME": "whoami",
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://{collector.grpc}",
            "OTEL_BSP_SCHEDULE_DELAY": "100",
        },
    )
    service.ready(lambda: "listening" in service.log.read_text())
    yield f"http://{address}"
    service.stop()


@pytest.fixture(scope="session")
def chain(folder: Path, server: Server, collector: Collector) -> Iterator[Chain]:
    chain = Chain(folder, server, collector.grpc)
    yield chain
    chain.stop()


@pytest.fixture(scope="session")
def outage(server: Server, client: Client, collector: Collector, prometheus: Prometheus) -> Load:
    """Load during which the collector hung, was killed, and was started again."""
    prometheus.scraped()
    before = prometheus.value(f"sum({DROPPED})")
    with Load(server, client) as load:
        load.go_on(200)
        collector.process.signal(signal.SIGSTOP)
        load.go_on(500)
        collector.process.kill()
        load.go_on(500)
        eventually(lambda: prometheus.value(f"sum({DROPPED})") > before, "count of what is dropped")
        collector.start()
        load.go_on(200)
    return load


@pytest.fixture
def tracer(provider: TracerProvider) -> trace.Tracer:
    return provider.get_tracer("shop")


@pytest.fixture
def correlation_id() -> str:
    return new_name()


@pytest.fixture
def pictures(request: pytest.FixtureRequest, folder: Path) -> Path:
    """Where pictures go: beside the documents, if they are asked for."""
    if request.config.getoption("--pictures"):
        return DEPLOY / "pictures"
    return folder
