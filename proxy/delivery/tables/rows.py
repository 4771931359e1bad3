"""Rows between their claim and the commit of what became of them."""

from enum import Enum
from typing import Any, Final

from proxy.delivery.stored_request import TryResult
from proxy.exchange.lease import Lease

_DETAIL: Final = 300
"""Characters of a failure that are written."""


class Ending(Enum):
    """What a row becomes. The values are those of the statement `settle`."""

    GIVEN_BACK = "pending"  # nothing was tried
    FAILED = "failed"  # another try follows
    DONE = "done"
    DEAD = "dead"


class HeldRow:
    """A row that this proxy has claimed.

    `version` is its fence. `body` None: it is NULL, or longer than `limit` as `length` then says.
    `age`: seconds since it was created, as of `taken` (monotonic); None where that is not known.
    `ending` None: it waits for its try, or is tried now.
    """

    __slots__ = (
        "age",
        "attempts",
        "body",
        "ending",
        "error",
        "id",
        "key",
        "lease",
        "length",
        "taken",
        "type",
        "version",
        "wait",
    )

    def __init__(self, claimed: Any, taken: float, lease: Lease) -> None:
        """`claimed`: a row of the statement `claim`."""
        self.id: str = claimed["id"]
        self.version: str = claimed["version"]
        self.key: str | None = claimed["key"]
        self.type: str | None = claimed["type"]
        body = claimed["body"]
        self.body: bytes | None = body.encode() if isinstance(body, str) else body
        self.length: int = claimed["length"] or 0
        self.age: float | None = claimed["age"]
        self.attempts: int = claimed["attempts"]
        self.taken = taken
        self.lease = lease
        self.ending: Ending | None = None
        self.error: str | None = None
        self.wait = 0.0

    @property
    def too_large(self) -> bool:
        return self.body is None and self.length > 0

    def end(self, ending: Ending, error: str | None = None, wait: float = 0.0) -> None:
        self.ending, self.error, self.wait = ending, error, wait


def told(result: TryResult, why: str = "") -> str:
    """A failed try in words, for the row's error column."""
    words = result.reason or f"status {result.status}"
    if result.detail:
        words = f"{words}: {result.detail}"
    if why:
        words = f"{words} ({why} spent)"
    return words[:_DETAIL]
