"""One timer that is moved: how often the loop is asked, and when it rings."""

import gc
import weakref

import pytest

import proxy.wire.alarm
from proxy.wire.alarm import AT_ONCE, NEVER, Alarm


class Loop:
    """Time, and the timers that were set; each rings when told."""

    def __init__(self):
        self.now = 100.0
        self.timers = []

    def call_later(self, delay, callback):
        timer = Timer(self, self.now + delay, callback)
        self.timers.append(timer)
        return timer

    @property
    def pending(self):
        return [timer for timer in self.timers if timer.pending]

    def go_to(self, when):
        while due := [timer for timer in self.pending if timer.when <= when]:
            first = min(due, key=lambda timer: timer.when)
            self.now = max(self.now, first.when)
            first.pending = False
            first.callback()
        self.now = when


class Timer:
    def __init__(self, loop, when, callback):
        self.loop, self.when, self.callback = loop, when, callback
        self.pending = True

    def cancel(self):
        self.pending = False


@pytest.fixture
def loop(monkeypatch):
    loop = Loop()
    monkeypatch.setattr(proxy.wire.alarm, "monotonic", lambda: loop.now)
    return loop


@pytest.fixture
def rung():
    return []


@pytest.fixture
def alarm(loop, rung):
    return Alarm(loop, lambda: rung.append(loop.now))


def test_it_rings_when_due_and_once(alarm, loop, rung):
    alarm.set(101.5)
    loop.go_to(101.4)
    assert rung == []
    loop.go_to(200)
    assert rung == [101.5]
    assert alarm.due == NEVER


def test_moved_later_it_leaves_the_timer_alone(alarm, loop, rung):
    alarm.set(101)
    for due in range(102, 150):
        alarm.set(float(due))
    assert len(loop.timers) == 1
    loop.go_to(148.9)
    assert rung == []
    loop.go_to(150)
    assert rung == [149]
    assert len(loop.timers) == 3  # the first, the wheel's, and its own


def test_moved_earlier_it_sets_another(alarm, loop, rung):
    alarm.set(110)
    alarm.set(105)
    assert len(loop.pending) == 1
    loop.go_to(120)
    assert rung == [105]


def test_never_silences_it(alarm, loop, rung):
    alarm.set(101)
    alarm.set(NEVER)
    loop.go_to(200)
    assert rung == []
    alarm.set(201)
    loop.go_to(300)
    assert rung == [201]


def test_what_is_due_rings_soon_and_never_within_the_call(alarm, loop, rung):
    alarm.set(50)
    assert rung == []
    loop.go_to(100.01)
    assert rung == [pytest.approx(100.001)]


def test_it_may_be_set_again_while_it_rings(loop):
    rung = []

    def again():
        rung.append(loop.now)
        if len(rung) < 3:
            alarm.set(loop.now + 1)

    alarm = Alarm(loop, again)
    alarm.set(101)
    loop.go_to(200)
    assert rung == [101, 102, 103]


def test_a_timer_that_is_early_by_a_hair_is_set_again(alarm, loop, rung):
    alarm.set(101)
    (timer,) = loop.pending
    loop.now = 100.9999999
    timer.pending = False
    timer.callback()
    assert rung == []
    loop.go_to(101.01)
    assert len(rung) == 1


def test_closed_it_is_silent_for_good(alarm, loop, rung):
    alarm.set(101)
    alarm.close()
    alarm.close()
    assert loop.pending == []
    loop.go_to(200)
    assert rung == []


def test_what_is_closed_leaves_no_circle() -> None:
    """Under TLS 43 KiB hang on each connection, and must not wait for the cycle collector."""

    class Owner:
        def __init__(self) -> None:
            self.alarm = Alarm(Loop(), self.ring)

        def ring(self) -> None:
            raise AssertionError

    owner = Owner()
    there = weakref.ref(owner)
    owner.alarm.close()
    gc.disable()
    try:
        del owner
        assert there() is None
    finally:
        gc.enable()


# --- many alarms, one timer -----------------------------------------------------------------------


def test_alarms_of_later_seconds_share_a_timer_and_ring_when_due(loop, rung):
    alarms = [Alarm(loop, lambda: rung.append(loop.now)) for _ in range(3)]
    for alarm, due in zip(alarms, (110.25, 104.5, 110.75), strict=True):
        alarm.set(due)
    assert [timer.when for timer in loop.pending] == [104]
    loop.go_to(104.25)
    assert sorted(timer.when for timer in loop.pending) == [104.5, 110]
    loop.go_to(200)
    assert rung == [104.5, 110.25, 110.75]
    assert loop.pending == []


def test_the_last_alarm_that_is_closed_takes_the_timer_along(loop):
    first, second = (Alarm(loop, lambda: None) for _ in range(2))
    first.set(110)
    second.set(120)
    first.close()
    assert len(loop.pending) == 1
    second.close()
    assert loop.pending == []


def test_an_alarm_that_moves_between_seconds_rings_once(alarm, loop, rung):
    for due in (130.5, 120.5, 100.5, 140.5):
        alarm.set(due)
    loop.go_to(120)
    alarm.set(125.5)
    loop.go_to(200)
    assert rung == [125.5]


def test_a_first_deadline_has_a_place_before_the_deadlines_of_its_requests(loop, rung):
    alarm = Alarm(loop, lambda: rung.append(loop.now))
    alarm.begin(110.5)
    assert [timer.when for timer in loop.pending] == [102]
    for due in (NEVER, 105.5, 103.25, 102.01, 160.0):  # requests come and go
        alarm.set(due)
        assert len(loop.timers) == 1
    alarm.set(104.75)
    loop.go_to(104.5)
    assert rung == []
    loop.go_to(200)
    assert rung == [104.75]


@pytest.mark.parametrize("due", [110.5, 102.5, 102.0, 101.75, 101.0, 100.25, 99.0])
def test_a_first_deadline_rings_when_due_and_once(due, loop, rung):
    alarm = Alarm(loop, lambda: rung.append(loop.now))
    alarm.begin(due)
    loop.go_to(200)
    assert rung == [pytest.approx(max(due, 100.001), abs=0.002)]


def test_a_request_that_is_due_at_that_second_rings_in_time(loop, rung):
    alarm = Alarm(loop, lambda: rung.append(loop.now))
    alarm.begin(110.5)
    alarm.set(102.0)
    loop.go_to(200)
    assert rung == [102]


def test_a_request_that_is_due_before_that_place_moves_it(loop, rung):
    alarm = Alarm(loop, lambda: rung.append(loop.now))
    alarm.begin(110.5)
    alarm.set(101.25)
    loop.go_to(101.5)
    assert rung == [101.25]
    alarm.set(110.5)
    loop.go_to(200)
    assert rung == [101.25, 110.5]


def test_many_alarms_of_one_second_are_handed_over_in_parts(loop, rung):
    alarms = [Alarm(loop, lambda: rung.append(loop.now)) for _ in range(2 * AT_ONCE + 1)]
    for alarm in alarms:
        alarm.set(110.5)
    (wheel,) = loop.pending
    loop.now = wheel.when
    wheel.pending = False
    wheel.callback()
    assert len(loop.pending) == AT_ONCE + 1
    loop.go_to(111)
    assert len(rung) == len(alarms)
    assert max(rung) <= 110.51


@pytest.mark.parametrize(("seconds", "late"), [(0.6, False), (6, True)])
def test_held_up_while_it_waits_with_others_it_lets_the_loop_read_first(
    asked, loop, judged, seconds, late
):
    asked.set(110.5)
    ring_late(loop, seconds)
    assert judged == []
    loop.go_to(loop.now + 0.01)
    assert judged == [late]


# --- the loop was held up -------------------------------------------------------------------------


def ring_late(loop, seconds):
    """What a loop does that was held up for so long: its timer runs before it reads."""
    (timer,) = loop.pending
    loop.now = timer.when + seconds
    timer.pending = False
    timer.callback()


@pytest.fixture
def judged(loop):
    """`late` of each ring."""
    return []


@pytest.fixture
def asked(loop, judged):
    alarm = Alarm(loop, lambda: judged.append(alarm.late))
    return alarm


@pytest.mark.parametrize(("seconds", "late"), [(0.02, False), (0.2, False), (0.3, True), (6, True)])
def test_held_up_it_lets_the_loop_read_first(asked, loop, judged, seconds, late):
    asked.set(101)
    ring_late(loop, seconds)
    assert judged == []
    loop.go_to(loop.now + 0.01)
    assert judged == [late]


def test_on_time_it_rings_at_once(asked, loop, judged):
    asked.set(101)
    ring_late(loop, 0.002)
    assert judged == [False]


def test_what_was_read_in_between_can_move_it(asked, loop, judged):
    asked.set(101)
    ring_late(loop, 6)
    asked.set(110)
    loop.go_to(109.9)
    assert judged == []
    loop.go_to(110.1)
    assert judged == [False]


def test_each_standstill_is_looked_at_again(asked, loop, judged):
    asked.set(101)
    ring_late(loop, 6)
    asked.set(110)
    loop.go_to(109)
    ring_late(loop, 3)
    assert judged == []
    loop.go_to(loop.now + 0.01)
    assert judged == [True]


def test_a_timer_left_behind_by_a_later_deadline_says_nothing_of_it(asked, loop, judged):
    """Ringing late for the earlier deadline does not make the later one missed."""
    asked.set(101)
    asked.set(103)
    ring_late(loop, 2.1)
    loop.go_to(loop.now + 0.01)
    assert judged == [False]
