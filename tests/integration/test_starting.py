"""Starting by flags and environment, at taken addresses, on both families, from several files."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from chaos.upstream import ChaosUpstream
from integration.ports import free_port, has_ipv6
from integration.running_proxy import RunningProxy, eventually

PLATFORM = """\
drain: {delay: 0s, timeout: 200ms}
access_log: {requests: all}
policies: {default: {retry: {attempts: 2}}}
routes: [{name: all, headers: {response: {set: {x-file: platform}}}}]
"""
TEAM = "routes: [{name: all, headers: {response: {set: {x-file: team}}}}]\n"


@pytest.fixture
def ports() -> tuple[int, int, int]:
    return free_port(), free_port(), free_port()


def addresses(ports: tuple[int, int, int]) -> list[str]:
    return [f"127.0.0.1:{port}" for port in ports]


def run(*arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    """A run that ends by itself."""
    return subprocess.run(
        [sys.executable, "-m", "proxy", "run", *arguments],
        env=os.environ | environment, capture_output=True, text=True, timeout=15,
    )  # fmt: skip


def test_by_flags_alone(ports: tuple[int, int, int], tmp_path: Path) -> None:
    outbound, inbound, admin = addresses(ports)
    errors = tmp_path / "stderr"
    with errors.open("wb") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-m", "proxy", "run", "--outbound", outbound, "--app", "9"],
            cwd=tmp_path,
            env=os.environ
            | {"RESILIENCE_PROXY_INBOUND": inbound, "RESILIENCE_PROXY_ADMIN": f"http://{admin}"},
            stderr=stderr,
            stdout=subprocess.DEVNULL,
        )
    try:
        eventually(lambda: "status page" in errors.read_text(), 15)
        lines = errors.read_text().splitlines()
        assert f"export HTTP_PROXY=http://{outbound}" in lines[1]
        assert inbound in lines[2]
        assert "forwarded to http://127.0.0.1:9" in lines[2]
        assert f"status page:  http://{admin}/" in lines[3]
        asked = subprocess.run(
            [sys.executable, "-m", "proxy", "ready"],
            env=os.environ | {"RESILIENCE_PROXY_ADMIN": admin},
        )
        assert asked.returncode == 0
        process.send_signal(signal.SIGINT)
        eventually(lambda: "SIGINT, a second one ends at once: draining" in errors.read_text())
        process.send_signal(signal.SIGINT)
        assert process.wait(5) == 0
    finally:
        process.kill()
        process.wait(5)


def test_every_taken_address_is_told_at_once(ports: tuple[int, int, int]) -> None:
    outbound, inbound, admin = addresses(ports)
    with (
        closing(socket.create_server(("127.0.0.1", ports[0]))),
        closing(socket.create_server(("127.0.0.1", ports[2]))),
    ):
        done = run("--outbound", outbound, "--inbound", inbound, "--admin", admin)
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        f"resilience-proxy: cannot listen on {admin} (admin.address, --admin): another process "
        "listens there",
        f"cannot listen on {outbound} (listeners.outbound.address, --outbound): another process "
        "listens there",
        "choose another address: run --admin 127.0.0.1:17072 --outbound 127.0.0.1:17070 (also "
        "$RESILIENCE_PROXY_ADMIN or $RESILIENCE_PROXY_OUTBOUND, or in the file)",
    ]


@pytest.mark.skipif(not has_ipv6(), reason="no ::1 here")
def test_the_ipv6_wildcard_and_lists_serve_every_address(
    tmp_path: Path, shared_chaos: ChaosUpstream
) -> None:
    port, other, admin = free_port(), free_port(), free_port()
    settings = {
        "listeners": {
            "outbound": {"address": f"[::]:{port}"},
            "inbound": {"address": [f"127.0.0.1:{other}", f"[::1]:{other}"]},
        },
        "admin": {"address": f"[::]:{admin}"},
        "upstreams": {"app": {"endpoints": [shared_chaos.url]}},
    }
    proxy = RunningProxyAtLists(tmp_path, settings, inbound=other)
    try:
        for host in ("127.0.0.1", "::1"):
            for at, path in (
                (port, f"{shared_chaos.url}/plain"),
                (other, "/plain"),
                (admin, "/status"),
            ):
                head = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
                with socket.create_connection((host, at), 5) as client:
                    client.sendall(head.encode())
                    assert client.recv(12) == b"HTTP/1.1 200", (host, at)
        eventually(lambda: len(proxy.log_lines()) == 4)
        clients = {line["client"] for line in proxy.log_lines()}
        assert clients == {"127.0.0.1", "::1"}, "and no mapped address"
    finally:
        proxy.stop()


class RunningProxyAtLists(RunningProxy):
    """`inbound` has a list of addresses, all at one port."""

    def __init__(self, directory: Path, settings: dict[str, object], *, inbound: int) -> None:
        self._inbound_port = inbound
        super().__init__(directory, settings)

    def _read_ports(self) -> None:
        self.inbound = self._inbound_port
        self.outbound = int(self.config["listeners"]["outbound"]["address"].rpartition(":")[2])
        self.admin = int(self.config["admin"]["address"].rpartition(":")[2])


@pytest.fixture
def layered(tmp_path: Path, ports: tuple[int, int, int]) -> Iterator[RunningProxy]:
    (tmp_path / "team.yaml").write_text(TEAM)
    proxy = LayeredProxy(tmp_path, ports)
    yield proxy
    proxy.stop()


class LayeredProxy(RunningProxy):
    """A platform's file and a team's, by $RESILIENCE_PROXY_CONFIG; the addresses by flags."""

    def __init__(self, directory: Path, ports: tuple[int, int, int]) -> None:
        self.directory = directory
        self.outbound, self.inbound, self.admin = ports
        (directory / "platform.yaml").write_text(PLATFORM)
        self._stdout, self._stderr = directory / "stdout", directory / "stderr"
        flags = zip(("--outbound", "--inbound", "--admin"), addresses(ports), strict=True)
        with self._stdout.open("wb") as out, self._stderr.open("wb") as err:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "proxy", "run", *(word for pair in flags for word in pair)],
                cwd=directory,
                env=os.environ | {"RESILIENCE_PROXY_CONFIG": "platform.yaml:team.yaml"},
                stdout=out,
                stderr=err,
            )
        self.wait_until_ready()


def test_a_team_over_a_platform(layered: RunningProxy, shared_chaos: ChaosUpstream) -> None:
    def header() -> str:
        return layered.call("GET", f"{shared_chaos.url}/plain").header("x-file") or ""

    def result() -> str:
        last = layered.state("/status")["config"]["last_reload"]
        return str(last["result"]) if last else ""

    assert header() == "team"
    assert layered.state("/status")["config"]["file"] == "platform.yaml:team.yaml"
    shown = layered.state("/config")["sources"]
    assert shown["routes[0].headers"] == "team.yaml:1"
    assert shown["routes[0].retry.attempts"] == "platform.yaml:3 (policy default)"
    assert shown["admin.address"] == "--admin"
    team = layered.directory / "team.yaml"
    team.write_text(TEAM + "drain: {delay: 5}\n")
    eventually(lambda: result() == "rejected")
    eventually(lambda: "team.yaml:2:16: drain.delay: 5 has no unit" in layered.errors)
    assert header() == "team"
    team.write_text("")
    eventually(lambda: "team.yaml: the file is empty" in layered.errors)
    assert header() == "team"
    team.write_text("{}\n")
    eventually(lambda: header() == "platform")
