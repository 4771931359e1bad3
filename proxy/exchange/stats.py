"""Counters of one route, as plain integers.

Every request counts, and metrics are read every few seconds: counting is an addition to a
dictionary or list, and telemetry makes metric families of it on demand.
"""

from typing import Final, TypeAlias

from proxy.grpc_status import FAILURES, NO_GRPC

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


_Kind: TypeAlias = tuple[int, str, str, int]

MAX_KINDS: Final = 2000
"""Kinds of requests that are counted exactly."""
OTHER: Final = "other"


class Count:
    """A number that grows. To add to an entry of a dictionary costs twice as much."""

    __slots__ = ("number",)

    def __init__(self) -> None:
        self.number = 0


class RouteStats:
    """Counters of one listener and route; they never fall.

    `requests` by (status, reason, method, gRPC's code), with reason "" if the upstream answered,
    `OTHER` for uncommon methods, and `NO_GRPC` for what is not a gRPC call. `retries` by condition,
    `refused` by reason of `StopReason`, `observed` by what a policy in mode observe would have done
    (``policy.what``). `claims`: first requests with their key that are not answered yet, `waiting`:
    repeats that wait for one now.
    `results` counts requests after their last attempt, in
    the order of `RESULT_KINDS`.
    """

    __slots__ = (
        "_attempts",
        "_requests",
        "claims",
        "duration_buckets",
        "duration_sum",
        "fallbacks",
        "faults",
        "hedges",
        "idempotency",
        "listener",
        "mirrors",
        "observed",
        "refused",
        "results",
        "retries",
        "route",
        "waiting",
    )

    def __init__(self, listener: str, route: str) -> None:
        self.listener = listener
        self.route = route
        self._requests: dict[_Kind, Count] = {}
        self._attempts: dict[str, dict[str, Count]] = {}
        self.retries: dict[str, int] = {}
        self.refused: dict[str, int] = {}
        self.observed: dict[str, int] = {}
        self.results = [0, 0, 0, 0]
        self.fallbacks = 0
        self.hedges: dict[str, int] = {}
        self.faults: dict[str, int] = {}
        self.mirrors: dict[str, int] = {}
        self.idempotency: dict[str, int] = {}
        self.claims = 0
        self.waiting = 0
        self.duration_buckets = [0] * (len(DURATION_BUCKETS) + 1)
        self.duration_sum = 0.0

    def count_idempotency(self, result: str) -> None:
        """Count a request with an idempotency key, or one that should have had one."""
        self.idempotency[result] = self.idempotency.get(result, 0) + 1

    def count_answer(
        self, status: int, reason: str, seconds: float, method: str = "", code: int = NO_GRPC
    ) -> None:
        """Count a settled exchange. `code`: of a gRPC call."""
        kind = (status, reason, method, code)
        count = self._requests.get(kind)
        if count is None:
            count = self._new_kind(kind)
        count.number += 1
        at = 0  # search from below: most are short
        while at < _BOUNDED and seconds > DURATION_BUCKETS[at]:
            at += 1
        self.duration_buckets[at] += 1
        self.duration_sum += seconds

    def _new_kind(self, kind: _Kind) -> Count:
        """An upstream can answer with any status: beyond `MAX_KINDS` they are less exact."""
        if len(self._requests) >= MAX_KINDS:
            status, reason, _, code = kind
            kind = (status, reason, OTHER, code if status == 200 else NO_GRPC)
        return self._requests.setdefault(kind, Count())

    @property
    def requests(self) -> dict[_Kind, int]:
        """Settled exchanges by kind."""
        return {kind: count.number for kind, count in self._requests.items()}

    @property
    def answers(self) -> dict[tuple[int, str], int]:
        """All requests by (status, reason)."""
        found: dict[tuple[int, str], int] = {}
        for (status, reason, _, _), count in self.requests.items():
            found[status, reason] = found.get((status, reason), 0) + count
        return found

    @property
    def errors(self) -> int:
        """Answers of 5xx, and gRPC calls with a status of ``grpc-failure``."""
        return sum(
            [
                count
                for (status, _, _, code), count in self.requests.items()
                if status >= 500 or code in FAILURES
            ]
        )

    def attempts_at(self, upstream: str) -> dict[str, Count]:
        """The counters of one upstream by outcome: a status class ("2xx") or the reason of a
        failure."""
        return self._attempts.setdefault(upstream, {})

    @property
    def attempts(self) -> dict[tuple[str, str], int]:
        """All attempts, by (upstream, outcome)."""
        return {
            (upstream, outcome): count.number
            for upstream, outcomes in self._attempts.items()
            for outcome, count in outcomes.items()
        }

    def count_retry(self, condition: str) -> None:
        self.retries[condition] = self.retries.get(condition, 0) + 1

    def count_hedge(self, result: str) -> None:
        """Count a hedge that ended or was not possible: won, lost, failed, no-budget."""
        self.hedges[result] = self.hedges.get(result, 0) + 1

    def count_fault(self, kind: str) -> None:
        """Count a fault that an attempt suffered: delay, abort, reset or throttle."""
        self.faults[kind] = self.faults.get(kind, 0) + 1

    def count_mirror(self, result: str) -> None:
        """Count a copy: a status class, failed, slow, cut; or full: there was no place for it."""
        self.mirrors[result] = self.mirrors.get(result, 0) + 1

    @property
    def mirrored(self) -> int:
        """Copies that were sent, or begun."""
        return sum([count for result, count in self.mirrors.items() if result != "full"])

    @property
    def hedged(self) -> int:
        """Requests that were hedged."""
        return sum([count for result, count in self.hedges.items() if result != "no-budget"])

    def count_refused(self, why: str) -> None:
        self.refused[why] = self.refused.get(why, 0) + 1

    def count_observed(self, what: str) -> None:
        self.observed[what] = self.observed.get(what, 0) + 1

    def count_result(self, failed: bool, retried: bool) -> None:
        """Count the end of a request's attempts."""
        self.results[(2 if failed else 0) + (1 if retried else 0)] += 1

    @property
    def results_by_kind(self) -> dict[str, int]:
        """The results, by the names that Resilience4j has for them."""
        return dict(zip(RESULT_KINDS, self.results, strict=True))
