"""The script: the same story at every length, and trouble that retries and breakers can meet."""

from itertools import pairwise

import pytest

from proxy.demo.configuration import request_timeouts
from proxy.demo.scene import Act, Dependency, Scene, Tempo, Trouble

DURATIONS = [8.0, 15.0, 30.0, 60.0, 300.0, 900.0]


def test_a_burst_strikes_at_its_beginning_and_leaves_a_gap() -> None:
    act = Act(Dependency.INVENTORY, Trouble.UNAVAILABLE, start=3, end=9, burst=0.5, every=2)
    struck = {now: act.strikes(now) for now in (2.9, 3.0, 3.4, 3.5, 4.9, 5.0, 8.9, 9.0)}
    assert [now for now, hit in struck.items() if hit] == [3.0, 3.4, 5.0]
    assert act.on(8.9), "between two bursts the act still plays"
    assert not act.on(9.0)


def test_an_act_without_bursts_strikes_all_the_time() -> None:
    act = Act(Dependency.PAYMENT, Trouble.DOWN, start=1, end=2)
    assert [act.strikes(now) for now in (0.9, 1.0, 1.5, 2.0)] == [False, True, True, False]


@pytest.mark.parametrize("duration", DURATIONS)
def test_every_trouble_has_its_turn_and_all_ends_well(duration: float) -> None:
    scene = Scene(duration)
    seen = [
        (dependency, scene.trouble(dependency, duration * step / 2000))
        for step in range(2000)
        for dependency in Dependency
    ]
    assert set(seen) == {
        (Dependency.PRICING, Trouble.UNAVAILABLE),
        (Dependency.PRICING, Trouble.SLOW),
        (Dependency.INVENTORY, Trouble.UNAVAILABLE),
        (Dependency.PAYMENT, Trouble.LOSES_ANSWERS),
        (Dependency.PAYMENT, Trouble.DOWN),
        (Dependency.SHIPPING, Trouble.SLOW),
        *((dependency, Trouble.NONE) for dependency in Dependency),
    }
    for at in (0.0, 0.05 * duration, 0.9 * duration, duration):
        assert {scene.trouble(d, at) for d in Dependency} == {Trouble.NONE}


@pytest.mark.parametrize("duration", DURATIONS)
def test_one_dependency_at_a_time(duration: float) -> None:
    acts = Scene(duration).acts
    assert all(before.end <= after.start for before, after in pairwise(acts))


@pytest.mark.parametrize("duration", DURATIONS)
def test_bursts_are_shorter_than_the_waits_of_the_retries(duration: float) -> None:
    """Example: 500 ms and 1 s before the second and third attempt, a fifth less at the least."""
    tempo = Tempo(duration)
    bursts = [act for act in Scene(duration).acts if act.every]
    assert len(bursts) == 4
    assert all(act.burst < 0.8 * 1.5 * tempo.waits for act in bursts)
    assert all(act.every > 3 * act.burst for act in bursts)


@pytest.mark.parametrize("duration", DURATIONS)
def test_the_outage_is_long_enough_for_a_breaker_to_open(duration: float) -> None:
    """Five failures of ten open it; each order that comes brings at least one."""
    (outage,) = [act for act in Scene(duration).acts if act.trouble is Trouble.DOWN]
    assert outage.end - outage.start > 5 * Tempo(duration).order_interval


@pytest.mark.parametrize("duration", DURATIONS)
def test_slow_is_slower_than_every_deadline(duration: float) -> None:
    tempo = Tempo(duration)
    slow = {act.dependency for act in Scene(duration).acts if act.trouble is Trouble.SLOW}
    assert slow == {Dependency.PRICING, Dependency.SHIPPING}
    timeouts = request_timeouts(tempo)
    assert all(tempo.slowness > timeouts[dependency] for dependency in slow)


def test_durations_are_real_in_a_long_run_and_never_too_short_for_a_busy_machine() -> None:
    assert (Tempo(450).waits, Tempo(450).open_for) == (1.0, 1.0)
    assert (Tempo(900).waits, Tempo(900).open_for) == (1.0, 1.0)
    assert Tempo(30).waits == 0.2
    assert Tempo(30).open_for == pytest.approx(0.0667, abs=0.0001)
    assert Tempo(8).waits == 0.2
    assert Tempo(8).open_for == pytest.approx(0.0178, abs=0.0001)
    assert Tempo(30).order_interval == pytest.approx(1 / 12)


def test_the_act_between_bursts_is_still_told() -> None:
    scene = Scene(30)
    act = scene.acts[0]
    between = act.start + act.burst + 0.01
    assert scene.trouble(Dependency.PRICING, between) is Trouble.NONE
    assert scene.act(Dependency.PRICING, between) is act
    assert scene.act(Dependency.SHIPPING, between) is None
