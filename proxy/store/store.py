"""The interface of a store. Engines: `proxy.store.sqlite`, `proxy.store.postgres`.

    loop:    do(operation) ─────────────▶ future ··················▶ result
    engine:       └─ queue ─▶ [ transaction: all that waits ] ─▶ commit ─┘

A result is delivered after its commit has returned: what a caller promises then is kept. What is
asked for while a commit runs goes together in the next one; nothing waits for company.
"""

from asyncio import Future
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from time import time
from typing import Any, TypeVar

from proxy.store.operations import Operation
from proxy.store.records import Committed

R = TypeVar("R")

BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 2.5)
"""Upper bounds of the commits' durations in seconds."""


class StoreState(Enum):
    """OPENING: waits for its file, or its server. FAILED: until the process is restarted."""

    OPENING = "opening"
    OPEN = "open"
    FAILED = "failed"
    CLOSED = "closed"


class CannotOpen(Exception):
    """The store cannot be used: the message says why and what to do. The process ends with 2."""


@dataclass(slots=True)
class StoreStats:
    """Counters for metrics and the admin API. Written by the engine, read by anything.

    `seconds` counts commits by duration, one number for each of `bounds` and one beyond.
    """

    bounds: tuple[float, ...] = BUCKETS
    commits: int = 0
    operations: int = 0
    seconds: list[int] = field(default_factory=lambda: [0] * (len(BUCKETS) + 1))
    seconds_sum: float = 0.0
    bytes: int = 0
    refused_full: int = 0
    refused_failed: int = 0

    def count(self, operations: int, seconds: float) -> None:
        """Count a commit."""
        self.commits += 1
        self.operations += operations
        self.seconds[bisect_left(BUCKETS, seconds)] += 1
        self.seconds_sum += seconds


class Store:
    """What promises are kept in. Used in the event loop only.

    `engine`: its name. `dies_with_pod`: what it keeps is lost with the pod. `shared`: other
    replicas use it at the same time. `recovers`: a failure may end by itself; the watchers are then
    called. `max_bytes`: 0 if the engine has no limit of its own.
    """

    engine: str
    shared: bool
    recovers: bool = False
    max_bytes: int
    stats: StoreStats

    @property
    def state(self) -> StoreState:
        raise NotImplementedError

    @property
    def dies_with_pod(self) -> bool:
        raise NotImplementedError

    @property
    def failure(self) -> str:
        """A sentence if it has failed, else "". See `finishes`."""
        raise NotImplementedError

    @property
    def finishes(self) -> bool:
        """Whether what was promised can still be finished. A store that has failed may: its file
        has been deleted, and is lost at the end of the process."""
        return not self.failure

    @property
    def full(self) -> bool:
        """Whether new promises are refused."""
        raise NotImplementedError

    async def open(self, patience: float) -> None:
        """Open it: create or migrate its tables, free the claims of a former process.

        Waits up to `patience` seconds while another process has it. Raises CannotOpen. A server
        that cannot be reached is a failure, and `recovers` from it.
        """
        raise NotImplementedError

    async def close(self) -> None:
        """Finish what was asked for, then close."""
        raise NotImplementedError

    def do(self, operation: Operation[R]) -> "Future[R]":
        """Run one operation; its result, after the commit.

        The future's exception may be StoreFull (proxy.errors), and then nothing was changed, or
        StoreFailed, and then it is not known whether it was.
        """
        raise NotImplementedError

    def commit(self, operations: Sequence[Operation[Any]]) -> "Future[Committed]":
        """Run operations in their order as one: all, or none if one's condition is not met."""
        raise NotImplementedError

    def now(self) -> float:
        """Unix seconds by the store's clock, which counts for all that is kept in it. Replicas'
        own clocks may differ."""
        return time()

    def watch(self, changed: Callable[[], None]) -> None:
        """Call `changed` in the loop whenever entries or sagas may have become due earlier."""
        raise NotImplementedError
