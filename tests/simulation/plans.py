"""What each client and each attempt will do, drawn from a seed before it happens."""

import itertools
import random
from dataclasses import dataclass, field
from enum import Enum

QUIET = 0.02
"""Seconds; what is on time takes at most that between two steps."""


class Side(Enum):
    """Who may misbehave on a route."""

    CALM = "calm"  # clients alone: nothing of it may be held against the upstream
    ROUGH = "rough"  # upstreams alone: every failure counts, and nothing else
    WILD = "wild"  # both, with a breaker, a bulkhead and a queue that act


def content(key: str, size: int) -> bytes:
    """`size` bytes that no other exchange or attempt has."""
    line = f"{key};".encode()
    return (line * (size // len(line) + 1))[:size]


def chunked(body: bytes, source: random.Random) -> bytes:
    parts = []
    at = 0
    while at < len(body):
        size = source.randrange(1, max(2, len(body) // 3))
        parts.append(b"%x\r\n%b\r\n" % (len(body[at : at + size]), body[at : at + size]))
        at += size
    return b"".join(parts) + b"0\r\n\r\n"


@dataclass
class Asked:
    """One exchange, from its client's side."""

    number: int
    side: Side
    method: str
    version: str
    raw: bytes
    body: bytes
    repeatable: bool
    steps: list[tuple[float, bytes]] = field(default_factory=list)
    fault: str = ""

    @property
    def path(self) -> str:
        return f"/{self.side.value}/{self.number}"


CLIENT_FAULTS = (
    *("reset", "close", "half-close", "stall", "trickle", "no-reading", "slow-reading"),
    *("garbage", "reset-after", "close-after"),
)
METHODS = ("GET", "GET", "GET", "HEAD", "PUT", "POST", "POST", "DELETE")


def asked(source: random.Random, number: int, *, well: bool = False) -> Asked:
    """The next exchange; `well`: one whose client behaves."""
    side = source.choice(list(Side))
    method = source.choice(METHODS)
    version = "HTTP/1.0" if source.random() < 0.08 else "HTTP/1.1"
    fields = ["Host: shop", f"X-Request-Id: x{number}"]
    if version == "HTTP/1.0" and source.random() < 0.5:
        fields.append("Connection: keep-alive")
    key = method in ("POST", "PUT") and source.random() < 0.4
    if key:
        fields.append(f"Idempotency-Key: k{number}")
    body, framed = b"", b""
    if method in ("POST", "PUT"):
        body = framed = content(f"q{number}", source.choice([0, 1, 40, 900, 5_000]))
        if version == "HTTP/1.1" and source.random() < 0.4:
            fields.append("Transfer-Encoding: chunked")
            framed = chunked(body, source)
        else:
            fields.append(f"Content-Length: {len(body)}")
    line = f"{method} /{side.value}/{number} {version}"
    raw = "\r\n".join([line, *fields, "", ""]).encode() + framed
    one = Asked(number, side, method, version, raw, body, method != "POST" or key)
    if not well and side is not Side.ROUGH and source.random() < 0.45:
        one.fault = source.choice(CLIENT_FAULTS)
    one.steps = _sent(source, one)
    return one


def _sent(source: random.Random, one: Asked) -> list[tuple[float, bytes]]:
    """Waits, and the bytes behind them."""
    raw = one.raw
    if one.fault in ("reset", "close", "stall"):
        raw = raw[: source.randrange(len(raw))]
    elif one.fault == "garbage":
        raw = raw[: source.randrange(len(raw))] + source.randbytes(source.randrange(1, 60))
    pieces = 1 if source.random() < 0.6 else source.randrange(1, 6)
    wait = QUIET
    if one.fault == "trickle":
        pieces, wait = min(len(raw), source.randrange(5, 30)), source.choice([0.1, 0.4, 0.9])
    cuts = sorted(source.randrange(len(raw) + 1) for _ in range(pieces - 1))
    bounds = [0, *cuts, len(raw)]
    return [
        (source.random() * wait, raw[start:end])
        for start, end in itertools.pairwise(bounds)
        if end > start
    ]


@dataclass
class Answered:
    """What an upstream makes of one attempt. `fault`: "" for an answer that comes whole."""

    fault: str
    status: int
    steps: list[tuple[float, bytes]]
    body: bytes
    closes: bool = False


UPSTREAM_FAULTS = (
    *("reset-at-head", "reset-after-request", "close-after-request", "hang", "cut-in-head"),
    *("malformed", "late"),
)
WILD_FAULTS = (*UPSTREAM_FAULTS, "cut-in-body", "reset-in-body", "stall-in-body", "idle-close")
STATUSES = (200, 200, 200, 200, 201, 404, 302)
BAD_STATUSES = (500, 502, 503, 504)


def answered(source: random.Random, one: Asked, attempt: int) -> Answered:
    fault = ""
    status = source.choice(STATUSES)
    if one.side is not Side.CALM:
        if source.random() < 0.2:
            status = source.choice(BAD_STATUSES)
        if source.random() < 0.25:
            fault = source.choice(UPSTREAM_FAULTS if one.side is Side.ROUGH else WILD_FAULTS)
    body = content(f"a{one.number}.{attempt}", source.choice([0, 2, 60, 1_500, 9_000]))
    fields = [f"X-Exchange: {one.number}.{attempt}"]
    framing = source.choice(["length", "length", "chunked", "until-close"])
    if framing == "until-close" and fault == "cut-in-body":
        fault = "reset-in-body"  # a FIN in the middle of such a body is its end, for all it says
    closes = framing == "until-close" or source.random() < 0.1
    framed = b"" if one.method == "HEAD" else body
    if framing == "length" or one.method == "HEAD":
        fields.append(f"Content-Length: {len(body)}")
        closes = closes and framing != "until-close"
    elif framing == "chunked":
        fields.append("Transfer-Encoding: chunked")
        framed = chunked(body, source)
    if closes:
        fields.append("Connection: close")
    head = "\r\n".join([f"HTTP/1.1 {status} Word", *fields, "", ""]).encode()
    answer = Answered(fault, status, [], b"" if one.method == "HEAD" else body, closes)
    answer.steps = _written(source, answer, head, framed)
    return answer


def _written(
    source: random.Random, answer: Answered, head: bytes, framed: bytes
) -> list[tuple[float, bytes]]:
    soon = source.random() * QUIET
    match answer.fault:
        case "hang" | "reset-at-head" | "reset-after-request" | "close-after-request":
            return []
        case "malformed":
            return [(soon, b"this is not HTTP\r\n\r\n")]
        case "cut-in-head":
            return [(soon, head[: source.randrange(1, len(head))])]
        case "late":
            return [(30.0, head + framed)]
        case "cut-in-body" | "reset-in-body" | "stall-in-body":
            return [(soon, head + framed[: source.randrange(len(framed) + 1)])]
    if source.random() < 0.6:
        return [(soon, head + framed)]
    cut = source.randrange(len(framed) + 1)
    steps = [(soon, head), (source.random() * QUIET, framed[:cut]), (QUIET, framed[cut:])]
    return [(wait, piece) for wait, piece in steps if piece]
