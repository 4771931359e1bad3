"""Commands that ask a running proxy: orders to its breakers, and one look for programs."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from chaos.upstream import ChaosUpstream
from integration.running_proxy import RunningProxy, eventually


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


def test_the_tap(proxy: RunningProxy, tmp_path: Path) -> None:
    """Healthy requests too, by filter; also after a reload, and nothing once it has left."""
    with (tmp_path / "tap").open("wb") as out:
        tap = subprocess.Popen(
            [sys.executable, "-m", "proxy", "tap", "--route", "one", "--count", "2"],
            env=os.environ | {"RESILIENCE_PROXY_ADMIN": f"127.0.0.1:{proxy.admin}"},
            stdout=out,
        )
    try:

        def lines() -> list[str]:
            proxy.call("GET", "http://two/plain")
            proxy.call("GET", "http://one/plain")
            return (tmp_path / "tap").read_text().splitlines()

        eventually(lambda: len(lines()) >= 1, 10)
        assert proxy.ask("POST", "/reload")[0] == 200
        eventually(lambda: len(lines()) == 2, 10)
        assert tap.wait(5) == 0
        assert all("  200  GET      one/plain  one  " in line for line in lines())
    finally:
        tap.kill()
        tap.wait(5)
    assert proxy.metric("proxy_tap_dropped_total") == 0
