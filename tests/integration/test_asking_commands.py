"""Commands that ask a running proxy: orders to its breakers, and one look for programs."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from chaos.upstream import ChaosUpstream
from integration.running_proxy import RunningProxy


@pytest.fixture
def proxy(tmp_path: Path, shared_chaos: ChaosUpstream) -> Iterator[RunningProxy]:
    endpoints = {"endpoints": [shared_chaos.url]}
    settings = {
        "upstreams": {"one": endpoints, "two": endpoints},
        "routes": [
            {"name": name, "upstream": name, "match": {"hosts": [name]}} for name in ("one", "two")
        ],
        "policies": {"default": {"circuit_breaker": {"mode": "enforce"}}},
    }
    running = RunningProxy(tmp_path, settings)
    yield running
    running.stop()


def command(proxy: RunningProxy, *words: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "proxy", *words],
        env=os.environ | {"RESILIENCE_PROXY_ADMIN": f"127.0.0.1:{proxy.admin}"},
        capture_output=True,
        text=True,
        timeout=15,
    )


def test_orders_to_breakers(proxy: RunningProxy) -> None:
    for name in ("one", "two"):
        assert proxy.call("GET", f"http://{name}/plain").status == 200
    done = command(proxy, "breaker", "all", "force-open")
    assert (done.returncode, done.stderr) == (0, "")
    assert sorted(done.stdout.splitlines()) == ["one: forced open", "two: forced open"]
    assert proxy.call("GET", "http://one/plain").status == 503
    assert command(proxy, "breaker", "one", "reset").stdout == "one: closed\n"
    assert proxy.call("GET", "http://one/plain").status == 200
    assert proxy.call("GET", "http://two/plain").status == 503
    assert command(proxy, "breaker", "on", "reset").returncode == 1


def test_one_look_for_programs(proxy: RunningProxy) -> None:
    assert proxy.call("GET", "http://one/plain").status == 200
    done = command(proxy, "top", "--once", "--format", "json", "--interval", "50ms")
    assert (done.returncode, done.stderr) == (0, "")
    found = json.loads(done.stdout)
    assert {one["name"]: one["total"] for one in found["routes"]}["one"] == 1
    assert found["breakers"][0]["state"] == "closed"
