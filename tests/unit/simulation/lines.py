"""Lines of an access log, made by hand."""

import json
from datetime import UTC, datetime, timedelta

BEGAN = datetime(2026, 5, 4, 3, 2, 1, tzinfo=UTC)
ENDPOINT = "10.0.0.1:80"


def attempt(ms=10.0, status=200, failure="", endpoint=ENDPOINT, wait=0.0, **more):
    """One attempt that took so long to its head."""
    made = {"endpoint": endpoint, "duration_ms": ms, "wait_ms": wait, **more}
    if status:
        made["status"] = status
    if failure:
        made["failure"] = failure
    return made


def line(at=0.0, *attempts, **more):
    """A request that began `at` seconds after the first; its attempts follow each other."""
    attempts = attempts or (attempt(),)
    took = sum(one["duration_ms"] + one["wait_ms"] for one in attempts)
    last = attempts[-1]
    values = {
        "time": (BEGAN + timedelta(seconds=at)).isoformat().replace("+00:00", "Z"),
        "listener": "outbound",
        "client": "127.0.0.1",
        "method": "GET",
        "host": "shop",
        "path": "/a",
        "route": "shop",
        "upstream": "shop",
        "status": last.get("status", 502),
        "reason": last.get("failure", ""),
        "duration_ms": took,
        "bytes_in": 0,
        "bytes_out": 5,
        "request_id": "some",
        "trace_id": "",
        "attempts": list(attempts),
        **more,
    }
    return json.dumps(values)
