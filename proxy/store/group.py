"""What an engine's queue holds: operations that are done together or not at all."""

from asyncio import Future
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from proxy.store.operations import Operation


@dataclass(slots=True)
class Group:
    """`alone`: one operation by itself, whose result is the future's; else it is `Committed`."""

    operations: Sequence[Operation[Any]]
    future: "Future[Any]"
    alone: bool
    size: int
