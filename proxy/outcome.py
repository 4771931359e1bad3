"""The outcome of an attempt, in terms that all policies share.

Classification happens once, here: circuit breaker, retry, fallback, metrics and log use the same
`Outcome`, so they cannot disagree about what a failure is.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Final


class Verdict(Enum):
    """What a gate gets with a returned permit.

    IGNORED says nothing about the upstream (client gone, drain, a local refusal): the permit is
    returned and nothing is recorded.
    """

    SUCCESS = "success"
    FAILURE = "failure"
    IGNORED = "ignored"


# Reading a global is ten times as fast as reading an enum member (CPython 3.11).
SUCCESS: Final = Verdict.SUCCESS
FAILURE: Final = Verdict.FAILURE
IGNORED: Final = Verdict.IGNORED


class Condition(Enum):
    """A failure of an attempt that left no usable response."""

    CONNECT_FAILURE = "connect-failure"  # nothing of this request was sent
    REFUSED_STREAM = "refused-stream"  # HTTP/2: the upstream says that it did not process it
    RESET = "reset"  # lost after that, before the response's head was complete; includes malformed
    TIMEOUT = "timeout"  # the attempt's deadline


UNPROCESSED: Final = frozenset({Condition.CONNECT_FAILURE, Condition.REFUSED_STREAM})
"""No service has seen the request, so a retry is safe for every method."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The end of one attempt: a status of the upstream, or the condition instead of one."""

    status: int = 0
    condition: Condition | None = None


_BY_STATUS = tuple(Outcome(status) for status in range(1000))


def of_status(status: int) -> Outcome:
    """The outcome of an attempt that got a response with this status (below 1000)."""
    return _BY_STATUS[status]


# A status of 600 to 999 has no class of its own: it counts as one of 5xx (RFC 9110 section 15).
_STATUS_GROUPS = {"gateway-error": (502, 503, 504), "5xx": tuple(range(500, 1000))}


class OutcomeSet:
    """A set of outcomes as users write it: conditions, ``gateway-error``, ``5xx``, 429, 500-503.

    `label` returns the matching term of the user's list, for metrics and logs. `statuses` maps the
    covered statuses to their terms.
    """

    __slots__ = ("_conditions", "statuses", "terms")

    def __init__(self, terms: Iterable[str]) -> None:
        """Raises ValueError, naming the term, for an unknown condition, status or range."""
        self.terms = tuple(str(term) for term in terms)
        self._conditions: dict[Condition, str] = {}
        self.statuses: dict[int, str] = {}
        for term in self.terms:
            self._add(term)

    def _add(self, term: str) -> None:
        for condition in Condition:
            if condition.value == term:
                self._conditions.setdefault(condition, term)
                return
        for status in _STATUS_GROUPS.get(term) or parse_statuses(term):
            self.statuses.setdefault(status, term)

    def label(self, outcome: Outcome) -> str | None:
        """The term that covers this outcome, or None."""
        if outcome.condition is not None:
            return self._conditions.get(outcome.condition)
        return self.statuses.get(outcome.status)

    def __contains__(self, outcome: Outcome) -> bool:
        return self.label(outcome) is not None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, OutcomeSet) and self.terms == other.terms

    def __hash__(self) -> int:
        return hash(self.terms)

    def __repr__(self) -> str:
        return f"OutcomeSet({list(self.terms)!r})"


def parse_statuses(term: str) -> range:
    """The statuses of ``503`` or ``500-503``. Raises ValueError for anything else."""
    first, dash, last = term.partition("-")
    bounds = [first, last] if dash else [first, first]
    if not all(part.isascii() and part.isdigit() and len(part) == 3 for part in bounds):
        raise ValueError(f"{term!r} is neither a condition, a status nor a range of statuses")
    low, high = int(bounds[0]), int(bounds[1])
    if not 200 <= low <= high <= 599:
        raise ValueError(f"{term!r}: statuses are between 200 and 599, the lower one first")
    return range(low, high + 1)
