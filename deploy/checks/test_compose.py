"""compose.yaml says what compose understands, and starts nothing that is open to others."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from compose_spec import PyCompose

from files import DEPLOY, ROOT, read, show_configuration

COMPOSE: dict[str, Any] = read("compose.yaml")
SERVICES: dict[str, Any] = COMPOSE["services"]


def test_the_specification_of_compose_accepts_it() -> None:
    PyCompose.from_json(json.dumps(COMPOSE)).validate()


def test_it_names_services_volumes_and_networks_that_there_are() -> None:
    for name, service in SERVICES.items():
        assert set(service.get("depends_on", {})) <= set(SERVICES), name
        assert set(service["networks"]) <= set(COMPOSE["networks"]), name
        for mount in service.get("volumes", []):
            source = mount.split(":")[0]
            assert (DEPLOY / source).exists() if source.startswith(".") else source in COMPOSE["volumes"], mount


def test_what_is_ours_to_harden_has_a_read_only_root_and_no_capabilities() -> None:
    for name, service in SERVICES.items():
        # PostgreSQL's image changes the owner of its folder when it starts.
        if name != "postgres":
            assert service["read_only"] and service["cap_drop"] == ["ALL"], name
            assert service["security_opt"] == ["no-new-privileges:true"], name


def test_ports_are_published_on_loopback_only() -> None:
    ports = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert ports and all(port.startswith("127.0.0.1:") for port in ports)


def test_images_have_a_version_and_name_no_registry() -> None:
    for name, service in SERVICES.items():
        assert re.fullmatch(r"[a-z0-9-]+(/[a-z0-9-]+)?:[\w.-]+", service["image"]), f"{name}: {service['image']}"


def test_there_is_time_to_drain() -> None:
    shown = show_configuration(DEPLOY / "container" / "lanyard.toml")
    wait, drain = (int(re.search(rf'{key} = "(\d+)s"', shown)[1]) for key in ("drain_delay", "drain_timeout"))
    assert wait + drain + 10 <= int(SERVICES["lanyard"]["stop_grace_period"].removesuffix("s"))


@pytest.mark.parametrize("section", ["collector", "jaeger"])
def test_addresses_of_the_configurations_are_services_and_their_ports(section: str) -> None:
    text = (DEPLOY / section / "config.yaml").read_text() + (DEPLOY / "prometheus" / "prometheus.yaml").read_text()
    text += (DEPLOY / "grafana" / "provisioning" / "datasources" / "lanyard.yaml").read_text()
    text += (DEPLOY / "container" / "lanyard.toml").read_text()
    listens = set(re.findall(r"0\.0\.0\.0:(\d+)", (DEPLOY / section / "config.yaml").read_text()))
    listens |= set(re.findall(r"_PORT:-(\d+)", (DEPLOY / section / "config.yaml").read_text()))
    asked = set(re.findall(rf"\b{section}:(\d+)", text))
    assert asked and asked <= listens


def test_the_context_of_the_build_is_the_repository() -> None:
    build = SERVICES["lanyard"]["build"]
    assert (DEPLOY / build["context"]).resolve() == ROOT
    assert (ROOT / build["dockerfile"]).is_file()
