"""Outlier ejection: an endpoint that fails gets no requests for a while, then one that decides.

    IN ──consecutive failures, or failure rate──▶ OUT ──`eject_for` is over──▶ one probe request
    ▲                                              ▲                            │        │
    ├──────────────── success ─────────────────────┼────────────────────────────┘        │
    │                                              └──────────── failure ────────────────┘
    └── a passing health check, from half of `eject_for.initial` on

Rules:

- an ejection lasts `initial` times the ejections in a row, at most `max`, ±10 %. An endpoint that
  stays in for as long as its last ejection lasted begins a new row;
- at most `max_ejected` are out: rounded down, but one of two or more;
- the last endpoint that can be used is never ejected;
- a success ejects only if it is the last of `minimum_calls`. Else an endpoint that `max_ejected`
  kept in during an outage would be ejected when it works again;
- an outcome counts only in the state that it began in. IGNORED leaves no trace: a probe with this
  result is followed by another;
- after `PROBE_SECONDS` without a result of a probe another one begins. The first result of any of
  them decides, so that an endpoint whose usual answers take longer comes back too;
- health checks only mark an endpoint: they do not count as ejections.

Pure: `now` is an argument (monotonic seconds), `random` is injected.
"""

from collections.abc import Callable
from enum import Enum
from math import floor, inf
from typing import Final

from proxy.clock import Random
from proxy.outcome import FAILURE, SUCCESS, Verdict
from proxy.policies.ejection_config import OutlierConfig
from proxy.policies.gate import OBSERVE
from proxy.policies.rate_window import RateWindow

PROBE_SECONDS: Final = 30.0
JITTER: Final = 0.1


class Why(Enum):
    """The reason of an ejection: label of a metric."""

    CONSECUTIVE_FAILURES = "consecutive-failures"
    FAILURE_RATE = "failure-rate"
    PROBE_FAILED = "probe-failed"


CONSECUTIVE_FAILURES: Final = Why.CONSECUTIVE_FAILURES
FAILURE_RATE: Final = Why.FAILURE_RATE
PROBE_FAILED: Final = Why.PROBE_FAILED


class Pass:
    """An attempt at an endpoint. `settle` returns it to its member, exactly once.

    `probes`: it decides whether the endpoint comes back.
    """

    __slots__ = ("generation", "probes", "since")

    def __init__(self, since: float) -> None:
        self.generation = 0
        self.probes = False
        self.since = since


class Member:
    """One endpoint's state; `Ejection.join` makes it.

    `ejected`: it is out, until `until` at least, since `since`. `row`: its ejections in a row.
    `unhealthy`: its health checks fail; `checked`: they have said something. `why`: the reason of
    its last ejection.
    """

    __slots__ = (
        "_ejection",
        "_failures",
        "_generation",
        "_lasted",
        "_probe",
        "_returned",
        "_window",
        "checked",
        "ejected",
        "row",
        "since",
        "unhealthy",
        "until",
        "why",
    )

    def __init__(self, ejection: "Ejection") -> None:
        self._ejection = ejection
        self._failures = 0
        self._generation = 0
        self._lasted = 0.0
        self._probe: Pass | None = None
        self._returned = -inf
        self._window: RateWindow | None = ejection.new_window()
        self.checked = False
        self.ejected = False
        self.row = 0
        self.since = 0.0
        self.unhealthy = False
        self.until = 0.0
        self.why = CONSECUTIVE_FAILURES

    @property
    def usable(self) -> bool:
        """Whether it gets requests."""
        return not self.unhealthy and (not self.ejected or self._ejection.observes)

    @property
    def observed(self) -> bool:
        """Whether its ejection is only counted: it is still used."""
        return self.ejected and self._ejection.observes

    def wants_probe(self, now: float) -> bool:
        """Whether the next request at it decides about its return."""
        if not self.ejected or now < self.until or self.unhealthy:
            return False
        probe = self._probe
        return probe is None or now - probe.since >= PROBE_SECONDS

    def enter(self, attempt: Pass) -> None:
        """An attempt begins; it is the probe, if the member wants one."""
        attempt.generation = self._generation
        if self.ejected and self.wants_probe(attempt.since):
            attempt.probes = True
            self._probe = attempt
            self._ejection.plan()

    def settle(self, attempt: Pass, verdict: Verdict, now: float) -> None:
        """The attempt's outcome is known."""
        if attempt.generation != self._generation:
            return
        if self.ejected:
            if attempt.probes:
                self._decide(attempt, verdict, now)
        elif verdict is SUCCESS:
            self._failures = 0
            window = self._window
            if window is not None:
                window.record(False, now)
                if window.failures and window.calls == self._ejection.least_calls:
                    self._judge(now)
        elif verdict is FAILURE:
            self._failures += 1
            if self._window is not None:
                self._window.record(True, now)
            self._judge(now)

    def passed_check(self, now: float) -> None:
        """A health check has passed: half of `eject_for.initial` is enough then."""
        if self.ejected and now - self.since >= self._ejection.config.eject_for.initial / 2:
            self.come_back(now)

    def mark(self, unhealthy: bool) -> None:
        """What the health checks say."""
        self.checked = True
        if unhealthy is not self.unhealthy:
            self.unhealthy = unhealthy
            self._ejection.changed()

    def keep_health(self, former: "Member") -> None:
        """What the health checks said of the endpoint goes on."""
        self.checked = former.checked
        self.unhealthy = former.unhealthy

    def go_on(self, former: "Member") -> None:
        """What is known of the endpoint's attempts goes on."""
        self._failures = former._failures
        self._lasted = former._lasted
        self._returned = former._returned
        self._window = former._window
        self.ejected = former.ejected
        self.row = former.row
        self.since = former.since
        self.until = former.until
        self.why = former.why

    def forget_health(self) -> None:
        """There are no health checks any more."""
        self.mark(unhealthy=False)
        self.checked = False

    def forget_attempts(self) -> None:
        """Attempts that end later leave no trace."""
        self._generation += 1

    def come_back(self, now: float) -> None:
        """End its ejection."""
        self.ejected = False
        self._returned = now
        self._start_over()
        self._ejection.changed()

    def _decide(self, attempt: Pass, verdict: Verdict, now: float) -> None:
        if verdict is SUCCESS:
            self.come_back(now)
        elif verdict is FAILURE:
            self._ejection.ejections[PROBE_FAILED] += 1
            self._go_out(PROBE_FAILED, self.row + 1, now)
        elif attempt is self._probe:
            self._probe = None
            self._ejection.plan()

    def _judge(self, now: float) -> None:
        """Eject it if its outcomes say so."""
        why = self._reason(self._ejection.config)
        if why is None or not self._ejection.may_eject(self):
            return
        self._ejection.ejections[why] += 1
        again = now - self._returned < self._lasted
        self._go_out(why, self.row + 1 if again else 1, now)

    def _reason(self, config: OutlierConfig) -> Why | None:
        if 0 < config.consecutive_failures <= self._failures:
            return CONSECUTIVE_FAILURES
        window, limit = self._window, config.failure_rate
        if window is None or limit is None or window.calls < limit.minimum_calls:
            return None
        return FAILURE_RATE if window.failures >= limit.rate * window.calls else None

    def _go_out(self, why: Why, row: int, now: float) -> None:
        self.why = why
        self.row = row
        self.since = now
        self._lasted = self._ejection.seconds(row)
        self.until = now + self._lasted
        self.ejected = True
        self._start_over()
        self._ejection.changed()

    def _start_over(self) -> None:
        """Outcomes of attempts that began before this moment do not count."""
        self._generation += 1
        self._failures = 0
        self._probe = None
        self._window = self._ejection.new_window()


class Ejection:
    """The endpoints of one upstream.

    `members` are present. `due`: when the next one wants a probe; inf: none. `ejections` counts by
    reason. `on_change` is called after each change of what can be used.
    """

    __slots__ = ("_on_change", "_random", "config", "due", "ejections", "members", "observes")

    def __init__(
        self,
        config: OutlierConfig,
        random: Random,
        on_change: Callable[[], None],
        ejections: dict[Why, int] | None = None,
    ) -> None:
        """`ejections`: counts that go on."""
        self.config = config
        self.observes = config.mode is OBSERVE
        self.members: dict[Member, None] = {}
        self.due = inf
        self.ejections = no_ejections() if ejections is None else ejections
        self._random = random
        self._on_change = on_change

    @property
    def ejected(self) -> int:
        """Members that are out."""
        return sum([member.ejected for member in self.members])

    @property
    def most(self) -> int:
        """How many may be out at once."""
        count = len(self.members)
        return max(floor(count * self.config.max_ejected + 1e-9), 1) if count > 1 else 0

    def join(self) -> Member:
        """An endpoint has come."""
        member = Member(self)
        self.members[member] = None
        return member

    def leave(self, member: Member, now: float) -> None:
        """An endpoint is gone, and those that are out beyond the limit of the rest come back."""
        self.members.pop(member, None)
        member.forget_attempts()
        self._keep_to_limit(now)
        self.changed()

    def retire(self) -> None:
        """Another one takes its place: attempts that end later leave no trace."""
        for member in self.members:
            member.forget_attempts()

    def may_eject(self, member: Member) -> bool:
        """Whether one more may be out, and another one can be used."""
        if self.ejected >= self.most:
            return False
        return any([self._serves(one) for one in self.members if one is not member])

    def reconfigure(self, config: OutlierConfig, now: float) -> bool:
        """Go on with these settings; False, and no change: the state is useless under them."""
        if _judging(config) != _judging(self.config):
            return False
        self.config = config
        self.observes = config.mode is OBSERVE
        self._keep_to_limit(now)
        self.changed()
        return True

    def succeed(self, former: "Ejection", members: dict[Member, Member], now: float) -> None:
        """Go on with the state of another one, unless it is useless under these settings.

        `members`: its member for each one that stays.
        """
        if _judging(former.config) == _judging(self.config):
            for member, before in members.items():
                member.go_on(before)
            self._keep_to_limit(now)
        self.changed()

    # --- for its members ------------------------------------------------------------------------

    @property
    def least_calls(self) -> int:
        """Outcomes from which on the failure rate is judged; 0: never."""
        limit = self.config.failure_rate
        return 0 if limit is None else limit.minimum_calls

    def new_window(self) -> RateWindow | None:
        """An empty window for the failure rate, if that is judged."""
        limit = self.config.failure_rate
        return None if limit is None else RateWindow(int(limit.window))

    def seconds(self, row: int) -> float:
        """How long the last of `row` ejections in a row lasts."""
        eject_for = self.config.eject_for
        return min(eject_for.max, eject_for.initial * row) * (
            1.0 - JITTER + 2.0 * JITTER * self._random()
        )

    def changed(self) -> None:
        """A member's state has changed."""
        self.plan()
        self._on_change()

    def plan(self) -> None:
        """Find out when the next probe is due."""
        due = inf
        for member in self.members:
            if member.ejected and not member.unhealthy:
                probe = member._probe
                at = member.until if probe is None else probe.since + PROBE_SECONDS
                due = min(due, at)
        self.due = due

    def _serves(self, member: Member) -> bool:
        """Whether it would get requests if this acts."""
        return not member.ejected and not member.unhealthy

    def _keep_to_limit(self, now: float) -> None:
        """Those that are out beyond the limit come back, the one that would come first before the
        others.
        """
        while self._too_many_out():
            first = min([one for one in self.members if one.ejected], key=_until)
            first.come_back(now)

    def _too_many_out(self) -> bool:
        out = self.ejected
        return out > self.most or (out > 0 and out == len(self.members))


def no_ejections() -> dict[Why, int]:
    """Counts that begin."""
    return dict.fromkeys(Why, 0)


def _judging(config: OutlierConfig) -> tuple[object, ...]:
    """The settings that its state depends on."""
    return config.consecutive_failures, config.failure_rate, config.eject_for


def _until(member: Member) -> float:
    return member.until
