"""Everything that stays in memory has a bound: each container of an object is listed here.

Traffic must not be able to grow memory without end, in number or in bytes. A container that
traffic fills is flooded below and may take so many bytes; for every other one this list says what
it follows from. A new container in these modules fails the test until it is listed.
"""

import ast
import asyncio
import gc
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import TypeAlias, TypeGuard

import pytest
from unit.telemetry.fakes import FakeAttempt, FakeExchange

import proxy
from proxy.config.loading import load_text
from proxy.config.model import Config, Listener
from proxy.exchange.bindings import MAX_DYNAMIC, Bindings
from proxy.exchange.labels import MAX_LABELS, Labels
from proxy.exchange.stats import OTHER, Count, RouteStats
from proxy.http.authority import Authority, HostMemory
from proxy.http.h1.request import RequestParser
from proxy.http.h1.response import ResponseParser
from proxy.http.h2.decoder import Decoder
from proxy.http.h2.encoder import Encoder
from proxy.http.h2.fields import FieldStore
from proxy.http.h2.head import RequestReader, request_store
from proxy.http.message import Shared, make_field
from proxy.policies.circuit_breaker import CircuitBreaker
from proxy.policies.circuit_breaker_answers import BreakerState
from proxy.policies.circuit_breaker_config import CircuitBreakerConfig
from proxy.policies.rate_limit import MAX_KEYS, Rate, RateLimitConfig
from proxy.policies.rate_limits import RateLimits
from proxy.routing.table import RouteTable
from proxy.telemetry.exemplars import Exemplars
from proxy.telemetry.flight_recorder import CAPACITY, FlightRecorder
from proxy.telemetry.line_writer import DEFAULT_LIMIT, LineWriter
from proxy.telemetry.transitions import MAX_BREAKERS, MAX_TRANSITIONS, Transitions
from proxy.upstream.registry import MAX_AUTHORITIES, Upstreams
from proxy.wire.h1.upstream import UpstreamConnection

KIB = 1024
MIB = 1024 * KIB

LISTED = (
    "admin",
    "exchange",
    "http",
    "policies",
    "routing",
    "store",
    "telemetry",
    "upstream",
    "wire",
)
"""Below `proxy/`: all that traffic passes through, and what looks at it."""

LONGEST_HOST = 253
"""Bytes of a caller-named host, RFC 1035 section 2.3.4; a longer one is refused."""


@dataclass(frozen=True)
class Grows:
    """Traffic fills it: during `flood` (which returns its owner) it takes at most `limit` bytes."""

    limit: int
    flood: Callable[[], object]


CONFIGURED = "its size follows from the configuration"
UNDER_WAY = "one for what is under way, within limits.connections and bulkhead.max_concurrent"
PART = "part of an object that is listed itself"


# --- floods -----------------------------------------------------------------------------------


def host(number: int) -> str:
    return f"h{number}.".ljust(LONGEST_HOST, "x")


def bindings() -> object:
    """Calls to more hosts than are kept, each of which opens its breaker."""
    config = load_text("service: s", "x.yaml", {}).config
    loop = asyncio.new_event_loop()
    made = Bindings(config, Upstreams(config.upstreams, UpstreamConnection, loop=loop), lambda: 0.5)
    head = SimpleNamespace(method="GET", host="h", path="/", query="", values=lambda name: [])
    route = RouteTable(config).match(Listener.OUTBOUND, head)
    for number in range(MAX_DYNAMIC + 50):
        binding = made.of_authority(route, "http", Authority(host(number), 80), float(number))
        assert binding.breaker is not None
        binding.breaker.transition_to_open(float(number), 1e9)
        binding.count_attempt(0, "dns-failure")
    loop.close()
    return made


def request_heads() -> object:
    """Each head comes three times: another host, path, field name and value in each of them."""
    made = RequestParser((), max_url=16 * KIB, max_fields=128)
    for number in range(1500):
        name, value = f"x-{number}".ljust(60, "n"), f"{number}".ljust(180, "v")
        head = (
            f"GET /{number}{900 * 'p'} HTTP/1.1\r\nHost: {host(number)}\r\n{name}: {value}\r\n\r\n"
        )
        for _ in range(3):
            made.parse(head.encode())
    return made


def many_authorities() -> object:
    made = HostMemory()
    for number in range(20_000):
        made.learn(host(number).encode())
    return made


def http2_heads() -> object:
    """Each head comes twice: another field name and value in each of them."""
    made = RequestReader((), max_url=16 * KIB, new_bytes=bytes)
    decoder, encoder = Decoder(request_store()), Encoder()
    common = [(b":method", b"GET"), (b":scheme", b"http"), (b":path", b"/"), (b":authority", b"h")]
    for number in range(3000):
        name, value = f"x-{number}".ljust(60, "n"), f"{number}".ljust(180, "v")
        for _ in range(2):
            block = encoder.begin()
            for pair in (*common, (name.encode(), value.encode())):
                encoder.add_field(block, make_field(*pair))
            made.read(decoder.decode(b"".join(block), 64 * KIB, 128), True)
    return made


def response_heads() -> object:
    made = ResponseParser()
    for number in range(1500):
        reason, value = f"{number}".ljust(100, "r"), f"{number}".ljust(180, "v")
        lines = [f"HTTP/1.1 {200 + number % 700} {reason}", f"X-{number}: {value}"]
        head = "\r\n".join((*lines, "Content-Length: 5", "", ""))
        for _ in range(3):
            made.parse(head.encode())
    return made


def blocks() -> object:
    """Blocks of an HTTP/2 peer: literals, never-indexed ones, and a full table many times over."""
    made = Decoder(FieldStore(frozenset({b"x-own"})))
    for number in range(3000):
        value = b"%0100d" % number
        for bits in (b"\x00", b"\x10", b"\x40"):
            made.decode(bits + b"\x05x-own" + bytes((len(value),)) + value, MIB, 100)
    return made


def sent_heads() -> object:
    made = Encoder()
    for number in range(2000):
        shared = Shared([make_field(b"x-%d" % number, b"%0180d" % number)], {})
        for _ in range(3):
            made.add_head(made.begin(), shared, [])
    return made


def stored_fields() -> object:
    """New names with new values; names with as many values as are kept, in two forms."""
    made = FieldStore()
    for number in range(3000):
        name = b"x-%030d" % (number // 2)
        value = b"%0250d" % number
        Decoder(made).decode(_literal(name, value), MIB, 100)
    for number in range(100 * 60):
        name, value = b"y-%d" % (number // 60), b"%0126d" % number
        Decoder(made).decode(_literal(name, value), MIB, 100)
        stored = made.remember_name(bytes((len(name),)) + name, name)
        longer = b"\x7f\xff\x80\x00" + value  # another form of the same value
        made.remember(stored, longer, value)
    return made


def _literal(name: bytes, value: bytes) -> bytes:
    length = bytes((len(value),)) if len(value) < 127 else bytes((127, len(value) - 127))
    return b"\x00" + bytes((len(name),)) + name + length + value


def upstreams() -> object:
    loop = asyncio.new_event_loop()
    made = Upstreams({}, UpstreamConnection, loop=loop)
    for number in range(MAX_AUTHORITIES + 50):
        made.for_authority("http", host(number), 80)
    loop.close()
    return made


def labels() -> object:
    made = Labels()
    for number in range(10 * MAX_LABELS):
        made.claim(host(number), found=number % 2 == 0)
    return made


def stats() -> object:
    """Every status that passes, each with every reason that comes after a response's head, with
    several methods and codes of gRPC."""
    made = RouteStats("outbound", "shop")
    for status in range(100, 1000):
        for reason in ("", "client-gone", "upstream-truncated", "drain-cut", "internal"):
            for method in ("GET", "POST", OTHER):
                for code in (-1, 0, 14):
                    made.count_answer(status, reason, 0.1, method, code)
    assert sum(made.requests.values()) == 900 * 5 * 3 * 3
    for number in range(MAX_LABELS + 1):
        outcomes = made.attempts_at(host(number))
        for outcome in ("1xx", "2xx", "3xx", "4xx", "5xx", "upstream-reset"):
            outcomes[outcome] = Count()
            outcomes[outcome].number = 1000
    return made


def transitions() -> object:
    made = Transitions(lambda: 0.0, lambda: 0.0)
    for number in range(MAX_BREAKERS + 10):
        breaker = CircuitBreaker(host(number), CircuitBreakerConfig())
        for _ in range(MAX_TRANSITIONS + 5):
            made.record(breaker, BreakerState.CLOSED, BreakerState.OPEN, 0.0)
    return made


def recorder() -> object:
    made = FlightRecorder(Config("s"), lambda: 0.0)
    for number in range(2 * CAPACITY):
        text = f"{number}" + 8 * KIB * "x"
        attempts = [
            FakeAttempt(failure="upstream-reset", detail=text + str(n), endpoint=text + str(n))
            for n in range(30)
        ]
        exchange = FakeExchange(
            host=text, path=text, status=500, detail=text, reason="upstream-reset",
            route=f"route {number % 20}", attempts=attempts,
        )  # fmt: skip
        made.record(exchange)
    return made


def exemplars() -> object:
    made = Exemplars(lambda: 0.0)
    for number in range(2000):
        made.record(FakeExchange(sampled=True, duration=number / 10, trace_id=f"{number:032x}"))
    return made


def lines() -> object:
    """Nobody takes them: the thread that would write does not run."""
    made = LineWriter(1)
    made._wake.set()
    for number in range(10 * DEFAULT_LIMIT // KIB):
        made.write(f"{number}".encode().ljust(KIB, b"x"))
    assert made.dropped
    return made


def rate_limits() -> object:
    """Keys of the length that is not hashed."""
    made = RateLimits("r", (RateLimitConfig("u", "header:u", Rate(1, "h"), 1),))
    for number in range(MAX_KEYS + 1000):
        made._limits[0].charge(b"%032d" % number, 0.0, 0.0)
    assert made.snapshot(0.0).keys == {"u": MAX_KEYS}
    return made


Reason: TypeAlias = "str | Grows"

REMEMBERED: dict[str, Reason] = {
    "admin.door:Door._opening": "one for an admin connection, at most connections.LIMIT",
    "exchange.forwarded:Forwarded._peers": "at most 1,000 addresses, where trust is a list",
    "policies.ejection:Ejection.members": "the endpoints of one upstream",
    "policies.rate_window:RateWindow._calls": CONFIGURED,
    "policies.rate_window:RateWindow._failures": CONFIGURED,
    "upstream.choice:Choice._endpoints": "the endpoints of one upstream",
    "upstream.choice:Choice._warming": "the endpoints of one upstream",
    "upstream.dialing:Dial._failed": "at most MOST_ADDRESSES",
    "upstream.dialing:Dial._tickets": UNDER_WAY,
    "upstream.endpoint:Endpoint.credits": "two kinds of turns",
    "upstream.health:HealthChecks._checks": "the endpoints of one upstream",
    "upstream.registry:Upstreams._counts": "the upstreams of all files that were loaded",
    "upstream.standings:StandingCounts.checks": "two results",
    "upstream.standings:Standings._endpoints": "the endpoints of one upstream",
    "upstream.standings:Standings._out": "the endpoints of one upstream",
    "upstream.standings:Standings.usable": "the endpoints of one upstream",
    "upstream.dialing:Dial._tried": "at most MOST_ADDRESSES",
    "upstream.tls_sessions:Sessions._kept": "at most MOST_NAMES",
    "upstream.tls_sessions:Sessions._latest": "connections that are open",
    "upstream.upstream:Upstream._dual": "the endpoints of one upstream",
    "admin.connections:Connections._open": "at most LIMIT",
    "admin.outbox_api:OutboxApi._orders": "at most MOST_ORDERS",
    "admin.metrics_page:MetricsPage._last": "one rendering for each form; labels are bounded",
    "admin.slices:Slices._next": "texts that wait: one per admin connection, none after it left",
    "admin.slices:Slices._kept": "one for each configuration that is being read; none after it",
    "admin.pace:Pace._waiting": "one for an admin connection, at most connections.LIMIT",
    "admin.server:AdminServer._listeners": "one for each address that is bound",
    "admin.tap_stream:TapStream._streams": "one for each of the tap's watchers",
    "admin.watchers:Watchers._watchers": "at most MAX_WATCHERS",
    "admin.watchers:_Watcher.frames": "at most BACKLOG; one a second until the first is made",
    "exchange.attempt_clocks:AttemptClocks._permits": CONFIGURED,
    "exchange.binding:Binding._by_endpoint": "the upstream's endpoints",
    "exchange.binding:Binding._entries": PART,
    "exchange.binding:Binding._late": CONFIGURED,
    "exchange.binding:Binding.arrival_gates": CONFIGURED,
    "exchange.binding:Binding.attempt_gates": CONFIGURED,
    "exchange.binding:Binding.outer_gates": CONFIGURED,
    "exchange.binding:Binding.request_gates": CONFIGURED,
    "exchange.binding:Binding.stored_gates": CONFIGURED,
    "exchange.binding:Mirrors.idle": "mirror.max_in_flight",
    "exchange.bindings:Bindings._dynamic": Grows(12 * MIB, bindings),
    "exchange.bindings:Bindings._former_dynamic": "the former bindings, until they are bound",
    "exchange.bindings:Bindings._former_static": CONFIGURED,
    "exchange.bindings:Bindings._former_hedging": "the former bindings', until they are bound",
    "exchange.bindings:Bindings._former_mirrors": CONFIGURED,
    "exchange.bindings:Bindings._mirrors": CONFIGURED,
    "exchange.bindings:Bindings._splits": CONFIGURED,
    "exchange.bindings:Bindings._static": CONFIGURED,
    "exchange.bindings:Bindings.stats": CONFIGURED,
    "exchange.body:RequestBody._pieces": "at most _MAX_PIECES, of HELD_BYTES or retry.body_limit",
    "exchange.body:RequestBody._streams": UNDER_WAY,
    "exchange.watching:Watching._permits": CONFIGURED,
    "exchange.watching:_NO_GATES": "stays empty",
    "exchange.lineage:Lineage._parents": UNDER_WAY,
    "exchange.throttle:Throttle._pieces": "HELD_BYTES and one read of the upstream",
    "exchange.stats:RouteStats.faults": "four kinds",
    "exchange.stats:RouteStats.hedges": "four results",
    "exchange.holding:Holder._pieces": "idempotency.response_limit, and a piece more",
    "exchange.idempotency:Idempotency._fields": CONFIGURED,
    "exchange.idempotency:Idempotency._names": CONFIGURED,
    "exchange.held_key:Keys._ending": UNDER_WAY,
    "exchange.held_key:Keys._waiting": "bulkhead.max_concurrent of each route",
    "exchange.stats:RouteStats.idempotency": "ten results",
    "exchange.stats:RouteStats.mirrors": "status classes and four results",
    "store.postgres.calls:Calls._rows": "one batch",
    "store.postgres.calls:Calls.entries": "one batch",
    "store.postgres.calls:Calls.names": "one batch",
    "store.postgres.committer:Committer._idle": "one for each connection",
    "store.postgres.committer:Committer._queue": "what exchanges wait for",
    "store.postgres.committer:Committer._tasks": "one for each connection, and two",
    "store.queued:QueuedStore._watchers": "one for each part of the proxy that asks",
    "store.sqlite.place:Place._files": "the store's file and its log",
    "store.sqlite.place:left_open": "one store a process, whose file was deleted",
    "store.sqlite.tables:Tables.changed_parts": "one for each part",
    "store.sqlite.tables:Tables.lookups": "a statement for 100 parts",
    "store.sqlite.tables:Tables.parts": "each 16 MiB or an eighth of its time",
    "store.sqlite.tables:Tables.unfinished": "the queues of one transaction",
    "policies.hedge:Hedging._counts": "ten seconds, 120 classes each",
    "policies.hedge:Hedging._totals": "120 classes",
    "policies.rate_limits:RateLimits._limits": CONFIGURED,
    "policies.rate_limits:RateLimits._lines": "who waits: at most bulkhead.max_queue",
    "policies.rate_limits:RateLimits._waits": "at most bulkhead.max_queue",
    "policies.rate_limit:Limit._known": Grows(40 * MIB, rate_limits),
    "policies.split:Split._ends": CONFIGURED,
    "policies.split:Split._seeds": CONFIGURED,
    "policies.split:Split.names": CONFIGURED,
    "policies.split:Split.shares": CONFIGURED,
    "exchange.gate:ListenerGate._slow": "exchanges in flight, for 50 ms",
    "exchange.gate:ListenerGate.exchanges": UNDER_WAY,
    "exchange.gates:Gates._entries": "those that bindings hold: flooded with them",
    "exchange.gates:Gates._gone": "a number for each counter and label value of a kind",
    "exchange.gates:Gates._inherited": "the entries of one configuration before",
    "exchange.gateway:Gateway.gates": "one for each listener",
    "exchange.gateway:Gateway.observers": "the observers of the process, and a tap",
    "exchange.heads:FieldRules._added": CONFIGURED,
    "exchange.labels:Labels._names": Grows(64 * KIB, labels),
    "exchange.labels:Labels._unknown": "a part of the names",
    "exchange.grpc_attempt:GrpcAttempt._outer": CONFIGURED,
    "exchange.grpc_attempt:GrpcAttempt._outer_permits": CONFIGURED,
    "exchange.reaching:Reaching._gates": PART,
    "exchange.record:_NO_GATES": "stays empty",
    "exchange.record:_NOTHING": "stays empty",
    "exchange.record:Record.observed": "the marks of a policy in mode observe",
    "exchange.record:Record.attempts": "at most retry.attempts, and a fallback's",
    "exchange.script:Script._pending": "what comes while one callback runs",
    "exchange.stats:RouteStats._attempts": "labels and outcomes: flooded with the answers",
    "exchange.stats:RouteStats._requests": Grows(3 * MIB, stats),
    "exchange.stats:RouteStats.duration_buckets": "a fixed number",
    "exchange.stats:RouteStats.observed": "the marks of a policy in mode observe",
    "exchange.stats:RouteStats.refused": "the members of StopReason",
    "exchange.stats:RouteStats.results": "a fixed number",
    "exchange.stats:RouteStats.retries": "the terms of retry.on",
    "exchange.terms:Terms._via": "a fixed number",
    "exchange.timing:Timing._others": UNDER_WAY,
    "http.h1.chunked:ChunkedDecoder.trailers": "at most max_trailer_bytes, for one message",
    "http.h1.fields:FieldReader._known": "at most MEMORY_BYTES of lines: flooded with the heads",
    "http.h1.fields:FieldReader._names": "at most _MAX_NAMES of lines that are known",
    "http.h1.fields:FieldReader._shared": "at most MEMORY_BYTES of lines: flooded with the heads",
    "http.h1.fields:Reading.lengths": UNDER_WAY,
    "http.h1.fields:_NO_OWN": "stays empty",
    "http.h1.framing:_NO_TRAILERS": "stays empty",
    "http.h1.shapes:Shapes._shapes": "_SLOTS shapes of remembered heads",
    "http.h1.shapes:_NO_OWN": "stays empty",
    "http.h1.memory:HeadMemory._seen": "at most _MAX_SEEN numbers",
    "http.h1.memory:HeadMemory.known": "at most MEMORY_BYTES of heads: flooded with the heads",
    "http.authority:HostMemory.known": Grows(MIB, many_authorities),
    "http.h2.judge:Judge._kinds": "at most _MAX_NAMES of at most _LONGEST_NAME bytes",
    "http.h2.judge:Judge._known": Grows(4 * MIB, http2_heads),
    "http.h2.judge:_NO_OWN": "stays empty",
    "http.h2.blocks:_trailer_names": "at most _MAX_TRAILER_NAMES",
    "wire.h2.receiving:Receiver._block": "at most MAX_CONTINUATIONS, of limits.header_bytes",
    "wire.h2.controls:Controls._reset_here": "at most _MAX_RESET numbers",
    "wire.h2.receiving:Receiver._skipped": "at most _MAX_SKIPPED",
    "wire.h2.receiving:Receiver._touched": "the streams of one connection",
    "wire.h2.receiving:_NO_BLOCK": "stays empty",
    "wire.h2.downstream:Http2Downstream._free": "at most limits.streams",
    "wire.h2.request_stream:RequestStream._early": "at most STREAM_WINDOW",
    "wire.h2.request_stream:_NO_FIELDS": "stays empty",
    "wire.h2.sending:Reads.writers": "connections, for one read",
    "wire.h2.sending:Sender._out": "_OUT_BYTES and a head for each stream, for one turn",
    "wire.h2.sending:Sender._ring": "the streams of one connection",
    "wire.h2.sending:Sender.streams": "at most limits.streams",
    "wire.h2.streams:Stream.pieces": "at most STREAM_WINDOW",
    "wire.h2.streams:Stream.waiting": "what one read of the other side brings",
    "http.h1.response:ResponseParser._status_lines": Grows(4 * MIB, response_heads),
    "http.h2.decoder:Decoder._entries": "at most max_table_size, and _SPARE evicted ones",
    "http.h2.decoder:Decoder._known": Grows(192 * KIB, blocks),
    "http.h2.decoder:Decoder._names": "one for each of the entries",
    "http.h2.decoder:Decoder._secrets": "at most _MAX_SECRETS, of LONGEST_VALUE",
    "http.h2.encoder:Encoder._heads": Grows(128 * KIB, sent_heads),
    "http.h2.encoder:Encoder._names": "at most DEFAULT_TABLE_SIZE: flooded with the heads",
    "http.h2.encoder:Encoder._places": "at most DEFAULT_TABLE_SIZE: flooded with the heads",
    "http.h2.encoder:Encoder._seen": "at most _MAX_SEEN numbers",
    "http.h2.fields:FieldStore._coded_names": "at most _MAX_CODED_NAMES: flooded with the names",
    "http.h2.fields:FieldStore._names": Grows(1536 * KIB, stored_fields),
    "http.h2.fields:FieldStore.static_fields": "a fixed number",
    "http.h2.fields:FieldStore.static_names": "a fixed number",
    "http.h2.fields:StoredName._coded": "at most _MAX_VALUES: flooded with the names",
    "http.h2.fields:StoredName._values": "at most _MAX_VALUES: flooded with the names",
    "http.h2.huffman:_Tree.one": "a fixed number",
    "http.h2.huffman:_Tree.zero": "a fixed number",
    "http.message:NO_OWN": "stays empty",
    "http.message:_NO_VALUES": "stays empty",
    "http.problem:ProxyStatus._failures": "one for each reason and error type",
    "http.tracing:Propagator._span_ids": "one batch",
    "http.tracing:Propagator._trace_ids": "one batch",
    "policies.budget:RetryBudget._request_slots": "a fixed number",
    "policies.budget:RetryBudget._retry_slots": "a fixed number",
    "policies.bulkhead:Bulkhead._queue": "at most bulkhead.max_queue",
    "policies.circuit_breaker_probes:Probes._in_flight": "at most half_open.calls",
    "policies.saga:Saga.steps": CONFIGURED,
    "policies.saga_steps:Progress.tries": "MAX_TRIES_KEPT",
    "policies.saga_steps:Step.values": "what templates name; an answer's part within record_bytes",
    "policies.window:CountWindow._durations": CONFIGURED,
    "policies.window:CountWindow._kinds": CONFIGURED,
    "policies.window:TimeWindow._buckets": CONFIGURED,
    "routing.egress:EgressRules._by_port": CONFIGURED,
    "routing.lookup:ListenerRoutes._hosts": CONFIGURED,
    "routing.lookup:ListenerRoutes._suffixes": CONFIGURED,
    "routing.lookup:PathIndex._anywhere": CONFIGURED,
    "routing.lookup:PathIndex._below": CONFIGURED,
    "routing.lookup:PathIndex._exact": CONFIGURED,
    "routing.own_addresses:OwnAddresses._bound": CONFIGURED,
    "routing.table:RouteTable._by_listener": CONFIGURED,
    "routing.table:RouteTable._by_name": CONFIGURED,
    "telemetry.exemplars:Exemplars._kept": Grows(16 * KIB, exemplars),
    "telemetry.flight_recorder:FlightRecorder._kinds": Grows(8 * MIB, recorder),
    "telemetry.history:History._tracks": CONFIGURED,
    "telemetry.history:_Track._buckets": "a fixed number",
    "telemetry.line_writer:LineWriter._lines": Grows(DEFAULT_LIMIT + 256 * KIB, lines),
    "telemetry.metrics:Registry._parts": "the collectors of the process",
    "telemetry.tap:Tap._watchers": "at most admin.watchers.MAX_WATCHERS",
    "telemetry.tap:Watcher._lines": "at most BACKLOG_BYTES",
    "telemetry.tracing:Tracing._ending": "one for each reload, until it has ended",
    "telemetry.transitions:Changes.last": "at most MAX_TRANSITIONS",
    "telemetry.transitions:Transitions._by_name": Grows(3 * MIB, transitions),
    "upstream.discovery:Discovery._begun": CONFIGURED,
    "upstream.discovery:Discovery._errors": CONFIGURED,
    "upstream.discovery:Discovery._flying": CONFIGURED,
    "upstream.discovery:Discovery._names": CONFIGURED,
    "upstream.discovery:Discovery._waits": UNDER_WAY,
    "upstream.discovery:Discovery.addresses": "the configured names; of each what its look-up gave",
    "wire.h2.requests:Http2Stream._informed": "MAX_HEAD_BYTES, until the read is processed",
    "upstream.endpoint:Endpoint._others": "a pool for each other protocol: at most two",
    "upstream.pool:Pool._connects": UNDER_WAY,
    "upstream.pool:Pool._queued": UNDER_WAY,
    "upstream.pool:Pool._waiting": UNDER_WAY,
    "upstream.pool:_Connect.claims": UNDER_WAY,
    "upstream.session_book:SessionBook._idle": "at most connections.max",
    "upstream.session_book:SessionBook._leaving": "some of _sessions",
    "upstream.session_book:SessionBook._partly": "at most connections.max",
    "upstream.session_book:SessionBook._sessions": "at most connections.max, and leases",
    "upstream.registry:Upstreams._by_authority": Grows(3 * MIB, upstreams),
    "upstream.registry:Upstreams._by_name": CONFIGURED,
    "upstream.resolver:Resolver._flights": "names that are being looked up: one for each upstream",
    "upstream.resolver:Resolver._line": "a part of the flights",
    "upstream.resolver:_Flight.on_begun": UNDER_WAY,
    "upstream.resolver:_Flight.on_done": UNDER_WAY,
    "upstream.tasks:Tasks._running": UNDER_WAY,
    "upstream.tls:TlsContexts._building": CONFIGURED,
    "upstream.tls:TlsContexts._built": CONFIGURED,
    "upstream.upstream:Upstream._leaving": "endpoints that are gone, until their connections end",
    "upstream.upstream:Upstream.endpoints": "the addresses of the look-ups",
    "wire.alarm:Wheel._seconds": "one alarm for each connection and stream",
    "wire.alarm:_wheels": "one",
    "wire.acceptor:Acceptor._servers": "one for each address",
    "wire.acceptor:Acceptor._sockets": "one for each address",
    "wire.h1.upstream:UpstreamConnection._later": "_LATER_BYTES, for one turn of the loop",
    "wire.handshakes:Handshakes._open": UNDER_WAY,
    "wire.streams:Gate.connections": UNDER_WAY,
    "wire.streams:NO_TRAILERS": "stays empty",
    "wire.turns:WorkQueue._waiting": "at most one for each connection",
}


# --- the test ---------------------------------------------------------------------------------

_CONTAINERS = {
    "bytearray", "Counter", "defaultdict", "deque", "dict", "list", "OrderedDict", "Queue", "set",
    "WeakKeyDictionary", "WeakSet", "WeakValueDictionary",
}  # fmt: skip
_CACHES = {"cache", "lru_cache"}


def test_every_container_is_listed_with_its_bound() -> None:
    found = set(_containers())
    assert found - REMEMBERED.keys() == set(), "what bounds these? list them in REMEMBERED"
    assert REMEMBERED.keys() - found == set(), "these are no longer there"


@pytest.mark.parametrize(
    "name", [name for name, reason in REMEMBERED.items() if isinstance(reason, Grows)]
)
def test_traffic_grows_it_to_its_bound_and_no_further(name: str) -> None:
    reason = REMEMBERED[name]
    assert isinstance(reason, Grows)
    gc.collect()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        kept = reason.flood()
        taken = tracemalloc.get_traced_memory()[1] - before  # at its height
    finally:
        tracemalloc.stop()
    assert taken <= reason.limit, f"{kept} takes {taken / MIB:.1f} MiB"


def _containers() -> Iterator[str]:
    """``module:Class.attribute`` of all containers that objects, or modules, begin with empty."""
    root = Path(proxy.__file__).parent
    for listed in LISTED:
        path = root / listed
        for file in [path] if path.suffix else sorted(path.rglob("*.py")):
            module = ".".join(file.relative_to(root).with_suffix("").parts)
            yield from (f"{module}:{name}" for name in _in_module(ast.parse(file.read_text())))


def _in_module(tree: ast.Module) -> Iterator[str]:
    for node in tree.body:
        if isinstance(node, ast.ClassDef):
            for target, value in _assignments(node):
                is_own = isinstance(target, ast.Attribute) and ast.unparse(target.value) == "self"
                if is_own and _is_container(value):
                    yield f"{node.name}.{ast.unparse(target).removeprefix('self.')}"
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            if any(_name(each) in _CACHES for each in node.decorator_list):
                yield node.name
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            for target, value in _assignments(node):
                if isinstance(target, ast.Name) and _is_empty(value):
                    yield target.id


def _assignments(tree: ast.AST) -> Iterator[tuple[ast.expr, ast.expr]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.AnnAssign) and node.value is not None:
            yield node.target, node.value
        elif isinstance(node, ast.Assign):
            for target in node.targets:
                yield target, node.value


def _is_container(value: ast.expr) -> bool:
    if isinstance(value, ast.BinOp) and isinstance(value.op, ast.Mult):
        return _is_container(value.left)
    kinds = (ast.Dict, ast.List, ast.Set, ast.DictComp, ast.ListComp, ast.SetComp)
    return isinstance(value, kinds) or _makes_container(value)


def _is_empty(value: ast.expr) -> bool:
    """A module's container that begins with something is a table."""
    if isinstance(value, ast.Dict):
        return not value.keys
    if isinstance(value, ast.List | ast.Set):
        return not value.elts
    return _makes_container(value) and not value.args


def _makes_container(value: ast.expr) -> TypeGuard[ast.Call]:
    return isinstance(value, ast.Call) and _name(value) in _CONTAINERS


def _name(called: ast.expr) -> str:
    """Of what is called, or stands there as a decorator."""
    function = called.func if isinstance(called, ast.Call) else called
    if isinstance(function, ast.Attribute):
        return function.attr
    return function.id if isinstance(function, ast.Name) else ""
