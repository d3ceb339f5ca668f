"""The dashboard asks nothing in vain: each of its queries returns series of a server that has been in use."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from lanyard import Client, Inactive, LanyardError, Ust

import drawing
from backends import Prometheus
from lanyard_server import Server
from load import Load
from processes import DEPLOY, eventually

DASHBOARD = DEPLOY / "grafana" / "dashboards" / "lanyard.json"
# What Grafana puts in the place of its variables; only what is scraped.
VARIABLES = {
    "$__rate_interval": Prometheus.RATE_INTERVAL,
    "$__range": "5m",
    "$job": "lanyard",
    "$instance": ".*",
    "$method": ".*",
}
# Long enough for curves.
LOAD_SECONDS = 12.0


def panels() -> Iterator[dict[str, Any]]:
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        if panel["type"] != "row":
            yield panel


def filled_in(expression: str) -> str:
    for variable, value in VARIABLES.items():
        expression = expression.replace(variable, value)
    assert "$" not in expression, f"no value for a variable of {expression}"
    return expression


def misuse(client: Client, server: Server) -> None:
    """What dashboards are for: wrong passwords until logins are throttled, junk, and calls without a right."""
    demo = client.on_behalf_of(client.log_in(*server.demo).ust)
    attempts = [lambda: client.log_in("mallory", "guess")] * 10
    attempts += [
        lambda: client.verify("not a token"),
        lambda: demo.get_user_by_name("nobody"),
        lambda: demo.list_users().next_page(),
        lambda: client.on_behalf_of("lyu1_gone").current_session(),
        lambda: client.log_in_basic_auth(*server.basic_auth),
        lambda: demo.get_linked_auth_list(),
    ]
    for attempt in attempts:
        with suppress(LanyardError, ValueError):
            attempt()


def reuse(client: Client, old: Ust) -> None:
    newer = client.on_behalf_of(old).rotate().ust
    client.on_behalf_of(newer).rotate()
    assert isinstance(client.verify(old), Inactive)


@pytest.fixture(scope="module")
def in_use(outage: Load, client: Client, server: Server, prometheus: Prometheus) -> tuple[float, float]:
    """When the server was used for all that the dashboard shows; what is dropped was, before."""
    start = time.time()
    with Load(server, client) as load:
        while time.time() < start + LOAD_SECONDS:
            misuse(client, server)
            demo = client.on_behalf_of(client.log_in(*server.demo).ust)
            demo.get_linked_auth_list()
            demo.log_out()
            reuse(client, client.log_in(*server.demo).ust)
    assert not load.failures
    prometheus.scraped()
    return start, time.time()


@pytest.mark.parametrize("panel", list(panels()), ids=lambda panel: panel["title"])
def test_every_query_of_the_dashboard_returns_series(
    panel: dict[str, Any], in_use: tuple[float, float], prometheus: Prometheus
) -> None:
    assert panel["targets"]
    for target in panel["targets"]:
        expression = filled_in(target["expr"])
        eventually(lambda e=expression: prometheus.range(e, *in_use, step=1), f"series of {expression}", patience=5)


def test_the_variables_and_annotations_of_the_dashboard_return_series(
    in_use: tuple[float, float], prometheus: Prometheus
) -> None:
    dashboard = json.loads(DASHBOARD.read_text())
    for variable in dashboard["templating"]["list"]:
        selector, label = variable["definition"].removeprefix("label_values(").removesuffix(")").rsplit(", ", 1)
        series = prometheus.query(filled_in(selector))
        assert series and all(label in one["metric"] for one in series), variable["definition"]
    for annotation in dashboard["annotations"]["list"]:
        prometheus.query(annotation["expr"])


def test_the_key_graphs_can_be_drawn_from_what_prometheus_has(
    in_use: tuple[float, float], prometheus: Prometheus, pictures: Path
) -> None:
    drawn = []
    for panel in panels():
        if panel["title"] in drawing.KEY_GRAPHS:
            series = [
                (target.get("legendFormat", ""), prometheus.range(filled_in(target["expr"]), *in_use, step=0.5))
                for target in panel["targets"]
            ]
            buckets = f'lanyard_rpc_duration_seconds_bucket{{job="{VARIABLES["$job"]}"}}'
            exemplars = prometheus.exemplars(buckets) if panel["type"] == "heatmap" else []
            drawn.append(
                drawing.Graph(panel["title"], panel["fieldConfig"]["defaults"].get("unit", "s"), series, exemplars)
            )
    assert {graph.title for graph in drawn} == drawing.KEY_GRAPHS
    drawing.dashboard(drawn, in_use, pictures / "dashboard.svg")
