"""The story of an entry of the outbox, or of a table's row, in lines, from `/outbox/{id}`."""

from collections.abc import Iterator, Mapping
from typing import Any

Document = Mapping[str, Any]

_WAITS = "entries-of-the-outbox-wait"
_ROWS = "rows-of-an-outbox-table-are-not-delivered"
_DIED = "entries-of-the-outbox-are-dead"
_SPENT = {
    "attempts": "that was the last of outbox.attempts",
    "max_age": "the next one would have been after outbox.max_age",
}


def entry_story(entry: Document) -> list[str]:
    """What was accepted, each try that is remembered, and what comes next.

    Raises KeyError, TypeError or ValueError for what is no such entry.
    """
    return list(_row(entry) if "table" in entry else _told(entry))


def _row(row: Document) -> Iterator[str]:
    """Of a row its table keeps the last error alone."""
    key = f", key {row['key']}" if row["key"] else ""
    state = row["state"] or row["status"]
    yield f"row {row['id']} of the outbox table {row['table']}{key}: {state}"
    for word in ("created", "claimed", "due", "finished"):
        if row[f"{word}_at"]:
            yield f"{row[f'{word}_at']}  {word}"
    if row["attempts"]:
        yield f"  {row['attempts']} tries" + (f", the last: {row['error']}" if row["error"] else "")
    if state in ("failed", "dead"):
        yield ""
        yield f"look next: docs/runbook.md#{_ROWS}"


def _told(entry: Document) -> Iterator[str]:
    lane = f", lane {entry['lane']}" if entry["lane"] else ""
    yield (
        f"{entry['method']} {entry['host']}{entry['path']} was accepted by the outbox of route "
        f"{entry['route']}: {entry['state']}"
    )
    yield f"entry {entry['id']}{lane}, request id {entry['request_id'] or '-'}"
    yield f"accepted {entry['accepted_at']}, {entry['body_bytes']} bytes"
    yield ""
    outcomes = entry["outcomes"]
    left_out = entry["attempts"] - len(outcomes)
    if left_out > 0:
        yield f"  ({left_out} earlier tries are not kept)"
    for number, one in enumerate(outcomes, max(left_out, 0) + 1):
        yield f"{one['at']}  try {number}: {_outcome(one)}"
    yield from _end(entry)
    where = _anchor(entry)
    if where:
        yield ""
        yield f"look next: docs/runbook.md#{where}"


def _outcome(one: Document) -> str:
    """``503``, or ``connect-refused: the sentence``, and why there is no other try."""
    words = [str(one["reason"] or one["status"])]
    if one.get("detail"):
        words.append(f": {one['detail']}")
    if one.get("spent"):
        words.append(f" No other try: {_SPENT.get(one['spent'], one['spent'])}.")
    return "".join(words)


def _end(entry: Document) -> Iterator[str]:
    state = entry["state"]
    if state == "pending":
        due, end = entry["next_attempt_at"], entry["give_up_at"]
        if due is None:
            yield f"no try is planned: the file has no route {entry['route']}"
            return
        yield f"{due}  is the next try; there is none after {end} (outbox.max_age)"
    elif state == "delivering":
        yield "and another try is in flight now"
    elif state == "parked":
        yield "parked: the entries behind it in its lane wait until it is put back or cancelled"
    else:
        kept = f", remembered until {entry['forget_at']}" if entry["forget_at"] else ""
        yield f"{entry['finished_at']}  {state}{kept}"


def _anchor(entry: Document) -> str:
    if entry["state"] in ("dead", "parked"):
        return _DIED
    return _WAITS if entry["state"] == "pending" and entry["outcomes"] else ""
