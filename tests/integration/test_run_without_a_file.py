"""`run` with no file at all: the embedded default, on its own well-known ports."""

import fcntl
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from chaos.upstream import ChaosUpstream
from integration.running_proxy import accepts, eventually
from integration.tools import curl

OUTBOUND, INBOUND, ADMIN = 7070, 7071, 7072


@pytest.fixture
def default_ports() -> Iterator[None]:
    """The three ports for this test alone, on this machine."""
    with Path(tempfile.gettempdir(), "resilience-proxy-default-ports.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if any(accepts(port) for port in (OUTBOUND, INBOUND, ADMIN)):
            pytest.skip("something else serves on 7070 to 7072")
        yield


@pytest.fixture
def process(default_ports: None, tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    environment = {k: v for k, v in os.environ.items() if k != "RESILIENCE_PROXY_CONFIG"}
    with (tmp_path / "out").open("wb") as out:
        started = subprocess.Popen(
            [sys.executable, "-m", "proxy", "run"],
            cwd=tmp_path,
            stdout=out,
            stderr=subprocess.STDOUT,
            env=environment,
        )
    try:
        end = time.monotonic() + 15
        while not _ready():
            assert started.poll() is None, (tmp_path / "out").read_text()
            assert time.monotonic() < end
            time.sleep(0.02)
        yield started
        assert "Traceback" not in (tmp_path / "out").read_text()
    finally:
        if started.poll() is None:
            started.kill()
        started.wait(5)


def _ready() -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{ADMIN}/health/ready", timeout=2) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def test_it_serves(
    process: subprocess.Popen[bytes], shared_chaos: ChaosUpstream, tmp_path: Path
) -> None:
    setting = "export HTTP_PROXY=http://127.0.0.1:7070"
    eventually(lambda: setting in (tmp_path / "out").read_text())
    command = [curl(), "-sS", "--max-time", "5", "-x", f"http://127.0.0.1:{OUTBOUND}"]
    done = subprocess.run(
        [*command, f"{shared_chaos.url}/plain"], capture_output=True, check=True, text=True
    )
    assert done.stdout == "ok"
    with urllib.request.urlopen(f"http://127.0.0.1:{ADMIN}/metrics", timeout=2) as answer:
        lines = answer.read().decode().splitlines()
    counted = [line for line in lines if line.startswith("proxy_requests_total{")]
    assert any('listener="outbound"' in line and line.endswith(" 1.0") for line in counted), counted
    process.send_signal(signal.SIGTERM)
    process.send_signal(signal.SIGINT)
    assert process.wait(10) == 0, "nothing was in flight, so nothing was cut"


def test_there_is_nothing_to_reload(process: subprocess.Popen[bytes], tmp_path: Path) -> None:
    process.send_signal(signal.SIGHUP)
    eventually(lambda: "There is no file to reload" in (tmp_path / "out").read_text())
    assert process.poll() is None
    assert _ready()


def test_a_file_in_its_usual_place_is_taken(default_ports: None, tmp_path: Path) -> None:
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "proxy.yaml").write_text("nonsense: 1\n")
    environment = {k: v for k, v in os.environ.items() if k != "RESILIENCE_PROXY_CONFIG"}
    done = subprocess.run(
        [sys.executable, "-m", "proxy", "run"],
        cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=15,
    )  # fmt: skip
    assert done.returncode == 2
    assert "proxy.yaml:1:" in done.stderr
