"""Fallback: what the client gets instead of a failure."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FallbackResponse:
    """A fixed answer. `headers` holds the content-type too; `body` is ready to send."""

    status: int
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class FallbackConfig:
    """`reasons`: slugs of answers the proxy makes; `statuses`: final statuses of the upstream.

    Exactly one of `response` and `upstream` is set. `terms` are the words of the user's list.
    """

    terms: tuple[str, ...]
    reasons: frozenset[str]
    statuses: frozenset[int]
    response: FallbackResponse | None = None
    upstream: str | None = None
