"""A process that dies at any point of a commit: what it had promised is there afterwards.

$CRASHES: how many deaths at each point; a thousand take a minute or two for each.
"""

import json
import os
import random
import sqlite3
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest
from store.crash_child import WORKERS
from store.named_points import POINTS

from proxy.store.sqlite.committer import Point

CHILD = Path(__file__).with_name("crash_child.py")
NAMED = Path(__file__).with_name("named_points.py")
TESTS = Path(__file__).parents[1]


class Promised:
    """What all processes on one file were told."""

    def __init__(self) -> None:
        self.told: defaultdict[str, set[str]] = defaultdict(set)
        self.steps: dict[str, int] = {}
        self.tried: defaultdict[str, int] = defaultdict(int)

    def hear(self, output: str) -> None:
        for line in output.splitlines():
            word, name, *rest = line.split()
            if word == "step":
                assert int(rest[0]) == self.steps.get(name, 0) + 1 or int(rest[0]) in (
                    self.steps.get(name, 0) + 2,  # a step that was committed and not told
                    self.steps.get(name, 0) + 3,
                )
                self.steps[name] = int(rest[0])
            elif word == "tried":
                assert name not in self.told["delivered"], "tried again after it was delivered"
                self.tried[name] += 1
            self.told[word].add(name)


def crash(file: Path, point: Point, number: int, run: int) -> str:
    """Run one process until it dies; returns what it was told."""
    ended = subprocess.run(
        [sys.executable, str(CHILD), str(file), point.value, str(number), str(run)],
        capture_output=True,
        text=True,
        timeout=60,
        env=os.environ,
    )
    assert ended.returncode == 9, ended.stderr
    return ended.stdout


def compare(file: Path, promised: Promised) -> None:
    """The file has everything that was promised."""
    db = sqlite3.connect(file)
    try:
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        parts = [number for (number,) in db.execute("SELECT id FROM parts")]
        rows = [
            row
            for part in parts
            for row in db.execute(f"SELECT key, state, response FROM keys_{part}")
        ]
        keys = {key.decode(): (state, response) for key, state, response in rows}
        assert len(keys) == len(rows), "a key has two records"
        assert promised.told["claimed"] <= keys.keys()
        for key in promised.told["answered"]:
            assert keys[key] == (1, f"answer {key}".encode())
        entries = dict(db.execute("SELECT id, state FROM entries"))
        assert promised.told["accepted"] <= entries.keys()
        assert all(entries[one] == 3 for one in promised.told["delivered"])
        counts = dict(db.execute("SELECT state, number FROM entry_counts WHERE number > 0"))
        assert counts == dict(db.execute("SELECT state, count(*) FROM entries GROUP BY state"))
        heads = db.execute(
            "SELECT lane, count(*) FROM entries WHERE state < 3 AND head = 1 GROUP BY lane"
        )
        assert all(number == 1 for _, number in heads)
        journals = dict(db.execute("SELECT token, journal FROM sagas"))
        assert promised.told["begun"] <= journals.keys()
        assert all(int(journals[token]) >= step for token, step in promised.steps.items())
    finally:
        db.close()


def play(file: Path, seed: int, rounds: int) -> Promised:
    chance = random.Random(seed)
    promised = Promised()
    for run in range(rounds):
        point = list(Point)[run % len(Point)]
        promised.hear(crash(file, point, chance.randint(1, 40), run))
    compare(file, promised)
    return promised


def test_each_point_once(tmp_path: Path) -> None:
    promised = play(tmp_path / "store.db", 1, len(Point))
    assert promised.told["answered"]


@pytest.mark.long
@pytest.mark.parametrize("seed", range(4))
def test_each_point_many_times(tmp_path: Path, seed: int) -> None:
    """A claim committed and not sent, an answer recorded and not given, an entry accepted, tried
    and not settled, each arrow of a saga. $CRASHES deaths for each seed."""
    promised = play(tmp_path / "store.db", seed, int(os.environ.get("CRASHES", "25")))
    deaths = len(Point) * (int(os.environ.get("CRASHES", "25")) // len(Point) + 1)
    # An entry is tried again only because a process died with it: once for each death at most.
    again = sum(tries - 1 for tries in promised.tried.values())
    assert again <= deaths * WORKERS


def die_at(folder: Path, point: str, deaths: int) -> None:
    """Nothing acknowledged is lost, an effect happens once, a try is repeated once for a death."""
    paths = [str(TESTS), str(TESTS.parent), os.environ.get("PYTHONPATH", "")]
    done = subprocess.run(
        [sys.executable, NAMED, folder, point, str(deaths)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)},
        capture_output=True,
        text=True,
        timeout=3600,
    )
    assert done.returncode == 0, done.stderr
    *broken, summary = done.stdout.splitlines()
    assert broken == []
    assert json.loads(summary)["answered"] > 0


@pytest.mark.parametrize("point", ["recorded and unanswered", "delivered and uncommitted"])
def test_a_named_point(tmp_path: Path, point: str) -> None:
    die_at(tmp_path, point, 3)


@pytest.mark.long
@pytest.mark.parametrize("point", POINTS)
def test_a_named_point_many_times(tmp_path: Path, point: str) -> None:
    die_at(tmp_path, point, int(os.environ.get("CRASHES", "50")))
