"""Logs of the real command, played against the file that they were recorded with.

Ten clients sent forty requests each, the next one as soon as the one before was answered, to three
endpoints that failed for a while. There, one event a millisecond earlier decides about a hundred
refusals. What `simulate` does not read was cut out of the lines.
"""

import gzip
from collections import Counter
from pathlib import Path

import pytest

from proxy.config.loading import load_text
from proxy.simulation.recorded import read_log
from proxy.simulation.tally import RouteTally, tally, told_by
from proxy.simulation.world import World, play

RECORDED = Path(__file__).parent / "recorded"
SEEDS = [1, 2, 3]


def both(name: str, seed: int, change: tuple[str, str] = ("", "")) -> tuple[RouteTally, World]:
    recording = read_log(
        gzip.decompress((RECORDED / f"{name}.log.gz").read_bytes()).decode().splitlines()
    )
    text = (RECORDED / f"{name}.yaml").read_text(encoding="utf-8")
    assert change[0] in text
    config = load_text(text.replace(*change) if change[0] else text, f"{name}.yaml", {}).config
    since = recording.requests[0].at
    logged = tally("log", recording.seconds, (told_by(one, since) for one in recording.requests))
    return logged.routes["a"], play(config, recording, seed)


def counted(world: World) -> RouteTally:
    return tally("played", 1.0, world.told).routes["a"]


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", ["breaker", "endpoint-breaker", "ejection", "queue"])
def test_the_same_file_gives_the_same_counts(name: str, seed: int) -> None:
    log, world = both(name, seed)
    played = counted(world)
    assert played.requests == log.requests == 400
    for what in ("answered", "failed", "limited", "retries", "hedges", "attempts"):
        assert abs(getattr(played, what) - getattr(log, what)) <= 8, what
    for found, recorded in ((played.reasons, log.reasons), (played.load, log.load)):
        apart = Counter(found)
        apart.subtract(recorded)
        assert max(map(abs, apart.values())) <= 8, apart
    assert world.drawing.drawn <= 8


@pytest.mark.parametrize(
    ("name", "change", "reason", "fewer"),
    [
        ("breaker", ("initial: 300ms", "initial: 30ms"), "circuit-open", True),
        ("breaker", ("failure_rate: 50%", "failure_rate: 100%"), "circuit-open", True),
        ("queue", ("max_queue: 4", "max_queue: 1"), "bulkhead-full", False),
        ("queue", ("queue_timeout: 15ms", "queue_timeout: 150ms"), "queue-timeout", True),
    ],
)
def test_another_file_decides_for_itself(
    name: str, change: tuple[str, str], reason: str, fewer: bool
) -> None:
    log, world = both(name, 1, change)
    found, recorded = counted(world).reasons[reason], log.reasons[reason]
    assert (found < 0.8 * recorded) if fewer else (found > 1.2 * recorded), (found, recorded)
