"""One world: a gateway under a configuration, and the recorded requests, each at its time."""

import asyncio
import random
from collections import Counter
from collections.abc import Callable
from math import inf
from typing import TypeAlias, cast

from proxy.config.model import Config, Listener, UpstreamConfig
from proxy.errors import ConnectError, ConnectFailed, by_reason
from proxy.exchange.attempt import Attempt
from proxy.exchange.gate import ListenerGate
from proxy.exchange.gateway import Gateway
from proxy.exchange.record import Record
from proxy.http.message import RequestHead
from proxy.routing.own_addresses import OwnAddresses
from proxy.routing.table import RouteTable
from proxy.simulation.drawn import Drawing
from proxy.simulation.followed import Followed, FollowedBindings, Followers
from proxy.simulation.guide import (
    FollowedFaults,
    FollowedReturns,
    FollowedWaits,
    Guide,
    longest_waits,
)
from proxy.simulation.playable import Keys, playable
from proxy.simulation.played_loop import PlayedLoop
from proxy.simulation.recording import RecordedAttempt, RecordedRequest, Recording, Ring
from proxy.simulation.sides import PlayedClient, PlayedSession
from proxy.simulation.tally import Told, place_of, told_by
from proxy.simulation.virtual_time import VirtualLoop, virtual_time
from proxy.upstream.address import Address
from proxy.upstream.balancing import balancer
from proxy.upstream.leases import OnClosed, OnConnected
from proxy.upstream.registry import Upstreams
from proxy.upstream.resolver import OnLookedUp, literal
from proxy.upstream.upstream import IsOwn, Upstream

UNKNOWN_ADDRESS = "192.0.2.{}"
"""Of an endpoint that the log does not have (RFC 5737: no host has it)."""
OnTold: TypeAlias = Callable[[Told], object]
_ANY_TIME = 1000.0
_PARENT = "0000000000000001"
_LONGEST = 24 * 3600.0
"""Seconds after the last request, when everything must have ended."""


class World:
    """`skipped`: requests that cannot be played, by the reason. `as_logged`: those that no policy
    decided about, which are counted as the log has them.
    """

    def __init__(
        self,
        config: Config,
        recording: Recording,
        seed: int,
        loop: VirtualLoop,
        keys: Keys | None = None,
        on_told: OnTold | None = None,
    ) -> None:
        """`on_told` takes what became of each request; without it, `told` keeps it all."""
        chance = random.Random(seed)
        self.playable = playable(config)
        config = self.playable.config
        self.recording = recording
        self.keys = keys if keys is not None else Keys(recording.requests, [config])
        self.beginning: RecordedRequest | None = None
        self.drawing = Drawing(recording.requests, chance.random)
        self.told: list[Told] = []
        self._on_told = on_told if on_told is not None else self.told.append
        self.skipped: dict[str, int] = {}
        self.as_logged = 0
        self.loop = loop
        self.gates: dict[Listener, ListenerGate] = {}
        longest = longest_waits(recording.requests)
        self.guide = Guide(self.gates, self.request, longest, self.unix)
        self._start = loop.now
        self._since = recording.requests[0].at if recording.requests else 0.0
        upstreams = _PlayedUpstreams(config, self, chance)
        self.gateway = Gateway(
            config,
            table=RouteTable(config),
            upstreams=upstreams,
            bindings=FollowedBindings(config, upstreams, chance.random, self._follow(chance)),
            own_addresses=OwnAddresses(lambda address: False),
            random=chance.random,
            observers=[self._tell],
        )
        self.gates.update(self.gateway.gates)

    def play(self) -> None:
        """Everything, to the end of the last exchange."""
        loop = self.loop
        for number, request in enumerate(self.recording.requests):
            loop.advance(max(0.0, self._virtual(request.at) - loop.now))
            self._begin(number, request)
        loop.run_out(loop.now + _LONGEST)

    def ejections(self) -> Counter[str]:
        """By upstream."""
        found: Counter[str] = Counter()
        for upstream in self.gateway.upstreams:
            standings = upstream.choice.standings
            if standings is not None:
                found[upstream.name] += sum(standings.counts.ejections.values())
        return found

    def unix(self) -> float:
        """The present moment, as the log tells the time."""
        return self.loop.now - self._start + self._since

    def request(self, request_id: bytes) -> RecordedRequest:
        """The request that is played with this id."""
        return self.recording.requests[int(request_id)]

    def _follow(self, chance: random.Random) -> Followers:
        return Followers(
            lambda: "" if self.beginning is None else self.beginning.upstream,
            lambda config: FollowedWaits(config, chance.random, self.guide).draw,
            lambda entries: FollowedFaults(entries, chance.random, self.guide).draw,
        )

    def _virtual(self, at: float) -> float:
        return at - self._since + self._start

    def _begin(self, number: int, request: RecordedRequest) -> None:
        why = _unplayable(request)
        if why:
            self.skipped[why] = self.skipped.get(why, 0) + 1
            return
        if request.settled or self.playable.refused(request):
            self.as_logged += request.settled
            self._on_told(told_by(request, self._since))
            return
        gate = self.gateway.gates[Listener(request.listener)]
        try:
            text = _text(number, request, keyed=self.keys.of(request))
            head = _head(gate.parser.parse(text), request)
        except Exception:  # noqa: BLE001 - a log is input, and a bad line is left out
            self.skipped["no valid request"] = self.skipped.get("no valid request", 0) + 1
            return
        loop = cast(asyncio.AbstractEventLoop, self.loop)
        rings = [Ring(*map(self._virtual, one)) for one in request.rings]
        client = PlayedClient(loop, request.client, request.bytes_in, rings)
        self.beginning = request
        client.begin(gate, head, request.bytes_in)
        self.beginning = None
        if request.reason == "client-gone" and not client.over:
            self.loop.call_later(request.duration, client.leave)
        self.loop.run()

    def begun(self, upstream: str, endpoint: str) -> list[float]:
        """When the recorded attempts at an endpoint began."""
        return [self._virtual(at) for at in self.drawing.begun(upstream, endpoint)]

    def outcome(self, attempt: Attempt, request_id: bytes) -> RecordedAttempt | None:
        """What becomes of an attempt."""
        record = attempt.record
        return self.drawing.of(
            self.request(request_id),
            record.number,
            record.upstream,
            record.endpoint,
            self.unix(),
            record.fault,
        )

    def _tell(self, record: Record) -> None:
        request = self.request(record.id)
        self._on_told(
            Told(
                at=request.at - self._since,
                route=record.route,
                status=record.status,
                reason=record.reason,
                duration=record.duration,
                hedged=record.hedged,
                grpc=record.grpc_status,
                endpoints=tuple(
                    place_of(one.upstream, one.endpoint) for one in record.attempts if one.endpoint
                ),
            )
        )


def _unplayable(request: RecordedRequest) -> str:
    if request.method == "CONNECT":
        return "tunnels (CONNECT)"
    if request.status == 101:
        return "upgrades"
    if request.listener not in (Listener.INBOUND.value, Listener.OUTBOUND.value):
        return "no listener"
    return ""


def _text(number: int, request: RecordedRequest, *, keyed: bool) -> bytes:
    """The request's head as HTTP/1: the log has no other fields than these."""
    host = request.host
    if host and request.upstream.rpartition(":")[0].strip("[]") == host:
        host = request.upstream  # a caller-named authority: the log's host has no port
    lines = [f"{request.method} {request.path} HTTP/1.1", f"Host: {host}"]
    lines.append(f"X-Request-Id: {number}")
    if keyed:
        lines.append(f"Idempotency-Key: {number}")
    if request.trace:
        lines.append(f"traceparent: 00-{request.trace}-{_PARENT}-00")
    if request.repeat and request.listener == Listener.INBOUND.value:
        lines.append("X-Retry-Attempt: 1")
    if request.deadline < inf:
        lines.append(f"X-Request-Timeout-Ms: {request.deadline * 1000:.0f}")
    if request.grpc:
        lines += ["content-type: application/grpc", "te: trailers", "Transfer-Encoding: chunked"]
    elif request.bytes_in:
        lines.append(f"Content-Length: {request.bytes_in}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def _head(head: RequestHead, request: RecordedRequest) -> RequestHead:
    if request.grpc:
        head.version = 20
    return head


class _PlayedUpstreams(Upstreams):
    """Upstreams whose endpoints are those of the log."""

    def __init__(self, config: Config, world: World, chance: random.Random) -> None:
        self._world = world
        super().__init__(
            config.upstreams,
            lambda on_closed: None,
            loop=cast(asyncio.AbstractEventLoop, world.loop),
            random=chance.random,
        )

    def _build(self, config: UpstreamConfig, is_own: IsOwn | None = None) -> Upstream:
        world = self._world
        returns = FollowedReturns(
            lambda label: world.begun(config.name, label), self._random, world.loop.time
        )
        upstream = Upstream(
            config,
            resolver=_Names(config, world.drawing),
            connector=_Connects(config.name, world),
            loop=world.loop,
            random=returns.draw,
        )
        returns.upstream = upstream
        own = balancer(config.load_balancing, self._random)
        known = frozenset(world.drawing.addresses(config.name))
        upstream.choice.balance_by(Followed(own, world.guide.begun, known))
        return upstream


class _Names:
    """Addresses by name: those that the log has for the upstream, shared out among its names."""

    def __init__(self, config: UpstreamConfig, drawing: Drawing) -> None:
        names = list(dict.fromkeys(one.host for one in config.endpoints if not literal(one.host)))
        given = {f"{literal(one.host)}:{one.port}" for one in config.endpoints}
        seen = [label for label in drawing.addresses(config.name) if label not in given]
        self._addresses: dict[str, tuple[str, ...]] = {}
        for place, name in enumerate(names):
            found = [label.rpartition(":")[0].strip("[]") for label in seen[place :: len(names)]]
            unknown = UNKNOWN_ADDRESS.format(1 + place % 254)
            self._addresses[name] = tuple(dict.fromkeys(found)) or (unknown,)

    def look_up(self, host: str, on_begun: Callable[[], None], on_done: OnLookedUp) -> None:
        on_begun()
        on_done(self._addresses[host])


class _Connects:
    """Connects at once, or fails as connects to that endpoint failed around that moment."""

    def __init__(self, upstream: str, world: World) -> None:
        self._upstream = upstream
        self._world = world

    def connect(
        self, address: Address, timeout: float, on_closed: OnClosed, on_done: OnConnected
    ) -> None:
        world = self._world
        own = world.guide.beginning()
        if own is not None and own.endpoint == address.label and own.head <= _in_time(timeout):
            failed = None  # its stream fails if it failed: a connect would give way to another's
        else:
            failed = world.drawing.connect_failure(self._upstream, address.label, world.unix())
        if failed is None:
            loop = cast(asyncio.AbstractEventLoop, world.loop)
            world.loop.call_soon(on_done, PlayedSession(loop, on_closed, world.outcome))
            return
        kind = by_reason(failed.failure)
        error = kind if kind is not None and issubclass(kind, ConnectError) else ConnectFailed
        world.loop.call_later(min(failed.head, timeout), on_done, error("as recorded"))


def _in_time(timeout: float) -> float:
    """The longest that a connect with this timeout takes, in a log: no timer is exact."""
    return timeout * 1.1 + 0.02


def _begins(recording: Recording) -> float:
    """The monotonic time of the first request."""
    if recording.offset is None or not recording.requests:
        return _ANY_TIME
    return recording.requests[0].at + recording.offset


def play(
    config: Config,
    recording: Recording,
    seed: int,
    keys: Keys | None = None,
    on_told: OnTold | None = None,
) -> World:
    """A world that has played the whole recording. `keys`: who had one; None: as under `config`.
    `on_told` as of `World`.
    """
    with virtual_time(PlayedLoop(_begins(recording))) as loop:
        world = World(config, recording, seed, loop, keys, on_told)
        world.play()
    return world
