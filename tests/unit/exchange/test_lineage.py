"""Lineage under random histories: what it hands on is what a look at all requests would say."""

import random

import pytest

from proxy.exchange.lineage import Kin, Lineage, inherited
from proxy.wire.alarm import NEVER

pytestmark = pytest.mark.interpreted


class Request(Kin):
    def __init__(self, kinship, *, inbound=True, left=NEVER, repeat=b"", streams=False):
        self.lineage = self.parent = self.heir = None
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
    """Seconds left, the repeat and the stream's end, by looking at all."""
    left = max(one.left_to_hand_on(0.0) for one in parents)
    return left, all(one.repeat for one in parents), all(one.streams for one in parents)


def heirs_of(parent):
    heir = parent.heir
    while heir is not None:
        yield heir
        heir = heir.after


@pytest.mark.parametrize("asked", [0.05, 1.0])
@pytest.mark.parametrize("seed", range(20))
def test_random_histories(seed, asked):
    """`asked`: how often calls ask; until one does, inbound requests are not sorted."""
    source = random.Random(seed)
    lineage, alive = Lineage(), []
    for _ in range(400):
        if alive and source.random() < 0.5:
            one = alive.pop(source.randrange(len(alive)))
            assert one.lineage is lineage
            lineage.leave(one)
            assert one.lineage is one.parent is one.heir is one.before is one.after is None
        else:
            one = Request(
                source.choice("abc"),
                left=source.choice([0.5, 2.0, NEVER]),
                repeat=source.choice([b"", b"1", b"2"]),
                streams=source.random() < 0.5,
            )
            of = [parent for parent in alive if parent.inbound and parent.kinship == one.kinship]
            if of and source.random() < 0.5:
                one = Request(one.kinship, inbound=False)
                one.parent = source.choice(of)
            lineage.enter(one)
            alive.append(one)
        assert len(lineage) == len(alive)
        assert lineage.occupied == any(one.inbound for one in alive)
        for parent in (one for one in alive if one.inbound):
            assert set(heirs_of(parent)) == {one for one in alive if one.parent is parent}
        for kinship in "abc" if source.random() < asked else "":
            parents = [one for one in alive if one.inbound and one.kinship == kinship]
            latest = lineage.latest(kinship)
            assert latest is (parents[-1] if parents else None)
            if latest is not None:
                found, left, repeat, streams = inherited(latest, 0.0)
                assert (left, bool(repeat), streams) == expected(parents)
                assert found in parents
                assert found.left_to_hand_on(0.0) == left
    for one in alive:
        lineage.leave(one)
    assert len(lineage) == len(lineage._parents) == 0
    assert not lineage.occupied


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


def test_a_call_may_outlive_the_request_that_it_was_made_for():
    lineage, parent = Lineage(), Request("a")
    lineage.enter(parent)
    heirs = [Request("a", inbound=False) for _ in range(3)]
    for heir in heirs:
        heir.parent = parent
        lineage.enter(heir)
    lineage.leave(heirs[1])
    lineage.leave(parent)
    assert [one.parent for one in heirs] == [None] * 3
    lineage.leave(heirs[0])
    lineage.leave(heirs[2])
    assert len(lineage) == 0


def test_all_parents_hear_that_retries_are_spent():
    lineage, parents = Lineage(), [Request(kinship) for kinship in "aab"]
    for one in parents:
        one.retried_below = False
        lineage.enter(one)
    lineage.retries_spent("a")
    assert [one.retried_below for one in parents] == [True, True, False]


def test_a_past_deadline_is_handed_on_too():
    lineage = Lineage()
    lineage.enter(Request("a", left=-3.0))
    latest = lineage.latest("a")
    assert latest is not None
    assert inherited(latest, 0.0)[1] <= 0.0
