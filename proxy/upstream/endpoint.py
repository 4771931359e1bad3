"""One address of an upstream, with its pools: one for each protocol that its requests need."""

from collections.abc import Callable
from typing import Final

from proxy.config.model import UpstreamProtocol
from proxy.outcome import IGNORED, SUCCESS, Verdict
from proxy.policies.ejection import Member, Pass
from proxy.policies.ewma import PENALTY, PeakEwma
from proxy.upstream.address import Address
from proxy.upstream.pool import Pool

# Reading a global is ten times as fast as reading an enum member (CPython 3.11).
AUTO: Final = UpstreamProtocol.AUTO
HTTP1: Final = UpstreamProtocol.HTTP1
HTTP2: Final = UpstreamProtocol.HTTP2

HTTP1_SECONDS: Final = 300.0
"""How long an endpoint that asked for HTTP/1.1 gets nothing else."""


class Seat(Pass):
    """What an attempt holds at an endpoint that learns from attempts.

    `latency`: where its seconds are noted, if they are.
    """

    __slots__ = ("_member", "latency")

    def __init__(self, latency: PeakEwma | None, member: Member | None, now: float) -> None:
        super().__init__(now)
        self.latency = latency
        self._member = member
        if member is not None:
            member.enter(self)

    def leave(self, verdict: Verdict, now: float) -> None:
        """The attempt is over, exactly once."""
        if self._member is not None:
            self._member.settle(self, verdict, now)

    def note(self, verdict: Verdict, seconds: float, now: float, overloaded: bool) -> None:
        """It took so long to a response's head. `overloaded`: the endpoint said that it has too
        much to do.
        """
        if self.latency is not None and verdict is not IGNORED:
            slow = overloaded or verdict is not SUCCESS
            self.latency.note(max(seconds, PENALTY) if slow else seconds, now)


class Endpoint:
    """An address and the pools of connections to it.

    It stays the same object while look-ups return its address, so that its state (its pools, a
    breaker with its `label`) is kept. `label` is ``ip:port``; its upstream adds the name where
    another endpoint has the same address. `pool` has the connections for ordinary requests. Some
    requests need another protocol, and get a pool of their own when the first of them comes:

        https, auto    TLS decides (ALPN)           HTTP/1.1 for CONNECT, and where it is required
        http, auto     HTTP/1.1                     HTTP/2 for gRPC
        http2          HTTP/2                       HTTP/1.1 as above
        http1          HTTP/1.1

    `connections.max` holds for each pool. `plain`: one pool carries all requests.

    For balancing: `weight` is its present one (`full_weight` without slow start), `credits` and
    `seed` belong to the balancers. `latency` and `member` (its ejection) exist if the upstream
    needs them; then it is `watched`, and every attempt at it must `enter`. `check`: what its last
    health check got.
    """

    __slots__ = (
        "_closed",
        "_http1_until",
        "_make_pool",
        "_others",
        "address",
        "check",
        "credits",
        "full_weight",
        "label",
        "latency",
        "member",
        "plain",
        "pool",
        "seed",
        "watched",
        "weight",
        "where",
    )

    def __init__(
        self,
        address: Address,
        pool: Pool,
        make_pool: Callable[[Address], Pool] | None = None,
        *,
        auto: bool = False,
    ) -> None:
        """`make_pool` makes the other pools; None: there is only `pool`. `auto`: `protocol` of the
        configuration.
        """
        self.address = address
        self.label = address.label
        self.where = address.where
        self.pool = pool
        self._make_pool = make_pool
        self._others: list[Pool] = []
        self._http1_until = 0.0
        self._closed = False
        self.plain = make_pool is None or (address.protocol is HTTP1 and not auto)
        self.full_weight = 1.0
        self.weight = 1.0
        self.credits = [0.0, 0.0]
        self.seed = -1
        self.latency: PeakEwma | None = None
        self.member: Member | None = None
        self.watched = False
        self.check = ""

    def watch(self, latency: PeakEwma | None, member: Member | None) -> None:
        """Learn from attempts from now on."""
        self.latency = latency
        self.member = member
        self.watched = latency is not None or member is not None

    def enter(self, now: float) -> Seat:
        """An attempt at it begins."""
        return Seat(self.latency, self.member, now)

    @property
    def scheme(self) -> str:
        return self.address.scheme

    @property
    def host(self) -> str:
        return self.address.host

    @property
    def port(self) -> int:
        return self.address.port

    @property
    def ip(self) -> str:
        return self.address.ip

    @property
    def pools(self) -> list[Pool]:
        return [self.pool, *self._others]

    @property
    def active(self) -> int:
        """Exchanges that use or wait for one of its streams."""
        active = self.pool.active
        for pool in self._others:
            active += pool.active
        return active

    @property
    def avoid_until(self) -> float:
        """Until then it is chosen only if no other endpoint is available."""
        until = self.pool.avoid_until
        for pool in self._others:
            if pool.avoid_until > until:
                until = pool.avoid_until
        return until

    def protocol_for(self, method: str, grpc: bool, now: float) -> UpstreamProtocol:
        """The protocol of the connections that can carry a request; `grpc`: it is a gRPC call."""
        usual = self.address.protocol
        if self.plain:
            return usual
        if usual is HTTP1:
            return HTTP2 if grpc else HTTP1
        if method == "CONNECT" or (now < self._http1_until and not grpc):
            return HTTP1
        return usual

    def pool_of(self, protocol: UpstreamProtocol) -> Pool:
        """The pool with the connections of that protocol."""
        if protocol is self.address.protocol or self._make_pool is None:
            return self.pool
        for pool in self._others:
            if pool.address.protocol is protocol:
                return pool
        pool = self._make_pool(self.address.speaking(protocol))
        if self._closed:
            pool.close()
        self._others.append(pool)
        return pool

    def require_http1(self, now: float) -> None:
        """The endpoint asked for HTTP/1.1 (HTTP_1_1_REQUIRED): use nothing else for a while."""
        self._http1_until = now + HTTP1_SECONDS

    def insist_no_more(self) -> None:
        """An attempt failed: perhaps the endpoint does not speak HTTP/1.1 at all."""
        self._http1_until = 0.0

    def close(self) -> None:
        """Close idle connections, now and later."""
        self._closed = True
        for pool in self.pools:
            pool.close()

    def __repr__(self) -> str:
        return f"<Endpoint {self.scheme} {self.where}>"
