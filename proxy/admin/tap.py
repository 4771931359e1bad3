"""`tap`: prints a running proxy's requests as they settle, one line each."""

import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlencode

from proxy.admin.asking import NoAnswer, detail_of, stream

ENDED, FAILED = 0, 1
"""Exit statuses."""

_TIMEOUT = 10.0
"""Timeout in seconds without even a comment of the stream."""


def tap(url: str, wants: Mapping[str, str], count: int | None, *, as_json: bool) -> int:
    """Print requests until Ctrl-C, or `count` of them; returns the exit status.

    `wants`: the given filters, ``route``, ``status``, ``path``. 1: no proxy answers, it
    refuses, or it has ended.
    """
    query = urlencode({"requests": "1", **{k: v for k, v in wants.items() if v}})
    try:
        with stream(url, f"/events?{query}", _TIMEOUT) as lines:
            for name, data in _events(lines):
                if name == "lost":
                    print(
                        f"tap: {data['lines']} lines lost: this reader is too slow", file=sys.stderr
                    )
                    continue
                print(json.dumps(data) if as_json else line_of(data), flush=True)
                if count is not None:
                    count -= 1
                    if not count:
                        return ENDED
    except KeyboardInterrupt:
        return ENDED
    except HTTPError as error:
        return _fail(f"{url} refuses: {detail_of(error)}")
    except NoAnswer as error:
        return _fail(str(error))
    except BrokenPipeError:
        raise
    except (OSError, HTTPException):
        pass
    except (KeyError, TypeError, ValueError):
        return _fail(f"{url} answers, but is not a resilience proxy")
    return _fail("the proxy has ended")


def _events(lines: Iterable[bytes]) -> Iterator[tuple[str, Any]]:
    """Name and document of each server-sent event."""
    name = ""
    for line in lines:
        field, _, value = line.rstrip(b"\r\n").partition(b": ")
        if field == b"event":
            name = value.decode()
        elif field == b"data" and name in ("request", "lost"):
            yield name, json.loads(value)


def line_of(record: Mapping[str, Any]) -> str:
    """One request for people: time, status, method, URL, route, duration, and trouble."""
    words = [
        record["time"][11:23],
        f"{record['status'] or '-':>3}",
        f"{record['method'] or '-':7}",
        f"{record['host']}{record['path']}",
        f"{record['route'] or 'no route'}",
        f"{record['duration_ms']:.1f}ms",
    ]
    if len(record["attempts"]) > 1:
        words.append(f"attempts={len(record['attempts'])}")
    for member in ("hedged", "fallback"):
        if record.get(member):
            words.append(member)
    if record.get("fault"):
        words.append(f"fault={record['fault']}")
    words.extend(f"observed={what}" for what in record.get("observed", ()))
    if record.get("grpc_status"):
        words.append(record["grpc_status"])
    if record["reason"]:
        words.append(record["reason"])
    if record.get("outbox_id"):
        words.append(f"outbox {record['outbox_id']}")
    if record.get("saga"):
        words.append(f"saga {record['saga']}")
    if record["listener"] == "inbound":
        words.append("(inbound)")
    return "  ".join(map(_printable, words))


def _printable(text: str) -> str:
    """Makes text safe for a terminal: a request must not control it."""
    return text if text.isprintable() else text.encode("unicode_escape").decode("ascii")


def _fail(message: str) -> int:
    print(f"tap: {message}", file=sys.stderr)
    return FAILED
