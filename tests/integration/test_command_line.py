"""The command line: what each command prints and how it exits. Contract, section 1."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from integration.running_proxy import RunningProxy, eventually

GOOD = """\
upstreams:
  stock: {endpoints: ["http://127.0.0.1:9"]}
policies:
  patient: {timeouts: {attempt: 7s}}
routes:
  - {name: orders, match: {prefix: /orders}, upstream: stock, policy: patient, retry: {attempts: 2}}
  - {name: rest, match: {prefix: /}, upstream: stock}
"""
BAD = """\
upstreams:
  stock: {endpoints: ["http://127.0.0.1:9"]}
routes:
  - name: orders
    upstream: stocks
    retry: {max_attempt: 2}
    timeouts: {attempt: 5}
"""


def _run(*arguments: str, stdin: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", "proxy", *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=20,
        env=os.environ | environment,
    )
    assert "Traceback" not in done.stderr + done.stdout
    return done


@pytest.fixture
def good(tmp_path: Path) -> Path:
    file = tmp_path / "good.yaml"
    file.write_text(GOOD)
    return file


@pytest.fixture
def bad(tmp_path: Path) -> Path:
    file = tmp_path / "bad.yaml"
    file.write_text(BAD)
    return file


@pytest.mark.parametrize("command", [None, "run"])  # all: tests/unit/test_cli.py
def test_help(command: str | None) -> None:
    done = _run(*([command] if command else []), "-h")
    assert done.returncode == 0
    assert "usage" in done.stdout.lower()


@pytest.mark.parametrize(
    "arguments", [["fly"], ["check"], ["run", "--speed", "9"], ["explain", "x"], ["drain", "now"]]
)
def test_bad_usage(arguments: list[str]) -> None:
    done = _run(*arguments)
    assert done.returncode == 2
    assert done.stderr
    assert not done.stdout


def test_check_of_a_good_file(good: Path) -> None:
    done = _run("check", str(good))
    assert (done.returncode, done.stderr) == (0, "")
    assert "orders" in done.stdout
    assert "rest" in done.stdout


def test_check_tells_all_problems_with_their_places(bad: Path) -> None:
    done = _run("check", str(bad))
    assert done.returncode == 2
    problems = done.stderr
    for line, what in ((5, "stocks"), (6, "max_attempt"), (7, "attempt")):
        assert re.search(rf"bad\.yaml:{line}:\d+: .*{what}", problems), problems
    assert "did you mean 'attempts'?" in problems


def test_check_of_a_file_that_is_not_there(tmp_path: Path) -> None:
    done = _run("check", str(tmp_path / "none.yaml"))
    assert done.returncode == 2
    assert "none.yaml" in done.stderr


@pytest.mark.parametrize("way", ["option", "environment"])
def test_run_refuses_a_bad_file(bad: Path, way: str) -> None:
    if way == "option":
        done = _run("run", "--config", str(bad))
    else:
        done = _run("run", RESILIENCE_PROXY_CONFIG=str(bad))
    assert done.returncode == 2
    assert "bad.yaml:6:" in done.stderr


def test_run_refuses_a_file_that_is_not_there(tmp_path: Path) -> None:
    done = _run("run", "--config", str(tmp_path / "none.yaml"))
    assert done.returncode == 2
    assert "none.yaml" in done.stderr


def test_run_on_an_address_in_use(start_proxy: Callable[..., RunningProxy], tmp_path: Path) -> None:
    proxy = start_proxy({})
    done = _run("run", "--config", str(proxy.file))
    assert done.returncode == 1
    taken = (proxy.outbound, proxy.inbound, proxy.admin)
    assert any(f"127.0.0.1:{port}" in done.stderr for port in taken)


def test_run_prints_where_it_serves(start_proxy: Callable[..., RunningProxy]) -> None:
    proxy = start_proxy({})
    setting = f"HTTP_PROXY=http://127.0.0.1:{proxy.outbound}"
    eventually(lambda: setting in proxy.output + proxy.errors)
    ports = (proxy.outbound, proxy.inbound, proxy.admin)
    eventually(lambda: all(f"127.0.0.1:{port}" in proxy.output + proxy.errors for port in ports))


def test_explain(good: Path) -> None:
    done = _run("explain", str(good), "POST", "http://shop.test/orders/7", "-H", "x-tenant: gold")
    assert (done.returncode, done.stderr) == (0, "")
    assert "orders" in done.stdout
    assert "good.yaml:6" in done.stdout, "the attempts come from the route's own line"
    assert "good.yaml:4" in done.stdout, "the attempt's time from the policy's"
    assert "default" in done.stdout


def test_explain_says_why_earlier_routes_do_not_take_it(good: Path) -> None:
    done = _run("explain", str(good), "GET", "http://shop.test/other")
    assert done.returncode == 0
    assert "rest" in done.stdout
    assert "/orders" in done.stdout


def test_schema_is_json() -> None:
    done = _run("schema")
    assert done.returncode == 0
    document = json.loads(done.stdout)
    assert {"listeners", "upstreams", "policies", "routes"} <= document["properties"].keys()


def test_the_installed_command_is_the_same(good: Path) -> None:
    script = Path(sys.executable).with_name("resilience-proxy")
    if not script.exists():
        pytest.skip("the package is not installed, only on the path")
    done = subprocess.run([script, "check", good], capture_output=True, timeout=20)
    assert done.returncode == 0
