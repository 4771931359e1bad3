"""Bulkhead: how many exchanges may be under way at once.

    admit ─▶ permit ──────────────────────────────▶ release
       ├───▶ wait ──▶ granted: wait.permit ───────▶ release
       │        └───▶ abandon (queue timeout, client gone)
       └───▶ refusal

First come, first served: while somebody waits, no permit is free, for a released one goes to the
head of the queue in the same call. Nothing here measures time: whoever waits sets a timer for
`wait.deadline` and abandons the wait then.
"""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum


class BulkheadScope(Enum):
    ROUTE = "route"
    UPSTREAM = "upstream"


@dataclass(frozen=True, slots=True)
class BulkheadConfig:
    """`queue_timeout` in seconds, the longest wait of one exchange in the queue."""

    max_concurrent: int = 256
    max_queue: int = 0
    queue_timeout: float = 0.0
    scope: BulkheadScope = BulkheadScope.ROUTE


class BulkheadPermit:
    """One place. It is given back once; giving it back again changes nothing."""

    __slots__ = ("held",)

    def __init__(self) -> None:
        self.held = True


class BulkheadWait:
    """A place in the queue.

    `permit` is None until it is granted; then `on_granted` is called, within the call that freed
    the permit, so it must be quick and must not raise.
    """

    __slots__ = ("deadline", "on_granted", "permit")

    def __init__(self, deadline: float) -> None:
        self.deadline = deadline
        self.on_granted: Callable[[], object] | None = None
        self.permit: BulkheadPermit | None = None


@dataclass(frozen=True, slots=True)
class BulkheadRefusal:
    """Neither a permit nor a place in the queue was free; the numbers are for the message."""

    limit: int
    max_queue: int


class Bulkhead:
    """One bulkhead. 0 <= in_use, and in_use <= limit but for what a smaller limit still drains."""

    __slots__ = ("_config", "_queue", "in_use", "name")

    def __init__(self, name: str, config: BulkheadConfig) -> None:
        self.name = name
        self.in_use = 0
        self._config = config
        self._queue: OrderedDict[BulkheadWait, None] = OrderedDict()  # leaves anywhere in O(1)

    @property
    def limit(self) -> int:
        return self._config.max_concurrent

    @property
    def queued(self) -> int:
        return len(self._queue)

    @property
    def max_queue(self) -> int:
        return self._config.max_queue

    def admit(self, now: float) -> BulkheadPermit | BulkheadWait | BulkheadRefusal:
        """A permit is given back by `release`; a wait ends in a grant or by `abandon`."""
        config = self._config
        if self.in_use < config.max_concurrent:
            self.in_use += 1
            return BulkheadPermit()
        if len(self._queue) < config.max_queue and config.queue_timeout > 0:
            wait = BulkheadWait(now + config.queue_timeout)
            self._queue[wait] = None
            return wait
        return BulkheadRefusal(config.max_concurrent, config.max_queue)

    def release(self, permit: BulkheadPermit) -> None:
        """Give a permit back; the first in the queue gets it."""
        if not permit.held:
            return
        permit.held = False
        self.in_use -= 1
        if self._queue:
            self._grant()

    def abandon(self, wait: BulkheadWait) -> None:
        """Leave the queue. What was granted in the meantime goes to the next.

        Only for a caller that does not go on: it must not use `wait.permit` afterwards. A second
        call changes nothing.
        """
        if wait.permit is not None:
            self.release(wait.permit)
        else:
            self._queue.pop(wait, None)

    def resize(self, config: BulkheadConfig) -> None:
        """Go on under another configuration.

        A smaller limit drains: who holds a permit keeps it. A larger one grants to the queue at
        once. Who waits keeps its place and deadline, even beyond a smaller `max_queue`.
        """
        self._config = config
        self._grant()

    def _grant(self) -> None:
        while self._queue and self.in_use < self._config.max_concurrent:
            wait, _ = self._queue.popitem(last=False)
            self.in_use += 1
            wait.permit = BulkheadPermit()
            if wait.on_granted is not None:
                wait.on_granted()
