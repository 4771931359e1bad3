"""Reads an access log: requests, and the result of each attempt.

A line is JSON (`access_log.format: json`), perhaps after a collector's prefix. Other lines are
counted and left out.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

UNSEEN_END = frozenset({"attempt-timeout", "request-timeout", "hedge-lost", "client-gone"})
"""Failures of attempts that say only that there was no answer until then."""
UNSENT = frozenset({"circuit-open", "drain-cut", "draining", "no-healthy-endpoint"})
"""Failures that say nothing of an upstream."""


@dataclass(frozen=True, slots=True)
class RecordedAttempt:
    """One attempt. `at` is when it began (Unix seconds), `head` the seconds to its response's head
    or failure, `body` the seconds from the head to the response's end.

    `endpoint` is ``ip:port``, "" where it came to none. `status` is 0 and `failure` "" without one;
    `grpc` is the name of a gRPC status. `artificial`: a fault of the proxy decided it.
    """

    at: float
    upstream: str
    endpoint: str
    status: int
    failure: str
    grpc: str
    head: float
    body: float
    size: int
    artificial: bool

    @property
    def censored(self) -> bool:
        """Whether it is only known that there was no answer until `head`."""
        return self.failure in UNSEEN_END

    @property
    def tells(self) -> bool:
        """Whether it says something about its endpoint."""
        return not self.artificial and self.failure not in UNSENT


@dataclass(frozen=True, slots=True)
class RecordedRequest:
    """One line. `at` is when it began (Unix seconds), `duration` in seconds; `refused`: the
    decisions of policies in its way, as `retry_refused` names them.
    """

    at: float
    listener: str
    client: str
    method: str
    host: str
    path: str
    route: str
    upstream: str
    status: int
    reason: str
    duration: float
    bytes_in: int
    bytes_out: int
    grpc: str
    hedged: int
    fault: str
    attempts: tuple[RecordedAttempt, ...]


@dataclass(slots=True)
class Recording:
    """`requests` in the order in which they began. `foreign` lines were no requests of the proxy;
    `unreadable` of them looked like one. `unroutable` requests had no head that a route could take.
    """

    requests: list[RecordedRequest] = field(default_factory=list)
    foreign: int = 0
    unreadable: int = 0
    unroutable: int = 0

    @property
    def seconds(self) -> float:
        if not self.requests:
            return 0.0
        return max(one.at + one.duration for one in self.requests) - self.requests[0].at


def read_log(lines: Iterable[str]) -> Recording:
    """The requests of a log."""
    recording = Recording()
    for line in lines:
        start = line.find("{")
        if start < 0 or '"attempts"' not in line:
            recording.foreign += bool(line.strip())
            continue
        try:
            request = _request(json.loads(line[start:]))
        except (ValueError, KeyError, TypeError, AttributeError):
            recording.foreign += 1
            recording.unreadable += 1
            continue
        if request.method:
            recording.requests.append(request)
        else:
            recording.unroutable += 1
    recording.requests.sort(key=lambda one: one.at)
    return recording


def _request(line: dict[str, Any]) -> RecordedRequest:
    at = datetime.fromisoformat(line["time"]).timestamp()
    duration = float(line["duration_ms"]) / 1000
    return RecordedRequest(
        at=at,
        listener=str(line["listener"]),
        client=str(line["client"]),
        method=str(line["method"]),
        host=str(line["host"]),
        path=str(line["path"]),
        route=str(line["route"]),
        upstream=str(line["upstream"]),
        status=int(line["status"]),
        reason=str(line["reason"]),
        duration=duration,
        bytes_in=int(line["bytes_in"]),
        bytes_out=int(line["bytes_out"]),
        grpc=str(line.get("grpc_status", "")),
        hedged=int(line.get("hedged", 0)),
        fault=str(line.get("fault", "")),
        attempts=tuple(_attempts(line, at, duration)),
    )


def _attempts(line: dict[str, Any], at: float, duration: float) -> list[RecordedAttempt]:
    """They follow each other, except hedges, which begin beside the one before."""
    attempts = []
    begins, last = at, len(line["attempts"]) - 1
    for number, one in enumerate(line["attempts"]):
        head, wait = float(one["duration_ms"]) / 1000, float(one["wait_ms"]) / 1000
        begins += wait
        failure, status = str(one.get("failure", "")), int(one.get("status", 0))
        final = number == last and bool(status)
        attempts.append(
            RecordedAttempt(
                at=begins,
                upstream=str(line["upstream"]),
                endpoint=str(one["endpoint"]),
                status=status,
                failure=failure,
                grpc=str(one.get("grpc_status", line.get("grpc_status", "") if final else "")),
                head=head,
                body=max(0.0, at + duration - begins - head) if final else 0.0,
                size=int(line["bytes_out"]) if final else 0,
                artificial="fault" in one,
            )
        )
        if not one.get("hedge"):
            begins += head
    return attempts
