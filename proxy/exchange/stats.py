"""Counters of one route, as plain integers.

Every request counts, and metrics are read every few seconds: counting is an addition to a
dictionary or list, and telemetry makes metric families of it on demand.
"""

from typing import Final

DURATION_BUCKETS: Final[tuple[float, ...]] = (
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0,
)  # fmt: skip
"""Upper bounds in seconds; one more bucket is for longer values."""
_BOUNDED: Final = len(DURATION_BUCKETS)

RESULT_KINDS: Final[tuple[str, ...]] = (
    "successful_without_retry",
    "successful_with_retry",
    "failed_without_retry",
    "failed_with_retry",
)


class RouteStats:
    """Counters of one listener and route; they never fall.

    `answers` by (status, reason), with reason "" if the upstream answered. `retries` by condition,
    `refused` by reason of `StopReason`. `results` counts requests after their last attempt, in
    the order of `RESULT_KINDS`.
    """

    __slots__ = (
        "_attempts",
        "answers",
        "duration_buckets",
        "duration_sum",
        "fallbacks",
        "listener",
        "refused",
        "results",
        "retries",
        "route",
    )

    def __init__(self, listener: str, route: str) -> None:
        self.listener = listener
        self.route = route
        self.answers: dict[tuple[int, str], int] = {}
        self._attempts: dict[str, dict[str, int]] = {}
        self.retries: dict[str, int] = {}
        self.refused: dict[str, int] = {}
        self.results = [0, 0, 0, 0]
        self.fallbacks = 0
        self.duration_buckets = [0] * (len(DURATION_BUCKETS) + 1)
        self.duration_sum = 0.0

    def count_answer(self, status: int, reason: str, seconds: float) -> None:
        """Count a settled exchange."""
        key = (status, reason)
        self.answers[key] = self.answers.get(key, 0) + 1
        at = 0  # search from below: most are short
        while at < _BOUNDED and seconds > DURATION_BUCKETS[at]:
            at += 1
        self.duration_buckets[at] += 1
        self.duration_sum += seconds

    def attempts_at(self, upstream: str) -> dict[str, int]:
        """The counters of one upstream by outcome: a status class ("2xx") or the reason of a
        failure."""
        return self._attempts.setdefault(upstream, {})

    @property
    def attempts(self) -> dict[tuple[str, str], int]:
        """All attempts, by (upstream, outcome)."""
        return {
            (upstream, outcome): count
            for upstream, outcomes in self._attempts.items()
            for outcome, count in outcomes.items()
        }

    def count_retry(self, condition: str) -> None:
        self.retries[condition] = self.retries.get(condition, 0) + 1

    def count_refused(self, why: str) -> None:
        self.refused[why] = self.refused.get(why, 0) + 1

    def count_result(self, failed: bool, retried: bool) -> None:
        """Count the end of a request's attempts."""
        self.results[(2 if failed else 0) + (1 if retried else 0)] += 1

    @property
    def results_by_kind(self) -> dict[str, int]:
        """The results, by the names that Resilience4j has for them."""
        return dict(zip(RESULT_KINDS, self.results, strict=True))
