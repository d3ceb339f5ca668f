"""A request through several services is one trace, which is found by its correlation ID."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import requests
from lanyard import Client, correlation, outgoing_headers, v1
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider

import drawing
from backends import Collector, Jaeger
from lanyard_server import EAGER, Server
from processes import eventually, new_name
from tree import Span, roots, spans

SERVICE = "lanyard.v1"
# What the request below asks of Lanyard, in this order: the client's word, the verb in the server, who asks.
CALLS = [
    ("SessionService/CreateSession", "create_session", "shop"),
    ("SessionService/VerifySession", "verify_session", "whoami"),
    ("LinkedAuthService/ListLinkedAuth", "list_links", "whoami"),
    ("SessionService/ListSessions", "list_sessions", "shop"),
]


def newcomer(client: Client, server: Server) -> tuple[str, str]:
    """Somebody of whom nothing is in memory yet."""
    username, password = new_name(), "correct horse battery staple"
    admin = client.on_behalf_of(client.log_in(*server.admin).ust)
    admin.create_user(v1.CreateUserRequest(user=v1.User(username=username), password=password))
    return username, password


def order(client: Client, user: tuple[str, str], whoami: str, tracer: trace.Tracer, correlation_id: str) -> None:
    """What a user waits for: the shop logs them in, asks another service on their behalf, and looks at their sessions."""
    with tracer.start_as_current_span("GET /order"), correlation(correlation_id):
        login = client.log_in(*user)
        headers = {**outgoing_headers(), "authorization": f"Bearer {login.ust.expose()}"}
        said = requests.get(f"{whoami}/whoami", headers=headers, timeout=10)
        assert said.json()["correlation_id"] == correlation_id
        assert len(list(client.on_behalf_of(login.ust).list_sessions())) == 1


def calls(root: Span, method: str) -> list[Span]:
    """What Lanyard says of the calls of a method: clients have spans of the same name."""
    return [span for span in root.find(f"{SERVICE}.{method}") if span.service == "lanyard"]


def operations(call: Span) -> list[Span]:
    return [span for _, span in call.below() if "db.system.name" in span.tags]


def is_whole_order(root: Span) -> bool:
    """Has everything come that was sent? Batches may overtake each other."""
    found = [(verb, call) for method, verb, _ in CALLS for call in calls(root, method)]
    return (
        root.name == "GET /order"
        and len(found) == len(CALLS)
        and all(call.find(verb) and operations(call) for verb, call in found)
    )


def one_trace(jaeger: Jaeger, correlation_id: str, is_whole: Any) -> Span:
    """The only trace of the correlation ID, once it is whole."""

    def ask() -> Span | None:
        traces = jaeger.traces_of(correlation_id)
        assert len(traces) < 2, f"{len(traces)} traces have the correlation ID {correlation_id}"
        if not traces:
            return None
        found = roots(traces[0])
        return found[0] if len(found) == 1 and is_whole(found[0]) else None

    return eventually(ask, f"whole trace of {correlation_id}")


def test_a_request_through_two_clients_is_one_trace_with_every_span_below_its_cause(
    client: Client,
    server: Server,
    whoami: str,
    tracer: trace.Tracer,
    provider: TracerProvider,
    jaeger: Jaeger,
    correlation_id: str,
    pictures: Path,
) -> None:
    order(client, newcomer(client, server), whoami, tracer, correlation_id)
    provider.force_flush()

    root = one_trace(jaeger, correlation_id, is_whole_order)

    for method, verb, asking in CALLS:
        (call,) = calls(root, method)
        assert call.kind == "server"
        assert call.tags["lanyard.correlation_id"] == correlation_id
        assert call.tags["rpc.status_code"] == "OK"
        cause = next(span for _, span in root.below() if call in span.children)
        assert (cause.service, cause.kind) == (asking, "client"), f"{method} is caused by {cause}"
        assert cause.name.endswith(method)
        assert verb in [child.name for child in call.children]
        assert {(span.kind, span.tags["db.system.name"]) for span in operations(call)} == {("client", "postgresql")}
    in_order = sorted((call for method, _, _ in CALLS for call in calls(root, method)), key=lambda call: call.start)
    assert [call.name for call in in_order] == [f"{SERVICE}.{method}" for method, _, _ in CALLS]
    for _, span in root.below():
        for child in span.children:
            # Two processes on one clock, and microseconds rounded twice.
            assert span.start - 2 <= child.start and child.end <= span.end + 2, (
                f"{child.name} is not within {span.name}"
            )
    drawing.trace(root, pictures / "trace.svg")


def test_what_nobody_else_traces_begins_a_trace_in_the_server(
    client: Client, server: Server, jaeger: Jaeger, correlation_id: str
) -> None:
    ust = client.log_in(*server.demo).ust.expose()

    server.command("session", "verify", "--correlation-id", correlation_id, LANYARD_UST=ust)

    root = one_trace(jaeger, correlation_id, lambda _: True)
    assert root.name == f"{SERVICE}.SessionService/VerifySession"
    assert root.tags["lanyard.correlation_id"] == correlation_id


def test_no_secret_is_in_any_span(
    client: Client, server: Server, provider: TracerProvider, tracer: trace.Tracer, jaeger: Jaeger, correlation_id: str
) -> None:
    username, password = server.demo
    with tracer.start_as_current_span("GET /secrets"), correlation(correlation_id):
        ust = client.log_in(username, password).ust.expose()
        client.verify(ust)
    provider.force_flush()

    one_trace(jaeger, correlation_id, lambda root: calls(root, "SessionService/VerifySession"))

    (trace_found,) = jaeger.traces_of(correlation_id)
    assert spans(trace_found)
    for secret in (ust, password, server.caller_key):
        assert secret not in str(trace_found)


def test_a_stop_sends_what_still_waits_also_over_http_and_on_sqlite(
    folder: Path, collector: Collector, jaeger: Jaeger, correlation_id: str
) -> None:
    patient = {name: value for name, value in EAGER.items() if not name.startswith("OTEL_B")}
    server = Server(
        folder / "stopping",
        {
            **patient,
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://{collector.http}",
            "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
            "OTEL_BSP_SCHEDULE_DELAY": "3600000",
        },
    )
    try:
        username, password = server.demo
        login = ("session", "login", "--username", username, "--correlation-id", correlation_id)
        server.command(*login, LANYARD_PASSWORD=password)
        assert not jaeger.traces_of(correlation_id)
    finally:
        assert server.stop() == 0

    root = one_trace(jaeger, correlation_id, operations)
    assert root.name == f"{SERVICE}.SessionService/CreateSession"
    assert {span.tags["db.system.name"] for span in operations(root)} == {"sqlite"}
