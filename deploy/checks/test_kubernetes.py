"""What kustomize makes of the overlays is what Kubernetes and the Prometheus operator take, and is restricted."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from cloudcoil.models.prometheus_operator import v1 as prometheus_operator

from files import DEPLOY, run, show_configuration

KUBERNETES = DEPLOY / "kubernetes"
OVERLAYS = sorted(path.name for path in (KUBERNETES / "overlays").iterdir())
# The oldest that is meant to work, and the newest that there is a schema of.
VERSIONS = ["1.30", "1.37"]
PODS = [("Deployment", "lanyard"), ("Job", "lanyard-migrate")]
OPERATOR = "monitoring.coreos.com/v1"


def built(overlay: str) -> list[dict[str, Any]]:
    kustomize = ["kubectl", "kustomize"] if shutil.which("kubectl") else ["kustomize", "build"]
    return list(yaml.safe_load_all(run(*kustomize, KUBERNETES / "overlays" / overlay)))


@pytest.fixture(scope="module", params=OVERLAYS)
def resources(request: pytest.FixtureRequest) -> list[dict[str, Any]]:
    return built(request.param)


def one(resources: list[dict[str, Any]], kind: str, name: str) -> dict[str, Any]:
    (found,) = [r for r in resources if r["kind"] == kind and r["metadata"]["name"] == name]
    return found


def pods(resources: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [one(resources, kind, name)["spec"]["template"] for kind, name in PODS]


@pytest.mark.parametrize("version", VERSIONS)
def test_the_schemas_of_kubernetes_accept_every_resource(resources: list[dict[str, Any]], version: str) -> None:
    checked = [resource["kind"] for resource in resources if resource["apiVersion"] != OPERATOR]
    for resource in resources:
        if resource["apiVersion"] != OPERATOR:
            kubernetes_validate.validate(resource, version, strict=True)
    assert {"Deployment", "Job", "Service", "PodDisruptionBudget", "NetworkPolicy", "ConfigMap", "Namespace"} <= set(
        checked
    )


def test_the_schemas_refuse_a_key_that_there_is_not(resources: list[dict[str, Any]]) -> None:
    deployment = one(resources, "Deployment", "lanyard")
    wrong = {**deployment, "spec": {**deployment["spec"], "replica": 3}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, VERSIONS[-1], strict=True)


def test_the_models_of_the_operator_know_every_key(resources: list[dict[str, Any]]) -> None:
    kinds = set()
    for resource in resources:
        if resource["apiVersion"] == OPERATOR:
            model = getattr(prometheus_operator, resource["kind"]).model_validate(resource)
            # A key that the model does not know is not in what it makes.
            assert model.model_dump(mode="json", by_alias=True, exclude_unset=True) == resource
            kinds.add(resource["kind"])
    assert kinds == {"ServiceMonitor", "PrometheusRule"}


def test_pods_fit_the_restricted_standard_and_have_a_read_only_root(resources: list[dict[str, Any]]) -> None:
    namespaces = [resource for resource in resources if resource["kind"] == "Namespace"]
    assert all(n["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted" for n in namespaces)
    for pod in pods(resources):
        assert pod["spec"]["securityContext"]["runAsNonRoot"] and pod["spec"]["securityContext"]["runAsUser"] > 0
        assert pod["spec"]["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert not pod["spec"]["automountServiceAccountToken"]
        for container in pod["spec"]["containers"]:
            security = container["securityContext"]
            assert not security["allowPrivilegeEscalation"] and security["readOnlyRootFilesystem"]
            assert security["capabilities"] == {"drop": ["ALL"]}
            assert "memory" in container["resources"]["limits"]


def test_probes_and_monitoring_ask_the_admin_port(resources: list[dict[str, Any]]) -> None:
    (container,) = one(resources, "Deployment", "lanyard")["spec"]["template"]["spec"]["containers"]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    for probe, path in (("startupProbe", "/readyz"), ("readinessProbe", "/readyz"), ("livenessProbe", "/livez")):
        assert container[probe]["httpGet"] == {"path": path, "port": "admin"}
    monitor = one(resources, "ServiceMonitor", "lanyard")["spec"]
    (endpoint,) = monitor["endpoints"]
    service = one(resources, "Service", "lanyard-pods")
    assert endpoint["port"] in {port["name"] for port in service["spec"]["ports"]}
    assert monitor["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    assert ports == {"grpc": 50051, "admin": 9464}


def test_what_selects_the_servers_selects_them_and_not_the_migration(resources: list[dict[str, Any]]) -> None:
    server, migration = (pod["metadata"]["labels"].items() for pod in pods(resources))
    selectors = [
        one(resources, "Deployment", "lanyard")["spec"]["selector"]["matchLabels"],
        one(resources, "Service", "lanyard")["spec"]["selector"],
        one(resources, "Service", "lanyard-pods")["spec"]["selector"],
        one(resources, "PodDisruptionBudget", "lanyard")["spec"]["selector"]["matchLabels"],
        one(resources, "NetworkPolicy", "lanyard")["spec"]["podSelector"]["matchLabels"],
    ]
    spread = one(resources, "Deployment", "lanyard")["spec"]["template"]["spec"]["topologySpreadConstraints"]
    selectors += [constraint["labelSelector"]["matchLabels"] for constraint in spread]
    for selector in selectors:
        assert selector.items() <= server and not selector.items() <= migration, selector
    assert one(resources, "NetworkPolicy", "lanyard-migrate")["spec"]["podSelector"]["matchLabels"].items() <= migration


def test_the_configuration_is_good_and_leaves_time_to_drain(resources: list[dict[str, Any]], tmp_path: Path) -> None:
    (configuration,) = [r for r in resources if r["kind"] == "ConfigMap"]
    file = tmp_path / "lanyard.toml"
    file.write_text(configuration["data"]["lanyard.toml"])
    shown = show_configuration(file)
    wait, drain = (int(re.search(rf'{key} = "(\d+)s"', shown)[1]) for key in ("drain_delay", "drain_timeout"))
    pod = one(resources, "Deployment", "lanyard")["spec"]["template"]["spec"]
    assert wait + drain + 10 <= pod["terminationGracePeriodSeconds"]
    assert 'listen = "0.0.0.0:9464"' in shown and 'listen = "0.0.0.0:50051"' in shown


def test_every_file_that_the_configuration_names_is_mounted(resources: list[dict[str, Any]]) -> None:
    (configuration,) = [r for r in resources if r["kind"] == "ConfigMap"]
    named = re.findall(r'"(/[^"]+)"', configuration["data"]["lanyard.toml"])
    for pod in pods(resources):
        (container,) = pod["spec"]["containers"]
        mounted = [mount["mountPath"] for mount in container["volumeMounts"]]
        for path in named:
            assert any(path.startswith(f"{mount}/") for mount in mounted), f"{path} is in none of {mounted}"


def test_images_have_a_version_and_name_no_registry(resources: list[dict[str, Any]]) -> None:
    for pod in pods(resources):
        for container in pod["spec"]["containers"]:
            assert re.fullmatch(r"lanyard:[\w.]+", container["image"])


def test_migration_and_servers_are_of_one_version(resources: list[dict[str, Any]]) -> None:
    assert len({container["image"] for pod in pods(resources) for container in pod["spec"]["containers"]}) == 1
