"""What an operation costs does not depend on how much waits."""

from dataclasses import replace

from store.conftest import Clock
from store.test_entries import PUT
from store.test_sagas import BEGIN

from proxy.store.operations import (
    BlockedLanes,
    ClaimEntries,
    ClaimSagas,
    Operation,
    Settle,
    UpdateSaga,
)
from proxy.store.records import ClaimedEntries, ClaimedSagas, EntryState
from proxy.store.sqlite.connection import MEMORY, SqliteConfig, connect
from proxy.store.sqlite.running import run
from proxy.store.sqlite.tables import Tables

MANY = 3000
MOST = 30
"""Hundreds of SQLite's instructions: a scan of MANY takes hundreds of them."""


class Counting:
    """Runs operations, and counts SQLite's instructions in hundreds."""

    def __init__(self) -> None:
        self.db = connect(SqliteConfig(MEMORY))
        self.tables = Tables(self.db)
        self.tables.now = Clock().now
        self.hundreds = 0
        self.db.set_progress_handler(self._count, 100)

    def _count(self) -> int:
        self.hundreds += 1
        return 0

    def do(self, operation: Operation[object]) -> object:
        self.hundreds = 0
        return run(self.tables, operation, [])


def test_one_lane_with_many_entries() -> None:
    counting = Counting()
    for number in range(MANY):
        counting.do(replace(PUT, id=str(number), lane="x"))
    counting.do(replace(PUT, id="last", lane="x"))
    assert counting.hundreds < MOST
    claimed = counting.do(ClaimEntries({"orders": 5}, 30.0))
    assert counting.hundreds < MOST
    assert isinstance(claimed, ClaimedEntries)
    (entry,) = claimed.entries
    counting.do(Settle(entry.ref, EntryState.DELIVERED, 1, b"", keep=60.0))
    assert counting.hundreds < MOST


def test_many_lanes_of_which_one_is_blocked() -> None:
    counting = Counting()
    for number in range(MANY):
        counting.do(replace(PUT, id=str(number), lane=str(number)))
    claimed = counting.do(ClaimEntries({"orders": 1}, 30.0))
    assert counting.hundreds < MOST
    assert isinstance(claimed, ClaimedEntries)
    counting.do(Settle(claimed.entries[0].ref, EntryState.PARKED, 1, b""))
    found = counting.do(BlockedLanes())
    assert counting.hundreds < MOST
    assert isinstance(found, list)
    assert [lane.lane for lane in found] == ["0"]


def test_many_finished_sagas() -> None:
    counting = Counting()
    for number in range(MANY):
        counting.do(replace(BEGIN, token=f"t{number}", id=f"o{number}"))
        claimed = counting.do(ClaimSagas(["order"], 1, 30.0))
        assert isinstance(claimed, ClaimedSagas)
        counting.do(UpdateSaga(claimed.sagas[0].ref, "done", b"", keep=60.0))
    counting.do(replace(BEGIN, token="last", id="last"))
    counting.do(ClaimSagas(["order"], 5, 30.0))
    assert counting.hundreds < MOST
