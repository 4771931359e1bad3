"""Outlier ejection with explicit time."""

import random
from math import inf

import pytest

from proxy.outcome import Verdict
from proxy.policies.ejection import PROBE_SECONDS, Ejection, Pass, Why
from proxy.policies.ejection_config import EjectForConfig, FailureRateConfig, OutlierConfig
from proxy.policies.gate import Mode
from proxy.policies.rate_window import RateWindow

NOW = 1000.0
OK, BAD, IGNORED = Verdict.SUCCESS, Verdict.FAILURE, Verdict.IGNORED


def entered(member, at):
    attempt = Pass(at)
    member.enter(attempt)
    return attempt


class Cluster:
    def __init__(self, count, *, chance=0.5, **settings):
        settings.setdefault("failure_rate", None)
        self.changes = 0
        self.ejection = Ejection(OutlierConfig(**settings), lambda: chance, self._changed)
        self.members = [self.ejection.join() for _ in range(count)]

    def _changed(self):
        self.changes += 1

    def give(self, member, *verdicts, at=NOW):
        for verdict in verdicts:
            member.settle(entered(member, at), verdict, at)

    @property
    def out(self):
        return [index for index, member in enumerate(self.members) if member.ejected]


def test_so_many_failures_in_a_row_eject_for_a_time():
    cluster = Cluster(3)
    one = cluster.members[0]
    cluster.give(one, *[BAD] * 4, OK, *[BAD] * 4)
    assert one.usable
    cluster.give(one, BAD)
    assert (one.usable, one.ejected, one.until, one.row) == (False, True, NOW + 30, 1)
    assert cluster.ejection.ejections == {
        Why.CONSECUTIVE_FAILURES: 1,
        Why.FAILURE_RATE: 0,
        Why.PROBE_FAILED: 0,
    }
    assert cluster.ejection.due == NOW + 30
    assert cluster.changes


def test_what_says_nothing_about_the_endpoint_leaves_no_trace():
    cluster = Cluster(3)
    one = cluster.members[0]
    cluster.give(one, *[BAD, BAD, IGNORED] * 2, *[IGNORED] * 10)
    assert one.usable
    cluster.give(one, BAD)
    assert one.ejected


@pytest.mark.parametrize(("chance", "seconds"), [(0.0, 27.0), (0.5, 30.0), (1.0, 33.0)])
def test_the_time_is_jittered(chance, seconds):
    cluster = Cluster(2, chance=chance, consecutive_failures=1)
    cluster.give(cluster.members[0], BAD)
    assert cluster.members[0].until == pytest.approx(NOW + seconds)


def test_one_request_decides():
    cluster = Cluster(3, consecutive_failures=1)
    one = cluster.members[0]
    cluster.give(one, BAD)
    assert not one.wants_probe(NOW + 29.9)
    assert one.wants_probe(NOW + 30)
    probe = entered(one, NOW + 30)
    assert not one.wants_probe(NOW + 31)
    assert cluster.ejection.due == NOW + 30 + PROBE_SECONDS
    other = entered(one, NOW + 31)
    one.settle(other, OK, NOW + 32)
    assert one.ejected
    one.settle(probe, OK, NOW + 33)
    assert one.usable
    assert cluster.ejection.due == inf


def test_ejections_in_a_row_last_longer():
    cluster = Cluster(3, consecutive_failures=1, eject_for=EjectForConfig(30.0, 100.0))
    one = cluster.members[0]
    cluster.give(one, BAD)
    at, lasted = NOW, []
    for _ in range(4):
        lasted.append(one.until - at)
        at = one.until
        cluster.give(one, BAD, at=at)
    assert lasted == pytest.approx([30, 60, 90, 100])
    assert cluster.ejection.ejections[Why.PROBE_FAILED] == 4


def test_a_return_that_does_not_last_goes_on_with_the_row():
    cluster = Cluster(3, consecutive_failures=1)
    one = cluster.members[0]
    cluster.give(one, BAD)
    cluster.give(one, OK, at=NOW + 30)
    cluster.give(one, BAD, at=NOW + 59)
    assert (one.row, one.until) == (2, NOW + 59 + 60)
    cluster.give(one, OK, at=NOW + 119)
    cluster.give(one, BAD, at=NOW + 119 + 60)
    assert one.row == 1


def test_an_ignored_probe_is_followed_by_another():
    cluster = Cluster(2, consecutive_failures=1)
    one = cluster.members[0]
    cluster.give(one, BAD)
    cluster.give(one, IGNORED, at=NOW + 30)
    assert one.wants_probe(NOW + 30)
    assert cluster.ejection.due <= NOW + 30


def test_a_probe_without_an_end_does_not_keep_others_out():
    cluster = Cluster(2, consecutive_failures=1)
    one = cluster.members[0]
    cluster.give(one, BAD)
    stream = entered(one, NOW + 30)
    assert not one.wants_probe(NOW + 59)
    assert one.wants_probe(NOW + 30 + PROBE_SECONDS)
    cluster.give(one, OK, at=NOW + 60)
    assert one.usable
    for _ in range(5):
        one.settle(stream, BAD, NOW + 61)
    assert one.usable


def two_probes():
    """An ejected endpoint, its probes, of which the first one takes long, and when the second one
    began."""
    cluster = Cluster(2, consecutive_failures=1)
    one = cluster.members[0]
    cluster.give(one, BAD)
    later = NOW + 30 + PROBE_SECONDS
    return one, entered(one, NOW + 30), entered(one, later), later


def test_a_probe_that_takes_long_decides_when_it_ends():
    for verdict in (OK, BAD):
        one, first, second, later = two_probes()
        one.settle(first, verdict, later + 10)
        assert one.ejected is (verdict is BAD)
        assert one.row == (1 if verdict is OK else 2)
        one.settle(second, BAD, later + 11)
        assert one.row == (1 if verdict is OK else 2)


def test_an_old_probe_without_a_result_leaves_the_new_one_alone():
    one, first, second, later = two_probes()
    one.settle(first, IGNORED, later + 10)
    assert not one.wants_probe(later + 10)
    one.settle(second, OK, later + 11)
    assert one.usable


def test_outcomes_of_before_do_not_count_after():
    cluster = Cluster(2, consecutive_failures=2)
    one = cluster.members[0]
    flying = [entered(one, NOW) for _ in range(4)]
    for attempt in flying[:2]:
        one.settle(attempt, BAD, NOW)
    assert one.ejected
    one.settle(flying[2], OK, NOW)
    assert one.ejected
    cluster.give(one, OK, at=NOW + 30)
    one.settle(flying[3], BAD, NOW + 31)
    cluster.give(one, BAD, at=NOW + 31)
    assert one.usable


@pytest.mark.parametrize(
    ("count", "share", "most"),
    [(1, 1.0, 0), (2, 0.5, 1), (2, 0.1, 1), (3, 0.5, 1), (3, 0.67, 2), (3, 1.0, 2), (4, 0.5, 2),
     (5, 0.5, 2), (10, 0.29, 2), (10, 0.3, 3), (100, 0.29, 29)],
)  # fmt: skip
def test_at_most_so_many_and_never_the_last(count, share, most):
    cluster = Cluster(count, consecutive_failures=1, max_ejected=share)
    for member in cluster.members:
        cluster.give(member, BAD)
    assert len(cluster.out) == most


def test_there_is_room_again_when_one_comes_back():
    cluster = Cluster(2, consecutive_failures=1)
    one, other = cluster.members
    cluster.give(one, BAD)
    cluster.give(other, *[BAD] * 10)
    assert cluster.out == [0]
    cluster.give(one, OK, at=NOW + 30)
    cluster.give(other, BAD, at=NOW + 31)
    assert cluster.out == [1]


def test_the_last_that_is_healthy_is_never_ejected():
    cluster = Cluster(3, consecutive_failures=1, max_ejected=1.0)
    one, two, three = cluster.members
    three.mark(unhealthy=True)
    cluster.give(two, BAD)
    cluster.give(one, BAD)
    assert cluster.out == [1]
    assert [member.usable for member in cluster.members] == [True, False, False]


def test_the_failure_rate_ejects_from_a_minimum_on():
    rate = FailureRateConfig(0.5, 10, 30.0)
    cluster = Cluster(3, consecutive_failures=0, failure_rate=rate)
    one = cluster.members[0]
    cluster.give(one, *[BAD, OK] * 4, BAD)
    assert one.usable
    cluster.give(one, OK)
    assert one.ejected
    assert one.why is Why.FAILURE_RATE


def test_what_failed_together_is_used_together_when_it_works_again():
    cluster = Cluster(2, failure_rate=FailureRateConfig(0.5, 10, 60.0))
    one, other = cluster.members
    cluster.give(one, *[BAD] * 5)
    cluster.give(other, *[BAD] * 40)
    assert cluster.out == [0]
    cluster.give(one, OK, at=NOW + 30)
    cluster.give(other, *[OK] * 5, at=NOW + 31)
    assert cluster.out == [], "a success is no reason to eject"
    cluster.give(other, BAD, at=NOW + 32)
    assert cluster.out == [1]


def test_the_failure_rate_forgets():
    rate = FailureRateConfig(0.5, 10, 30.0)
    cluster = Cluster(3, consecutive_failures=0, failure_rate=rate)
    one = cluster.members[0]
    cluster.give(one, *[BAD] * 9)
    cluster.give(one, *[OK] * 9, BAD, at=NOW + 31)
    assert one.usable


def test_a_passing_check_brings_it_back_from_half_of_the_first_time_on():
    cluster = Cluster(3, consecutive_failures=1)
    one = cluster.members[0]
    cluster.give(one, BAD)
    one.passed_check(NOW + 14.9)
    assert one.ejected
    one.passed_check(NOW + 15)
    assert one.usable


def test_a_probe_from_before_a_return_holds_up_no_later_one():
    cluster = Cluster(3, consecutive_failures=1, eject_for=EjectForConfig(3.0, 300.0))
    one = cluster.members[0]
    cluster.give(one, BAD)
    probe = entered(one, NOW + 3)
    one.passed_check(NOW + 4)
    cluster.give(one, BAD, at=NOW + 8)
    assert one.until == NOW + 11
    assert cluster.ejection.due == NOW + 11
    assert one.wants_probe(NOW + 11)
    one.settle(probe, OK, NOW + 11)
    assert one.ejected


def test_an_unhealthy_one_is_not_probed():
    cluster = Cluster(3, consecutive_failures=1)
    one = cluster.members[0]
    cluster.give(one, BAD)
    one.mark(unhealthy=True)
    assert not one.wants_probe(NOW + 31)
    assert cluster.ejection.due == inf
    one.mark(unhealthy=False)
    assert one.wants_probe(NOW + 31)
    assert cluster.ejection.due == NOW + 30


def test_endpoints_that_leave_take_the_places_of_the_ejected_with_them():
    cluster = Cluster(4, consecutive_failures=1)
    cluster.give(cluster.members[0], BAD)
    cluster.give(cluster.members[1], BAD, at=NOW + 1)
    assert cluster.out == [0, 1]
    cluster.ejection.leave(cluster.members[3], NOW + 2)
    assert cluster.out == [1]
    cluster.ejection.leave(cluster.members[2], NOW + 2)
    assert cluster.out == [1]
    cluster.ejection.leave(cluster.members[0], NOW + 2)
    assert cluster.out == []


def test_attempts_at_an_endpoint_that_has_left_say_nothing():
    cluster = Cluster(3, consecutive_failures=1)
    gone = cluster.members[0]
    flying = entered(gone, NOW)
    cluster.ejection.leave(gone, NOW + 1)
    changes = cluster.changes
    gone.settle(flying, BAD, NOW + 2)
    assert not gone.ejected
    assert cluster.changes == changes
    assert cluster.ejection.ejections[Why.CONSECUTIVE_FAILURES] == 0


def test_attempts_that_end_after_another_took_its_place_say_nothing():
    cluster = Cluster(3, consecutive_failures=1)
    one = cluster.members[0]
    attempt = entered(one, NOW)
    cluster.ejection.retire()
    before = cluster.changes
    one.settle(attempt, BAD, NOW + 1)
    assert (cluster.out, cluster.changes) == ([], before)


def test_observing_ejects_nothing_and_counts():
    cluster = Cluster(2, consecutive_failures=1, mode=Mode.OBSERVE)
    one, other = cluster.members
    cluster.give(one, BAD)
    assert (one.ejected, one.usable) == (True, True)
    cluster.give(other, BAD)
    assert cluster.out == [0]
    cluster.give(one, BAD, at=NOW + 30)
    assert one.row == 2
    cluster.give(one, OK, at=NOW + 91)
    assert cluster.out == []


def test_a_changed_mode_keeps_the_state_and_a_changed_threshold_does_not():
    cluster = Cluster(2, consecutive_failures=1)
    one = cluster.members[0]
    cluster.give(one, BAD)
    settings = {"consecutive_failures": 1, "failure_rate": None}
    assert cluster.ejection.reconfigure(OutlierConfig(mode=Mode.OBSERVE, **settings), NOW)
    assert (one.ejected, one.usable) == (True, True)
    assert cluster.ejection.reconfigure(OutlierConfig(**settings), NOW)
    assert not one.usable
    assert not cluster.ejection.reconfigure(OutlierConfig(failure_rate=None), NOW)
    assert not one.usable


@pytest.mark.parametrize("same", [True, False])
def test_a_successor_goes_on_unless_it_judges_otherwise(same):
    settings = {"failure_rate": FailureRateConfig(0.5, 4, 30.0)}
    cluster = Cluster(6, consecutive_failures=2, **settings)
    back, often, once = cluster.members[:3]
    cluster.give(back, BAD, BAD)
    cluster.give(back, OK, at=NOW + 31)
    cluster.give(often, BAD, OK, BAD, at=NOW + 31)
    cluster.give(once, BAD, at=NOW + 31)
    after = Cluster(6, consecutive_failures=2 if same else 3, **settings)
    known = dict(zip(after.members, cluster.members, strict=True))
    after.ejection.succeed(cluster.ejection, known, NOW + 32)
    back, often, once = after.members[:3]
    after.give(once, BAD, at=NOW + 33)
    after.give(often, OK, at=NOW + 33)
    after.give(back, BAD, BAD, at=NOW + 33)
    assert after.out == ([0, 1, 2] if same else [])
    assert [one.why for one in (often, once)] == (
        [Why.FAILURE_RATE, Why.CONSECUTIVE_FAILURES] if same else [Why.CONSECUTIVE_FAILURES] * 2
    )
    assert back.row == (2 if same else 0), "it did not stay in for as long as it was out"


def test_a_lower_limit_brings_those_beyond_it_back():
    cluster = Cluster(4, consecutive_failures=1)
    cluster.give(cluster.members[1], BAD)
    cluster.give(cluster.members[0], BAD, at=NOW + 1)
    settings = {"consecutive_failures": 1, "failure_rate": None}
    assert cluster.ejection.reconfigure(OutlierConfig(max_ejected=0.25, **settings), NOW + 2)
    assert cluster.out == [0]
    assert cluster.ejection.reconfigure(OutlierConfig(max_ejected=0.75, **settings), NOW + 3)
    assert cluster.out == [0]


def test_the_window_has_the_last_whole_seconds():
    window = RateWindow(3)
    for second in range(10):
        window.record(second % 2 == 0, 100.0 + second)
        window.record(False, 100.9 + second)
    assert (window.calls, window.failures) == (6, 1)
    window.record(True, 110.0)
    assert (window.calls, window.failures) == (5, 2)
    window.record(True, 111.5)
    assert (window.calls, window.failures) == (4, 2)
    window.record(False, 1_000_000.0)
    assert (window.calls, window.failures) == (1, 0)


@pytest.mark.parametrize("size", [1, 2, 30])
def test_the_window_counts_as_a_list_of_moments_does(size):
    source = random.Random(size)
    window, moments, now = RateWindow(size), [], 50.0
    for _ in range(2000):
        now += source.choice([0.0, 0.1, 0.4, 1.0, 2.5, 40.0])
        failure = source.random() < 0.4
        window.record(failure, now)
        moments.append((int(now), failure))
        inside = [failed for second, failed in moments if second > int(now) - size]
        assert (window.calls, window.failures) == (len(inside), sum(inside))
