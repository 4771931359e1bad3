"""`explain --request-id`: shows what a running proxy knows of one request."""

import sys
from typing import Any, TypeAlias
from urllib.parse import quote

from proxy.admin.asking import NoAnswer, ask
from proxy.admin.story import story

Document: TypeAlias = dict[str, Any]

TOLD, UNKNOWN = 0, 1
"""Exit statuses."""

_TIMEOUT = 5.0


def explain_request(url: str, request_id: str) -> int:
    """Print the story of every request with this id, on both sides of the service.

    Returns the exit status.

    1: the proxy at the admin address `url` does not answer, or knows no such request.
    """
    try:
        stories = [story(one) for one in _of_both_sides(url, request_id)]
    except NoAnswer as error:
        return _fail(str(error))
    except (KeyError, TypeError, ValueError, AttributeError):
        return _fail(f"{url} answers, but is not a resilience proxy")
    if not stories:
        return _fail(
            f"{url} knows no request {request_id!r}: it is not in flight, and only the last "
            "requests with trouble are kept (error, retried, fallback, slow), until a restart. "
            "Its access-log line, if there is one, has its attempts."
        )
    print("\n\n".join("\n".join(lines) for lines in stories))
    return TOLD


def _of_both_sides(url: str, request_id: str) -> list[Document]:
    """The requests with this id, the inbound requests that they were made for, and the calls that
    were made for them, in the order in which they began."""
    own = _entries(url, "request_id", request_id)
    known = {request_id}
    told = list(own)
    for one in own:
        parent = one["inherited_from"]
        if parent and parent not in known:
            known.add(parent)
            told += _entries(url, "request_id", parent)
    if own:
        told += [
            one
            for one in _entries(url, "inherited_from", request_id)
            if one["request_id"] not in known
        ]
    return sorted(told, key=lambda one: str(one["time"]))


def _entries(url: str, name: str, value: str) -> list[Document]:
    found = ask(url, f"/recent?{name}={quote(value, safe='')}", _TIMEOUT)
    under_way = [{**one, "under_way": True} for one in found["in_flight"]]
    return [*under_way, *reversed(found["recent"])]


def _fail(message: str) -> int:
    print(f"explain: {message}", file=sys.stderr)
    return UNKNOWN
