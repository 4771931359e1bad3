"""Processes that die at every arrow of a saga lose nothing, and repeat one request at most.

$CRASHES: how many deaths at each arrow; a thousand take half an hour.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parent.parent


def crash(folder: Path, seed: int, deaths: int) -> None:
    done = subprocess.run(
        [
            sys.executable,
            str(TESTS / "delivery" / "saga_crashes.py"),
            folder,
            str(seed),
            str(deaths),
        ],
        env=os.environ
        | {"PYTHONPATH": f"{TESTS}:{TESTS.parent}:{os.environ.get('PYTHONPATH', '')}"},
        capture_output=True,
        text=True,
        timeout=60 + 10 * deaths,
    )
    assert done.returncode == 0, done.stderr
    *broken, summary = done.stdout.splitlines()
    assert broken == []
    assert min(json.loads(summary)["deaths"].values()) >= deaths


def test_a_death_at_each_arrow(tmp_path: Path) -> None:
    crash(tmp_path, 7, 1)


@pytest.mark.long
def test_many_deaths_at_each_arrow(tmp_path: Path) -> None:
    crash(tmp_path, 11, int(os.environ.get("CRASHES", "50")))
