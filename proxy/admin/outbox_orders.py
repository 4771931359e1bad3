"""The command `outbox`: shows a running proxy's outbox, and gives orders to it."""

import json
import sys
from typing import Any
from urllib.parse import quote, urlencode

from proxy.admin.asking import NoAnswer, ask

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
    lines = []
    if document.get("queues") or "tables" not in document:
        lines.append("ROUTE                PENDING  DELIVERING  PARKED    DEAD  OLDEST")
    lines += [
        f"{one['route']:<20} {one['pending']:>7}  {one['delivering']:>10}  {one['parked']:>6}"
        f"  {one['dead']:>6}  {one['oldest_s']:.0f}s"
        for one in document.get("queues", ())
    ]
    if document.get("blocked_lanes"):
        lines += ["", "LANE                 STATE       WAITING  HEAD"]
        lines += [
            f"{one['lane'] or '-':<20} {one['state']:<10}  {one['waiting']:>7}  {one['head']}"
            for one in document["blocked_lanes"]
        ]
    if document.get("tables"):
        lines += ["", "TABLE                PENDING  DELIVERING  FAILED    DEAD  OLDEST  STATE"]
        lines += [
            f"{one['name']:<20} {one['pending']:>7}  {one['delivering']:>10}  {one['failed']:>6}"
            f"  {one['dead']:>6}  {one['oldest_s']:>5.0f}s  {one['why'] or one['state']}"
            for one in document["tables"]
        ]
    if document.get("rows"):
        lines += ["", "ROW                               STATE       TRIES  KEY         ERROR"]
        lines += [
            f"{one['id']:<32}  {one['state'] or one['status']:<10}  {one['attempts']:>5}  "
            f"{one['key'] or '-':<10}  {one['error'] or '-'}"
            for one in document["rows"]
        ]
    if document.get("entries"):
        lines += ["", "ID                                STATE       TRIES  LAST  ROUTE"]
        lines += [
            f"{one['id']:<32}  {one['state']:<10}  {one['attempts']:>5}  {_last(one):<4}  "
            f"{one['route']} {one['method']} {one['path']}"
            for one in document["entries"]
        ]
    return "\n".join(lines).lstrip("\n")


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
    return "-" if value in (None, "") else str(value)


def _done(document: dict[str, Any]) -> str:
    if "copy_of" in document:
        return f"sent again as {document['id']}"
    return f"{document['id']} is {document['state']}"
