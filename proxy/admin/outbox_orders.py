"""The command `outbox`: shows a running proxy's outbox, and gives orders to it."""

import json
import sys
from typing import Any
from urllib.parse import quote, urlencode

from proxy.admin.asking import NoAnswer, ask
from proxy.admin.columns import columns, printable

_TIMEOUT = 10.0


def show(url: str, *, route: str, state: str, limit: int, as_json: bool) -> int:
    """Print the queues, the lanes that do not move, and entries. Returns the exit status."""
    query = {"limit": str(limit)}
    query |= {name: value for name, value in (("route", route), ("state", state)) if value}
    return _print(url, f"/outbox?{urlencode(query)}", _overview, as_json=as_json)


def show_entry(url: str, entry: str, *, as_json: bool) -> int:
    """Print one entry with its outcomes."""
    return _print(url, f"/outbox/{quote(entry, safe='')}", _entry, as_json=as_json)


def order(url: str, entry: str, what: str, *, as_json: bool) -> int:
    """`what`: redrive, replay or cancel."""
    path = f"/outbox/{quote(entry, safe='')}/{what}"
    return _print(url, path, _done, as_json=as_json, method="POST")


def _print(url: str, path: str, text: Any, *, as_json: bool, method: str = "GET") -> int:
    try:
        document = ask(url, path, _TIMEOUT, method=method)
    except NoAnswer as error:
        print(f"resilience-proxy: {error}", file=sys.stderr)
        return 1
    print(json.dumps(document, indent=2) if as_json else text(document))
    return 0


def _overview(document: dict[str, Any]) -> str:
    parts: list[str] = []
    titles: tuple[str, ...]
    queues, lanes, tables, rows, entries = (
        document.get(name, []) for name in ("queues", "blocked_lanes", "tables", "rows", "entries")
    )
    if queues or "tables" not in document:
        titles = ("ROUTE", ">PENDING", ">DELIVERING", ">PARKED", ">DEAD", ">OLDEST")
        parts.append(columns(titles, map(_queue, queues)))
    if lanes:
        parts.append(columns(("LANE", "STATE", ">WAITING", "HEAD"), map(_lane, lanes)))
    if tables:
        titles = ("TABLE", ">PENDING", ">DELIVERING", ">FAILED", ">DEAD", ">OLDEST", "STATE")
        parts.append(columns(titles, map(_service_table, tables)))
    if rows:
        parts.append(columns(("ROW", "STATE", ">TRIES", "KEY", "ERROR"), map(_row, rows)))
    if entries:
        parts.append(columns(("ID", "STATE", ">TRIES", "LAST", "ROUTE"), map(_listed, entries)))
    return "\n\n".join(parts)


def _queue(one: dict[str, Any]) -> tuple[Any, ...]:
    counts = (one["pending"], one["delivering"], one["parked"], one["dead"])
    return one["route"], *counts, f"{one['oldest_s']:.0f}s"


def _lane(one: dict[str, Any]) -> tuple[Any, ...]:
    return one["lane"] or "-", one["state"], one["waiting"], one["head"]


def _service_table(one: dict[str, Any]) -> tuple[Any, ...]:
    counts = (one["pending"], one["delivering"], one["failed"], one["dead"])
    return one["name"], *counts, f"{one['oldest_s']:.0f}s", one["why"] or one["state"]


def _row(one: dict[str, Any]) -> tuple[Any, ...]:
    state = one["state"] or one["status"]
    return one["id"], state, one["attempts"], one["key"] or "-", one["error"] or "-"


def _listed(one: dict[str, Any]) -> tuple[Any, ...]:
    what = f"{one['route']} {one['method']} {one['path']}"
    return one["id"], one["state"], one["attempts"], _last(one), what


def _last(entry: dict[str, Any]) -> str:
    last = entry["last"]
    return "-" if last is None else str(last["reason"] or last["status"])


def _entry(document: dict[str, Any]) -> str:
    outcomes = document.pop("outcomes", None)
    lines = [f"{name}: {_word(value)}" for name, value in document.items() if name != "last"]
    if outcomes is None:  # of a table's row the last error is all that is kept
        return "\n".join(lines)
    lines.append("outcomes:")
    lines += [
        f"  {one['at']}  {one['status']} {one['reason']} {one.get('detail', '')}".rstrip()
        for one in outcomes
    ]
    return "\n".join(lines)


def _word(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "-"
    return "-" if value in (None, "") else printable(str(value))


def _done(document: dict[str, Any]) -> str:
    if "copy_of" in document:
        return f"sent again as {document['id']}"
    return f"{document['id']} is {document['state']}"
