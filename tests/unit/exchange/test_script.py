"""A coroutine run by hand: events in order, none lost, none delivered within another."""

import pytest

from proxy.exchange.script import Script


async def collect(script, into, count):
    for _ in range(count):
        into.append(await script.news())


def test_events_wake_it_at_once_and_in_order():
    script, got = Script(), []
    script.start(collect(script, got, 3))
    assert not script.done
    for n in range(3):
        script.wake(n)
        assert got == list(range(n + 1))
    assert script.done


def test_after_its_end_nothing_happens():
    script, got = Script(), []
    script.start(collect(script, got, 1))
    script.wake(1)
    script.wake(2)
    assert got == [1]


def test_events_that_come_while_it_runs_wait_for_their_turn():
    script, got = Script(), []

    async def busy():
        got.append(await script.news())
        script.wake("b")
        script.wake("c")
        got.append("still running")
        got.append(await script.news())
        script.wake("d")
        got.append(await script.news())
        got.append(await script.news())

    script.start(busy())
    script.wake("a")
    assert got == ["a", "still running", "b", "c", "d"]
    assert script.done


def test_events_before_the_first_wait_are_kept():
    script, got = Script(), []

    async def early():
        script.wake(1)
        got.append(await script.news())

    script.start(early())
    assert got == [1]


def test_what_is_left_at_the_end_is_dropped():
    script, got = Script(), []

    async def brief():
        script.wake(1)
        script.wake(2)
        got.append(await script.news())

    script.start(brief())
    assert (got, script.done) == ([1], True)
    script.wake(3)
    assert got == [1]


def test_a_coroutine_that_ends_without_waiting():
    script, got = Script(), []
    script.start(collect(script, got, 0))
    assert script.done


def test_an_exception_goes_to_whoever_woke_it():
    script = Script()

    async def failing():
        await script.news()
        raise KeyError("bug")

    script.start(failing())
    with pytest.raises(KeyError):
        script.wake(1)
    assert script.done
    script.wake(2)
