"""One upstream: its endpoints at their present addresses, and their pools."""

from collections.abc import Callable, Collection
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from proxy.clock import Random
from proxy.config.model import EndpointConfig, UpstreamConfig, UpstreamProtocol
from proxy.errors import ConnectError, ConnectFailed, Loop, NoHealthyEndpoint, ProxyError
from proxy.http.authority import DEFAULT_PORTS, Authority
from proxy.upstream.address import Address
from proxy.upstream.balancing import Admit
from proxy.upstream.choice import Choice
from proxy.upstream.dialing import Connected, Dial
from proxy.upstream.discovery import Discovery, LooksUp
from proxy.upstream.endpoint import AUTO, HTTP1, Endpoint
from proxy.upstream.leases import Connects, Scheduler, Ticket
from proxy.upstream.pool import Pool
from proxy.upstream.standings import StandingCounts

if TYPE_CHECKING:
    from proxy.upstream.health import HealthChecks

_Key: TypeAlias = tuple[str, str, int, str]

IsOwn: TypeAlias = Callable[[str, int], bool]
"""Whether an IP address and port are the proxy's own."""


class ConnectionCounts(NamedTuple):
    """Connections of an upstream by state, and the exchanges that wait for one.

    `streams`: exchanges that use one; an HTTP/2 connection carries many.
    """

    active: int
    idle: int
    connecting: int
    waiting: int
    streams: int = 0


class Upstream:
    """An exchange uses it with plain calls:

    `ready`, else `resolve` and wait for the callback; then `pick` an endpoint; then
    ``endpoint.pool.take()``, else `connect` and wait for the callback; and
    ``endpoint.pool.give_back(…)`` at the end. A closed upstream still serves its exchanges, but
    keeps no connection.
    """

    def __init__(
        self,
        config: UpstreamConfig,
        *,
        resolver: LooksUp,
        connector: Connects,
        loop: Scheduler,
        random: Random,
        is_own: IsOwn | None = None,
        counts: StandingCounts | None = None,
    ) -> None:
        """`counts`: those of its predecessor go on. `is_own`: addresses to skip, because a headless
        Service also lists this pod.
        """
        self.config = config
        self._is_own = is_own
        self.name = config.name
        self.endpoints: list[Endpoint] = []
        self._connector = connector
        self._loop = loop
        self._random = random
        self.choice = Choice(config, loop, random, counts)
        self._leaving: list[Endpoint] = []
        # Names with addresses of both families.
        self._dual: set[str] = set()
        self._closed = False
        self._discovery = Discovery(
            config.endpoints, config.dns_refresh, resolver, loop, self._renew
        )
        self._static = self._discovery.static
        self._checks: HealthChecks | None = None
        self._renew()
        self._start_checks()

    @property
    def authority(self) -> str:
        """Of its first endpoint, for requests that name none."""
        first = self.config.endpoints[0]
        usual = first.port == DEFAULT_PORTS.get(first.scheme)
        return str(Authority(first.host, None if usual else first.port))

    @property
    def ready(self) -> bool:
        """Whether an address is known, so that `pick` may be called."""
        return bool(self.endpoints)

    @property
    def in_use(self) -> bool:
        """Whether an exchange uses or waits for an address or a connection."""
        self._forget_finished()
        return self._discovery.waiting > 0 or any(
            endpoint.active for endpoint in (*self.endpoints, *self._leaving)
        )

    def resolve(self, on_done: Callable[[ProxyError | None], None], timeout: float) -> Ticket:
        """Look the names up for the first time, `timeout` seconds at most after the start.

        `on_done` is called exactly once, from the loop, unless the ticket was cancelled before:
        with None (the upstream is then `ready`), or with the failure.
        """
        return self._discovery.resolve(partial(self._resolved, on_done), timeout)

    def overdue(self) -> ConnectError:
        """The failure of a wait for `resolve` that ends before its timeout."""
        return self._discovery.overdue()

    def _resolved(
        self, on_done: Callable[[ProxyError | None], None], error: ConnectError | None
    ) -> None:
        if error is None and not self.endpoints and self._is_own is not None:
            on_done(Loop(f"{self.name} resolves to an address of this proxy itself."))
        else:
            on_done(error)

    def pick(
        self, exclude: Collection[Endpoint], admit: Admit | None, key: bytes = b""
    ) -> Endpoint | None:
        """The endpoint for the next attempt, None if `admit` accepts none, or none can be used.

        See `balancing` for the order of preference. `key`: what the request is hashed by. Also
        keeps the addresses fresh.
        """
        if not self._static:
            self._discovery.note_use()
        endpoints, choice = self.endpoints, self.choice
        if len(endpoints) == 1 and choice.standings is None:
            only = endpoints[0]
            return only if admit is None or admit(only) else None
        return choice.pick(exclude, admit, key)

    def weigh(self) -> None:
        """Bring the weights of `endpoints` up to date, for those who show them."""
        self.choice.weigh()

    def none_left(self) -> ProxyError:
        """The failure if `pick` finds no endpoint."""
        if self.endpoints and self.choice.standings is not None:
            return NoHealthyEndpoint(
                f"All {len(self.endpoints)} endpoints of upstream {self.name!r} fail their health "
                "checks or are ejected: GET /upstreams of the admin API says why."
            )
        return ConnectFailed(f"Upstream {self.name!r} has no endpoint.")

    def connect(
        self,
        endpoint: Endpoint,
        on_ready: Callable[[Connected | ConnectError], None],
        timeout: float,
        *,
        alone: bool,
        protocol: UpstreamProtocol | None = None,
    ) -> Ticket:
        """Ask for a lease if the endpoint's pool had none to take.

        If its address fails, another address of the same name is tried, unless `alone`; see
        `dialing`. `on_ready` is called exactly once, from the loop, unless the ticket was
        cancelled before. `timeout` (seconds) limits connecting, not a wait for room. `protocol`:
        which of the endpoint's pools; None: its usual one.
        """
        others = None if alone or endpoint.host == endpoint.ip else self
        return Dial(endpoint, others, self._loop, on_ready, timeout, protocol)

    def dual(self, endpoint: Endpoint) -> bool:
        """Whether the endpoint's name has addresses of both families."""
        return endpoint.host in self._dual

    def alternative(self, tried: list[Endpoint]) -> Endpoint | None:
        """Another address of the name of `tried`: not an avoided one if there is another, and
        preferably of another family than the last one (RFC 8305 section 4).
        """
        last = tried[-1].address
        now = self._loop.time()
        best, best_rank = None, 4
        for endpoint in self.choice.usable:
            address = endpoint.address
            if (
                endpoint in tried
                or address.host != last.host
                or address.port != last.port
                or address.scheme != last.scheme
            ):
                continue
            rank = 2 * (endpoint.avoid_until > now) + (address.six == last.six)
            if rank < best_rank:
                best, best_rank = endpoint, rank
        return best

    def connections(self) -> ConnectionCounts:
        """Totals over all endpoints, including removed ones that still have connections."""
        self._forget_finished()
        pools = [pool for endpoint in (*self.endpoints, *self._leaving) for pool in endpoint.pools]
        idle = sum(pool.idle for pool in pools)
        return ConnectionCounts(
            active=sum(pool.open for pool in pools) - idle,
            idle=idle,
            connecting=sum(pool.connecting for pool in pools),
            waiting=sum(pool.waiting for pool in pools),
            streams=sum(pool.lent for pool in pools),
        )

    def adopt(self, config: UpstreamConfig) -> bool:
        """Go on with these settings, and keep connections and state; False, and no change: another
        upstream is needed.
        """
        if config == self.config:
            return True
        if _connecting(config) != _connecting(self.config):
            return False
        before, was_static = self.config, self._static
        moves = _places(config) != _places(before)
        if moves and not self._any_stays(config):
            return False
        self.config = config
        if moves:
            self._discovery = self._discovery.successor(config.endpoints)
            self._static = self._discovery.static
        self.choice.adopt(config)
        if config.health_check != before.health_check or self._static != was_static:
            self._stop_checks()
            self._start_checks()
        self._renew()
        return True

    def succeed(self, former: "Upstream") -> None:
        """Take the place of one that cannot go on with these settings.

        Its addresses stay known, and what is known of the endpoints that stay.
        """
        self._discovery.learn(former._discovery)
        self._renew()
        before = {_key_of(endpoint): endpoint for endpoint in former.endpoints}
        known = {one: before[_key_of(one)] for one in self.endpoints if _key_of(one) in before}
        self.choice.succeed(former.choice, known)

    def _any_stays(self, config: UpstreamConfig) -> bool:
        """Whether these settings keep a known endpoint, and no exchange waits for an address."""
        places = _places(config)
        known = {(one.scheme, one.host, one.port) for one in self.endpoints}
        return not self._discovery.waiting and not known.isdisjoint(places)

    def close(self) -> None:
        """Close idle connections, now and from now on, and stop looking names up."""
        self._closed = True
        self._discovery.close()
        self._stop_checks()
        for endpoint in self.endpoints:
            endpoint.close()

    def _renew(self) -> None:
        """Update `endpoints` to the addresses: kept ones first, in their old order.

        Of endpoints of the file with the same address, the first one's weight holds.
        """
        wanted: dict[_Key, EndpointConfig] = {}
        for configured in self.config.endpoints:
            for ip in self._discovery.addresses.get(configured.host, ()):
                if self._is_own is not None and self._is_own(ip, configured.port):
                    continue
                key = _key(configured.scheme, configured.host.strip("[]"), configured.port, ip)
                wanted.setdefault(key, configured)
        staying, gone = [], []
        for endpoint in self.endpoints:
            found = wanted.pop(_key_of(endpoint), None)
            if found is not None:
                endpoint.full_weight = float(found.weight)
                staying.append(endpoint)
            else:
                endpoint.close()
                gone.append(endpoint)
        coming = [self._endpoint(configured, ip) for (_, _, _, ip), configured in wanted.items()]
        self._leaving += gone
        self.endpoints = staying + coming
        _tell_apart(self.endpoints)
        starting = self._discovery.starting
        new = [one for one in coming if one.host not in starting] if staying else ()
        self.choice.renew(self.endpoints, new, gone)
        if self._checks is not None:
            self._checks.renew(self.endpoints)
        six = {endpoint.host for endpoint in self.endpoints if endpoint.address.six}
        self._dual = {one.host for one in self.endpoints if not one.address.six} & six
        self._forget_finished()

    def _start_checks(self) -> None:
        config, standings = self.config.health_check, self.choice.standings
        if config is None or standings is None or self._closed:
            return
        from proxy.upstream.health import HealthChecks

        self._checks = HealthChecks(
            self.name,
            config,
            self.config.connections,
            self._connector,
            self._loop,
            self._random,
            standings.counts,
            None if self._static else self._note_use,
        )
        self._checks.renew(self.endpoints)

    def _note_use(self) -> None:
        self._discovery.note_use()

    def _stop_checks(self) -> None:
        if self._checks is not None:
            self._checks.close()
            self._checks = None

    def _endpoint(self, configured: EndpointConfig, ip: str) -> Endpoint:
        scheme, host, port = configured.scheme, configured.host.strip("[]"), configured.port
        wanted = self.config.protocol
        auto = wanted is AUTO and scheme == "http"
        protocol = HTTP1 if auto or scheme not in ("http", "https") else wanted
        address = Address(scheme, host, port, ip, protocol)
        endpoint = Endpoint(address, self._pool(address), self._pool, auto=auto)
        self.choice.join(endpoint, configured.weight)
        return endpoint

    def _pool(self, address: Address) -> Pool:
        pool = Pool(address, self.config.connections, self._connector, self._loop)
        if self._closed:
            pool.close()
        return pool

    def _forget_finished(self) -> None:
        if self._leaving:
            self._leaving = [
                endpoint
                for endpoint in self._leaving
                if any(pool.open or pool.connecting or pool.waiting for pool in endpoint.pools)
            ]


def _key(scheme: str, host: str, port: int, ip: str) -> _Key:
    """What makes an endpoint. A connection without TLS does not depend on the name."""
    return (scheme, host if scheme == "https" else "", port, ip)


def _key_of(endpoint: Endpoint) -> _Key:
    return _key(endpoint.scheme, endpoint.host, endpoint.port, endpoint.ip)


def _tell_apart(endpoints: list[Endpoint]) -> None:
    """Label those with TLS by their names too, where two endpoints have one address.

    Such a label stays if the other endpoint goes: gates and metrics are named after it.
    """
    shared: dict[str, int] = {}
    for endpoint in endpoints:
        label = endpoint.address.label
        shared[label] = shared.get(label, 0) + 1
    if len(shared) == len(endpoints):
        return
    for endpoint in endpoints:
        if endpoint.scheme == "https" and shared[endpoint.address.label] > 1:
            endpoint.label = f"{endpoint.address.label} ({endpoint.host})"


def _connecting(config: UpstreamConfig) -> tuple[object, ...]:
    """The settings that all connections and look-ups depend on."""
    return config.name, config.protocol, config.dns_refresh, config.connections, config.tls


def _places(config: UpstreamConfig) -> set[tuple[str, str, int]]:
    """Where its endpoints are, as an `Endpoint` says it."""
    return {(one.scheme, one.host.strip("[]"), one.port) for one in config.endpoints}
