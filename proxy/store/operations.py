"""The store's operations, as values. An engine runs each as one statement or transaction.

An operation with a condition says in `met` whether its result fulfils it: `Store.commit` does all
of its operations or none. Durations are seconds from the store's present, so that only the store's
clock counts. A full store refuses what makes a promise (`ClaimKey` of a new key, `Put`,
`BeginSaga`); what finishes one goes on.

Claims follow one rule: (owner, lease, fence). A claim is its owner's until the lease ends; the
owner renews it at a third. Then it may be taken over with a higher fence, and writes with the old
fence change nothing. On a store with one owner the claims of a former process are free when it
opens.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from proxy.store.records import (
    ClaimedEntries,
    ClaimedSagas,
    Entry,
    EntryRef,
    EntryState,
    KeyRecord,
    KeyRef,
    Lane,
    QueueCounts,
    SagaRecord,
    SagaRef,
)

R = TypeVar("R")


class Operation(Generic[R]):
    """One operation with a result of type R."""

    __slots__ = ()

    def met(self, result: R) -> bool:
        """Whether its condition is fulfilled; without a condition always."""
        return True

    @property
    def size(self) -> int:
        """About the bytes that it stores."""
        return 0


class Conditional(Operation[bool]):
    """Its result says whether it changed anything: False if its claim is lost."""

    __slots__ = ()

    def met(self, result: bool) -> bool:
        return result


@dataclass(frozen=True, slots=True)
class Expire(Operation[bool]):
    """Delete a part of what has expired. True: there may be more. Engines do so by themselves."""


# --- keyed records: idempotency ---------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ClaimKey(Operation[KeyRecord]):
    """Claim a record that does not exist; else return the present one, without `claimed`.

    `route`, `scope` and `key` (32-byte digests) identify it. A record whose `keep` has passed does
    not exist. A claim whose lease has ended is returned as UNKNOWN, and stays so. `execute`: an
    UNKNOWN record whose fingerprint begins with this one is claimed again. Met if claimed.
    """

    route: str
    scope: bytes
    key: bytes
    fingerprint: bytes
    lease: float
    keep: float
    execute: bool = False

    def met(self, result: KeyRecord) -> bool:
        return result.claimed


@dataclass(frozen=True, slots=True)
class RenewKeys(Operation[list[KeyRef]]):
    """Extend claims to `lease` from now. Returns those that are lost."""

    refs: Sequence[KeyRef]
    lease: float


@dataclass(frozen=True, slots=True)
class FinishKey(Conditional):
    """The claimed record is done. `response` None: it was too large, and cannot be replayed.

    `ref` None: the claim is the one made by the `ClaimKey` before it in the same commit.
    `fingerprint`: replaces that of the claim, which began it; None: it stays.
    """

    ref: KeyRef | None
    status: int
    response: bytes | None
    fingerprint: bytes | None = None

    @property
    def size(self) -> int:
        return len(self.response or b"")


@dataclass(frozen=True, slots=True)
class ReleaseKey(Conditional):
    """Delete the claimed record: provably nothing was done."""

    ref: KeyRef


@dataclass(frozen=True, slots=True)
class DoubtKey(Conditional):
    """The claimed record becomes UNKNOWN: what was done is not known.

    `fingerprint`: replaces that of the claim, which began it; None: it stays.
    """

    ref: KeyRef
    fingerprint: bytes | None = None


@dataclass(frozen=True, slots=True)
class FindKeys(Operation[list[KeyRecord]]):
    """The records of a route and key, one for each scope, the newest first."""

    route: str
    key: bytes
    limit: int = 100


@dataclass(frozen=True, slots=True)
class FreeKeys(Operation[int]):
    """An operator's order: delete the records of a route and key that are not IN_FLIGHT.

    Returns how many.
    """

    route: str
    key: bytes


# --- entries: outbox --------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Put(Operation[EntryState | None]):
    """Accept an entry at the end of its lane; `lane` "": a lane of its own.

    It is due in `due_in` seconds, given up by its owner in `give_up_in`. Met, and None returned, if
    `id` is new and fewer than `max_pending` entries of the queue are unfinished (0: no limit); else
    the state of the present entry of this id, or PENDING if the queue is full.
    """

    id: str
    queue: str
    meta: bytes
    body: bytes
    lane: str = ""
    due_in: float = 0.0
    give_up_in: float = 86400.0
    max_pending: int = 0
    history: bytes = b""

    def met(self, result: EntryState | None) -> bool:
        return result is None

    @property
    def size(self) -> int:
        return len(self.meta) + len(self.body)


@dataclass(frozen=True, slots=True)
class ClaimEntries(Operation[ClaimedEntries]):
    """Claim the heads of lanes that are due, at most `limits[queue]` of each queue, earliest first.

    A head that is not due, claimed or parked blocks its lane only. The state becomes DELIVERING; a
    claim whose lease has ended is taken over. `next_due_at` regards the queues of `limits`.
    """

    limits: dict[str, int]
    lease: float


@dataclass(frozen=True, slots=True)
class RenewEntries(Operation[list[EntryRef]]):
    """Extend claims to `lease` from now. Returns those that are lost."""

    refs: Sequence[EntryRef]
    lease: float


@dataclass(frozen=True, slots=True)
class Settle(Conditional):
    """Record the result of a try and give the claim back.

    PENDING: due again in `due_in`. A finished state: the next entry of the lane becomes its head,
    and the entry is forgotten after `keep`. `attempts` is the new number, `history` the new bytes.
    """

    ref: EntryRef
    state: EntryState
    attempts: int
    history: bytes
    due_in: float = 0.0
    keep: float = 0.0
    meta: bytes | None = None


@dataclass(frozen=True, slots=True)
class Cancel(Operation[EntryState | None]):
    """PENDING or PARKED becomes CANCELLED and is forgotten after `keep`.

    Returns the state before, None if the id is unknown. Met if it was cancelled.
    """

    id: str
    keep: float

    def met(self, result: EntryState | None) -> bool:
        return result in (EntryState.PENDING, EntryState.PARKED)


@dataclass(frozen=True, slots=True)
class Redrive(Operation[EntryState | None]):
    """DEAD or PARKED becomes PENDING, due now: same id, no attempts, its old place in its lane.

    Returns the state before, None if the id is unknown. Met if it was put back.
    """

    id: str
    give_up_in: float

    def met(self, result: EntryState | None) -> bool:
        return result in (EntryState.DEAD, EntryState.PARKED)


@dataclass(frozen=True, slots=True)
class GetEntry(Operation[Entry | None]):
    id: str
    with_body: bool = False


@dataclass(frozen=True, slots=True)
class ListEntries(Operation[list[Entry]]):
    """Entries without bodies, the newest first; None: any. `before_seq` continues a list."""

    queue: str | None = None
    state: EntryState | None = None
    since: float = 0.0
    before_seq: int | None = None
    limit: int = 100


@dataclass(frozen=True, slots=True)
class CountEntries(Operation[dict[str, QueueCounts]]):
    """Each queue that has entries; no scan."""


@dataclass(frozen=True, slots=True)
class BlockedLanes(Operation[list[Lane]]):
    """Lanes whose head is PARKED or has been tried before, those with the oldest heads first."""

    queue: str | None = None
    limit: int = 100


# --- sagas ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class BeginSaga(Operation[SagaRecord]):
    """Insert a saga, due now, unless (`name`, `id`) exists; returns the one or the other.

    Met if it was created. `fingerprint` is what tells the same input from another.
    """

    token: str
    name: str
    id: str
    state: str
    fingerprint: bytes
    input: bytes
    journal: bytes

    def met(self, result: SagaRecord) -> bool:
        return result.created

    @property
    def size(self) -> int:
        return len(self.input) + len(self.journal)


@dataclass(frozen=True, slots=True)
class ClaimSagas(Operation[ClaimedSagas]):
    """Claim sagas that are due and not owned, at most `limit`, the earliest first.

    Only those whose name is one of `names`.
    """

    names: Sequence[str]
    limit: int
    lease: float


@dataclass(frozen=True, slots=True)
class TakeSaga(Operation[SagaRecord | None]):
    """Claim one saga, due or not, if it is not owned and its state is one of `states`.

    Returns it with the claim; else None. Met if claimed.
    """

    token: str
    states: Sequence[str]
    lease: float

    def met(self, result: SagaRecord | None) -> bool:
        return result is not None


@dataclass(frozen=True, slots=True)
class RenewSagas(Operation[list[SagaRef]]):
    """Extend claims to `lease` from now. Returns those that are lost."""

    refs: Sequence[SagaRef]
    lease: float


@dataclass(frozen=True, slots=True)
class UpdateSaga(Conditional):
    """Write the journal of a claimed saga.

    `release`: give the claim back; it is then due in `due_in` (None: not by time). `keep`: it is
    finished, and forgotten after that time.
    """

    ref: SagaRef
    state: str
    journal: bytes
    release: bool = False
    due_in: float | None = 0.0
    keep: float | None = None

    @property
    def size(self) -> int:
        return len(self.journal)


@dataclass(frozen=True, slots=True)
class GetSaga(Operation[SagaRecord | None]):
    """By `token`, or by (`name`, `id`)."""

    token: str = ""
    name: str = ""
    id: str = ""


@dataclass(frozen=True, slots=True)
class ListSagas(Operation[list[SagaRecord]]):
    """The newest first, or with `oldest_first` the oldest; None: any.

    `before` (a `created_at`) continues a list of the newest.
    """

    name: str | None = None
    state: str | None = None
    before: float | None = None
    limit: int = 100
    oldest_first: bool = False


@dataclass(frozen=True, slots=True)
class CountSagas(Operation[dict[tuple[str, str], int]]):
    """How many of each (name, state); no scan."""
