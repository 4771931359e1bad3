"""Retry budget: limits retries relative to requests.

    window = 16 buckets          oldest ............................ current
    retries are counted in    [ -16 | -15 | -14 | ...        | -1 |  0 ]
    requests are counted in         [ -15 | -14 | ...        | -1 |  0 ]

Bucket -16 is partly outside the window. Its retries still count and its requests do not, so the
buckets never allow what an exact sliding window would refuse.
"""

from dataclasses import dataclass
from typing import Final

from proxy.outcome import Verdict
from proxy.policies.gate import Answer, Ask, Gate, GateKind, Permit, Scope, Snapshot


@dataclass(frozen=True, slots=True)
class BudgetConfig:
    """In the last `window` seconds: retries <= min_per_second * window + ratio * requests."""

    ratio: float = 0.2
    min_per_second: float = 3.0
    window: float = 10.0

    @property
    def empty(self) -> bool:
        """Whether it never allows a retry."""
        return not self.ratio and self.min_per_second * self.window < 1.0


@dataclass(frozen=True, slots=True)
class BudgetSnapshot(Snapshot):
    """The present window. `allowed` and `remaining` are whole retries."""

    name: str
    requests: int
    retries: int
    allowed: int
    remaining: int


_BUCKETS = 16  # a power of two: dividing the window by it is exact
_SLOTS: Final = _BUCKETS + 1
_ROUNDING = 1e-9  # 0.29 * 100 is a little less than 29


class _Passed(Permit):
    """The permit for a counted request; nothing is returned."""

    __slots__ = ()


_PASSED: Final = _Passed()


class RetryBudget(Gate):
    """One budget of one upstream and policy.

    As a gate it admits everything and counts the request at its first attempt, so that a request
    that another gate refuses is never counted. `try_spend` is called when a retry begins to wait.
    """

    __slots__ = (
        "_current",
        "_next_at",
        "_ratio",
        "_request_slots",
        "_requests",
        "_reserve",
        "_retries",
        "_retry_slots",
        "_width",
        "config",
    )

    def __init__(self, name: str, config: BudgetConfig) -> None:
        super().__init__(name)
        self.config = config
        self._ratio = config.ratio
        self._reserve = config.min_per_second * config.window + _ROUNDING
        self._width = config.window / _BUCKETS
        self._request_slots = [0] * _SLOTS
        self._retry_slots = [0] * _SLOTS
        self._requests = 0
        self._retries = 0
        self._current = 0
        self._next_at = self._width

    def admit(self, now: float, ask: Ask) -> Answer:
        if ask.tries <= 1:
            self.record_request(now)
        return _PASSED

    def settle(self, permit: Permit, verdict: Verdict, seconds: float, now: float) -> None:
        pass

    def adopt(self, config: object) -> bool:
        return config == self.config

    def idle(self, now: float) -> bool:
        return True

    def record_request(self, now: float) -> None:
        """Count one request."""
        if now >= self._next_at:  # a comparison first: this runs for every request
            self._expire(now)
        self._request_slots[self._current % _SLOTS] += 1
        self._requests += 1

    def try_spend(self, now: float) -> bool:
        """Charge one retry and return True, or False (and charge nothing) when none is left."""
        self._expire(now)
        if self._retries + 1 > self._reserve + self._ratio * self._requests:
            return False
        self._retry_slots[self._current % _SLOTS] += 1
        self._retries += 1
        return True

    def snapshot(self, now: float) -> BudgetSnapshot:
        self._expire(now)
        allowed = int(self._reserve + self._ratio * self._requests)
        remaining = max(0, allowed - self._retries)
        return BudgetSnapshot(self.name, self._requests, self._retries, allowed, remaining)

    def _expire(self, now: float) -> None:
        bucket = int(now / self._width)
        if bucket > self._current:
            self._advance(bucket)

    def _advance(self, bucket: int) -> None:
        """Make `bucket` the current one; a jump costs at most one round of the ring."""
        for current in range(max(self._current + 1, bucket - _SLOTS + 1), bucket + 1):
            leaves = current % _SLOTS  # the slot of the bucket 17 before: its retries expire
            self._retries -= self._retry_slots[leaves]
            self._retry_slots[leaves] = 0
            oldest = (current + 1) % _SLOTS  # of the bucket 16 before: its requests expire
            self._requests -= self._request_slots[oldest]
            self._request_slots[oldest] = 0
        self._current = bucket
        self._next_at = (bucket + 1) * self._width


RETRY_BUDGET = GateKind(
    "retry_budget",
    make=RetryBudget,
    default=BudgetConfig(),
    member="retries",
    title="retry budgets",
    setting=("retry", "budget"),
    scope_of=lambda _: Scope.UPSTREAM,
)
