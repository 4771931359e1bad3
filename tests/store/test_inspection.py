"""`resilience-proxy store`: what it says of a file, and which files it leaves alone."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from store.conftest import OpenStore
from store.test_entries import PUT
from store.test_keys import ASK
from store.test_sagas import BEGIN

from proxy import cli
from proxy.store.operations import FinishKey

HOLDER = """
import sqlite3, sys
db = sqlite3.connect(sys.argv[1], isolation_level=None)
db.execute("PRAGMA locking_mode = EXCLUSIVE")
db.execute("BEGIN IMMEDIATE"); db.execute("COMMIT")
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
async def file(open_store: OpenStore, tmp_path: Path) -> Path:
    path = tmp_path / "store.db"
    store = await open_store(str(path))
    claim = await store.do(ASK)
    await store.do(FinishKey(claim.ref, 201, b"\xff\x00"))
    await store.do(PUT)
    await store.do(BEGIN)
    await store.close()
    return path


def test_a_sound_file(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["store", "check", str(file)]) == 0
    told = capsys.readouterr().out
    assert told == f"{file}: sound; 1 idempotency records, 1 outbox entries, 1 sagas\n"


def test_a_damaged_file(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    size = file.stat().st_size
    with file.open("r+b") as raw:
        raw.seek(size - 4096)
        raw.write(os.urandom(4096))
    assert cli.main(["store", "check", str(file)]) == 1
    assert "damaged" in capsys.readouterr().err


def test_an_export_is_a_line_for_each_record(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["store", "export", str(file)]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["kind"] for line in lines] == ["idempotency", "outbox", "saga"]
    assert lines[0]["response"] == {"base64": "/wA="}
    assert lines[0]["key"] == ASK.key.hex()
    assert lines[1]["body"] == "body"
    assert lines[2]["input"] == "input"


def test_a_file_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    missing = tmp_path / "none.db"
    assert cli.main(["store", "check", str(missing)]) == 1
    assert "there is no such file" in capsys.readouterr().err
    assert not missing.exists()


def test_a_file_in_use(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = [sys.executable, "-c", HOLDER, str(file)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        assert cli.main(["store", "check", str(file)]) == 1
    assert "a running process uses it" in capsys.readouterr().err
