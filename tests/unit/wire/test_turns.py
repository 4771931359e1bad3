"""The queue of work for later turns: its order, and how much of it is done in one turn."""

import itertools

import pytest

import proxy.wire.turns
from proxy.wire.turns import WorkQueue


class Loop:
    def __init__(self) -> None:
        self.ready = []

    def call_soon(self, callback):
        self.ready.append(callback)

    def turn(self) -> None:
        ready, self.ready = self.ready, []
        for callback in ready:
            callback()


@pytest.fixture
def loop() -> Loop:
    return Loop()


@pytest.fixture
def queue(loop, monkeypatch) -> WorkQueue:
    """Every look at its clock finds half a turn gone: two portions fit into one."""
    clock = itertools.count()
    monkeypatch.setattr(proxy.wire.turns, "monotonic", lambda: next(clock))
    monkeypatch.setattr(proxy.wire.turns, "TURN_SECONDS", 2)
    return WorkQueue(loop)


class Flood:
    """Notes its name for each portion that it has left."""

    def __init__(self, queue, name, portions, done):
        self.queue, self.name, self.left, self.done = queue, name, portions, done
        queue.put(self.go_on)

    def go_on(self):
        self.done.append(self.name)
        self.left -= 1
        if self.left:
            self.queue.put(self.go_on)


def test_nothing_is_done_within_the_call_that_queues_it(queue, loop):
    done = []
    Flood(queue, "a", 1, done)
    assert done == []
    loop.turn()
    assert done == ["a"]
    assert loop.ready == []


@pytest.mark.parametrize("floods", [1, 3, 100])
def test_however_many_wait_a_turn_is_no_longer(queue, loop, floods):
    done = []
    for n in range(floods):
        Flood(queue, n, 5, done)
    turns = 0
    while loop.ready:
        assert len(loop.ready) == 1
        before = len(done)
        loop.turn()
        turns += 1
        assert len(done) - before <= 2
    assert len(done) == 5 * floods
    assert turns == -(-5 * floods // 2)


def test_they_take_turns(queue, loop):
    done = []
    Flood(queue, "long", 4, done)
    Flood(queue, "short", 1, done)
    while loop.ready:
        loop.turn()
    assert done == ["long", "short", "long", "long", "long"]


def test_one_that_fails_does_not_stop_the_others(queue, loop):
    done = []
    queue.put(lambda: 1 / 0)
    Flood(queue, "a", 1, done)
    with pytest.raises(ZeroDivisionError):
        loop.turn()
    loop.turn()
    assert done == ["a"]
    Flood(queue, "b", 1, done)
    loop.turn()
    assert done == ["a", "b"]
