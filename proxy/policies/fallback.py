"""Fallback: what the client gets instead of a failure.

A user's list names reasons of the proxy's answers after a route was found, groups of reasons, and
statuses of the upstream. Faults of the client, a drain, and bugs of the proxy are never replaced.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain

from proxy import errors
from proxy.outcome import OutcomeSet

_FAILURES: tuple[type[errors.ProxyError], ...] = (
    errors.CircuitOpen,
    errors.BulkheadFull,
    errors.QueueTimeout,
    errors.RequestTimeout,
    errors.DnsFailure,
    errors.ConnectRefused,
    errors.ConnectFailed,
    errors.ConnectTimeout,
    errors.TlsFailure,
    errors.UpstreamReset,
    errors.UpstreamMalformed,
    errors.AttemptTimeout,
)
FALLBACK_REASONS = frozenset(failure.reason for failure in _FAILURES)
"""Reasons that a fallback may answer."""

FALLBACK_GROUPS: dict[str, frozenset[str]] = {
    "timeout": frozenset({"attempt-timeout", "request-timeout", "connect-timeout"}),
    "connect-failure": frozenset(
        {"dns-failure", "connect-refused", "connect-failed", "connect-timeout", "tls-failure"}
    ),
    "reset": frozenset({"upstream-reset", "upstream-malformed"}),
}
"""Conditions of the other policies' lists, and the reasons that they mean here."""


@dataclass(frozen=True, slots=True)
class FallbackResponse:
    """A fixed answer. `headers` includes the content-type; `body` is ready to send."""

    status: int
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class FallbackConfig:
    """`reasons`: reasons of the proxy's answers; `statuses`: final statuses of the upstream.

    Exactly one of `response` and `upstream` is set. `terms` are the entries of the user's list.
    """

    terms: tuple[str, ...]
    reasons: frozenset[str]
    statuses: frozenset[int]
    response: FallbackResponse | None = None
    upstream: str | None = None

    def covers_reason(self, reason: str) -> bool:
        """Whether the proxy's answer for this reason is replaced."""
        return reason in self.reasons

    def covers_status(self, status: int) -> bool:
        """Whether the upstream's final answer with this status is replaced."""
        return status in self.statuses


def expand(terms: Iterable[str]) -> tuple[frozenset[str], frozenset[int]]:
    """The reasons and statuses that a user's list means.

    Raises ValueError, naming the term, for a word that is neither a reason of `FALLBACK_REASONS`,
    a group, a status, a range of statuses, ``gateway-error`` nor ``5xx``.
    """
    reasons: set[str] = set()
    statuses: set[int] = set()
    for term in map(str, terms):
        if term in FALLBACK_GROUPS:
            reasons |= FALLBACK_GROUPS[term]
        elif term in FALLBACK_REASONS:
            reasons.add(term)
        else:
            statuses |= _statuses(term)
    return frozenset(reasons), frozenset(statuses)


def _statuses(term: str) -> frozenset[int]:
    if term[:1].isdigit() or term == "gateway-error":
        return frozenset(OutcomeSet((term,)).statuses)
    known = ", ".join(sorted(set(chain(FALLBACK_GROUPS, FALLBACK_REASONS))))
    raise ValueError(
        f"{term!r} is neither a status nor a reason that a fallback can answer; these are {known}"
    )
