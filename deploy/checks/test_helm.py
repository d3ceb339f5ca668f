"""The chart makes, with the values that it comes with, what the overlay for production is."""

from __future__ import annotations

import re
import tomllib
from typing import Any

import pytest
import yaml

from files import DEPLOY, run
from test_kubernetes import VERSIONS, built

CHART = DEPLOY / "helm" / "lanyard"
Resources = dict[tuple[str, str], dict[str, Any]]


def rendered(*options: str) -> list[dict[str, Any]]:
    text = run("helm", "template", "lanyard", CHART, "--namespace", "lanyard", "--kube-version", VERSIONS[0], *options)
    return [resource for resource in yaml.safe_load_all(text) if resource]


def comparable(resources: list[dict[str, Any]]) -> Resources:
    """By kind and name, without what must differ: hashes in names, the namespace, comments in the configuration."""
    text = re.sub(r"lanyard-config-\w+", "lanyard-config", yaml.safe_dump_all(resources))
    text = re.sub(r"lanyard-migrate-\d+", "lanyard-migrate", text)
    found: Resources = {}
    for resource in yaml.safe_load_all(text):
        resource["metadata"].pop("namespace", None)
        if resource["kind"] == "ConfigMap":
            resource["data"] = tomllib.loads(resource["data"]["lanyard.toml"])
        if resource["kind"] != "Namespace":
            found[resource["kind"], resource["metadata"]["name"]] = resource
    return found


def test_helm_finds_nothing_wrong() -> None:
    run("helm", "lint", "--strict", CHART)


def test_it_makes_what_kustomize_makes_of_the_overlay_for_production() -> None:
    of_helm, of_kustomize = comparable(rendered()), comparable(built("production"))
    assert set(of_helm) == set(of_kustomize)
    for name, resource in of_kustomize.items():
        assert of_helm[name] == resource, name


def test_without_the_operator_it_has_none_of_its_kinds() -> None:
    kinds = {resource["apiVersion"] for resource in rendered("--set", "operator=false")}
    assert kinds and "monitoring.coreos.com/v1" not in kinds


@pytest.mark.parametrize("value", ["image.tag=1.2.3", "replicas=5", "secrets.database=other"])
def test_a_value_reaches_the_servers(value: str) -> None:
    assert value.split("=")[1] in str(comparable(rendered("--set", value))["Deployment", "lanyard"])
