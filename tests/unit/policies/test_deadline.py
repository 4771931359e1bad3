"""Deadlines: they run, stand still and can only be shortened."""

from math import inf

from proxy.policies.deadline import Deadline


def test_it_runs() -> None:
    deadline = Deadline(100.0, 5.0)
    assert deadline.at == 105.0
    assert deadline.remaining(102.0) == 3.0
    assert not deadline.expired(104.9)
    assert deadline.expired(105.0)
    assert deadline.remaining(106.0) == -1.0


def test_no_deadline() -> None:
    deadline = Deadline(100.0, 0.0)
    assert deadline.at == inf
    assert deadline.remaining(1e12) == inf
    deadline.pause(1.0)
    deadline.resume(2.0)
    assert not deadline.expired(1e12)


def test_it_knows_how_long_it_stood_still() -> None:
    deadline = Deadline(100.0, 5.0)
    assert deadline.standing(101.0) == 0.0
    deadline.pause(101.0)
    assert (deadline.stood_still, deadline.standing(103.0)) == (0.0, 2.0)
    deadline.resume(104.0)
    assert (deadline.stood_still, deadline.standing(110.0)) == (3.0, 3.0)
    deadline.pause(110.0)
    deadline.resume(111.0)
    assert deadline.stood_still == 4.0


def test_it_stands_still_while_paused() -> None:
    deadline = Deadline(100.0, 5.0)
    deadline.pause(101.0)
    deadline.pause(104.0)
    assert deadline.paused
    assert deadline.remaining(200.0) == 4.0
    deadline.resume(200.0)
    deadline.resume(300.0)
    assert not deadline.paused
    assert deadline.at == 204.0
    assert deadline.remaining(201.0) == 3.0


def test_it_can_only_be_shortened() -> None:
    deadline = Deadline(100.0, 5.0)
    deadline.shorten(101.0, 10.0)
    assert deadline.at == 105.0
    deadline.shorten(101.0, 1.0)
    assert deadline.at == 102.0
    unlimited = Deadline(0.0, 0.0)
    unlimited.shorten(100.0, 2.0)
    assert unlimited.at == 102.0


def test_shortened_while_paused_it_has_so_much_left_from_the_resumption() -> None:
    deadline = Deadline(100.0, 5.0)
    deadline.pause(101.0)
    deadline.shorten(150.0, 2.0)
    assert deadline.remaining(150.0) == 2.0
    deadline.resume(200.0)
    assert deadline.at == 202.0
