"""Bulkhead: limits concurrent exchanges.

    admit ─▶ permit ──────────────────────────────▶ settle
       ├───▶ wait ──▶ granted: wait.permit ───────▶ settle
       │        └───▶ abandon (queue timeout, client gone)
       └───▶ refusal

The limit is fixed, or learned from how long the upstream takes (`gradient`).

First come, first served: while an exchange waits, no permit is free, because a returned permit
goes to the head of the queue in the same call.

In mode observe every exchange gets a permit. One beyond the limit notes ``bulkhead.queued``, or
``bulkhead.refused`` if the queue would be full too. How long it would have waited is unknown.
"""

from collections import OrderedDict
from dataclasses import dataclass
from enum import Enum
from typing import Final

from proxy.errors import BulkheadFull, ConcurrencyLimited, ProxyError, QueueTimeout
from proxy.outcome import FAILURE, IGNORED, Verdict
from proxy.policies.gate import (
    OBSERVE,
    Answer,
    Ask,
    Family,
    Gate,
    GateKind,
    Mode,
    Permit,
    Refusal,
    Scope,
    Snapshot,
    Wait,
)
from proxy.policies.gradient import Gradient


class BulkheadLimit(Enum):
    FIXED = "fixed"
    GRADIENT = "gradient"


GRADIENT: Final = BulkheadLimit.GRADIENT

_QUEUED: Final = "bulkhead.queued"
_REFUSED: Final = "bulkhead.refused"


class BulkheadScope(Enum):
    ROUTE = "route"
    UPSTREAM = "upstream"


@dataclass(frozen=True, slots=True)
class BulkheadConfig:
    """`queue_timeout` in seconds: the longest wait in the queue.

    With `limit` GRADIENT the limit is learned, between `min` and `max_concurrent`.
    """

    max_concurrent: int = 256
    max_queue: int = 0
    queue_timeout: float = 0.0
    scope: BulkheadScope = BulkheadScope.ROUTE
    limit: BulkheadLimit = BulkheadLimit.FIXED
    min: int = 4
    mode: Mode = Mode.ENFORCE


class BulkheadPermit(Permit):
    """One permit. Returning it a second time has no effect."""

    __slots__ = ("held",)

    def __init__(self, observed: str = "") -> None:
        super().__init__(observed)
        self.held = True


class BulkheadWait(Wait):
    """A wait in the queue of the bulkhead `name`, for `seconds` at most."""

    __slots__ = ("_name", "_seconds")

    def __init__(self, name: str, seconds: float, now: float) -> None:
        super().__init__(now + seconds)
        self._name = name
        self._seconds = seconds

    def timeout(self) -> ProxyError:
        return QueueTimeout(
            f"No permit of bulkhead {self._name!r} became free within {self._seconds:g} s "
            "(bulkhead.queue_timeout)."
        )


class BulkheadRefusal(Refusal):
    """Neither a permit nor a place in the queue is free. `learned`: the limit is not fixed."""

    __slots__ = ("learned", "limit", "max_queue", "name")

    def __init__(self, name: str, limit: int, max_queue: int, *, learned: bool) -> None:
        super().__init__()
        self.name = name
        self.limit = limit
        self.max_queue = max_queue
        self.learned = learned

    def error(self) -> ProxyError:
        queue = f"its queue of {self.max_queue} is full" if self.max_queue else "it has no queue"
        if self.learned:
            return ConcurrencyLimited(
                f"Bulkhead {self.name!r} has learned that the upstream can take {self.limit} "
                f"requests at once; they are in flight, and {queue}."
            )
        return BulkheadFull(
            f"All {self.limit} permits of bulkhead {self.name!r} are in use, and {queue}."
        )


@dataclass(frozen=True, slots=True)
class BulkheadSnapshot(Snapshot):
    """`in_use` of `limit` permits; `queued` of `max_queue` exchanges wait.

    `learned`: the present limit if it is learned, else None.
    In mode observe `in_use` may exceed `limit`.
    """

    name: str
    in_use: int
    limit: int
    queued: int
    max_queue: int
    learned: int | None
    mode: Mode = Mode.ENFORCE

    def not_shown(self) -> frozenset[str]:
        return frozenset({"learned"} if self.learned is None else ())


class Bulkhead(Gate):
    """One bulkhead. 0 <= in_use <= limit, except while a reduced limit still drains, and in mode
    observe."""

    __slots__ = ("_config", "_elsewhere", "_gradient", "_queue", "in_use", "limit")

    def __init__(self, name: str, config: BulkheadConfig) -> None:
        super().__init__(name)
        self.in_use = 0
        self.limit = config.max_concurrent
        self._gradient: Gradient | None = None
        self._configure(config)
        self._elsewhere = 0  # places of requests that wait for something else
        self._queue: OrderedDict[Wait, None] = OrderedDict()  # leaves anywhere in O(1)

    @property
    def has_places(self) -> bool:
        return True

    @property
    def queued(self) -> int:
        return len(self._queue) + self._elsewhere

    @property
    def max_queue(self) -> int:
        return self._config.max_queue

    def admit(self, now: float, ask: Ask) -> Answer:
        """`settle` returns a permit; a wait ends with a grant or `abandon`."""
        if self.in_use < self.limit:
            self.in_use += 1
            return BulkheadPermit()
        config = self._config
        if config.mode is OBSERVE:
            return self._admit_beyond()
        if config.queue_timeout > 0 and self.queued < config.max_queue:
            wait = BulkheadWait(self.name, config.queue_timeout, now)
            self._queue[wait] = None
            return wait
        learned = config.limit is GRADIENT
        return BulkheadRefusal(self.name, self.limit, config.max_queue, learned=learned)

    def take_place(self) -> float:
        """Take a place of the queue for a wait that comes before: see `Ask.take_place`."""
        config = self._config
        if config.queue_timeout <= 0 or self.queued >= config.max_queue:
            return 0.0
        self._elsewhere += 1
        return config.queue_timeout

    def leave_place(self) -> None:
        """Return a place of `take_place`."""
        self._elsewhere -= 1

    def _admit_beyond(self) -> Answer:
        """A permit beyond the limit, which notes what would have happened."""
        config = self._config
        queue = config.max_queue if config.queue_timeout > 0 else 0
        self.in_use += 1
        fits = self.in_use <= self.limit + queue
        return BulkheadPermit(_QUEUED if fits else _REFUSED)

    def settle(self, permit: Permit, verdict: Verdict, seconds: float, now: float) -> None:
        """Return a permit; the first in the queue gets it.

        The verdict matters only to a limit that is learned.
        """
        assert isinstance(permit, BulkheadPermit)
        if not permit.held:
            return
        permit.held = False
        if self._config.limit is GRADIENT and verdict is not IGNORED:
            self._learn(verdict, seconds, now)
        self.in_use -= 1
        if self._queue:
            self._grant()

    def abandon(self, wait: Wait) -> None:
        """Leave the queue. A permit granted in the meantime goes to the next.

        Only for a caller that gives up: it must not use `wait.permit` afterwards. A second call
        has no effect.
        """
        permit = wait.permit
        if permit is not None:
            self.settle(permit, IGNORED, 0.0, 0.0)
        else:
            self._queue.pop(wait, None)

    def adopt(self, config: object) -> bool:
        """Use another configuration; always possible.

        A smaller limit drains: exchanges keep their permits. A larger one, or mode observe, grants
        to the queue at once. A waiting exchange keeps its place and deadline, even beyond a smaller
        `max_queue`.
        """
        assert isinstance(config, BulkheadConfig)
        self._configure(config)
        self._grant()
        return True

    def _configure(self, config: BulkheadConfig) -> None:
        self._config = config
        self.limit = config.max_concurrent
        if config.limit is GRADIENT:
            if self._gradient is None:
                self._gradient = Gradient(config.min, config.max_concurrent)
            else:
                self._gradient.configure(config.min, config.max_concurrent)
            self.limit = self._gradient.permits

    def _learn(self, verdict: Verdict, seconds: float, now: float) -> None:
        gradient = self._gradient
        assert gradient is not None
        if gradient.learn(seconds, self.in_use, verdict is FAILURE, now):
            self.limit = gradient.permits

    def idle(self, now: float) -> bool:
        return self.in_use == 0 and not self.queued

    def snapshot(self, now: float) -> BulkheadSnapshot:
        config = self._config
        return BulkheadSnapshot(
            self.name,
            self.in_use,
            self.limit,
            self.queued,
            config.max_queue,
            self.limit if config.limit is GRADIENT else None,
            config.mode,
        )

    def _grant(self) -> None:
        observes = self._config.mode is OBSERVE
        while self._queue and (self.in_use < self.limit or observes):
            wait, _ = self._queue.popitem(last=False)
            self.in_use += 1
            wait.permit = BulkheadPermit()
            if wait.on_granted is not None:
                wait.on_granted()


BULKHEAD = GateKind(
    "bulkhead",
    make=Bulkhead,
    default=BulkheadConfig(),
    member="bulkheads",
    title="bulkheads",
    families=(
        Family("in_use", "Exchanges that hold a permit."),
        Family("limit", "Maximum permits."),
        Family("queued", "Exchanges that wait for a permit."),
        Family(
            "learned",
            "The limit that bulkhead.limit: gradient has learned.",
            name="proxy_concurrency_limit",
        ),
    ),
    scope_of=lambda config: Scope(config.scope.value),
)
