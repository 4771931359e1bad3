"""Clients that misbehave in every way, on a route whose upstream is well.

Whatever a client does is its own fault: it must never be held against the upstream, and leave
nothing behind. The same seed gives the same clients, not the same timing.
"""

import contextlib
import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from chaos.script import pattern
from integration.raw_client import BrokenOff, RawClient, request_bytes
from integration.running_proxy import RunningProxy
from integration.settings import Settings, merged

ROUTE = "calm"
_PATIENCE = 3.0
"""Seconds that a bad client waits for an answer."""
_QUICK = {
    "limits": {"header_timeout": "500ms", "idle_timeout": "1s"},
    "policies": {"inbound": {"timeouts": {"idle": "300ms"}}},
}
_BREAKER = {"window": {"type": "count", "size": 10_000}, "minimum_calls": 3, "failure_rate": "1%"}


def with_calm_route(settings: Settings, url: str) -> Settings:
    """`settings` with a route that only bad clients use, and whose breaker opens very easily.

    Its deadlines are far away: only a client can make anything late here. Its connections are its
    own, so that none of them was spoilt by what other requests asked the upstream to do.
    """
    calm: Settings = {
        "name": ROUTE,
        "match": {"prefix": f"/{ROUTE}"},
        "upstream": ROUTE,
        "timeouts": {"attempt": "20s", "request": "30s", "idle": "300ms", "max_duration": "20s"},
        "retry": {"attempts": 1},
        "circuit_breaker": {"mode": "enforce", **_BREAKER},
    }
    settings = merged(settings, _QUICK | {"upstreams": {ROUTE: {"endpoints": [url]}}})
    return settings | {"routes": [calm, *settings.get("routes", [])]}


def held_against_the_upstream(proxy: RunningProxy) -> list[str]:
    """What the calm route's breaker has heard that no client may tell it."""
    breakers = proxy.state("/circuit-breakers")["circuit_breakers"]
    state = next((one for one in breakers if one["name"] == ROUTE), None)
    if state is None:
        return []
    opened = proxy.metric("proxy_circuit_breaker_transitions_total", name=ROUTE, to="open")
    found = [f"{state['failures']} failures recorded"] if state["failures"] else []
    found += [f"the breaker opened {opened:g} times"] if opened else []
    return found


@dataclass
class BadClient(threading.Thread):
    """One bad manner after the other until `until`; `wrong` is what the proxy did wrong."""

    proxy: RunningProxy
    seed: int
    until: float
    listener: str = "outbound"
    wrong: list[str] = field(default_factory=list)
    seen: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        super().__init__(name=f"bad client {self.seed}")
        self._random = random.Random(self.seed)

    def __hash__(self) -> int:
        return id(self)

    def run(self) -> None:
        while time.monotonic() < self.until:
            manner = self._random.choice(_MANNERS)
            try:
                with self.proxy.client(self.listener, timeout=_PATIENCE) as client:
                    manner(self, client)
            except (OSError, BrokenOff, EOFError):
                pass  # refused, cut or timed out: what a bad client has to expect
            except Exception as error:  # noqa: BLE001 - it belongs in the report
                self.wrong.append(f"seed {self.seed}: {manner.__name__}: {error!r}")
                return
            self.seen[manner.__name__.strip("_")] += 1

    # --- manners ------------------------------------------------------------------------------

    def _pause(self, most: float = 0.05) -> None:
        time.sleep(self._random.random() * most)

    def _request(self, *, body: bytes | None = None, script: str = "200") -> bytes:
        method = "GET" if body is None else self._random.choice(["POST", "PUT"])
        return request_bytes(method, f"/{ROUTE}", body=body, chaos=script)

    def _stalled_head(self, client: RawClient) -> None:
        request = self._request()
        client.send(request[: self._random.randrange(len(request))])
        self._leave(client, after=self._random.choice([0.02, 0.8]))

    def _trickled_head(self, client: RawClient) -> None:
        for byte in self._request()[: self._random.randrange(20, 80)]:
            client.send(bytes([byte]))
            time.sleep(0.005)
        self._leave(client)

    def _stalled_body(self, client: RawClient) -> None:
        request = self._request(body=pattern(5_000))
        client.send(request[: -self._random.randrange(1, 4_900)])
        self._leave(client, after=self._random.choice([0.02, 0.6]))

    def _trickled_body(self, client: RawClient) -> None:
        client.send(self._request(body=pattern(5_000))[:-4_000])
        for _ in range(self._random.randrange(60)):
            client.send(b"x")
            time.sleep(0.02)
        self._leave(client)

    def _half_closed(self, client: RawClient) -> None:
        """No bad manner at all where the request is whole: it has its answer."""
        size = self._random.choice([0, 100, 60_000])
        client.send(self._request(script=f"size={size} delay=0.01"))
        client.half_close()
        answer = client.read_response()
        if (answer.status, answer.body) != (200, pattern(size)):
            raise AssertionError(f"half-closed: {answer.status}, {len(answer.body)} bytes")

    def _half_closed_in_a_body(self, client: RawClient) -> None:
        client.send(self._request(body=pattern(5_000))[:-100])
        client.half_close()
        answer = client.read_response("POST")
        if answer.status < 400:
            raise AssertionError(f"half a body was answered {answer.status}")

    def _pipelined_and_gone(self, client: RawClient) -> None:
        client.send(self._request(script="size=20000") * self._random.randrange(2, 200))
        self._leave(client, after=self._random.random() * 0.1)

    def _pipelined(self, client: RawClient) -> None:
        """Each answer comes, in order."""
        sizes = [self._random.randrange(1, 3_000) for _ in range(self._random.randrange(2, 20))]
        client.send(b"".join(self._request(script=f"size={size}") for size in sizes))
        answers = [client.read_response() for _ in sizes]
        if [(one.status, one.body) for one in answers] != [(200, pattern(size)) for size in sizes]:
            told = [one.body[:400] for one in answers if one.status != 200]
            raise AssertionError(f"pipelined: {[one.status for one in answers]}, {told}")

    def _garbage(self, client: RawClient) -> None:
        client.send(self._random.randbytes(self._random.randrange(1, 5_000)))
        client.read_rest()

    def _garbage_in_chunks(self, client: RawClient) -> None:
        head = self._request().replace(b"GET", b"POST")
        head = head.replace(b"\r\n\r\n", b"\r\nTransfer-Encoding: chunked\r\n\r\n")
        client.send(
            head + b"5\r\nhello\r\n" + self._random.randbytes(self._random.randrange(1, 50))
        )
        client.read_rest()

    def _slow_reader(self, client: RawClient) -> None:
        client.send(self._request(script="size=3000000"))
        for _ in range(self._random.randrange(1, 10)):
            client.read_some(1_000)
            self._pause()
        self._leave(client)

    def _never_reads(self, client: RawClient) -> None:
        client.send(self._request(script="size=3000000"))
        self._leave(client, after=self._random.choice([0.02, 0.6]))

    def _expects_and_sends_nothing(self, client: RawClient) -> None:
        head = self._request(body=pattern(10), script="200 continue")
        client.send(head[:-10].replace(b"\r\n\r\n", b"\r\nExpect: 100-continue\r\n\r\n"))
        self._leave(client, after=self._random.choice([0.05, 0.5]))

    def _upgraded_and_gone(self, client: RawClient) -> None:
        upgrade = b"\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n"
        client.send(self._request(script="upgrade").replace(b"\r\n\r\n", upgrade))
        client.read_head()
        client.send(self._random.randbytes(self._random.randrange(1, 20_000)))
        self._leave(client)

    def _large_head(self, client: RawClient) -> None:
        client.send(self._request()[:-2] + b"X-Large: " + b"x" * 100_000 + b"\r\n\r\n")
        client.read_rest()

    def _leave(self, client: RawClient, after: float = 0.0) -> None:
        """Go with FIN or RST."""
        time.sleep(after)
        with contextlib.suppress(OSError):
            client.reset() if self._random.random() < 0.5 else client.close()


_MANNERS: tuple[Callable[[BadClient, RawClient], None], ...] = (
    BadClient._stalled_head,
    BadClient._trickled_head,
    BadClient._stalled_body,
    BadClient._trickled_body,
    BadClient._half_closed,
    BadClient._half_closed_in_a_body,
    BadClient._pipelined_and_gone,
    BadClient._pipelined,
    BadClient._garbage,
    BadClient._garbage_in_chunks,
    BadClient._slow_reader,
    BadClient._never_reads,
    BadClient._expects_and_sends_nothing,
    BadClient._upgraded_and_gone,
    BadClient._large_head,
)


def bad_clients(proxy: RunningProxy, seed: int, seconds: float, number: int = 6) -> list[BadClient]:
    """Started, at both listeners' default path and the calm route; join them."""
    until = time.monotonic() + seconds
    clients = [BadClient(proxy, seed * 1_000 + 500 + index, until) for index in range(number)]
    for client in clients:
        client.start()
    return clients
