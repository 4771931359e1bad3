"""Reads an access log: requests, and the result of each attempt.

A line is JSON (`access_log.format: json`), perhaps after a collector's prefix. Other lines are
counted and left out.
"""

import json
import re
from collections.abc import Iterable
from datetime import datetime
from itertools import pairwise
from math import inf
from sys import intern
from typing import Any

from proxy.config.model import Listener
from proxy.errors import (
    CircuitOpen,
    ClientGone,
    HedgeLost,
    RateLimited,
    RequestTimeout,
    UpstreamReset,
    UpstreamTruncated,
)
from proxy.policies.retry import StopReason
from proxy.simulation.clocks import Clocks
from proxy.simulation.recording import BEYOND, RecordedAttempt, RecordedRequest, Recording

_OWN_DEADLINE = "(timeouts.request)"
_OWN_CUTS = ("(timeouts.max_duration)", "none of the response's body for")
"""In the sentences of failures that a policy of the proxy decided."""
_SILENT = re.compile(r".* none of the response's body for ([0-9.e-]+) s")
_LIMIT = re.compile(r"Rate limit '(.*?)' of route '")
_TRACE = re.compile("[0-9a-f]{32}")
_HOUR = 3600
_ENDLESS = 30 * 24 * _HOUR
_UPTIME = 100 * 365 * 24 * _HOUR
_SWITCHED, _LOWEST_STATUS, _HIGHEST_STATUS = 101, 200, 999
_PROMISES = ("idempotency", "outbox_id", "saga")
_LATEST = 0.0015
_BUSY = 0.25
"""Seconds in which the proxy was busy before an attempt that waited for nothing, at most: they
count as the attempt's.
"""
_IDEMPOTENT = frozenset({"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"})


def read_log(lines: Iterable[str]) -> Recording:
    """The requests of a log."""
    recording = Recording()
    clocks = Clocks()
    repeats: set[str] = set()
    for number, line in enumerate(lines, 1):
        start = line.find("{")
        if start < 0 or '"attempts"' not in line:
            recording.foreign += bool(line.strip())
            continue
        try:
            values = json.loads(line[start:])
            request = _request(values, repeats)
            ahead = _ahead(values, request.at)
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
            recording.foreign += 1
            recording.unreadable += 1
            recording.first_unreadable = recording.first_unreadable or number
            continue
        if recording.offset is None:
            recording.offset = ahead
        if request.method:
            recording.requests.append(request)
            clocks.note(request, str(values.get("detail", "")), values.get("retry_refused"))
        else:
            recording.unroutable += 1
    recording.requests[:] = map(clocks.corrected, recording.requests)
    recording.requests.sort(key=lambda one: one.at)
    return recording


def _request(line: dict[str, Any], repeats: set[str]) -> RecordedRequest:
    """`repeats`: ids of inbound requests that are repeats, as the calls made for them told: their
    lines come before.
    """
    at = datetime.fromisoformat(line["time"]).timestamp()
    duration = _seconds(line["duration_ms"])
    reason, detail = str(line["reason"]), str(line.get("detail", ""))
    limited = _LIMIT.match(detail) if reason == RateLimited.reason else None
    attempts = tuple(_attempts(line, at, duration))
    if _nested(line) and not any(one.below for one in attempts):
        repeats.add(str(line.get("inherited_from", "")))
    return RecordedRequest(
        at=at,
        listener=intern(str(line["listener"])),
        client=intern(str(line["client"])),
        method=intern(str(line["method"])),
        host=intern(str(line["host"])),
        path=str(line["path"]),
        route=intern(str(line["route"])),
        upstream=intern(str(line["upstream"])),
        status=_status(line["status"]),
        reason=intern(reason),
        duration=duration,
        bytes_in=_bytes(line["bytes_in"]),
        bytes_out=_bytes(line["bytes_out"]),
        grpc=intern(str(line.get("grpc_status", ""))),
        hedged=int(line.get("hedged", 0)),
        fault=intern(str(line.get("fault", ""))),
        limit="" if limited is None else intern(limited[1]),
        deadline=_deadline(line, reason, detail, duration),
        keyed=_keyed(line),
        settled=reason in BEYOND or _promised(line),
        attempts=attempts,
        trace=_trace(line),
        repeat=bool(repeats) and str(line["request_id"]) in repeats,
        queued=_seconds(line.get("queued_ms", 0.0)),
        refused=_refused_at(line, attempts, at + duration),
    )


def _ahead(line: dict[str, Any], at: float) -> float | None:
    """What the monotonic clock is ahead of Unix time, if the line tells."""
    if "monotonic_s" not in line:
        return None
    found = float(line["monotonic_s"])
    if not 0.0 < found < _UPTIME:
        raise ValueError("no monotonic time")
    return found - at


def _refused_at(line: dict[str, Any], attempts: tuple[RecordedAttempt, ...], ended: float) -> float:
    if not _refused_retry(line):
        return inf
    return next((one.at for one in attempts if one.upstream != line["upstream"]), ended)


def _seconds(milliseconds: Any) -> float:
    found = float(milliseconds) / 1000
    if not 0.0 <= found < _ENDLESS:
        raise ValueError("no duration")
    return found


def _status(value: Any) -> int:
    found = int(value)
    if found and found != _SWITCHED and not _LOWEST_STATUS <= found <= _HIGHEST_STATUS:
        raise ValueError("no status")
    return found


def _bytes(value: Any) -> int:
    found = int(value)
    if not 0 <= found < _ENDLESS * 2**20:
        raise ValueError("no size")
    return found


def _deadline(line: dict[str, Any], reason: str, detail: str, duration: float) -> float:
    """What the caller gave, or an inbound request handed on: known where it expired."""
    if reason == RequestTimeout.reason:
        own = _OWN_DEADLINE in detail or _OWN_CUTS[0] in detail
        if own or not detail:
            return inf
        last = line["attempts"][-1:]
        if last and last[0].get("failure") == RequestTimeout.reason:
            began = last[0].get("started_ms", 0.0 if len(line["attempts"]) == 1 else inf)
            duration = min(duration, (float(began) + float(last[0]["duration_ms"])) / 1000)
        return max(0.001, int(duration * 1000) / 1000)
    return inf


def _keyed(line: dict[str, Any]) -> bool | None:
    """Only a request that may be repeated is retried after it has reached a service."""
    if line.get("retry_refused") == StopReason.NOT_REPEATABLE.value:
        return False
    if line["method"] in _IDEMPOTENT:
        return None
    known = str(line.get("idempotency", ""))
    if known and known not in ("minted", "key-missing", "key-invalid"):
        return True
    attempts = line["attempts"]
    for one, after in pairwise(attempts):
        failure = str(one.get("failure", ""))
        # A stream that was refused is a reset in a log.
        unprocessed = failure == UpstreamReset.reason or failure.startswith(_UNCONNECTED)
        if after.get("hedge") or not (unprocessed or "upstream" in after):
            return True
    return None


_UNCONNECTED = ("connect-", "dns-", "tls-")


def _attempts(line: dict[str, Any], at: float, duration: float) -> list[RecordedAttempt]:
    """They follow each other, except hedges, which begin beside the one before."""
    attempts: list[RecordedAttempt] = []
    late = _late(line, duration)
    found = _as_they_began(line["attempts"])
    begins = at + _seconds(line.get("queued_ms", 0.0))
    decided = line["attempts"][-1] if line["attempts"] else None
    for place, one in enumerate(found):
        head, wait = _seconds(one["duration_ms"]), _seconds(one["wait_ms"])
        if "started_ms" in one:
            began = at + _seconds(one["started_ms"])
            waited = wait or _refused_retry(line) or (not place and line.get("queued_ms"))
            if not waited and 0.0 <= began - begins <= _BUSY:
                head += began - begins
            else:
                begins = began
        elif wait:
            begins += wait + late
        failure, status = str(one.get("failure", "")), _status(one.get("status", 0))
        final = one is decided and bool(status)
        body = max(0.0, at + duration - begins - head) if final else 0.0
        truncated = final and line["reason"] in (UpstreamTruncated.reason, ClientGone.reason)
        cut = truncated and _by_this_side(line)
        if truncated and not cut:
            failure = failure or UpstreamTruncated.reason
        attempts.append(
            RecordedAttempt(
                at=begins,
                upstream=intern(str(one.get("upstream", line["upstream"]))),
                endpoint=intern(str(one["endpoint"])),
                status=status,
                failure=intern(failure),
                grpc=intern(
                    str(one.get("grpc_status", line.get("grpc_status", "") if final else ""))
                ),
                head=head,
                body=body,
                size=_bytes(line["bytes_out"]) if final else 0,
                fault=intern(str(one.get("fault", ""))),
                wait=wait,
                cut=cut,
                silent=_silent(line) if cut else 0.0,
                retry_after=_retry_after(line, last=one is decided),
                below=one is decided and bool(status) and _nested(line),
                hedge=bool(one.get("hedge")),
                refused=failure == UpstreamReset.reason and _at_once(found[place + 1 :]),
            )
        )
        if not one.get("hedge"):
            begins += head
    return attempts


def _refused_retry(line: dict[str, Any]) -> bool:
    """Whether the circuit breaker refused a retry, after its wait."""
    refused = line["reason"] == CircuitOpen.reason and not line.get("retry_refused")
    return refused and bool(line["attempts"]) and "upstream" not in line["attempts"][0]


def _trace(line: dict[str, Any]) -> str:
    """Only what two requests have in common is kept."""
    kin = line["listener"] == Listener.INBOUND.value or line.get("inherited_from")
    trace = str(line["trace_id"])
    return trace if kin and _TRACE.fullmatch(trace) else ""


def _nested(line: dict[str, Any]) -> bool:
    return line.get("retry_refused") == StopReason.NESTED.value


def _promised(line: dict[str, Any]) -> bool:
    """A promise was kept in place of attempts."""
    return not line["attempts"] and any(line.get(name) for name in _PROMISES)


def _late(line: dict[str, Any], duration: float) -> float:
    """Seconds that each retry began later than its wait says: timers are not exact.

    Logs of earlier versions do not tell when each attempt started.
    """
    alone = [one for one in line["attempts"] if not one.get("hedge")]
    retries = sum(float(one["wait_ms"]) > 0.0 for one in alone)
    if not retries:
        return 0.0
    told = sum(float(one["duration_ms"]) + float(one["wait_ms"]) for one in alone)
    left = duration - (told + float(line.get("queued_ms", 0.0))) / 1000
    return min(max(0.0, left / (retries + 1)), _LATEST)


def _as_they_began(attempts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The attempt that decided stands last in a line, although its hedges began after it."""
    found = list(attempts)
    for place in range(len(found) - 1, 0, -1):
        before = found[place - 1]
        lost = before.get("failure") == HedgeLost.reason
        if before.get("hedge") and lost and not found[place].get("hedge"):
            found[place - 1], found[place] = found[place], before
    return found


def _at_once(after: list[dict[str, Any]]) -> bool:
    """Whether the next attempt followed without a wait: only a refused stream is retried so."""
    if not after or after[0].get("hedge") or "upstream" in after[0]:  # a fallback's begins at once
        return False
    return float(after[0]["wait_ms"]) == 0.0


def _silent(line: dict[str, Any]) -> float:
    found = _SILENT.match(str(line.get("detail", "")))
    return 0.0 if found is None else float(found[1])


def _by_this_side(line: dict[str, Any]) -> bool:
    detail = str(line.get("detail", ""))
    return line["reason"] == ClientGone.reason or any(one in detail for one in _OWN_CUTS)


def _retry_after(line: dict[str, Any], *, last: bool) -> int:
    """An hour where its response asked for a longer wait than the policy allowed; else unknown."""
    return _HOUR if last and line.get("retry_refused") == StopReason.RETRY_AFTER.value else 0
