"""A whole gateway between scripted connections: real configuration, routes, policies and pools."""

from contextlib import contextmanager
from types import SimpleNamespace

from exchange.hand_loop import turned_by_hand
from exchange.http2_server import Http2Server
from exchange.stage_store import StageStore
from exchange.wires import Client, Server

from proxy.config.loading import load_text
from proxy.config.model import Listener
from proxy.errors import ConnectRefused
from proxy.exchange.bindings import Bindings
from proxy.exchange.gateway import Gateway
from proxy.exchange.held_key import Keys
from proxy.exchange.idempotency import Idempotency
from proxy.policies.bulkhead import BULKHEAD
from proxy.policies.circuit_breaker import CIRCUIT_BREAKER
from proxy.policies.rate_limits import RATE_LIMITS
from proxy.routing.own_addresses import OwnAddresses
from proxy.routing.table import RouteTable
from proxy.upstream.negotiation import http2_connection
from proxy.upstream.registry import Upstreams
from proxy.upstream.upstream import Upstream
from proxy.wire.h1.upstream import UpstreamConnection

CONFIG = """
service: stage
upstreams:
  shop: {endpoints: ["http://10.0.0.1:80"]}
policies:
  default:
    retry: {backoff: {initial: 100ms, jitter: none}}
routes:
  - {name: shop, upstream: shop}
"""


class ScriptedUpstreams(Upstreams):
    """Opens no connection by itself: each connect waits to be told how it ends."""

    def __init__(self, config, loop, connector, lookups):
        self._connects = connector
        self._lookups = lookups
        super().__init__(config.upstreams, UpstreamConnection, loop=loop)

    def _build(self, config, is_own=None):
        return Upstream(
            config,
            resolver=self._lookups,
            connector=self._connects,
            loop=self._loop,
            random=lambda: 0.0,
            is_own=is_own,
        )


class Connects:
    """A `Connects` that keeps what is asked for."""

    def __init__(self):
        self.pending = []

    def connect(self, endpoint, timeout, on_closed, on_done):
        self.pending.append((endpoint, on_closed, on_done))


class Lookups:
    """A `LooksUp` that keeps what is asked for. `in_line`: none of it begins."""

    def __init__(self):
        self.pending = []
        self.in_line = False

    def look_up(self, host, on_begun, on_done):
        if not self.in_line:
            on_begun()
        self.pending.append(on_done)


class Stage:
    """`connects` is how many connections the proxy waits for; `records` what observers were told.

    `chance` is what every draw of a random number gives.
    """

    def __init__(self, loop, text):
        self.loop = loop
        self.config = load_text(text, "stage.yaml", {}).config
        self.chance = 0.5
        self.connector = Connects()
        self.lookups = Lookups()
        upstreams = ScriptedUpstreams(self.config, loop, self.connector, self.lookups)
        self.transitions = []
        self.own_addresses = OwnAddresses(lambda address: False)
        self.store = None
        if self.config.store is not None:
            self.store = StageStore(loop)
            self._keys = Keys(self.store)
        self.bindings = self._bindings(self.config, upstreams)
        self.former = []  # bindings of configurations that there were before a reload
        self.records = []
        self.gateway = Gateway(
            self.config,
            table=RouteTable(self.config),
            upstreams=upstreams,
            bindings=self.bindings,
            own_addresses=self.own_addresses,
            random=lambda: self.chance,
            observers=[self._record],
        )
        self.clients = []
        self.servers = []

    def _bindings(self, config, upstreams):
        return Bindings(
            config,
            upstreams,
            lambda: self.chance,
            lambda breaker, _, to, __: self.transitions.append((breaker.name, to.value)),
            self._promises if self.store is not None else None,
        )

    def _promises(self, route):
        on = route.config.policies.idempotency.on
        return [Idempotency(self._keys, route.config)] if on else []

    def reload(self, text):
        """What the process does with a new file."""
        self.config = config = load_text(text, "stage.yaml", {}).config
        gateway, table = self.gateway, RouteTable(config)
        gateway.upstreams.reconfigure(config.upstreams)
        self.former.append(self.bindings)
        self.bindings = self._bindings(config, gateway.upstreams)
        self.bindings.take_over(self.former[-1], table)
        while self.bindings.bind_on():
            pass
        gateway.adopt(config, table=table, bindings=self.bindings, observers=gateway.observers)

    def _record(self, exchange):
        self.records.append(
            SimpleNamespace(
                route=exchange.route,
                upstream=exchange.upstream,
                status=exchange.status,
                reason=exchange.reason,
                duration=exchange.duration,
                bytes_in=exchange.bytes_in,
                bytes_out=exchange.bytes_out,
                fallback=exchange.fallback,
                mirrored=exchange.mirrored,
                idempotency=exchange.idempotency,
                inherited_from=exchange.inherited_from,
                detail=exchange.detail,
                retry_refused=exchange.retry_refused,
                observed=list(exchange.observed),
                queued=exchange.queued,
                sampled=exchange.sampled,
                span_id=exchange.trace.span_id if exchange.sampled else "",
                span_ids=[one.span_id for one in exchange.attempts],
                request_id=exchange.request_id,
                left_out=[one.left_out for one in exchange.attempts],
                attempts=[
                    (one.endpoint, one.failure or one.status, one.wait) for one in exchange.attempts
                ],
            )
        )

    # --- the two sides ------------------------------------------------------------------------

    def client(self, listener=Listener.OUTBOUND):
        client = Client(self.loop, self.gateway.gates[listener])
        self.clients.append(client)
        return client

    def ask(self, *request, listener=Listener.OUTBOUND):
        """A new client that has sent these bytes."""
        client = self.client(listener)
        client.send(*request)
        return client

    @property
    def connects(self):
        return len(self.connector.pending)

    def accept(self):
        """The connect that has waited longest succeeds: the server's side of it."""
        endpoint, on_closed, on_done = self.connector.pending.pop(0)
        connection = UpstreamConnection(on_closed)
        server = Server(self.loop, connection, endpoint)
        self.servers.append(server)
        on_done(connection.session)
        self.loop.run()
        return server

    def accept_http2(self, settings=None, *, greet=True, early=b""):
        """The connect that has waited longest succeeds, in HTTP/2: the server's side of it.

        `settings` are those that the server sends, `early` what it says before it is asked for.
        """
        endpoint, on_closed, on_done = self.connector.pending.pop(0)
        connection = http2_connection(endpoint, self.connections, on_closed)
        server = Http2Server(self.loop, connection, endpoint, settings or {})
        self.servers.append(server)
        if early:
            server.send(early)
        connection.when_ready(lambda error: on_done(error or connection.session))
        if greet:
            server.greet()
        return server

    @property
    def connections(self):
        """The settings of the first upstream's connections."""
        return self.config.upstreams["shop"].connections

    def accept_session(self, session):
        """The connect that has waited longest succeeds with a session of the test's own."""
        _, session.on_closed, on_done = self.connector.pending.pop(0)
        on_done(session)
        self.loop.run()
        return session

    def refuse(self, error=None):
        endpoint, _, on_done = self.connector.pending.pop(0)
        on_done(error or ConnectRefused(f"{endpoint.where} refused."))
        self.loop.run()

    def resolve(self, result):
        """The look-up that has waited longest gets addresses, or an error."""
        self.lookups.pending.pop(0)(tuple(result) if isinstance(result, list) else result)
        self.loop.run()

    def pass_time(self, seconds):
        self.loop.advance(seconds)

    # --- what it all left behind --------------------------------------------------------------

    def breaker(self, name="shop"):
        return self.bindings.gates.of(CIRCUIT_BREAKER)[name].gate

    def snapshot(self, name="shop"):
        return self.breaker(name).snapshot(self.loop.now)

    def bulkhead(self, name="shop"):
        return self.bindings.gates.of(BULKHEAD)[name].gate

    def bulkhead_in_use(self):
        """The most that any bulkhead has lent."""
        return max((one.in_use for one in bulkheads(self.bindings)), default=0)

    def stats(self, route="shop", listener=Listener.OUTBOUND):
        return self.bindings.stats_of(listener.value, route)

    def gate(self, listener=Listener.OUTBOUND):
        return self.gateway.gates[listener]

    def counts(self, name="shop"):
        return self.gateway.upstreams[name].connections()

    def assert_at_rest(self):
        """Nothing is in flight, and nothing of what was lent is missing."""
        for gate in self.gateway.gates.values():
            assert not gate.in_flight
        assert not self.gateway.lineage, "requests in flight by trace id"
        for bindings in (self.bindings, *self.former):
            for bulkhead in bulkheads(bindings):
                assert (bulkhead.in_use, bulkhead.queued) == (0, 0)
            for entry in bindings.gates.of(RATE_LIMITS).values():
                assert not entry.gate.waiting
            for mirrors in bindings._mirrors.values():
                assert not mirrors.places.in_flight
        for upstream in self.gateway.upstreams:
            counts = upstream.connections()
            assert (counts.active, counts.waiting) == (0, 0)
            assert all(endpoint.active == 0 for endpoint in upstream.endpoints)

    def end(self):
        if self.store is not None:
            self.store.end()


def bulkheads(bindings):
    return [entry.gate for entry in bindings.gates.of(BULKHEAD).values()]


@contextmanager
def staged(text=CONFIG):
    """A stage, for as long as the block lasts."""
    with turned_by_hand() as loop:
        stage = Stage(loop, text)
        yield stage
        stage.end()
