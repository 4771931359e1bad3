"""The real command with a store: when it starts, when it does not, and when it waits."""

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import yaml
from integration.ports import free_port
from integration.running_proxy import RunningProxy, eventually

HOLDER = """
import sqlite3, sys
db = sqlite3.connect(sys.argv[1], isolation_level=None)
db.execute("PRAGMA locking_mode = EXCLUSIVE")
db.execute("BEGIN IMMEDIATE"); db.execute("COMMIT")
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "data" / "store.db"


@pytest.fixture
def holder(file: Path) -> Iterator["subprocess.Popen[bytes]"]:
    file.parent.mkdir()
    command = [sys.executable, "-c", HOLDER, str(file)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        yield process


def started(
    tmp_path: Path, file: Path, timeout: str = "200ms", **environment: str
) -> "subprocess.Popen[str]":
    admin = free_port()
    config = {
        "listeners": {
            "outbound": {"address": f"127.0.0.1:{free_port()}"},
            "inbound": {"address": f"127.0.0.1:{free_port()}"},
        },
        "admin": {"address": f"127.0.0.1:{admin}"},
        "drain": {"delay": "0s", "timeout": timeout},
        "store": {"url": f"sqlite:{file}"},
    }
    written = tmp_path / "proxy.yaml"
    written.write_text(yaml.safe_dump(config))
    return subprocess.Popen(
        [sys.executable, "-m", "proxy", "run", "--config", str(written)],
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | environment,
    )


def test_it_opens_its_store_and_closes_it_in_good_order(tmp_path: Path, file: Path) -> None:
    proxy = RunningProxy(tmp_path, {"store": {"url": f"sqlite:{file}"}})
    eventually(lambda: "lost with the pod" in proxy.errors, 5)
    proxy.stop()
    assert sorted(os.listdir(file.parent)) == ["store.db"], "the log was copied into the file"
    with closing(sqlite3.connect(file)) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (1,)


def test_another_process_on_the_file_ends_the_start(
    holder: "subprocess.Popen[bytes]", tmp_path: Path, file: Path
) -> None:
    with started(tmp_path, file) as proxy:
        assert proxy.wait(10) == 2
        assert proxy.stderr is not None
        assert "is in use by another process" in proxy.stderr.read()


def test_a_signal_ends_the_wait_for_the_store(
    holder: "subprocess.Popen[bytes]", tmp_path: Path, file: Path
) -> None:
    with started(tmp_path, file, timeout="60s") as proxy:
        assert proxy.stderr is not None
        assert "waiting for the store" in proxy.stderr.readline()
        proxy.send_signal(signal.SIGTERM)
        assert proxy.wait(10) == 0


def test_a_file_of_a_newer_version_ends_the_start(tmp_path: Path, file: Path) -> None:
    file.parent.mkdir()
    with closing(sqlite3.connect(file)) as db:
        db.execute("PRAGMA application_id = 0x52505331")
        db.execute("PRAGMA user_version = 99")
        db.execute("CREATE TABLE later (x)")
        db.commit()
    with started(tmp_path, file) as proxy:
        assert proxy.wait(10) == 2
        assert proxy.stderr is not None
        assert "it has version 99" in proxy.stderr.read()


def test_another_store_needs_a_restart(tmp_path: Path, file: Path) -> None:
    proxy = RunningProxy(tmp_path, {"store": {"url": f"sqlite:{file}"}})
    proxy.config["store"]["url"] = "memory:"
    proxy.write()
    status, answer = proxy.ask("POST", "/reload")[0], proxy.errors
    assert status in (409, 400, 422), (status, answer)
    eventually(lambda: "cannot become memory:" in proxy.errors, 5)
    proxy.stop()
