"""The examples under config/examples/: what their own tools and the proxy say of them."""

import configparser
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from documents.blocks import ROOT
from proxy.config import load
from proxy.config.server_model import DrainConfig
from proxy.units import parse_duration

EXAMPLES = ROOT / "config" / "examples"
COMPOSE = EXAMPLES / "docker-compose"
UNITS = EXAMPLES / "systemd"
COMMAND = "/opt/resilience-proxy/bin/resilience-proxy"


@pytest.fixture
def services() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((COMPOSE / "compose.yaml").read_text())["services"]
    return found


def unit(file: Path) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str
    parser.read(file)
    return parser


def seconds(text: str) -> float:
    return parse_duration(text if text[-1].isalpha() else f"{text}s")


def test_the_sidecar_of_compose_shares_the_services_network(services: dict[str, Any]) -> None:
    sidecar = services["orders-proxy"]
    assert sidecar["network_mode"] == "service:orders"
    assert "ports" not in sidecar, "a shared network's ports are its owner's"
    assert sidecar["depends_on"] == ["orders"]
    loaded = load(COMPOSE / "config" / "proxy.yaml", sidecar["environment"])
    assert loaded.warnings == ()
    config = loaded.config
    assert seconds(sidecar["stop_grace_period"]) > config.drain.timeout
    ports = {port.rpartition(":")[2] for port in services["orders"]["ports"]}
    inbound = config.listeners.inbound.addresses[0]
    assert ports == {str(inbound.port), str(config.admin.address.port)}
    (outbound,) = config.listeners.outbound.addresses
    assert services["orders"]["environment"]["HTTP_PROXY"] == f"http://{outbound}"
    assert str(config.upstreams["app"].endpoints[0].port) in services["orders"]["command"]
    target, _, mode = sidecar["volumes"][0].partition(":")[2].partition(":")
    assert (target, mode) == ("/etc/resilience-proxy/config", "ro"), "where the image looks"


@pytest.mark.skipif(shutil.which("docker-compose") is None, reason="no docker-compose")
def test_docker_compose_reads_it() -> None:
    done = subprocess.run(
        ["docker-compose", "config", "--quiet"], cwd=COMPOSE, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_systemd_gives_a_drain_its_time_and_knows_its_statuses() -> None:
    service = unit(UNITS / "resilience-proxy.service")["Service"]
    assert seconds(service["TimeoutStopSec"]) > DrainConfig().timeout
    assert (service["SuccessExitStatus"], service["RestartPreventExitStatus"]) == ("3", "2")
    assert service["ExecReload"].split()[1:] == ["-HUP", "$MAINPID"]
    beside = unit(UNITS / "orders.service.d" / "resilience-proxy.conf")["Service"]
    assert beside["ExecStop"] == f"{COMMAND} drain"
    assert seconds(beside["TimeoutStopSec"]) > DrainConfig().timeout


@pytest.mark.parametrize("file", sorted(UNITS.rglob("*.service")) + sorted(UNITS.rglob("*.conf")))
def test_the_units_commands_exist(file: Path) -> None:
    from proxy.command_line.parser import make_parser

    commands = re.findall(rf"^Exec\w+={re.escape(COMMAND)} (.*)$", file.read_text(), re.MULTILINE)
    assert commands
    for command in commands:
        make_parser().parse_args(command.split())


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd")
def test_systemd_reads_the_unit(tmp_path: Path) -> None:
    """Its program in the place where this machine has one."""
    copy = tmp_path / "resilience-proxy.service"
    text = (UNITS / copy.name).read_text()
    copy.write_text(text.replace(COMMAND, sys.executable))
    done = subprocess.run(
        ["systemd-analyze", "verify", copy], capture_output=True, text=True, timeout=30
    )
    assert (done.returncode, done.stderr) == (0, "")
