"""Rules and dashboard ask for what Lanyard has, and each alert says what to do."""

import json
import re
import sys

from files import DEPLOY, ROOT, read, run

RULES = sorted((DEPLOY / "prometheus" / "rules").glob("*.yaml"))
ALL_RULES = [rule for file in RULES for group in read(file)["groups"] for rule in group["rules"]]
ALERTS = {rule["alert"]: rule for rule in ALL_RULES if "alert" in rule}
RECORDED = {rule["record"] for rule in ALL_RULES if "record" in rule}
DASHBOARD = json.loads((DEPLOY / "grafana" / "dashboards" / "lanyard.json").read_text())
PAGES = "https://github.com/lanyard/lanyard/blob/main/deploy/alerts.md#"


def expressions() -> list[str]:
    asked = [rule["expr"] for rule in ALL_RULES]
    asked += [target["expr"] for panel in DASHBOARD["panels"] for target in panel.get("targets", [])]
    return asked + [variable["definition"] for variable in DASHBOARD["templating"]["list"]]


def test_promtool_accepts_the_configuration_and_the_rules() -> None:
    run("promtool", "check", "config", DEPLOY / "prometheus" / "prometheus.yaml")
    run("promtool", "check", "rules", *RULES)


def test_each_alert_fires_when_it_should_and_only_then() -> None:
    run("promtool", "test", "rules", DEPLOY / "prometheus" / "tests" / "alerts.yaml")


def test_no_alert_is_untested() -> None:
    fired = {
        expected["alertname"]
        for test in read("prometheus/tests/alerts.yaml")["tests"]
        for expected in test.get("alert_rule_test", [])
        if expected["exp_alerts"]
    }
    assert fired == set(ALERTS)


def test_each_alert_has_a_section_that_says_what_to_do() -> None:
    headings = re.findall(r"^## (\w+)$", (DEPLOY / "alerts.md").read_text(), re.MULTILINE)
    assert sorted(headings) == sorted(ALERTS)
    for name, rule in ALERTS.items():
        assert rule["annotations"]["runbook_url"] == PAGES + name.lower()
        assert rule["labels"]["severity"] in {"page", "ticket"}
        assert rule["annotations"]["summary"]


def test_every_metric_that_is_asked_for_is_one_that_lanyard_documents() -> None:
    table = (ROOT / "server" / "TELEMETRY.md").read_text()
    documented = set(re.findall(r"^\| `(lanyard_\w+)` \|", table, re.MULTILINE))
    assert documented
    for expression in expressions():
        for name in re.findall(r"(?<![:\w])lanyard_\w+(?!\w*:)", expression):
            assert re.sub(r"_(bucket|count|sum)$", "", name) in documented, f"{name} in {expression}"
        for name in re.findall(r"\w+:\w+:\w+", expression):
            assert name in RECORDED, f"{name} in {expression}"


def test_the_rules_of_the_operator_are_those_of_prometheus() -> None:
    written = (DEPLOY / "kubernetes" / "components" / "monitoring" / "prometheus-rule.yaml").read_text()
    assert run(sys.executable, DEPLOY / "prometheus" / "operator") == written, (
        "write it anew: see deploy/prometheus/operator"
    )


def test_the_dashboard_speaks_of_alerts_that_there_are() -> None:
    spoken_of = {
        name for panel in DASHBOARD["panels"] for name in re.findall(r"Lanyard[A-Z]\w+", panel.get("description", ""))
    }
    assert spoken_of and spoken_of <= set(ALERTS)


def test_the_panels_of_the_dashboard_have_numbers_of_their_own_and_do_not_overlap() -> None:
    panels = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: dict[tuple[int, int], str] = {}
    for panel in panels:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        for x in range(place["x"], place["x"] + place["w"]):
            for y in range(place["y"], place["y"] + place["h"]):
                assert (x, y) not in taken, f"{panel['title']} lies on {taken[x, y]}"
                taken[x, y] = panel["title"]


def test_the_dashboard_asks_the_sources_that_grafana_is_provisioned_with() -> None:
    sources = {source["uid"]: source for source in read("grafana/provisioning/datasources/lanyard.yaml")["datasources"]}
    asked = {target["datasource"]["uid"] for panel in DASHBOARD["panels"] for target in panel.get("targets", [])}
    assert asked <= set(sources)
    (exemplars,) = sources["prometheus"]["jsonData"]["exemplarTraceIdDestinations"]
    assert exemplars == {"name": "trace_id", "datasourceUid": "jaeger", "urlDisplayLabel": "Trace"}
    assert sources["jaeger"]["type"] == "jaeger"
