"""Fallback: what the client gets instead of a failure.

A user's list names reasons of the proxy's answers after a route was found, groups of reasons, and
statuses of the upstream. The failures' classes say which of them a fallback may replace
(`errors.ProxyError.covered_by`): never faults of the client, a drain, or bugs of the proxy.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from proxy import errors
from proxy.outcome import OutcomeSet


def reasons() -> frozenset[str]:
    """Reasons that a fallback may answer."""
    return frozenset(failure.reason for failure in _coverable())


def groups() -> dict[str, frozenset[str]]:
    """Conditions of the other policies' lists, and the reasons that they mean here."""
    found: dict[str, frozenset[str]] = {}
    for failure in _coverable():
        for word in failure.covered_by or ():
            found[word] = found.get(word, frozenset()) | {failure.reason}
    return found


def _coverable() -> Iterator[type[errors.ProxyError]]:
    return (failure for failure in errors.subclasses() if failure.covered_by is not None)


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

    Raises ValueError, naming the term, for a word that is neither one of `reasons`, one of
    `groups`, a status, a range of statuses, ``gateway-error`` nor ``5xx``.
    """
    known, words = reasons(), groups()
    found: set[str] = set()
    statuses: set[int] = set()
    for term in map(str, terms):
        if term in words:
            found |= words[term]
        elif term in known:
            found.add(term)
        elif term[:1].isdigit() or term == "gateway-error":
            statuses |= OutcomeSet((term,)).statuses.keys()
        else:
            listed = ", ".join(sorted({*words, *known}))
            raise ValueError(
                f"{term!r} is neither a status nor a reason that a fallback can answer; these are "
                f"{listed}"
            )
    return frozenset(found), frozenset(statuses)
