"""Entries of the outbox as JSON: for those who were answered 202, and for operators."""

from typing import Any

from proxy.delivery.entries import StoredHead, instant, last_of, outcomes_in
from proxy.store.records import Entry, EntryState, Lane, QueueCounts


def state_of(entry: Entry, earliest: float | None) -> dict[str, Any]:
    """What a client that knows the id may read.

    `earliest`: Unix seconds before which no entry of its queue is tried; None: no try is planned.
    """
    due = None
    if entry.state is EntryState.PENDING and earliest is not None:
        due = instant(max(entry.due_at, earliest))
    told = StoredHead.unpack(entry.meta).accepted
    return {
        "id": entry.id,
        "state": entry.state.value,
        "attempts": entry.attempts,
        "next_attempt_at": due,
        "accepted_at": instant(told or entry.accepted_at),
        "finished_at": instant(entry.finished_at),
        "last": last_of(entry.history),
    }


def summary_of(entry: Entry, earliest: float | None) -> dict[str, Any]:
    """One line of a list for operators."""
    head = StoredHead.unpack(entry.meta)
    return {
        **state_of(entry, earliest),
        "route": entry.queue,
        "lane": entry.lane,
        "method": head.method,
        "host": head.host,
        "path": head.target.partition("?")[0],
        "body_bytes": entry.body_bytes,
    }


def details_of(entry: Entry, earliest: float | None) -> dict[str, Any]:
    """All but the body and the fields' values."""
    head = StoredHead.unpack(entry.meta)
    return {
        **summary_of(entry, earliest),
        "listener": head.listener.value,
        "fields": [name for name, _ in head.fields],
        "request_id": head.held.get("x-request-id"),
        "give_up_at": instant(entry.give_up_at),
        "forget_at": instant(entry.forget_at),
        "outcomes": outcomes_in(entry.history),
    }


def queue_of(name: str, counts: QueueCounts, now: float) -> dict[str, Any]:
    """A route's entries. `now`: Unix seconds of the store's clock."""
    oldest = counts.oldest_at
    return {
        "route": name,
        "pending": counts.of(EntryState.PENDING, EntryState.DELIVERING),
        "delivering": counts.of(EntryState.DELIVERING),
        "parked": counts.of(EntryState.PARKED),
        "dead": counts.of(EntryState.DEAD),
        "oldest_s": 0.0 if oldest is None else round(max(0.0, now - oldest), 3),
    }


def lane_of(lane: Lane) -> dict[str, Any]:
    """A lane that does not move."""
    return {
        "route": lane.queue,
        "lane": lane.lane,
        "head": lane.head,
        "state": lane.state.value,
        "waiting": lane.waiting,
    }
