"""`sagas`: shows the sagas of a running proxy, and gives them orders."""

import json
import sys
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlencode

from proxy.admin.asking import NoAnswer, ask
from proxy.admin.columns import columns

OK, FAILED = 0, 1
_TIMEOUT = 10.0


def rows(url: str, saga: str, state: str, limit: int, *, as_json: bool) -> int:
    """Print the newest sagas; returns the exit status."""
    query = urlencode({"saga": saga, "state": state, "limit": limit})
    found = _ask(url, f"/sagas?{query}")
    if found is None:
        return FAILED
    if as_json:
        print(json.dumps(found, indent=2))
        return OK
    print(columns(("ID", "SAGA", "STATE", "STEP", "ACCEPTED"), map(_row, found["sagas"])))
    counts = ", ".join(f"{one['count']} {one['state']}" for one in found["counts"])
    print(f"\n{counts or 'no sagas'}")
    return OK


def show(url: str, which: str, *, as_json: bool) -> int:
    """Print everything about one saga; returns the exit status."""
    found = _ask(url, f"/sagas/{quote(which, safe='')}")
    if found is None:
        return FAILED
    print(json.dumps(found, indent=2) if as_json else "\n".join(story(found)))
    return OK


def order(url: str, which: str, word: str) -> int:
    """Give an order to a stuck saga; returns the exit status."""
    found = _ask(url, f"/sagas/{quote(which, safe='')}/{word}", method="POST")
    if found is None:
        return FAILED
    print(f"{found['id']}: {found['state']}{' (aborted)' if found.get('aborted') else ''}")
    return OK


def story(saga: Mapping[str, Any]) -> list[str]:
    """The steps of a saga and their tries, as lines."""
    lines = [
        f"{saga['id']}  {saga['saga']}  {saga['state']}{' (aborted)' * bool(saga.get('aborted'))}",
        f"accepted {saga['accepted_at']}, finished {saga['finished_at'] or '-'}",
    ]
    for step in saga["steps"]:
        undo = " (undo)" if step["phase"] == "undo" else ""
        lines += ["", f"{step['name']}{undo}: {step['state']}{_because(step['reason'])}"]
        if step["next_attempt_at"]:
            lines.append(f"  next try {step['next_attempt_at']}")
        for one in step["tries"]:
            what = one["status"] or ""
            told = " ".join(str(part) for part in (what, one["reason"] or "") if part)
            lines.append(f"  {one['began']}  {one['phase']:4}  {told}  {one['duration_ms']} ms")
    return lines


def _because(reason: str | None) -> str:
    return f", {reason}" if reason else ""


def _row(saga: Mapping[str, Any]) -> tuple[str, ...]:
    return saga["id"], saga["saga"], saga["state"], saga["step"] or "-", saga["accepted_at"]


def _ask(url: str, path: str, method: str = "GET") -> dict[str, Any] | None:
    try:
        return ask(url, path, _TIMEOUT, method=method)
    except NoAnswer as error:
        print(f"sagas: {error}", file=sys.stderr)
        return None
