"""The outcome of an attempt, in terms that all policies share.

Classification happens once, here: circuit breaker, retry, fallback, metrics and log use the same
`Outcome`, so they cannot disagree about what a failure is.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Final

from proxy.grpc_status import FAILURES, NO_GRPC, OK, WORDS


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


@dataclass(frozen=True)
class Outcome:
    """The end of one attempt: a status of the upstream, or the condition instead of one.

    `grpc`: the code of a gRPC call, `NO_GRPC` for other requests. A call's failure may have a
    condition and a code.
    """

    status: int = 0
    condition: Condition | None = None
    grpc: int = NO_GRPC


_BY_STATUS = tuple(Outcome(status) for status in range(1000))


def of_status(status: int) -> Outcome:
    """The outcome of an attempt that got a response with this status (below 1000)."""
    return _BY_STATUS[status]


# A status of 600 to 999 has no class of its own: it counts as one of 5xx (RFC 9110 section 15).
_STATUS_GROUPS = {"gateway-error": (502, 503, 504), "5xx": tuple(range(500, 1000))}
_GRPC_GROUPS = {"grpc-failure": FAILURES}

GRPC_TERMS: Final = (*_GRPC_GROUPS, *(f"grpc-{word}" for word in WORDS[OK + 1 :]))
"""The terms for codes of gRPC: the group, and each code but OK."""
_BY_GRPC_TERM: Final = {
    f"grpc-{word}": frozenset({code}) for code, word in enumerate(WORDS) if code != OK
} | _GRPC_GROUPS


class OutcomeSet:
    """A set of outcomes as users write it.

    Terms are conditions, ``gateway-error``, ``5xx``, 429, 500-503, ``grpc-unavailable`` and the
    other codes of gRPC, ``grpc-failure``. `label` returns the matching term of the user's list, for
    metrics and logs. `statuses` maps the covered statuses to their terms, `grpc` the codes.
    """

    __slots__ = ("_conditions", "grpc", "statuses", "terms")

    def __init__(self, terms: Iterable[str | int]) -> None:
        """Raises ValueError, naming the term, for an unknown condition, status or range."""
        self.terms = tuple(str(term) for term in terms)
        self._conditions: dict[Condition, str] = {}
        self.statuses: dict[int, str] = {}
        self.grpc: dict[int, str] = {}
        for term in self.terms:
            self._add(term)

    def _add(self, term: str) -> None:
        for condition in Condition:
            if condition.value == term:
                self._conditions.setdefault(condition, term)
                return
        if term in _BY_GRPC_TERM:
            for code in _BY_GRPC_TERM[term]:
                self.grpc.setdefault(code, term)
            return
        for status in _STATUS_GROUPS.get(term) or parse_statuses(term):
            self.statuses.setdefault(status, term)

    def label(self, outcome: Outcome) -> str | None:
        """The term that covers this outcome, or None."""
        if outcome.condition is not None:
            found = self._conditions.get(outcome.condition)
        else:
            found = self.statuses.get(outcome.status)
        if found is None and outcome.grpc > OK:
            found = self.grpc.get(outcome.grpc)
        return found

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
