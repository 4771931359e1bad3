"""Fallback: what the client gets instead of a failure.

A user's list names reasons of the proxy's answers after a route was found, groups of reasons, and
statuses of the upstream. The failures' classes say which of them a fallback may replace
(`errors.ProxyError.covered_by`): never faults of the client, a drain, or bugs of the proxy.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from proxy import errors
from proxy.grpc_status import NO_GRPC
from proxy.outcome import GRPC_TERMS, Outcome, OutcomeSet


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
    """A fixed answer. `headers` includes the content-type; `body` is ready to send.

    `grpc` and `message`: what a gRPC caller gets, `NO_GRPC` if that follows from `status`.
    """

    status: int
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    grpc: int = NO_GRPC
    message: str = ""


@dataclass(frozen=True, slots=True)
class FallbackConfig:
    """`reasons`: reasons of the proxy's answers; `outcomes`: final answers of the upstream.

    Exactly one of `response` and `upstream` is set. `terms` are the entries of the user's list.
    `outbox`: the response is given only if the request was accepted to be delivered later.
    """

    terms: tuple[str, ...]
    reasons: frozenset[str]
    outcomes: OutcomeSet
    response: FallbackResponse | None = None
    upstream: str | None = None
    outbox: bool = False

    def covers_reason(self, reason: str) -> bool:
        """Whether the proxy's answer for this reason is replaced."""
        return reason in self.reasons

    def covers(self, outcome: Outcome) -> bool:
        """Whether the upstream's final answer with this outcome is replaced."""
        return outcome in self.outcomes


STATUS_WORDS = ("gateway-error", "5xx", *GRPC_TERMS)
"""Words that mean answers of the upstream."""


def expand(terms: Iterable[str]) -> tuple[frozenset[str], OutcomeSet]:
    """The reasons of the proxy and the answers of the upstream that a user's list means.

    Raises ValueError, naming the term, for a word that is neither one of `reasons`, one of
    `groups`, one of `STATUS_WORDS`, a status nor a range of statuses.
    """
    known, words = reasons(), groups()
    found: set[str] = set()
    statuses: list[str] = []
    for term in map(str, terms):
        if term in words:
            found |= words[term]
        elif term in known:
            found.add(term)
        elif term[:1].isdigit() or term in STATUS_WORDS:
            OutcomeSet((term,))  # it names the term that it does not understand
            statuses.append(term)
        else:
            listed = ", ".join(sorted({*words, *known}))
            raise ValueError(
                f"{term!r} is neither a status nor a reason that a fallback can answer; these are "
                f"{listed}"
            )
    return frozenset(found), OutcomeSet(statuses)
