"""Nothing that was lent is lost, whatever an HTTP/2 upstream does to streams and connections."""

import pytest
from exchange.http2_server import STREAMS, WINDOW
from exchange.stage import staged
from exchange.wires import request
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

CONFIG = """
service: stage
upstreams:
  shop:
    protocol: http2
    endpoints: ["http://10.0.0.1:80"]
    connections: {max: 3, max_streams: 3, max_requests: 7}
policies:
  default:
    timeouts: {attempt: 2s, request: 5s, idle: 3s}
    retry: {backoff: {initial: 100ms, jitter: none}, methods: any, budget: {min_per_second: 1000}}
    bulkhead: {max_concurrent: 6}
    circuit_breaker: {mode: off}
routes: [{name: shop, upstream: shop}]
"""

REQUESTS = st.sampled_from(
    [
        request("GET /x HTTP/1.1"),
        request("POST /x HTTP/1.1", body=b"order"),
        request("POST /x HTTP/1.1", "Content-Length: 3000") + b"x" * 1500,
        request("POST /x HTTP/1.1", "Transfer-Encoding: chunked"),
        request("HEAD /x HTTP/1.1"),
        request(
            "GET /x HTTP/1.1",
            "Connection: Upgrade",
            "Upgrade: websocket",
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        ),
    ]
)
MOST_LEAVING = 16
"""Connections that their peer has told to end, and that do not count towards `connections.max`."""
SMALL = st.integers(0, 5)
STEPS = st.one_of(
    st.tuples(st.just("ask"), REQUESTS),
    st.tuples(st.just("ask"), REQUESTS),
    st.tuples(st.just("accept"), st.sampled_from([{}, {STREAMS: 1}, {WINDOW: 10}, {STREAMS: 0}])),
    st.tuples(st.just("garbage"), st.just(b"HTTP/1.1 400 No\r\n\r\n")),
    st.tuples(st.just("answer"), SMALL, SMALL),
    st.tuples(st.just("begin"), SMALL, SMALL),
    st.tuples(st.just("continue"), SMALL, SMALL),
    st.tuples(st.just("refuse"), SMALL, SMALL, st.sampled_from([0, 2, 7, 8, 13])),
    st.tuples(st.just("go away"), SMALL, SMALL),
    st.tuples(st.just("close"), SMALL),
    st.tuples(st.just("reset"), SMALL),
    st.tuples(st.just("raise"), SMALL),
    st.tuples(st.just("more"), SMALL, st.sampled_from([b"x" * 1500, b"0\r\n\r\n"])),
    st.tuples(st.just("leave"), SMALL),
    st.tuples(st.just("full"), SMALL),
    st.tuples(st.just("drain"), SMALL),
    st.tuples(st.just("wait"), st.sampled_from([0.0, 0.11, 1.0, 5.0])),
)


def pick(things, number):
    return things[number % len(things)] if things else None


def streams(stage, server):
    """Those of a server that can still get something."""
    server.listen()
    return [
        one
        for one in server.requests
        if one.reset is None and not getattr(one, "over", False) and not server.closed
    ]


def of_server(stage, name, server, number, *more):
    one = pick(streams(stage, server), number) if server else None
    if one is None:
        return
    begun = getattr(one, "begun", False)
    if name == "answer" and not begun:
        one.over = True
        fields = [] if one.all(":protocol") else [("content-length", "2")]
        server.head(one, 200, *fields)
        server.data(one, b"ok", end=True)
    elif name == "begin" and not begun:
        one.begun = True
        server.head(one, 200)
        server.data(one, b"a")
    elif name == "continue" and begun:
        one.over = True
        server.h2.send_headers(one.id, [("x-trailer", "t")], end_stream=True)
    elif name == "refuse":
        one.over = True
        server.h2.reset_stream(one.id, more[0])
    elif name == "go away":
        server.go_away(last=one.id)
    server.flush()


def step(stage, name, *more):
    servers = [server for server in stage.servers if not server.closed and not server.gone]
    clients = [client for client in stage.clients if not client.closed and not client.gone]
    if name == "ask":
        stage.ask(*more)
    elif name in ("accept", "garbage"):
        if not stage.connects:
            return
        if name == "garbage":
            stage.accept_http2(greet=False).send(*more)
        elif stage.connector.pending[0][0].protocol.value == "http1":
            stage.accept()
        else:
            stage.accept_http2(*more)
    elif name == "wait":
        stage.pass_time(*more)
    elif name in ("more", "leave", "full", "drain"):
        client = pick(clients, more[0])
        if client is not None:
            of_client(client, name, *more[1:])
    else:
        spoken = [server for server in servers if hasattr(server, "h2")]
        server = pick(spoken, more[0])
        if server is None:
            return
        if name == "close":
            server.close()
        elif name == "reset":
            server.reset()
        elif name == "raise":
            server.listen()
            if not server.closed:
                server.change({STREAMS: 5})
        else:
            of_server(stage, name, server, *more[1:])


def of_client(client, name, *more):
    if name == "leave":
        client.reset()
    elif name == "more" and client.reading and not client.transport.full:
        client.send(*more)
    elif name == "full" and not client.transport.full:
        client.stop_reading()
    elif name == "drain" and client.transport.full:
        client.read_on()


ASK = ("ask", request("GET /x HTTP/1.1"))
LEAVES = [*[ASK] * 7, ("accept", {STREAMS: 1}), ("go away", 0, 0)]
"""One connection leaves, and its last stream goes on, while as many connect as there may be."""


@pytest.mark.interpreted
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(STEPS, min_size=10, max_size=60))
@example(LEAVES)
def test_streams_and_permits_are_conserved(steps):
    with staged(CONFIG) as stage:
        for one in steps:
            step(stage, *one)
            counts = stage.counts()
            pools = [
                pool for end in stage.gateway.upstreams["shop"].endpoints for pool in end.pools
            ]
            assert counts.streams == sum(pool.lent for pool in pools)
            for pool in pools:
                assert pool.counted + pool.connecting <= 3
                assert pool.open + pool.connecting <= 3 + MOST_LEAVING
        for client in stage.clients:
            client.reset()
        stage.assert_at_rest()
        assert "internal" not in {record.reason for record in stage.records}
        while stage.connects:
            stage.refuse()
        stage.pass_time(200)
        assert stage.counts() == (0, 0, 0, 0, 0)
        assert stage.loop.timers == 0
