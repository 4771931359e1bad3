"""What the store's operations return. All times are Unix seconds by the store's own clock."""

from dataclasses import dataclass
from enum import Enum


class KeyState(Enum):
    """The state of an idempotency record. A released record does not exist."""

    IN_FLIGHT = "in-flight"
    DONE = "done"
    UNREPLAYABLE = "unreplayable"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class KeyRef:
    """A claim on an idempotency record. A write with an old `fence` changes nothing.

    `part` and `row` are the engine's own, to find the record again quickly.
    """

    route: str
    scope: bytes
    key: bytes
    fence: int
    part: int = 0
    row: int = 0


@dataclass(frozen=True, slots=True)
class KeyRecord:
    """An idempotency record. `claimed`: this operation has just made the claim `ref`.

    `status` is 0 until it is done; `response` is what its owner stored, None if nothing.
    """

    ref: KeyRef
    state: KeyState
    fingerprint: bytes
    created_at: float
    expires_at: float
    claimed: bool = False
    status: int = 0
    response: bytes | None = None


class EntryState(Enum):
    """PENDING: waits for `due_at`. DELIVERING: claimed. PARKED: dead, and blocks its lane.

    DELIVERED, DEAD and CANCELLED are finished: they block nothing and expire.
    """

    PENDING = "pending"
    DELIVERING = "delivering"
    PARKED = "parked"
    DELIVERED = "delivered"
    DEAD = "dead"
    CANCELLED = "cancelled"

    @property
    def finished(self) -> bool:
        return self in (EntryState.DELIVERED, EntryState.DEAD, EntryState.CANCELLED)


@dataclass(frozen=True, slots=True)
class EntryRef:
    """A claim on an entry. A write with an old `fence` changes nothing."""

    id: str
    fence: int


@dataclass(frozen=True, slots=True)
class Entry:
    """An accepted request. `seq` is the order of acceptance, within its lane and beyond.

    `meta`, `body` and `history` are its owner's bytes; `body` is None where it was not asked for.
    `finished_at` is 0 until it is finished, `forget_at` when it then expires. `give_up_at` is when
    its owner stops trying; the store does nothing then.
    """

    id: str
    seq: int
    queue: str
    lane: str
    state: EntryState
    fence: int
    attempts: int
    accepted_at: float
    due_at: float
    give_up_at: float
    finished_at: float
    forget_at: float
    meta: bytes
    history: bytes
    body_bytes: int
    body: bytes | None = None

    @property
    def ref(self) -> EntryRef:
        return EntryRef(self.id, self.fence)


@dataclass(frozen=True, slots=True)
class ClaimedEntries:
    """`entries` are claimed, bodies included. `next_due_at`: when another head is due.

    None: nothing waits for a time; a commit that changes that calls the watchers.
    """

    entries: list[Entry]
    next_due_at: float | None
    now: float


@dataclass(frozen=True, slots=True)
class QueueCounts:
    """The entries of one queue by state, and when the oldest that is not finished was accepted."""

    counts: dict[EntryState, int]
    oldest_at: float | None

    def of(self, *states: EntryState) -> int:
        return sum(self.counts.get(state, 0) for state in states)


@dataclass(frozen=True, slots=True)
class Lane:
    """A lane whose head does not move: parked, or waiting for another try."""

    queue: str
    lane: str
    head: str
    state: EntryState
    waiting: int


@dataclass(frozen=True, slots=True)
class SagaRef:
    """A claim on a saga. A write with an old `fence` changes nothing."""

    token: str
    fence: int


@dataclass(frozen=True, slots=True)
class SagaRecord:
    """A saga: `token` is the store's name of it, (`name`, `id`) its owner's.

    `state` is the owner's word. It is due at `due_at`, None: it waits for an order or is finished.
    `input` never changes; `journal` is rewritten with each update. `created`: by this operation.
    `owned`: a live claim is held, by any process.
    """

    token: str
    name: str
    id: str
    state: str
    fence: int
    owned: bool
    created_at: float
    due_at: float | None
    finished_at: float
    fingerprint: bytes
    input: bytes
    journal: bytes
    created: bool = False

    @property
    def ref(self) -> SagaRef:
        return SagaRef(self.token, self.fence)


@dataclass(frozen=True, slots=True)
class ClaimedSagas:
    """`sagas` are claimed. `next_due_at`: when another one is due, None: none waits for a time."""

    sagas: list[SagaRecord]
    next_due_at: float | None
    now: float


@dataclass(frozen=True, slots=True)
class Committed:
    """The results of `Store.commit`. `unmet`: the index of the operation whose condition failed.

    Then nothing was changed, `results` ends with that operation's result, which says why. -1: all
    were met and are committed.
    """

    results: list[object]
    unmet: int = -1
