"""Operations on entries.

A lane is a queue of entries that are tried strictly one after the other. `head` marks the first of
a lane that is not finished, so that finding what is due is one step in an index, however many wait.
INDEXED BY names the index where SQLite would rather sort all that wait; without it the statement
fails.
"""

from typing import Any, Final

from proxy.store.operations import (
    BlockedLanes,
    Cancel,
    ClaimEntries,
    CountEntries,
    GetEntry,
    ListEntries,
    Put,
    Redrive,
    RenewEntries,
    Settle,
)
from proxy.store.records import (
    ClaimedEntries,
    Entry,
    EntryRef,
    EntryState,
    Lane,
    QueueCounts,
)
from proxy.store.rows import ENTRY_NUMBER, ENTRY_STATES, MOST_COUNTED, MOST_IN_A_LIST
from proxy.store.sqlite.tables import Tables

_PENDING, _DELIVERING, _PARKED, _DELIVERED, _DEAD, _CANCELLED = range(6)
_OPEN: Final = (_PENDING, _DELIVERING, _PARKED)

_COLUMNS: Final = (
    "id, seq, queue, lane, state, fence, attempts, accepted_at, due_at, give_up_at, finished_at, "
    "forget_at, meta, history, body_bytes"
)


def put(tables: Tables, ask: Put) -> EntryState | None:
    crowded = ask.max_pending > 0 and _unfinished(tables, ask.queue) >= ask.max_pending
    if crowded or not tables.room:
        present = _state_of(tables, ask.id)
        if present is not None or crowded:
            return present or EntryState.PENDING
    tables.need_room()
    head = not ask.lane or _head_of(tables, ask.queue, ask.lane) is None
    now = tables.now
    inserted = tables.execute(
        "INSERT INTO entries VALUES (NULL,?,?,?,?,?,0,0,0,?,?,?,0,0,?,?,?)"
        " ON CONFLICT (id) DO NOTHING",
        ask.id,
        ask.queue,
        ask.lane,
        _PENDING,
        head,
        now,
        now + ask.due_in,
        now + ask.give_up_in,
        len(ask.body),
        ask.history,
        ask.meta,
    )
    if inserted.rowcount != 1:
        return _state_of(tables, ask.id)
    tables.execute("INSERT INTO bodies VALUES (?, ?)", inserted.lastrowid, ask.body)
    if ask.queue in tables.unfinished:
        tables.unfinished[ask.queue] += 1
    tables.due_earlier = True
    return None


def claim(tables: Tables, ask: ClaimEntries) -> ClaimedEntries:
    now = tables.now
    claimed: list[Entry] = []
    for queue, limit in ask.limits.items():
        rows = tables.execute(
            "SELECT seq FROM entries WHERE queue = ? AND state = 1 AND lease_until <= ?"
            " ORDER BY lease_until LIMIT ?",
            queue,
            now,
            limit,
        ).fetchall()
        if len(rows) < limit:
            rows += tables.execute(
                "SELECT seq FROM entries WHERE queue = ? AND head = 1 AND state = 0"
                " AND due_at <= ? ORDER BY due_at LIMIT ?",
                queue,
                now,
                limit - len(rows),
            ).fetchall()
        for (seq,) in rows:
            tables.execute(
                "UPDATE entries SET state = 1, fence = fence + 1, lease_until = ? WHERE seq = ?",
                now + ask.lease,
                seq,
            )
            claimed.append(
                _entry(
                    tables.one(
                        f"SELECT {_COLUMNS}, (SELECT body FROM bodies WHERE seq = e.seq)"
                        " FROM entries e WHERE seq = ?",
                        seq,
                    )
                )
            )
    return ClaimedEntries(claimed, _next_due(tables, list(ask.limits)), now)


def renew(tables: Tables, ask: RenewEntries) -> list[EntryRef]:
    return [
        ref for ref in ask.refs if not tables.extend("entries", "id", ref.id, ref.fence, ask.lease)
    ]


def settle(tables: Tables, ask: Settle) -> bool:
    row = tables.one(
        "SELECT seq, queue, lane FROM entries WHERE id = ? AND fence = ? AND state = 1",
        ask.ref.id,
        ask.ref.fence,
    )
    if row is None:
        return False
    seq, queue, lane = row
    tables.execute(
        "UPDATE entries SET state = ?, lease_until = 0, attempts = ?, history = ?, due_at = ?,"
        " meta = coalesce(?, meta) WHERE seq = ?",
        ENTRY_NUMBER[ask.state],
        ask.attempts,
        ask.history,
        tables.now + ask.due_in,
        ask.meta,
        seq,
    )
    if ask.state.finished:
        _finish(tables, seq, queue, lane, ask.keep)
    elif lane:
        _choose_head(tables, queue, lane, seq)
    tables.due_earlier = True
    return True


def cancel(tables: Tables, ask: Cancel) -> EntryState | None:
    row = tables.one("SELECT seq, queue, lane, state FROM entries WHERE id = ?", ask.id)
    if row is None:
        return None
    seq, queue, lane, state = row
    if state in (_PENDING, _PARKED):
        tables.execute("UPDATE entries SET state = ? WHERE seq = ?", _CANCELLED, seq)
        _finish(tables, seq, queue, lane, ask.keep)
    return ENTRY_STATES[state]


def redrive(tables: Tables, ask: Redrive) -> EntryState | None:
    row = tables.one("SELECT seq, queue, lane, state FROM entries WHERE id = ?", ask.id)
    if row is None:
        return None
    seq, queue, lane, state = row
    if state not in (_DEAD, _PARKED):
        return ENTRY_STATES[state]
    head = True
    if lane:
        present = _head_of(tables, queue, lane)
        if present is not None and present[0] != seq:
            # Its old place is before all that wait; one that is being delivered goes first.
            head = present[0] > seq and present[1] != _DELIVERING
            if head:
                tables.execute("UPDATE entries SET head = 0 WHERE seq = ?", present[0])
    tables.execute(
        "UPDATE entries SET state = 0, head = ?, attempts = 0, due_at = ?, give_up_at = ?,"
        " finished_at = 0, forget_at = 0 WHERE seq = ?",
        head,
        tables.now,
        tables.now + ask.give_up_in,
        seq,
    )
    tables.unfinished.pop(queue, None)
    tables.due_earlier = True
    return ENTRY_STATES[state]


def get(tables: Tables, ask: GetEntry) -> Entry | None:
    body = "(SELECT body FROM bodies WHERE seq = e.seq)" if ask.with_body else "NULL"
    row = tables.one(f"SELECT {_COLUMNS}, {body} FROM entries e WHERE id = ?", ask.id)
    return None if row is None else _entry(row)


def list_entries(tables: Tables, ask: ListEntries) -> list[Entry]:
    """A queue and a state are found in an index; for "any" each combination is asked."""
    queues = [ask.queue] if ask.queue is not None else _queues(tables)
    states = range(6) if ask.state is None else [ENTRY_NUMBER[ask.state]]
    limit = min(ask.limit, MOST_IN_A_LIST)
    before = ask.before_seq if ask.before_seq is not None else (1 << 62)
    found: list[Entry] = []
    for queue in queues:
        for state in states:
            rows = tables.execute(
                f"SELECT {_COLUMNS}, NULL FROM entries WHERE queue = ? AND state = ? AND seq < ?"
                " AND accepted_at >= ? ORDER BY seq DESC LIMIT ?",
                queue,
                state,
                before,
                ask.since,
                limit,
            )
            found.extend(_entry(row) for row in rows)
    found.sort(key=lambda entry: -entry.seq)
    return found[:limit]


def count(tables: Tables, ask: CountEntries) -> dict[str, QueueCounts]:
    told: dict[str, QueueCounts] = {}
    for queue in _queues(tables):
        rows = tables.execute("SELECT state, number FROM entry_counts WHERE queue = ?", queue)
        counts = {ENTRY_STATES[state]: number for state, number in rows if number}
        oldest = [
            row[0]
            for state in _OPEN
            if (
                row := tables.one(
                    "SELECT accepted_at FROM entries WHERE queue = ? AND state = ?"
                    " ORDER BY seq LIMIT 1",
                    queue,
                    state,
                )
            )
        ]
        if counts:
            told[queue] = QueueCounts(counts, min(oldest, default=None))
    return told


def blocked_lanes(tables: Tables, ask: BlockedLanes) -> list[Lane]:
    queues = [ask.queue] if ask.queue is not None else _queues(tables)
    found: list[tuple[int, Lane]] = []
    for queue in queues:
        # Few are parked or tried before; the partial indices hold heads and lanes only.
        rows = tables.execute(
            "SELECT seq, queue, lane, id, state FROM entries INDEXED BY entries_blocked"
            " WHERE queue = ? AND head = 1 AND"
            " lane <> '' AND state < 3 AND (state = 2 OR attempts > 0) ORDER BY seq LIMIT ?",
            queue,
            ask.limit,
        ).fetchall()
        for seq, _, lane, identity, state in rows:
            (waiting,) = tables.one(
                "SELECT count(*) FROM (SELECT 1 FROM entries INDEXED BY entries_lane"
                " WHERE queue = ? AND lane = ? AND state < 3 AND lane <> '' LIMIT ?)",
                queue,
                lane,
                MOST_COUNTED,
            )
            found.append((seq, Lane(queue, lane, identity, ENTRY_STATES[state], waiting - 1)))
    found.sort(key=lambda each: each[0])
    return [lane for _, lane in found[: ask.limit]]


def free_claims(tables: Tables) -> int:
    """A new process on the file: what its predecessor had claimed waits again."""
    return tables.execute(
        "UPDATE entries SET state = 0, lease_until = 0, fence = fence + 1, due_at = ?"
        " WHERE state = 1",
        tables.now,
    ).rowcount


def forget(tables: Tables, limit: int) -> int:
    """Delete entries whose time has passed, at most `limit`. Returns how many."""
    return tables.execute(
        "DELETE FROM entries WHERE seq IN (SELECT seq FROM entries"
        " WHERE state > 2 AND forget_at <= ? ORDER BY forget_at LIMIT ?)",
        tables.now,
        limit,
    ).rowcount


def next_expiry(tables: Tables) -> float | None:
    (at,) = tables.one(
        "SELECT min(forget_at) FROM entries INDEXED BY entries_forget WHERE state > 2"
    )
    return None if at is None else float(at)


# --- lanes ------------------------------------------------------------------------------------


def _finish(tables: Tables, seq: int, queue: str, lane: str, keep: float) -> None:
    """It is finished: the next of its lane becomes the head."""
    tables.execute(
        "UPDATE entries SET head = 0, lease_until = 0, finished_at = ?, forget_at = ?"
        " WHERE seq = ?",
        tables.now,
        tables.now + keep,
        seq,
    )
    tables.unfinished.pop(queue, None)
    if lane:
        _choose_head(tables, queue, lane, 0)
    tables.due_earlier = True


def _choose_head(tables: Tables, queue: str, lane: str, present: int) -> None:
    """The first of a lane is its head, instead of `present`: one may have been put back before."""
    first = _head_of(tables, queue, lane)
    if first is not None and first[0] != present:
        tables.execute("UPDATE entries SET head = 0 WHERE seq = ?", present)
        tables.execute("UPDATE entries SET head = 1 WHERE seq = ? AND head = 0", first[0])


def _head_of(tables: Tables, queue: str, lane: str) -> tuple[int, int] | None:
    """(seq, state) of the first entry of a lane that is not finished."""
    row: tuple[int, int] | None = tables.one(
        "SELECT seq, state FROM entries INDEXED BY entries_lane"
        " WHERE queue = ? AND lane = ? AND lane <> ''"
        " AND state < 3 ORDER BY seq LIMIT 1",
        queue,
        lane,
    )
    return row


def _next_due(tables: Tables, queues: list[str]) -> float | None:
    times = []
    for queue in queues:
        due = tables.one(
            "SELECT min(due_at) FROM entries WHERE queue = ? AND head = 1 AND state = 0", queue
        )
        lease = tables.one(
            "SELECT min(lease_until) FROM entries WHERE queue = ? AND state = 1", queue
        )
        times += [row[0] for row in (due, lease) if row[0] is not None]
    return min(times, default=None)


def _queues(tables: Tables) -> list[str]:
    rows = tables.execute("SELECT DISTINCT queue FROM entry_counts")
    return [queue for (queue,) in rows]


def _unfinished(tables: Tables, queue: str) -> int:
    """Read once in a transaction; `put` counts on, and what changes states has it read again."""
    number = tables.unfinished.get(queue)
    if number is None:
        (number,) = tables.one(
            "SELECT coalesce(sum(number), 0) FROM entry_counts WHERE queue = ? AND state < 3",
            queue,
        )
        tables.unfinished[queue] = number
    return number


def _state_of(tables: Tables, identity: str) -> EntryState | None:
    row = tables.one("SELECT state FROM entries WHERE id = ?", identity)
    return None if row is None else ENTRY_STATES[row[0]]


def _entry(row: Any) -> Entry:
    return Entry(
        id=row[0],
        seq=row[1],
        queue=row[2],
        lane=row[3],
        state=ENTRY_STATES[row[4]],
        fence=row[5],
        attempts=row[6],
        accepted_at=row[7],
        due_at=row[8],
        give_up_at=row[9],
        finished_at=row[10],
        forget_at=row[11],
        meta=row[12],
        history=row[13],
        body_bytes=row[14],
        body=row[15],
    )
