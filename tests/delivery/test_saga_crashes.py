"""Processes that die at every arrow of a saga lose nothing, and repeat one request at most."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parent.parent


def crash(folder: Path, seed: int, rounds: int) -> None:
    done = subprocess.run(
        [
            sys.executable,
            str(TESTS / "delivery" / "saga_crashes.py"),
            folder,
            str(seed),
            str(rounds),
        ],
        env=os.environ
        | {"PYTHONPATH": f"{TESTS}:{TESTS.parent}:{os.environ.get('PYTHONPATH', '')}"},
        capture_output=True,
        text=True,
        timeout=590,
    )
    assert done.returncode == 0, done.stderr
    *broken, summary = done.stdout.splitlines()
    assert broken == []
    assert json.loads(summary)["deaths"] >= rounds // 2


def test_a_few_deaths(tmp_path: Path) -> None:
    crash(tmp_path, 7, 4)


@pytest.mark.long
def test_a_thousand_deaths(tmp_path: Path) -> None:
    crash(tmp_path, 11, 500)
