"""Whole exchanges at random: how bytes are split changes nothing, and nothing lent is ever lost."""

import itertools

import pytest
from exchange.chunks import merged
from exchange.stage import Stage, staged
from exchange.wires import request, response
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from proxy.policies.circuit_breaker import CircuitBreaker
from proxy.policies.circuit_breaker_answers import CircuitPermit

# --- splitting ----------------------------------------------------------------------------------

CHUNKS = b"5;a=b\r\nhello\r\n0006\r\n world\r\n0\r\nX-Sum: 1\r\n\r\n"
ASKED = [
    request("GET /1 HTTP/1.1", "X: y") + request("GET /2?q HTTP/1.1"),
    request("POST /1 HTTP/1.1", body=b"hello world") + request("HEAD /2 HTTP/1.1"),
    request("PUT /1 HTTP/1.1", "Transfer-Encoding: chunked") + CHUNKS + request("GET /2 HTTP/1.1"),
    b"\r\n" + request("GET /1 HTTP/1.0", "Connection: keep-alive") + request("GET /2 HTTP/1.0"),
    request("GET /1 HTTP/1.1") + b"BAD\r\n\r\n",
]
ANSWERED = [
    response(200, b"hello"),
    response(200, CHUNKS, "Transfer-Encoding: chunked"),
    b"HTTP/1.1 103 Early\r\nLink: x\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n" + response(204),
    response(503, b"sorry", "Retry-After: 9"),
    b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nBad : field\r\n\r\n",
]


def pieces(data, cuts):
    bounds = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    return [data[a:b] for a, b in itertools.pairwise(bounds) if a < b]


def without_ids(data):
    """The lines without those that differ each time."""
    drawn = (b"x-request-id:", b"traceparent:", b"date:", b'{"type"')
    return [line for line in data.split(b"\r\n") if not line.lower().startswith(drawn)]


def played(asked, answered, cut_asked, cut_answered):
    """What came out on both sides."""
    with staged() as stage:
        client = stage.client()
        for piece in pieces(asked, cut_asked):
            if not client.transport.eof_written:
                client.send(piece)
        seen = []
        for _ in range(40):
            while stage.connects:
                stage.accept()
            for server in stage.servers:
                asked_of_it = server.received()
                if asked_of_it:
                    seen.append(without_ids(merged(asked_of_it)))
                    for piece in pieces(answered, cut_answered):
                        if not server.closed:
                            server.send(piece)
            stage.pass_time(0.05)
        records = [(record.status, record.reason, record.bytes_in) for record in stage.records]
        return seen, without_ids(merged(client.received())), records, client.closed


CUTS = st.lists(st.integers(min_value=0, max_value=400), max_size=8)


@settings(deadline=None)
@given(st.sampled_from(ASKED), st.sampled_from(ANSWERED), CUTS, CUTS)
def test_how_bytes_are_split_changes_nothing(asked, answered, cut_asked, cut_answered):
    whole = played(asked, answered, [], [])
    assert played(asked, answered, cut_asked, cut_answered) == whole


@settings(deadline=None, max_examples=10)
@given(st.sampled_from(ASKED), st.sampled_from(ANSWERED))
def test_not_even_byte_by_byte(asked, answered):
    each = range(400)
    assert played(asked, answered, each, each) == played(asked, answered, [], [])


# --- faults at random ---------------------------------------------------------------------------

FAULTY = """
service: stage
upstreams:
  shop:
    endpoints: ["http://10.0.0.1:80", "http://10.0.0.2:80"]
    connections: {max: 2}
  backup: {endpoints: ["http://10.0.0.9:80"]}
limits: {idle_timeout: 75s, body_bytes: 40B}
policies:
  default:
    timeouts: {attempt: 2s, request: 5s, idle: 4s, max_duration: MAX}
    retry: {attempts: 3, methods: any, on: [connect-failure, reset, timeout, 5xx, 429],
            body_limit: 12B, backoff: {initial: 100ms, jitter: none}}
    circuit_breaker: {minimum_calls: 3, window: {size: 4}, counts: COUNTS, scope: SCOPE,
                      open_for: {initial: 1s}, half_open: {calls: 2, max_wait: 3s}}
    bulkhead: {max_concurrent: 1, max_queue: 2, queue_timeout: 1s}
    FALLBACK
routes: [{name: shop, upstream: shop}]
"""
FALLBACKS = [
    "",
    "fallback: {when: [timeout, circuit-open, bulkhead-full, 503], response: {status: 200}}",
    "fallback: {when: [timeout, reset, circuit-open, 503], upstream: backup}",
]
REQUESTS = [
    request(),
    request("GET /x HTTP/1.0"),
    request("GET /x HTTP/1.1", "X-Request-Timeout-Ms: 700"),
    request("POST /x HTTP/1.1", body=b"0123456789"),
    request("POST /x HTTP/1.1", "Content-Length: 30") + b"0123",
    request("PUT /x HTTP/1.1", "Transfer-Encoding: chunked") + b"3\r\n012\r\n",
    request("POST /x HTTP/1.1", "Content-Length: 4", "Expect: 100-continue"),
    request("GET /x HTTP/1.1") + request("HEAD /x HTTP/1.1"),
    request("GET /x HTTP/1.1", "Connection: upgrade", "Upgrade: echo"),
    b"CONNECT 10.0.0.7:443 HTTP/1.1\r\nHost: 10.0.0.7:443\r\n\r\n",
]
RESPONSES = [
    response(200, b"hello"),
    response(200, b"he", "Content-Length: 5"),
    response(200, b"2\r\nhe\r\n", "Transfer-Encoding: chunked"),
    b"HTTP/1.1 200 OK\r\n\r\nhel",
    b"HTTP/1.1 100 Continue\r\n\r\n",
    b"HTTP/1.1 2",
    b"no http\r\n\r\n",
    response(503, b"sorry"),
    response(429, b"", "Retry-After: 1"),
    response(500, b"", "Connection: close"),
    b"HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\nhi",
    b"llo",
    b"0\r\n\r\n",
]
BODIES = [b"4567", b"1\r\n0\r\n", b"0\r\n\r\n"]
INDEX = st.integers(0, 5)
ASK = st.tuples(st.just("ask"), INDEX, st.sampled_from(REQUESTS))
ANSWER = st.tuples(st.just("answer"), INDEX, st.sampled_from(RESPONSES))
ACCEPT = st.tuples(st.just("accept"))
FAULTS = st.one_of(
    st.tuples(st.just("body"), INDEX, st.sampled_from(BODIES)),
    st.tuples(st.sampled_from(["leave", "reset", "full", "drain"]), INDEX),
    st.tuples(st.sampled_from(["lose", "break", "stuck", "unstuck"]), INDEX),
    st.tuples(st.just("pass"), st.sampled_from([0.05, 0.11, 0.5, 1.01, 2.01, 5.01])),
    st.tuples(st.sampled_from(["refuse", "cut", "drain begins"])),
    st.tuples(st.just("reload"), INDEX),
)
# Mostly what makes exchanges go on, or the faults would seldom find one in its later states.
STEPS = st.sampled_from([ASK, ASK, ACCEPT, ANSWER, ANSWER, FAULTS, FAULTS]).flatmap(lambda one: one)


class Books:
    """Counts the permits of all breakers."""

    def __init__(self):
        self.lent = self.returned = 0
        self._admit, self._settle = CircuitBreaker.admit, CircuitBreaker.settle

    def __enter__(self):
        def admit(breaker, now, ask):
            answer = self._admit(breaker, now, ask)
            self.lent += isinstance(answer, CircuitPermit)
            return answer

        def settle(breaker, permit, verdict, duration, now):
            self.returned += 1
            assert duration > -1e-6
            self._settle(breaker, permit, verdict, duration, now)

        CircuitBreaker.admit, CircuitBreaker.settle = admit, settle
        return self

    def __exit__(self, *_):
        CircuitBreaker.admit, CircuitBreaker.settle = self._admit, self._settle


def one_of(many, index):
    return many[index % len(many)] if many else None


def configuration(counts, scope, fallback, longest):
    text = FAULTY.replace("COUNTS", counts).replace("SCOPE", scope)
    return text.replace("FALLBACK", fallback).replace("MAX", longest)


def step(stage, texts, name, *values):
    clients = [client for client in stage.clients if not client.closed]
    servers = [server for server in stage.servers if not server.closed]
    if name == "pass":
        stage.pass_time(values[0])
    elif name == "reload":
        stage.reload(one_of(texts, values[0]))
    elif name == "drain begins":
        stage.gate().closing = True
    elif name == "cut":
        for exchange in tuple(stage.gate().exchanges):
            exchange.cut()
        stage.loop.run()
    elif name in ("accept", "refuse"):
        if stage.connects:
            getattr(stage, name)()
    elif name == "ask":
        client = one_of(clients, values[0]) if values[0] < 3 else stage.client()
        if client is not None and client.reading:
            client.send(values[1])
    elif name in ("body", "leave", "reset", "full", "drain"):
        client = one_of(clients, values[0])
        if client is not None:
            turn(client, name, *values[1:])
    else:
        server = one_of(servers, values[0])
        if server is not None:
            turn(server, name, *values[1:])


def turn(peer, name, *data):
    full = peer.transport.full
    if name in ("body", "answer") and peer.reading:
        peer.send(*data)
    elif name in ("leave", "lose"):
        peer.close()
    elif name in ("reset", "break"):
        peer.reset()
    elif name in ("full", "stuck") and not full:
        peer.stop_reading()
    elif name in ("drain", "unstuck") and full:
        peer.read_on()


@pytest.mark.interpreted
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.sampled_from(["attempts", "requests"]),
    st.sampled_from(["route", "upstream", "endpoint"]),
    st.sampled_from(FALLBACKS),
    st.sampled_from(["0s", "3s"]),
    st.lists(STEPS, min_size=10, max_size=50),
)
def test_nothing_is_lost_whatever_happens(counts, scope, fallback, longest, steps):
    text = configuration(counts, scope, fallback, longest)
    # The same, and others: one that repeats nothing, one with an endpoint less and one more.
    texts = [
        text,
        text.replace("attempts: 3", "attempts: 1"),
        text.replace("10.0.0.2", "10.0.0.3"),
        configuration(counts, scope, FALLBACKS[1], longest),
    ]
    with staged(text) as stage, Books() as books:
        begun, ended = count_exchanges(stage)
        for one in steps:
            step(stage, texts, *one)
            assert stage.bulkhead_in_use() <= 1
            assert len(stage.gate().in_flight) == len(begun) - len(ended)
        for client in stage.clients:
            client.reset()
        for server in stage.servers:
            if server.closed == "close" and server.transport.full:
                server.read_on()  # the last bytes of a tunnel may still have to leave
        stage.assert_at_rest()
        assert len(ended) == len(set(ended)) == len(begun)
        assert books.lent == books.returned
        assert "internal" not in {record.reason for record in stage.records}
        while stage.connects:
            stage.accept()
        stage.pass_time(200)
        assert not stage.gate().connections
        for upstream in stage.gateway.upstreams:
            assert upstream.connections() == (0, 0, 0, 0, 0)
        assert stage.loop.timers == 0


def count_exchanges(stage: Stage):
    """Ids of the exchanges that begin, and of those that are settled."""
    begun, ended, kept = [], [], []

    class Counted(set):
        def add(self, exchange):
            kept.append(exchange.record)
            begun.append(id(exchange.record))
            super().add(exchange)

    def settled(record):
        if record in kept:
            ended.append(id(record))

    stage.gate().exchanges = Counted()
    stage.gateway.observers.append(settled)
    return begun, ended
