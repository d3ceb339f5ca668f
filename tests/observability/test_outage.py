"""A collector that hangs, dies and comes back costs telemetry and nothing else."""

from __future__ import annotations

from lanyard import Client

from backends import Jaeger, Prometheus
from lanyard_server import Server
from load import DEADLINE, DROPPED, Load
from processes import eventually


FAULTS = 'sum(lanyard_rpc_duration_seconds_count{job="lanyard",code=~"UNKNOWN|DEADLINE_EXCEEDED|INTERNAL|UNAVAILABLE"})'


def test_a_collector_that_hangs_and_dies_during_load_fails_no_call(outage: Load, prometheus: Prometheus) -> None:
    print(f"{outage.done} calls, the slowest {outage.slowest:.3f} s")
    assert not outage.failures, f"{len(outage.failures)} of {outage.done} calls failed, such as {outage.failures[0]}"
    assert outage.slowest < DEADLINE / 2
    prometheus.scraped()
    assert prometheus.value(FAULTS) == 0, "nor one that the client has sent again"


def test_what_is_dropped_meanwhile_is_counted_by_signal_and_reason(outage: Load, prometheus: Prometheus) -> None:
    dropped = {series["metric"]["signal"] for series in prometheus.query(f"sum by (signal, reason) ({DROPPED}) > 0")}
    assert "traces" in dropped


def test_afterwards_calls_are_traced_again(
    outage: Load, client: Client, server: Server, jaeger: Jaeger, correlation_id: str
) -> None:
    with_id = client.with_correlation_id(correlation_id)
    eventually(lambda: (with_id.log_in(*server.demo), jaeger.traces_of(correlation_id))[1], "trace after the restart")
