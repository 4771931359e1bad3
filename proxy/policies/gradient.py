"""Gradient: learns how many concurrent requests an upstream can take, from how long it takes.

    usual      the time that the upstream takes for a request that does not queue in it
    window     at least 10 answers and 1 s: their average time, and the requests in use
    falls      the window is TOLERANCE times slower than usual: to what the upstream got done (in
               use × usual ÷ the window's end), at most to half, and on until no request queues. Few
               answers vary too much for single windows: there a run of slow halves counts too
    rises      while requests do not queue and at least half of the limit was in use. If the limit
               is used up, it rises by a quarter and compares

Comparing. By Little's law the upstream answers (in use ÷ time) requests a second. If a raised limit
brings more answers, it stays, and rises again. If it brings none, the additional requests queue in
the upstream: the limit becomes what the upstream got done in its usual time, and rests.
So an error in what is usual does not last: a limit that is too low rises although every answer is
slower than usual, as on a busy machine.

From the start. The limit begins at START. In an overloaded upstream that can take fewer, requests
queue from the first window, and what they take looks usual. The first raise then brings no more
answers. The limit is halved until fewer answers come: at that limit no request queues, its time is
usual, and usual × the most answers a second is what the upstream can take.

After Gradient2 of Netflix's concurrency-limits, Vegas and BBR (comparing answers a second). If two
falls do not make the upstream faster, requests do not queue in it: it is slower for another
reason, what it takes now is usual, and the limit is what it was before. A limit is lowered only
after requests were seen to queue, never in order to measure.
"""

from math import log, sqrt
from typing import Final

from proxy.policies.gradient_level import MANY, Level, SlowRun

START: Final = 20
TOLERANCE: Final = 1.5
_WINDOW: Final = 1.0
_SAMPLES: Final = 10
_EARLY: Final = 0.5  # seconds of a window
_LATE: Final = 20  # answers after that, at least
_LEAST: Final = 0.5  # of the limit, after one window
_QUEUEING: Final = 1.05  # times the usual time
_FALLING: Final = 1.15  # in place of TOLERANCE, once it falls
_SPREAD: Final = 3.0  # standard deviations of a window with few answers that are tolerated
_LONGEST: Final = 4.0  # times the usual time: what one answer counts at most
_SHORTEST: Final = 1e-6  # seconds: a window's average
_FEW_FAILURES: Final = 0.1
_STEP: Final = 0.1  # of a limit that is not used up, in one window
_USED_UP: Final = 0.6  # of the limit in use, on average
_ENOUGH: Final = 100  # answers for a small step
# How much of a window goes into what is usual: of an upstream that is not busy; of a busy one that
# was faster, and of one that was slower; at a limit that is used up and was compared.
_RELAXED: Final = 0.1
_FASTER: Final = 0.01
_SLOWER: Final = 0.002
_COMPARED: Final = 0.03
_FIRST: Final = 10  # windows whose mean is usual
_NEW: Final = 3  # windows after which it may fall
_STILL: Final = 3.0  # standard deviations: requests still queue after a fall
_MUCH: Final = 0.75  # of the limit before: smaller falls are judged by chance
_FALLS: Final = 2  # that made the upstream no faster: it is slower for another reason

# Comparing. Evidence is the logarithm of how much likelier one answer is than the other (Wald's
# sequential test), for times that vary as much as exponential ones.
_RAISE: Final = 1.25
_FIRST_RAISE: Final = 1.5
_RISING: Final = 1.2  # times its average: the upstream is becoming slower
_LOWER: Final = 0.5
_SURE: Final = 3.5
_FIRST_SURE: Final = 6.0
_ONLY_IF_SURER: Final = 2.0  # added, where an error would last
_UNDECIDED: Final = 1.5  # times sure: so much should have decided; the sign does
_WINDOWS: Final = 3  # of a level
_REST: Final = 10  # windows after a raise that brought nothing, or a fall
_REST_FOR_EACH: Final = 5  # or so many for each window of the raise
_LONGEST_REST: Final = 30
_TOO_LITTLE: Final = 0.08  # of a step in the logarithm of the requests in use
_BELOW: Final = 0.99  # of what the upstream got done in its usual time

# What happens at a limit that is used up.
_HOLDS: Final = 0
_IS_RAISED: Final = 1
_IS_LOWERED: Final = 2


class Gradient:
    """One limit between `lowest` and `highest`. Times are in seconds."""

    __slots__ = (
        "_before",
        "_begun",
        "_count",
        "_early_count",
        "_early_in_use",
        "_early_sum",
        "_failed",
        "_falls",
        "_former",
        "_here",
        "_in_use",
        "_known",
        "_most",
        "_peak",
        "_rests_until",
        "_run",
        "_settled",
        "_slack",
        "_state",
        "_sum",
        "_unless_above",
        "_windows",
        "highest",
        "limit",
        "lowest",
        "usual",
    )

    _sum: float
    _early_sum: float
    _count: int
    _early_count: int
    _in_use: int
    _early_in_use: int
    _failed: int
    _most: int

    def __init__(self, lowest: int, highest: int) -> None:
        self.limit = float(START)
        self.usual = 0.0
        self._known = False  # whether `usual` is of requests that did not queue
        self._state = _HOLDS
        self._here = Level()
        self._before = Level()  # before the limit was raised
        self._run = SlowRun()
        self._peak = 0.0  # answers a second, while requests queued
        self._rests_until = 0  # the window
        self._slack = 0  # windows in a row in which the limit was not used up
        self._falls = 0  # in a row, that made the upstream no faster
        self._former = 0.0  # the limit before them
        self._unless_above = 0.0  # seconds; a slower window after a fall: it made it no faster
        self._begun = self._settled = 0.0
        self._windows = 0
        self._clear_window()
        self.configure(lowest, highest)

    @property
    def permits(self) -> int:
        """The limit in whole requests."""
        return int(self.limit + 0.5)

    def configure(self, lowest: int, highest: int) -> None:
        self.highest = float(highest)
        self.lowest = min(max(float(lowest), 1.0), self.highest)
        if not self.lowest <= self.limit <= self.highest:
            self._state = _HOLDS
            self._set(self.limit)

    def learn(self, seconds: float, in_use: int, failed: bool, now: float) -> bool:
        """Learn from one answer. Returns whether the limit has changed.

        `in_use`: permits in use, its own included. A failure counts only if it took long: quick
        ones say nothing about what the upstream can take.
        """
        if now < self._settled or (failed and seconds < self.usual):
            return False
        if not self._count:
            self._begun = now
        elif not self._early_count and now - self._begun >= _EARLY:
            before = self.limit
            if self._judge_early(now):
                return self.limit != before
        usual = self.usual
        self._sum += seconds if not usual or seconds < _LONGEST * usual else _LONGEST * usual
        self._count += 1
        self._failed += failed
        self._in_use += in_use
        if in_use > self._most:
            self._most = in_use
        if self._count < _SAMPLES or now - self._begun < _WINDOW:
            return False
        return self._judge(now)

    def _clear_window(self) -> None:
        self._sum = self._early_sum = 0.0
        self._count = self._failed = self._in_use = self._most = 0
        self._early_count = self._early_in_use = 0

    def _judge_early(self, now: float) -> bool:
        """Half of the window has passed. Returns whether the run of slow halves ends in a fall."""
        count, run = self._count, self._run
        self._early_count, self._early_sum, self._early_in_use = count, self._sum, self._in_use
        average = self._sum / count
        if not self._add_half(count, self._in_use / count, average):
            return False
        latest = max(average if count >= _LATE else run.time, TOLERANCE * self.usual)
        self._clear_window()
        self._windows += 1
        self._fall(run.time, max(latest, run.time), run.in_use, now)
        return True

    def _add_half(self, count: int, in_use: float, average: float) -> bool:
        """Returns whether this half and those before it say that the upstream became slow."""
        if self._windows <= _NEW or self._state == _IS_LOWERED or 2.0 * in_use < self.permits:
            self._run.clear()
            return False
        return self._run.add(count, in_use, average, self.usual * self._rise(in_use))

    def _judge(self, now: float) -> bool:
        """The window is complete."""
        count, most = self._count, self._most
        average, in_use = max(self._sum / count, _SHORTEST), self._in_use / count
        well = self._failed <= _FEW_FAILURES * count
        late = count - self._early_count
        late_average = (self._sum - self._early_sum) / late
        late_in_use = (self._in_use - self._early_in_use) / late
        latest = late_average if late >= _LATE else average
        self._clear_window()
        self._windows += 1
        before, permits = self.limit, float(self.permits)
        if self._windows <= 2:  # the first one has only answers that came quickly
            self.usual = average
        elif self._falls:
            self._judge_falls(average, well)
        slower = average / self.usual
        if slower <= _QUEUEING:
            self._falls = 0
        used_up = in_use >= _USED_UP * permits
        slow = self._add_half(late, late_in_use, late_average)
        if slow:
            average, in_use = self._run.time, self._run.in_use
            latest = max(latest, TOLERANCE * self.usual)
        if (slow or slower > self._tolerance(count, in_use)) and 2.0 * in_use >= permits:
            self._fall(average, max(latest, average), in_use, now)
            return self.limit != before
        if used_up:
            self._compare(count, in_use, average, now)
        elif self._state != _HOLDS:
            self._slack += 1
            if self._slack >= _WINDOWS:
                self._give_up_comparing()
        elif slower < _QUEUEING and 2 * most >= permits:
            step = max(1.0, _STEP * before) * min(count / _ENOUGH, 1.0)
            self.limit = min(before + step, self.highest)
        self._learn_usual(average, slower, used_up, 2.0 * in_use >= permits)
        return self.limit != before

    def _learn_usual(self, average: float, slower: float, used_up: bool, busy: bool) -> None:
        if used_up and self._state != _HOLDS:
            return
        if self._windows <= _FIRST:
            rate = 1.0 / max(self._windows - 1, 1)
        elif used_up:
            rate = _COMPARED
            average *= self.limit / self.permits
        else:
            rate = _RELAXED if not busy else _FASTER if slower < 1.0 else _SLOWER
        self.usual += rate * (average - self.usual)

    def _set(self, limit: float) -> None:
        self.limit = min(max(limit, self.lowest), self.highest)
        self._here.clear()
        self._run.clear()

    # --- falls ------------------------------------------------------------------------------------

    def _tolerance(self, count: int, in_use: float) -> float:
        if self._windows <= _NEW or self._state == _IS_LOWERED:
            return _LONGEST
        if self._falls and count >= _ENOUGH:
            return _FALLING
        tolerance = 1.0 + _SPREAD / sqrt(count)
        return max(TOLERANCE, tolerance * self._rise(in_use))

    def _rise(self, in_use: float) -> float:
        """What a raised limit may add to the usual time: if requests queue, it rises with them."""
        if self._state != _IS_RAISED:
            return 1.0
        before = self._before
        return max(in_use / before.in_use, 1.0) * max(before.time / self.usual, 1.0)

    def _fall(self, average: float, latest: float, in_use: float, now: float) -> None:
        """`latest`: the average of the window's end, which tells more if the window began well."""
        largest = self.limit
        if self._state == _IS_RAISED:
            largest = min(largest, self._before.in_use)
        if not self._falls:
            self._former = self.limit
        self._falls += 1
        self._state = _HOLDS
        self._rests_until = self._windows + _REST
        self._set(max(in_use * self.usual / latest, largest * _LEAST))
        # The next answers belong to requests that came before; and the quick ones come first.
        self._settled = now + 2.0 * average
        # If they queued, the time falls with the limit; else it stays. This is between the two.
        self._unless_above = average * sqrt(min(self.limit / in_use, 1.0))

    def _judge_falls(self, average: float, well: bool) -> None:
        if average < self._unless_above:
            self._falls = 1
            self._former = self.limit
        elif self._falls >= _FALLS and well and self.limit <= _MUCH * self._former:
            self.usual = average
            self._falls = 0
            self._set(self._former)

    # --- a limit that is used up ------------------------------------------------------------------

    def _compare(self, count: int, in_use: float, average: float, now: float) -> None:
        self._slack = 0
        here = self._here
        here.add(count, in_use, average)
        slower = here.time / self.usual
        if self._falls and slower > 1.0 + _STILL / sqrt(here.count):
            self._move(self.limit / slower, here.time, now)
            return
        if here.windows < _WINDOWS:
            return
        if self._state == _HOLDS:
            if self._windows >= self._rests_until and average < _RISING * here.time:
                self._raise(now)
            return
        before = self._before
        if self._state == _IS_LOWERED:
            step = log(2.0) / 2.0
            queueing = step - log(self._peak * here.time / here.in_use)
        else:
            step = log(here.in_use / before.in_use) / 2.0
            queueing = log(here.time / before.time) - step
            if step < _TOO_LITTLE:
                if here.count >= before.count:
                    self._give_up_comparing()
                return
        weight = step / (1.0 / here.count + 1.0 / before.count)
        evidence = 2.0 * weight * queueing
        sure = _FIRST_SURE if self._state == _IS_LOWERED else _SURE
        undecided = -sure - _ONLY_IF_SURER < evidence < sure
        if undecided and weight * step < _UNDECIDED * sure and here.count < MANY:
            return
        if self._state == _IS_RAISED:
            self._judge_raised(evidence, now)
        else:
            self._judge_lowered(evidence, now)

    def _raise(self, now: float) -> None:
        """Raise the limit, once enough is known to compare with."""
        here, permits = self._here, self.permits
        limit = permits * (_RAISE if self._known else _FIRST_RAISE) + 1.0
        limit = min(limit, self.highest)
        step = log(limit / permits) / 2.0
        if step < _TOO_LITTLE or (here.count * step * step < 2.0 * _SURE and here.count < MANY):
            return
        self._state = _IS_RAISED
        self._before, self._here = here, self._before
        self._move(limit, here.time, now)

    def _judge_raised(self, queueing: float, now: float) -> None:
        here, before = self._here, self._before
        self._state = _HOLDS
        if queueing <= -_SURE - _ONLY_IF_SURER:
            self._known = True
            self.usual += 0.5 * (here.time - self.usual)
            self._rests_until = self._windows
            return
        rest = min(max(_REST, _REST_FOR_EACH * here.windows), _LONGEST_REST)
        self._rests_until = self._windows + rest
        if not self._known and queueing <= 0.0:  # some of them queue
            self._move(self.limit * before.time / here.time, here.time, now)
            return
        self._peak = (here.in_use + before.in_use) / (here.time + before.time)
        if self._known:
            least = before.in_use if queueing <= 0.0 else _LEAST * before.in_use
            self._move(max(_BELOW * self._peak * self.usual, least), here.time, now)
            return
        before.count += here.count
        self._state = _IS_LOWERED
        self._move(self.permits * _LOWER, here.time, now)

    def _judge_lowered(self, queueing: float, now: float) -> None:
        here = self._here
        if queueing > -_FIRST_SURE and self.limit > self.lowest:
            self._move(self.permits * _LOWER, here.time, now)
            return
        self._known = True
        self._state = _HOLDS
        self._rests_until = self._windows + _REST
        self.usual = here.time
        self._move(self._peak * here.time, here.time, now)

    def _give_up_comparing(self) -> None:
        """There is too little load. A limit that was lowered to compare becomes what it was."""
        if self._state == _IS_LOWERED:
            self._set(self._before.in_use)
        self._state = _HOLDS
        self._rests_until = self._windows + _REST

    def _move(self, limit: float, time: float, now: float) -> None:
        """Set another limit, and learn from it when most requests that came before are answered.

        `time`: of such a request.
        """
        self._settled = now + 2.0 * time
        self._set(limit)
