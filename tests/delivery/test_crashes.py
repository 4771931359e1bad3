"""``os._exit`` at the points where a promise could be lost: none that was acknowledged is, and what
was tried at that moment is tried once more at most."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from delivery.counting import CountingUpstream

TESTS = Path(__file__).parents[1]
CONCURRENCY = 2


def run(file: Path, port: int, point: str, count: int) -> list[str]:
    """The keys that the process acknowledged before it ended itself."""
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(TESTS), os.environ.get("PYTHONPATH", "")])
    }
    done = subprocess.run(
        [sys.executable, "-m", "delivery.crashes", str(file), str(port), point, str(count)],
        capture_output=True, text=True, timeout=60, env=environment, check=False, cwd=TESTS.parent,
    )  # fmt: skip
    assert done.returncode == (0 if point == "none" else 9), done.stderr
    return done.stdout.split()


@pytest.mark.parametrize(("point", "rounds"), [("accepted", 1), ("delivered", 2)])
def test_nothing_acknowledged_is_lost(tmp_path: Path, point: str, rounds: int) -> None:
    crash(tmp_path / "s.db", point, rounds)


@pytest.mark.long
@pytest.mark.parametrize("point", ["accepted", "delivered"])
def test_nothing_acknowledged_is_lost_many_times(tmp_path: Path, point: str) -> None:
    crash(tmp_path / "s.db", point, 25)


def crash(file: Path, point: str, rounds: int) -> None:
    with CountingUpstream() as upstream:
        acknowledged = []
        for each in range(rounds):
            acknowledged += run(file, upstream.port, point, 1 + each % 5)
        run(file, upstream.port, "none", 0)
        counted = [upstream.keys.count(key) for key in acknowledged]
        assert all(counted), "lost"
        assert sum(counted) <= len(acknowledged) + rounds * CONCURRENCY
