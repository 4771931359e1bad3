"""Ends this process, without a warning, at a named point of a store's commit.

A name says of which operation, and how far its commit has come: ``committed ClaimKey`` is after the
commit of a claim, before any of its results was told. Only for the interpreted modules of a store.
"""

import os
from collections.abc import Callable
from typing import Any

from proxy.store.sqlite.committer import Committer, Point

DIED = 9
"""The exit status of a process that ended itself."""


def die_at(name: str, number: int = 1, armed: Callable[[], object] = lambda: True) -> None:
    """Die at the `number`-th time that this point is passed while `armed`."""
    word, _, operation = name.partition(" ")
    point, left = Point(word), number
    present: set[str] = set()
    transaction: Any = Committer._transaction

    def note(self: Committer, batch: Any) -> Any:
        present.clear()
        present.update(type(one).__name__ for group in batch for one in group.operations)
        return transaction(self, batch)

    def at(self: Committer, here: Point) -> None:
        nonlocal left
        if here is point and operation in present and armed():
            left -= 1
            if left <= 0:
                os._exit(DIED)

    Committer._transaction = note  # type: ignore[method-assign]
    Committer.at = at  # type: ignore[method-assign]
