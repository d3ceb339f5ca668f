"""What is counted is right, whichever way it came, and leads from a slow call to its trace."""

from __future__ import annotations

from typing import Any

from lanyard import Client, Inactive, correlation
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider

from backends import Jaeger, Prometheus
from lanyard_server import Server
from processes import eventually
from tree import spans

VERIFY = "SessionService/VerifySession"
VERIFIED = f'sum(lanyard_rpc_duration_seconds_count{{job="%s",method="{VERIFY}",code="OK"}})'


def test_prometheus_counts_exactly_the_calls_that_were_made_whether_it_scrapes_or_is_sent_them(
    client: Client, server: Server, prometheus: Prometheus
) -> None:
    ust = client.log_in(*server.demo).ust
    client.verify(ust)
    prometheus.scraped()
    eventually(
        lambda: prometheus.value(VERIFIED % "lanyard") == prometheus.value(VERIFIED % "lanyard-otlp") > 0,
        "agreement of what is scraped and what is sent",
    )
    before = prometheus.value(VERIFIED % "lanyard")

    for _ in range(23):
        client.verify(ust)

    for job in ("lanyard", "lanyard-otlp"):
        eventually(lambda job=job: prometheus.value(VERIFIED % job) == before + 23, f"count of 23 more calls in {job}")


def test_an_exemplar_of_the_histogram_leads_to_the_trace_of_the_call(
    client: Client,
    server: Server,
    tracer: trace.Tracer,
    provider: TracerProvider,
    prometheus: Prometheus,
    jaeger: Jaeger,
    correlation_id: str,
) -> None:
    ust = client.log_in(*server.demo).ust
    with tracer.start_as_current_span("GET /slow") as root, correlation(correlation_id):
        client.verify(ust)
    provider.force_flush()
    trace_id = f"{root.get_span_context().trace_id:032x}"

    def ask() -> Any:
        buckets = f'lanyard_rpc_duration_seconds_bucket{{job="lanyard",method="{VERIFY}"}}'
        found = [exemplar["labels"] for exemplar in prometheus.exemplars(buckets)]
        return next((labels for labels in found if labels["trace_id"] == trace_id), None)

    exemplar = eventually(ask, f"exemplar of trace {trace_id}")

    def call() -> Any:
        found = jaeger.trace(exemplar["trace_id"])
        return found and next((span for span in spans(found) if span.span_id == exemplar["span_id"]), None)

    span = eventually(call, "span of the exemplar")
    assert span.name == f"lanyard.v1.{VERIFY}"
    assert span.tags["lanyard.correlation_id"] == correlation_id


def test_every_rule_can_be_evaluated_and_a_recorded_series_is_there(
    client: Client, server: Server, prometheus: Prometheus
) -> None:
    client.verify(client.log_in(*server.demo).ust)

    eventually(lambda: all(rule["health"] == "ok" for rule in prometheus.rules()), "good evaluation of every rule")
    rules = prometheus.rules()
    assert len(rules) > 20
    for rule in rules:
        if rule["type"] == "recording":
            eventually(lambda rule=rule: prometheus.query(rule["name"]), f"series {rule['name']}")


def test_the_alert_of_an_old_token_fires(client: Client, server: Server, prometheus: Prometheus) -> None:
    # An increase needs a first value.
    prometheus.scraped()
    old = client.log_in(*server.demo).ust
    newer = client.on_behalf_of(old).rotate().ust
    newest = client.on_behalf_of(newer).rotate().ust
    assert isinstance(client.verify(old), Inactive), "a token from before the last rotation is not good"
    assert isinstance(client.verify(newest), Inactive), "and ends the session"

    firing = 'ALERTS{alertname="LanyardTokenReuse",alertstate="firing",job="lanyard"}'
    eventually(lambda: prometheus.query(firing), "alert")
