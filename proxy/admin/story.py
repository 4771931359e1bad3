"""The story of one request in lines, from its entry in `/recent`.

A time line from the request's head to the end of its response, each decision with its configuration
key, what the client got, and the runbook's section to read next.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from proxy.errors import CircuitOpen, by_reason

Document = Mapping[str, Any]

_WHY = {
    "condition": "this outcome is not in retry.on",
    "attempts": "that was the last of retry.attempts",
    "nested": "another layer retries: the caller of the inbound request that it was made for, or "
    "the service's own proxy (timeouts.inherit)",
    "not-repeatable": "something was sent, and {method} is not safe to repeat (retry.methods; "
    "an Idempotency-Key allows it by default)",
    "body": "the request's body was larger than what is kept for a retry (retry.body_limit)",
    "circuit-open": "circuit breaker {breaker} was no longer closed",
    "pushback": "the service forbade it (grpc-retry-pushback-ms)",
    "retry-after": "the upstream asked for a longer wait than retry.retry_after",
    "deadline": "the wait would have ended after the deadline (timeouts.request)",
    "observe": "retry.mode is observe: the retry is only counted",
    "budget": "the retry budget was used up (retry.budget)",
}
"""By the `why` of a refused retry."""

OBSERVED = {
    "bulkhead.queued": "bulkhead.mode is observe: else it would have waited for a permit",
    "bulkhead.refused": "bulkhead.mode is observe: else it would have been refused (bulkhead-full)",
    "rate_limits.limited": "a rate limit's mode is observe: else it would have been refused "
    "(rate-limited)",
    "timeouts.connect": "timeouts.mode is observe: else the look-up or connect would have been cut",
    "timeouts.attempt": "timeouts.mode is observe: else the attempt would have been cut",
    "timeouts.request": "timeouts.mode is observe: else the request would have got a timeout",
    "timeouts.idle": "timeouts.mode is observe: else it would have been cut, because no byte moved",
    "timeouts.stream_idle": "timeouts.mode is observe: else it would have been cut, because no "
    "message came",
    "timeouts.max_duration": "timeouts.mode is observe: else max_duration would have cut it",
    "timeouts.body_rate": "timeouts.mode is observe: else it would have been cut, because its "
    "client is slow",
}
"""What a policy in mode observe would have done; a retry's line is at its attempt."""

_BROKEN_OFF = ("upstream-truncated", "drain-cut")
_WAITED = 5.0
"""Milliseconds before the first attempt from which on they are shown as a wait in the queue."""


def story(one: Document) -> list[str]:
    """The lines, of any width. `one` may have a true `under_way` added.

    Raises KeyError, TypeError or ValueError for what is no such entry.
    """
    lines = [_plain(line) for line in _told(one)]
    return [line.rstrip() for line in lines]


def _plain(line: str) -> str:
    """Makes text safe for a terminal: a client's input must not control it."""
    return line if line.isprintable() else "".join(c if c.isprintable() else "?" for c in line)


def _told(one: Document) -> Iterator[str]:
    yield _request(one)
    yield f"request id {one['request_id']}" + (f", trace {one['trace_id']}" * bool(one["trace_id"]))
    if one.get("inherited_from"):
        yield f"made for the inbound request {one['inherited_from']} (same trace)"
    yield f"began {one['time']}, from {one['client'] or 'an unknown client'}"
    if one["route"]:
        yield f"route {one['route']}, upstream {one['upstream'] or '-'}"
    yield ""
    left_out = one["attempts_made"] - len(one["attempts"])
    if left_out > 0:
        yield f"{'':>10}  ({left_out} earlier attempts are not kept)"
    for number, attempt in enumerate(one["attempts"], left_out + 1):
        yield from _attempt(one, attempt, number)
    for what in one.get("observed", ()):
        if not what.startswith("retry."):
            yield f"{'':>10}  {OBSERVED.get(what, what)}"
    yield f"{_at(one['duration_ms'])}  {_end(one)}"
    if one["detail"] and not _is_last_failure(one):
        yield f"{'':>10}  {one['detail']}"
    yield ""
    yield from _conclusions(one)


def _request(one: Document) -> str:
    if not one["method"]:
        return f"input that was not a request, at the {one['listener']} listener"
    host = f" of {one['host']}" if one["host"] else ""
    return f"{one['method']} {one['path']}{host} at the {one['listener']} listener"


def _at(milliseconds: float) -> str:
    return f"{milliseconds:>7.1f} ms"


def _attempt(one: Document, attempt: Document, number: int) -> Iterator[str]:
    begun, took = attempt["started_ms"], attempt["duration_ms"]
    if number == 1 and begun >= _WAITED:
        yield f"{_at(0.0)}  waited {begun:.1f} ms in the bulkhead's queue"
    endpoint = attempt["endpoint"] or "no endpoint"
    other = attempt.get("upstream", one["upstream"])
    fallback = f", the fallback's upstream {other}" if other != one["upstream"] else ""
    hedge = " (a hedge)" if attempt.get("hedge") else ""
    fault = f", with an injected fault ({attempt['fault']})" if attempt.get("fault") else ""
    yield f"{_at(begun)}  attempt {number}{hedge} to {endpoint}{fallback}{fault}"
    if attempt.get("left_out"):
        yield f"{'':>10}    {_left_out(attempt)}"
    if "status" in attempt:
        yield f"{_at(begun + took)}    got {_answer(attempt)} after {took:.1f} ms"
    if "failure" in attempt:
        detail = f": {attempt['detail']}" if attempt.get("detail") else ""
        yield f"{_at(begun + took)}    failed after {took:.1f} ms, {attempt['failure']}{detail}"
    if "status" not in attempt and "failure" not in attempt:
        yield f"{_at(begun + took)}    no response head yet, after {took:.1f} ms"
    decision = attempt["retry"]
    if decision is None:
        return
    if decision["allowed"]:
        condition, wait = decision["condition"], decision["wait_ms"]
        yield f"{'':>10}    retry after a wait of {wait:.1f} ms, because {condition} is in retry.on"
    else:
        yield f"{'':>10}    no other attempt: {_why(one, decision['why'])}"


def _left_out(attempt: Document) -> str:
    """The endpoints that were out, and what it means if the attempt went to one of them."""
    out = attempt["left_out"]
    text = "out at that time: " + ", ".join(f"{one['endpoint']} ({one['why']})" for one in out)
    if attempt["endpoint"] in {one["endpoint"] for one in out}:
        text += "; this attempt was to find out whether it works, or no other was left (on_none)"
    return text


def _answer(one: Document) -> str:
    """``503``, or ``200 (gRPC UNAVAILABLE)``."""
    code = one.get("grpc_status")
    return f"{one['status']} (gRPC {code})" if code else str(one["status"])


def _why(one: Document, why: str) -> str:
    return _WHY.get(why, why).format(method=one["method"], breaker=_breaker_name(one))


def _breaker_name(one: Document) -> str:
    breaker = one["circuit_breaker"]
    return repr(breaker["name"]) if breaker else "of this route"


def _is_last_failure(one: Document) -> bool:
    """Whether the last attempt's line already has the answer's sentence."""
    attempts = one["attempts"]
    return bool(attempts) and attempts[-1].get("detail") == one["detail"]


def _end(one: Document) -> str:
    status, reason = one["status"] and _answer(one), one["reason"]
    if _under_way(one):
        sent = f": {status} and {one['bytes_out']} bytes were sent to the client"
        return "still in flight" + (sent if status else "")
    if one["fallback"]:
        instead = reason or "the upstream's response"
        return f"the client got {status} from the fallback, instead of {instead}"
    if reason == "client-gone":
        if one["status"] == 499:
            return "the client had left: no response was sent, the log has 499"
        return f"the client left during the response ({status}, {one['bytes_out']} bytes sent)"
    if reason in _BROKEN_OFF:
        return (
            f"the client got {status} and {one['bytes_out']} bytes, then its connection was closed:"
            f" {reason}"
        )
    if reason:
        return f"the client got the proxy's own answer: {status} {reason}"
    return f"the client got the upstream's {status}"


def _under_way(one: Document) -> bool:
    return bool(one.get("under_way"))


def _conclusions(one: Document) -> Iterator[str]:
    """Which policy decided, the breaker's state, and where to look next."""
    decided = _decided(one)
    if decided:
        yield f"decided by: {decided}"
    breaker = one["circuit_breaker"]
    if breaker:
        when = "now" if _under_way(one) else "at the end"
        yield f"circuit breaker {breaker['name']}: {breaker['state'].replace('_', '-')} {when}"
    where = _anchor(one)
    if where:
        yield f"look next: docs/runbook.md#{where}"


def _refused(one: Document) -> str:
    """Why there was no other attempt; "" if none was considered."""
    for attempt in reversed(one["attempts"]):
        if attempt["retry"] is not None:
            return "" if attempt["retry"]["allowed"] else str(attempt["retry"]["why"])
    return ""


def _decided(one: Document) -> str:
    """What of the proxy decided, if it was the proxy; "" for a failure that nothing covered up."""
    failure = by_reason(one["reason"])
    if failure is not None and failure.decided_by:
        if one["circuit_breaker"] and failure is CircuitOpen:
            return f"circuit breaker {_breaker_name(one)} (circuit_breaker)"
        return failure.decided_by
    refused = _refused(one)
    return f"retry, {_why(one, refused)}" if refused else ""


def _anchor(one: Document) -> str:
    """The runbook's section: the reason's, else that of its trouble."""
    if one["reason"]:
        return str(one["reason"])
    if _under_way(one) or one["trouble"] == ["slow"]:
        return "latency-went-up"
    if one["trouble"] == ["observed"]:
        return "a-policy-only-observes"
    refused = _refused(one)
    if refused:
        return refused if by_reason(refused) is not None else "retries-do-not-help"
    failures = [a["failure"] for a in one["attempts"] if "failure" in a]
    return str(failures[-1]) if failures else ""
