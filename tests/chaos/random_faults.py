"""Random faults against the real command, and what each client must see: the whole right body, or
an honest error; never a short body that looks whole, nor another request's.

`python -m tests.chaos` runs it for as long as one likes, a test for some seconds. The same seed
gives the same requests (not the same timing).
"""

import random
import threading
import time
from collections import Counter
from dataclasses import dataclass, field

from chaos.script import pattern
from integration.raw_client import BrokenOff, RawClient, Response, request_bytes
from integration.running_proxy import RunningProxy
from integration.settings import Settings, breaker, route

HONEST = frozenset({500, 502, 503, 504})
CLIENT_TIMEOUT = 10.0
_PLAIN_FAULTS = (
    *("reset-before-body", "reset-before-head", "reset-in-head", "malformed", "503", "502", "500"),
    *("503 early close", "hang", "hang-in-head", "reset-before-head rst", "endless-head"),
    *("size=3000 stall=10", "503 idle-close=0.001", "503 close-silently"),
)
_FRAMINGS = ("", "chunked", "until-close")
_ENDINGS = ("", "", "", "close", "close-silently", "idle-close=0.001", "twice")
_LATE = 0.2
"""Seconds after which a caller that has not sent its request has to expect a 408."""
_MANNERS = ("", "", "pieces=3 interval=0.004", "pieces=200", "head-pause=0.01", "interim=103")


def settings(url: str, **tls: str) -> Settings:
    """A route to the upstream in trouble, one more that refuses a lot, and the way in."""
    quick = {"attempt": "150ms", "request": "1s", "idle": "300ms"}
    upstream: Settings = {"endpoints": [url]} | ({"tls": tls} if tls else {})
    return {
        "upstreams": {"chaos": upstream, "app": upstream},
        "policies": {name: {"timeouts": quick} for name in ("default", "inbound")},
        "routes": [
            route("chaos"),
            route(
                "crowded",
                circuit_breaker=breaker(calls=10, open_for="30ms", probes=2),
                bulkhead={"max_concurrent": 3, "max_queue": 3, "queue_timeout": "50ms"},
            ),
        ],
    }


@dataclass
class Request:
    """What is sent, and the bodies that a 200 to it may have."""

    method: str
    version: str
    headers: dict[str, str]
    body: bytes | None
    script: str
    right: list[bytes]


class Plan:
    """Requests, one after the other, from a seed."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def request(self) -> Request:
        source = self._random
        method = source.choice(["GET", "GET", "HEAD", "POST", "PUT"])
        version = source.choice(["HTTP/1.1", "HTTP/1.1", "HTTP/1.0"])
        headers = {}
        if version == "HTTP/1.0" and source.random() < 0.5:
            headers["Connection"] = "keep-alive"
        body = None
        if method in ("POST", "PUT"):
            body = pattern(source.choice([0, 10, 5_000, 100_000]))
            if version == "HTTP/1.1" and source.random() < 0.5:
                headers["Transfer-Encoding"] = "chunked"
                body = chunked(body, source.randrange(1, 6))
        right: list[bytes] = []
        steps = [self._faulty(right) for _ in range(source.choice([0, 0, 1, 1, 2]))]
        steps.append(self._good(right))
        return Request(method, version, headers, body, " | ".join(steps), right)

    def _size(self) -> int:
        return self._random.choice([0, 1, 500, 20_000, 70_000]) + self._random.randrange(300)

    def _faulty(self, right: list[bytes]) -> str:
        source = self._random
        if source.random() < 0.4:
            return source.choice(_PLAIN_FAULTS)
        # A cut behind the last byte is none, so the body may come whole.
        size, framing = self._size(), source.choice(_FRAMINGS)
        right.append(pattern(size))
        # The end of a connection is the end of such a body: FIN in the middle of it lies to all.
        rst = framing == "until-close" or source.random() < 0.5
        cut = source.choice([source.randrange(1, 160), source.randrange(1, size + 200)])
        return f"size={size} {framing} cut={cut} {'rst' if rst else ''}"

    def _good(self, right: list[bytes]) -> str:
        source = self._random
        size, framing = self._size(), source.choice(_FRAMINGS)
        right.append(pattern(size))
        ending, manner = source.choice(_ENDINGS), source.choice(_MANNERS)
        if framing:
            ending = ending.replace("twice", "")
        if framing != "chunked" and source.random() < 0.2:
            manner += " http10"
        # Not a second answer byte by byte: nobody could tell that it is not the next request's.
        if size < 500 and source.random() < 0.3 and ending != "twice":
            manner += " drip"
        return f"size={size} {framing} {ending} {manner}"


def chunked(body: bytes, parts: int) -> bytes:
    """The body in so many chunks at most."""
    size = -(-len(body) // parts) or 1
    pieces = [body[start : start + size] for start in range(0, len(body), size)]
    return b"".join(b"%x\r\n%b\r\n" % (len(one), one) for one in pieces) + b"0\r\n\r\n"


@dataclass
class Caller(threading.Thread):
    """Sends requests on a connection that it keeps as long as it lasts; keeps what is wrong."""

    proxy: RunningProxy
    seed: int
    until: float
    path: str = "/chaos"
    listener: str = "outbound"
    wrong: list[str] = field(default_factory=list)
    seen: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        super().__init__(name=f"caller {self.seed}")
        self._sending_took = 0.0
        self._plan = Plan(self.seed)

    def __hash__(self) -> int:
        return id(self)

    def run(self) -> None:
        while time.monotonic() < self.until:
            self._free_since = time.monotonic()
            with self.proxy.client(self.listener, timeout=CLIENT_TIMEOUT) as client:
                try:
                    while time.monotonic() < self.until and self._one(client):
                        pass
                except Exception as error:  # noqa: BLE001 - it belongs in the report
                    self.wrong.append(f"seed {self.seed}: {error!r}")
                    return

    def _one(self, client: RawClient) -> bool:
        """Whether the connection can carry another request."""
        asked = self._plan.request()
        raw = request_bytes(
            asked.method,
            self.path,
            asked.headers,
            asked.body,
            version=asked.version,
            chaos=asked.script,
        )
        began = self._free_since
        try:
            client.send(raw)
            self._sending_took = time.monotonic() - began
            response = client.read_response(asked.method)
        except (BrokenOff, ConnectionError):
            self.seen["broken off"] += 1
            return False
        self._free_since = time.monotonic()
        self._judge(asked, response)
        kept = (response.header("connection") or "").lower()
        return kept == "keep-alive" if asked.version == "HTTP/1.0" else kept != "close"

    def _judge(self, asked: Request, response: Response) -> None:
        if response.status in HONEST:
            self.seen["honest"] += 1
        elif response.status == 408 and self._sending_took >= _LATE:
            self.seen["late"] += 1  # this machine did not let the caller run
        elif response.status != 200:
            self._complain(asked, f"{response.status}")
        elif asked.method == "HEAD" or response.body in asked.right:
            self.seen["whole"] += 1
        else:
            self._complain(asked, f"{len(response.body)} bytes: {response.body[:40]!r}")

    def _complain(self, asked: Request, what: str) -> None:
        words = (asked.method, asked.version, self.path, asked.script)
        self.wrong.append(f"seed {self.seed}: {' '.join(words)}: {what}")


def run_callers(proxy: RunningProxy, seed: int, seconds: float, number: int = 8) -> list[Caller]:
    """Callers at both listeners and both routes, ended when it returns."""
    until = time.monotonic() + seconds
    ways = (("/chaos", "outbound"), ("/x", "inbound"), ("/chaos", "outbound"), ("/x", "inbound"))
    callers = [
        Caller(proxy, seed * 1000 + index, until, *ways[index % len(ways)])
        for index in range(number)
    ]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join(seconds + CLIENT_TIMEOUT + 5)
        assert not caller.is_alive(), caller
    return callers
