"""Cases of the circuit breaker: a configuration, and steps with what they lead to."""

from collections.abc import Callable, Mapping
from typing import Any

from case_runner.breaker_config import read_setup
from case_runner.breaker_driver import Driver
from case_runner.fields import CaseError, Fields, check
from proxy.outcome import Verdict
from proxy.policies.circuit_breaker import BreakerSnapshot, CircuitPermit

_VERDICTS = {
    "success": Verdict.SUCCESS,
    "failure": Verdict.FAILURE,
    "error": Verdict.FAILURE,
    "ignored": Verdict.IGNORED,
}
_METRICS: dict[str, Callable[[BreakerSnapshot], float]] = {
    "failure_rate": lambda s: s.failure_rate,
    "slow_rate": lambda s: s.slow_call_rate,
    "buffered": lambda s: s.calls,
    "failures": lambda s: s.failures,
    "successes": lambda s: s.calls - s.failures,
    "slow": lambda s: s.slow_calls,
    "slow_failures": lambda s: s.slow_failures,
    "slow_successes": lambda s: s.slow_calls - s.slow_failures,
    "not_permitted": lambda s: s.not_permitted,
    "total_duration_ms": lambda s: s.total_duration * 1000,
    "avg_duration_ms": lambda s: s.total_duration * 1000 / s.calls if s.calls else 0.0,
}


def run(case: Fields, defaults: Mapping[str, Any]) -> None:
    setup = read_setup(case.where, case.take("config"), defaults)
    steps = _Steps(Driver(setup))
    steps.run(case.where, case.need("steps"))


class _Steps:
    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self._started: dict[str, tuple[CircuitPermit, float]] = {}
        self._operations: dict[str, Callable[[Fields], None]] = {
            "success": lambda step: self._record(step, Verdict.SUCCESS),
            "failure": lambda step: self._record(step, Verdict.FAILURE),
            "ignored": lambda step: self._record(step, Verdict.IGNORED),
            "acquire": self._acquire,
            "release": self._release,
            "advance": self._advance,
            "tick": lambda step: self._driver.tick(),
            "transition": self._transition,
            "call": self._call,
            "reset": lambda step: self._driver.reset(),
            "expect": self._expect,
            "listen": lambda step: self._driver.events.clear(),
            "repeat": self._repeat,
            "start_finish": self._start_finish,
            "start": self._start,
            "finish": self._finish,
        }

    def run(self, where: str, steps: Any) -> None:
        if not isinstance(steps, list) or not steps:
            raise CaseError(f"{where}: steps are wanted")
        for number, data in enumerate(steps, 1):
            step = Fields(f"{where}: step {number}", data)
            op = step.need("op")
            step.where += f" ({op})"
            if op not in self._operations:
                raise CaseError(f"{step.where}: unknown op")
            step.take("note")
            self._operations[op](step)
            step.finish()

    # --- outcomes ---------------------------------------------------------------------------

    def _record(self, step: Fields, verdict: Verdict) -> None:
        seconds = step.take("dur_ms", 0) / 1000
        for _ in range(step.take("times", 1)):
            self._driver.record(verdict, seconds)

    def _acquire(self, step: Fields) -> None:
        permitted = step.take("permitted", True)
        for count in range(step.take("times", 1)):
            answer = self._driver.acquire() is not None
            check(f"{step.where}: permitted, time {count + 1}", answer, permitted)

    def _release(self, step: Fields) -> None:
        for _ in range(step.take("times", 1)):
            self._driver.release()

    def _call(self, step: Fields) -> None:
        verdict = self._verdict(step)
        seconds = step.any_of("takes_ms", "dur_ms", default=0) / 1000
        permitted = step.take("permitted", True)
        for _ in range(step.take("times", 1)):
            permit = self._driver.acquire()
            check(f"{step.where}: permitted", permit is not None, permitted)
            if permit is not None:
                self._driver.advance(seconds)
                self._driver.record(verdict, seconds, permit)

    def _verdict(self, step: Fields) -> Verdict:
        name = str(step.any_of("outcome", "result", "record", default="success")).lower()
        if name not in _VERDICTS:
            raise CaseError(f"{step.where}: unknown outcome {name!r}")
        return _VERDICTS[name]

    # --- calls in flight --------------------------------------------------------------------

    def _start(self, step: Fields) -> None:
        self._admit(step, str(step.any_of("id", "call", default="")))

    def _finish(self, step: Fields) -> None:
        self._settle(step, str(step.any_of("id", "call", default="")))

    def _start_finish(self, step: Fields) -> None:
        """Whole, with `start` and `finish` as milliseconds from now and the steps between them.

        Or in halves: a step with `start: NAME`, and a later one with `finish: NAME`.
        """
        start, finish = (
            step.any_of("start", "start_ms"),
            step.any_of("finish", "finish_ms"),
        )
        if start is not None and finish is None:
            self._admit(step, str(start))
        elif finish is not None and start is None:
            self._settle(step, str(finish))
        else:
            begin, end = self._milliseconds(step, start), self._milliseconds(step, finish)
            self._driver.advance(begin / 1000)
            self._admit(step, "")
            between = step.take("steps")
            if between is not None:
                self.run(step.where, between)
            self._driver.advance((end - begin) / 1000)
            self._settle(step, "")

    def _milliseconds(self, step: Fields, value: Any) -> float:
        if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
            raise CaseError(f"{step.where}: {value!r} is no number of milliseconds")
        return float(value or 0)

    def _admit(self, step: Fields, name: str) -> None:
        permitted = step.take("permitted", True)
        permit = self._driver.acquire()
        check(f"{step.where}: permitted", permit is not None, permitted)
        if permit is not None:
            self._started[name] = permit, self._driver.now

    def _settle(self, step: Fields, name: str) -> None:
        if name not in self._started:
            raise CaseError(f"{step.where}: no call {name!r} was started")
        permit, since = self._started.pop(name)
        seconds = step.any_of("dur_ms", "takes_ms")
        took = self._driver.now - since if seconds is None else seconds / 1000
        self._driver.record(self._verdict(step), took, permit)

    # --- time and orders --------------------------------------------------------------------

    def _advance(self, step: Fields) -> None:
        self._driver.advance(step.need("ms") / 1000)

    def _transition(self, step: Fields) -> None:
        to, illegal, wait = step.need("to"), step.take("illegal", False), step.take("for_ms")
        before = self._driver.state()
        try:
            self._driver.transition(to, None if wait is None else wait / 1000)
        except ValueError as error:
            if not illegal:
                raise CaseError(f"{step.where}: refused: {error}") from error
            check(f"{step.where}: state", self._driver.state(), before)
        else:
            if illegal:
                raise CaseError(f"{step.where}: {before} to {to} was not refused")

    def _repeat(self, step: Fields) -> None:
        steps = step.need("steps")
        for count in range(step.need("times")):
            self.run(f"{step.where}: time {count + 1}", steps)

    # --- what came of it --------------------------------------------------------------------

    def _expect(self, step: Fields) -> None:
        if "state" in step:
            check(f"{step.where}: state", self._driver.state(), step.take("state"))
        snapshot = self._driver.snapshot()
        for name, wanted in step.rest().items():
            if name in _METRICS:
                check(f"{step.where}: {name}", _METRICS[name](snapshot), wanted)
            elif name == "events":
                for event, count in Fields(f"{step.where}: events", wanted).rest().items():
                    self._expect_event(step, event, count)
            else:
                self._expect_event(step, name, wanted)

    def _expect_event(self, step: Fields, name: Any, wanted: Any) -> None:
        count = self._driver.events.count(str(name))
        if count is None:
            raise CaseError(f"{step.where}: unknown expectation {name!r}")
        check(f"{step.where}: {name}", count, wanted)
