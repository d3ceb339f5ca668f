"""What happened under a correlation ID is found wherever an operator looks."""

from __future__ import annotations

from typing import Any

import pytest
from lanyard import Client, LoginError, correlation
from opentelemetry import trace

from backends import Collector, Jaeger
from lanyard_server import Server
from processes import eventually


def test_a_refusal_is_found_in_the_collectors_file_on_standard_error_in_jaeger_and_in_the_audit_trail(
    client: Client, server: Server, tracer: trace.Tracer, collector: Collector, jaeger: Jaeger, correlation_id: str
) -> None:
    with tracer.start_as_current_span("GET /refused") as root, correlation(correlation_id), pytest.raises(LoginError):
        client.log_in("nobody", "wrong horse battery staple")
    trace_id = f"{root.get_span_context().trace_id:032x}"

    def sent() -> Any:
        return next(
            (r for r in collector.log_records() if r["attributes"].get("correlation_id") == correlation_id), None
        )

    record = eventually(sent, f"log record of {correlation_id} in {collector.log_file}")
    assert record["traceId"] == trace_id and record["spanId"]
    assert record["resource"]["service.name"] == "lanyard"
    assert record["attributes"]["reason"] == "LOGIN_FAILED"

    lines = [line for line in server.log_lines() if correlation_id in str(line)]
    assert {line["trace_id"] for line in lines} == {trace_id}
    assert "wrong horse" not in str(lines) + str(record)
    eventually(lambda: jaeger.traces_of(correlation_id), "trace of the line")
    admin = client.log_in(*server.admin).ust.expose()
    trail = server.command("audit", "list", "--correlation-id", correlation_id, LANYARD_UST=admin)
    assert correlation_id in trail and "session.create" in trail
