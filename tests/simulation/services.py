"""Simulated services behind the real data plane, in virtual time: what a choice of endpoint buys.

Requests arrive at random (Poisson) at one route; its upstream's endpoints are servers with so many
workers, each with its own pace and its own trouble. The exchange, the policies, the pools and the
balancers are the proxy's own. A seed gives the same run again.
"""

import asyncio
import heapq
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import cast

from proxy.config.loading import load_text
from proxy.config.model import Listener
from proxy.exchange.attempt import Attempt
from proxy.exchange.bindings import Bindings
from proxy.exchange.gateway import Gateway
from proxy.exchange.record import Record
from proxy.routing.own_addresses import OwnAddresses
from proxy.routing.table import RouteTable
from proxy.simulation.recorded import RecordedAttempt
from proxy.simulation.sides import PlayedClient, PlayedSession
from proxy.simulation.virtual_time import VirtualLoop, virtual_time
from proxy.upstream.address import Address
from proxy.upstream.leases import OnClosed, OnConnected
from proxy.upstream.registry import Upstreams
from proxy.upstream.upstream import Upstream

FILE = """
service: simulated
upstreams:
  shop: {{endpoints: [{endpoints}]{settings}}}
policies:
  default:
    timeouts: {{attempt: 2s, request: 5s}}
    {policy}
    circuit_breaker: {{mode: off}}
    bulkhead: {{max_concurrent: 100000}}
routes:
  - {{name: shop, upstream: shop}}
"""
ONCE = "retry: {attempts: 1}"


@dataclass
class Server:
    """One endpoint. `work`: seconds of a worker for one request; `failing(at)`: whether it answers
    503 at once at that moment. `load`: requests that it got.
    """

    work: Callable[[random.Random], float]
    workers: int = 8
    failing: Callable[[float], bool] = lambda at: False
    load: int = 0
    _free: list[float] = field(default_factory=list)

    def answer(self, at: float, source: random.Random) -> tuple[float, int]:
        """When the response's head comes, and its status."""
        self.load += 1
        if self.failing(at):
            return at + 0.001, 503
        while len(self._free) < self.workers:
            heapq.heappush(self._free, 0.0)
        done = max(at, heapq.heappop(self._free)) + self.work(source)
        heapq.heappush(self._free, done)
        return done, 200


@dataclass(frozen=True)
class Seen:
    """One request: when it began, how long it took, its status, its key and its endpoint."""

    at: float
    seconds: float
    status: int
    key: int
    endpoint: str


def quantile(values: Sequence[float], share: float) -> float:
    """The value that `share` of `values` do not exceed; 0 without any."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


class Services:
    """`seen` are the requests in the order of their ends. Moments are seconds since the start."""

    def __init__(
        self,
        servers: Sequence[Server],
        settings: str,
        seed: int,
        loop: VirtualLoop,
        policy: str = ONCE,
    ) -> None:
        self.servers = {f"10.0.0.{n + 1}:80": one for n, one in enumerate(servers)}
        self.seen: list[Seen] = []
        self._source = random.Random(seed)
        self._loop = loop
        self._start = loop.now
        self._begun = 0
        endpoints = ", ".join(f'"http://{label}"' for label in self.servers)
        text = FILE.format(endpoints=endpoints, settings=settings, policy=policy)
        config = load_text(text, "services.yaml", {}).config
        upstreams = _Upstreams(self, config.upstreams, loop, random.Random(seed + 1).random)
        self.gateway = Gateway(
            config,
            table=RouteTable(config),
            upstreams=upstreams,
            bindings=Bindings(config, upstreams, random.random),
            own_addresses=OwnAddresses(lambda address: False),
            random=random.random,
            observers=[self._tell],
        )

    @property
    def upstream(self) -> Upstream:
        return self.gateway.upstreams["shop"]

    @property
    def moment(self) -> float:
        return self._loop.now - self._start

    def run(self, rate: float, seconds: float, keys: int = 1000) -> None:
        """Requests at `rate` a second for so long, each with one of `keys` keys."""
        end = self._loop.now + seconds
        while (wait := self._source.expovariate(rate)) < end - self._loop.now:
            self._loop.advance(wait)
            self._begin(self._source.randrange(keys))
        self._loop.advance(end - self._loop.now)

    def _begin(self, key: int) -> None:
        gate = self.gateway.gates[Listener.OUTBOUND]
        self._begun += 1
        fields = f"Host: shop\r\nX-Request-Id: {self._begun}\r\nUser-Id: user-{key}\r\n"
        head = gate.parser.parse(f"GET /{key} HTTP/1.1\r\n{fields}\r\n".encode())
        client = PlayedClient(cast(asyncio.AbstractEventLoop, self._loop), "10.1.0.1", 0)
        client.begin(gate, head, 0)
        self._loop.run()

    def outcome(self, attempt: Attempt, request_id: bytes) -> RecordedAttempt:
        """What the attempt's server does."""
        record = attempt.record
        at = self._loop.now
        done, status = self.servers[record.endpoint].answer(at - self._start, self._source)
        head = done + self._start - record.started
        return RecordedAttempt(at, "shop", record.endpoint, status, "", "", head, 0.0, 0, False)

    def _tell(self, record: Record) -> None:
        last = record.attempts[-1]
        at = record.started - self._start
        key = int(record.path[1:])
        self.seen.append(Seen(at, record.duration, record.status, key, last.endpoint))


class _Upstreams(Upstreams):
    def __init__(self, services, configured, loop, chance):
        self._services = services
        super().__init__(
            configured,
            lambda on_closed: None,
            loop=cast(asyncio.AbstractEventLoop, loop),
            random=chance,
        )

    def _build(self, config, is_own=None):
        return Upstream(
            config,
            resolver=None,  # there is no name to look up
            connector=_Connects(self._services),
            loop=self._loop,
            random=self._random,
        )


class _Connects:
    """Every connect succeeds at once."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def connect(
        self, address: Address, timeout: float, on_closed: OnClosed, on_done: OnConnected
    ) -> None:
        loop = asyncio.get_running_loop()
        loop.call_soon(on_done, PlayedSession(loop, on_closed, self._services.outcome))


def serve(
    servers: Sequence[Server],
    settings: str = "",
    *,
    rate: float,
    seconds: float,
    seed: int = 1,
    keys: int = 1000,
    policy: str = ONCE,
) -> Services:
    """A run to its end. `settings`: of the upstream; `policy`: of the route."""
    with virtual_time() as loop:
        services = Services(servers, settings, seed, loop, policy)
        services.run(rate, seconds, keys)
        loop.advance(10.0)
    return services
