"""`explain --request-id`: shows what a running proxy knows of one request."""

import sys
from urllib.parse import quote

from proxy.admin.asking import NoAnswer, ask
from proxy.admin.story import story

TOLD, UNKNOWN = 0, 1
"""Exit statuses."""

_TIMEOUT = 5.0


def explain_request(url: str, request_id: str) -> int:
    """Print the story of every request with this id; returns the exit status.

    1: the proxy at the admin address `url` does not answer, or knows no such request.
    """
    try:
        found = ask(url, f"/recent?request_id={quote(request_id, safe='')}", _TIMEOUT)
        under_way = [{**one, "under_way": True} for one in found["in_flight"]]
        stories = [story(one) for one in (*under_way, *reversed(found["recent"]))]
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


def _fail(message: str) -> int:
    print(f"explain: {message}", file=sys.stderr)
    return UNKNOWN
