"""Lineage under random histories: what it hands on is what a look at all requests would say."""

import random

import pytest

from proxy.exchange.lineage import Kin, Lineage
from proxy.wire.alarm import NEVER

pytestmark = pytest.mark.interpreted


class Request(Kin):
    def __init__(self, kinship, *, inbound=True, left=NEVER, repeat=b"", streams=False):
        self.lineage = self.parent = None
        self._kinship, self._inbound = kinship, inbound
        self._left, self._repeat, self._streams = left, repeat, streams
        self.disinherited = 0

    kinship = property(lambda self: self._kinship)
    inbound = property(lambda self: self._inbound)
    streams = property(lambda self: self._streams)
    repeat = property(lambda self: self._repeat)

    def left_to_hand_on(self, now):
        return self._left

    def disinherit(self):
        self.disinherited += 1


def expected(parents):
    """Seconds left and the repeat, by looking at all."""
    if not parents:
        return None
    left = max(one.left_to_hand_on(0.0) for one in parents)
    return left, all(one.repeat for one in parents), all(one.streams for one in parents)


@pytest.mark.parametrize("seed", range(20))
def test_random_histories(seed):
    source = random.Random(seed)
    lineage, alive = Lineage(), []
    for _ in range(400):
        if alive and source.random() < 0.5:
            one = alive.pop(source.randrange(len(alive)))
            assert one.lineage is lineage
            lineage.leave(one)
            assert one.lineage is None
        else:
            one = Request(
                source.choice("abc"),
                inbound=source.random() < 0.7,
                left=source.choice([0.5, 2.0, NEVER]),
                repeat=source.choice([b"", b"1", b"2"]),
                streams=source.random() < 0.5,
            )
            lineage.enter(one)
            alive.append(one)
        assert len({one.kinship for one in alive if one.inbound}) == len(lineage._parents)
        assert lineage.occupied == any(one.inbound for one in alive)
        for kinship in "abc":
            parents = [one for one in alive if one.inbound and one.kinship == kinship]
            found = lineage.inherited(kinship, 0.0)
            told = None if found is None else (found.left, bool(found.repeat), found.streams)
            assert told == expected(parents)
            assert found is None or found.parent in parents
    for one in alive:
        lineage.leave(one)
    assert len(lineage) == 0


def test_an_answer_frees_the_calls_that_have_its_deadline_alone():
    lineage = Lineage()
    parent, other, stream = Request("a"), Request("a"), Request("b", streams=True)
    heirs = [Request(one.kinship, inbound=False) for one in (parent, parent, other, stream)]
    for heir, one in zip(heirs, (parent, parent, other, stream), strict=True):
        heir.parent = one
    for one in (parent, other, stream, *heirs):
        lineage.enter(one)
    lineage.answered(parent)
    lineage.answered(stream)
    assert [one.disinherited for one in heirs] == [1, 1, 0, 0]
    lineage.leave(heirs[2])
    assert heirs[2].parent is None


def test_a_past_deadline_is_handed_on_too():
    lineage = Lineage()
    lineage.enter(Request("a", left=-3.0))
    found = lineage.inherited("a", 0.0)
    assert found is not None
    assert found.left <= 0.0
