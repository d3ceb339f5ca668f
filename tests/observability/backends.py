"""The collector, Jaeger and Prometheus, run with the configurations of deploy/, and asked."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import requests
import yaml

from processes import DEPLOY, Process, eventually, free_address

Series = dict[str, Any]


def _answers(url: str) -> bool:
    try:
        return requests.get(url, timeout=2).status_code == 200
    except requests.ConnectionError:
        return False


class Jaeger:
    """What was traced."""

    def __init__(self, folder: Path) -> None:
        self.otlp = free_address()
        self._http = free_address()
        own_host, own_port = free_address().split(":")
        health = free_address()
        self._process = Process(
            ["jaeger", "--config", str(DEPLOY / "jaeger" / "config.yaml")],
            folder / "jaeger.log",
            {
                "JAEGER_OTLP_GRPC": self.otlp,
                "JAEGER_HTTP": self._http,
                "JAEGER_GRPC": free_address(),
                "JAEGER_HEALTH": health,
                "JAEGER_OWN_HOST": own_host,
                "JAEGER_OWN_PORT": own_port,
            },
        )
        self._process.ready(lambda: _answers(f"http://{health}/status"))

    def stop(self) -> None:
        # What it remembers goes with it; it would wait for connections first.
        self._process.kill()

    def traces_of(self, correlation_id: str) -> list[dict[str, Any]]:
        """All traces in which Lanyard names this correlation ID, as an operator looks them up."""
        tags = json.dumps({"lanyard.correlation_id": correlation_id})
        asked = {"service": "lanyard", "tags": tags, "lookback": "1h", "limit": "100"}
        return list(self._get("/api/traces", asked)["data"] or [])

    def trace(self, trace_id: str) -> dict[str, Any] | None:
        answer = requests.get(f"http://{self._http}/api/traces/{trace_id}", timeout=10)
        if answer.status_code == 404:
            return None
        answer.raise_for_status()
        return next(iter(answer.json()["data"] or []), None)

    def _get(self, path: str, parameters: dict[str, str]) -> dict[str, Any]:
        answer = requests.get(f"http://{self._http}{path}", params=parameters, timeout=10)
        answer.raise_for_status()
        return dict(answer.json())


class Collector:
    """What Lanyard sends to. It can be killed, and started again at the same place."""

    def __init__(self, folder: Path, jaeger: Jaeger) -> None:
        self.grpc = free_address()
        self.http = free_address()
        self.metrics = free_address()
        self.own_metrics = free_address()
        self.log_file = folder / "logs" / "lanyard.jsonl"
        self._folder = folder
        self.log_file.parent.mkdir()
        self._health = free_address()
        own_host, own_port = self.own_metrics.split(":")
        self._environment = {
            "COLLECTOR_OTLP_GRPC": self.grpc,
            "COLLECTOR_OTLP_HTTP": self.http,
            "COLLECTOR_METRICS": self.metrics,
            "COLLECTOR_HEALTH": self._health,
            "COLLECTOR_OWN_HOST": own_host,
            "COLLECTOR_OWN_PORT": own_port,
            "COLLECTOR_LOG_FILE": str(self.log_file),
            "COLLECTOR_BATCH_TIMEOUT": "100ms",
            "JAEGER_OTLP_GRPC": jaeger.otlp,
        }
        self.start()

    def start(self) -> None:
        self.process = Process(
            ["collector", "--config", str(DEPLOY / "collector" / "config.yaml")],
            self._folder / "collector.log",
            self._environment,
        )
        self.process.ready(lambda: _answers(f"http://{self._health}/"))

    def log_records(self) -> Iterator[dict[str, Any]]:
        """Each record, its attributes as a dictionary."""
        if not self.log_file.exists():
            return
        # What follows the last end of a line is still being written.
        whole = self.log_file.read_text().rpartition("\n")[0]
        for line in whole.splitlines():
            for resource in json.loads(line)["resourceLogs"]:
                for scope in resource["scopeLogs"]:
                    for record in scope["logRecords"]:
                        yield {
                            **record,
                            "attributes": attributes(record.get("attributes", [])),
                            "resource": attributes(resource["resource"]["attributes"]),
                        }


def attributes(pairs: list[dict[str, Any]]) -> dict[str, Any]:
    return {pair["key"]: next(iter(pair["value"].values()), None) for pair in pairs}


class Prometheus:
    """What was counted. It scrapes and evaluates much more often than that of deploy/, and is the same otherwise."""

    INTERVAL = 0.5
    # Several scrapes long.
    RATE_INTERVAL = "10s"

    def __init__(self, folder: Path, targets: dict[str, str]) -> None:
        self._http = free_address()
        config = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yaml").read_text())
        config["global"] = {"scrape_interval": f"{self.INTERVAL * 1000:.0f}ms", "evaluation_interval": "1s"}
        config["rule_files"] = [str(DEPLOY / "prometheus" / "rules" / "*.yaml")]
        for job in config["scrape_configs"]:
            job["static_configs"] = [{"targets": [targets[job["job_name"]]]}]
            # What comes both ways must be told apart here.
            job.pop("honor_labels", None)
        file = folder / "prometheus.yaml"
        file.write_text(yaml.safe_dump(config))
        self._process = Process(
            [
                "prometheus",
                f"--config.file={file}",
                f"--storage.tsdb.path={folder / 'prometheus'}",
                f"--web.listen-address={self._http}",
                "--enable-feature=exemplar-storage",
            ],
            folder / "prometheus.log",
        )
        self._process.ready(lambda: _answers(f"http://{self._http}/-/ready"))

    def stop(self) -> None:
        self._process.stop()

    def query(self, expression: str) -> list[Series]:
        return list(self._get("query", {"query": expression})["result"])

    def value(self, expression: str) -> float:
        """Of one series; 0 where there is none yet."""
        series = self.query(expression)
        assert len(series) < 2, f"{expression} has several series: {series}"
        return float(series[0]["value"][1]) if series else 0.0

    def range(self, expression: str, start: float, end: float, step: float) -> list[Series]:
        asked = {"query": expression, "start": f"{start}", "end": f"{end}", "step": f"{step}"}
        return list(self._get("query_range", asked)["result"])

    def exemplars(self, expression: str) -> list[dict[str, Any]]:
        now = time.time()
        asked = {"query": expression, "start": f"{now - 3600}", "end": f"{now + 60}"}
        return [exemplar for series in self._get("query_exemplars", asked) for exemplar in series["exemplars"]]

    def rules(self) -> list[dict[str, Any]]:
        return [rule for group in self._get("rules", {})["groups"] for rule in group["rules"]]

    def scraped(self) -> None:
        """Returns when everything has been scraped once more."""
        before = time.time()

        def all_scraped() -> bool:
            times = self.query("min(timestamp(up))")
            return bool(times) and float(times[0]["value"][1]) > before

        eventually(all_scraped, "scrape")

    def _get(self, what: str, parameters: dict[str, str]) -> Any:
        answer = requests.get(f"http://{self._http}/api/v1/{what}", params=parameters, timeout=10)
        assert answer.ok, f"{what} {parameters}: {answer.text}"
        return answer.json()["data"]
