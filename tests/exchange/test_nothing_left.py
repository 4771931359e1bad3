"""What is over leaves nothing for the cycle collector, whose passes would be felt as latency."""

import gc
from collections import Counter

import pytest
from exchange.wires import request, response

from proxy.policies.circuit_breaker import CIRCUIT_BREAKER

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
FALLBACK = """
service: stage
upstreams: {shop: {endpoints: ["http://10.0.0.1:80"]}}
policies:
  default: {retry: {attempts: 1}, fallback: {when: [reset, 503], response: {status: 200}}}
routes: [{name: shop, upstream: shop}]
"""
FALLBACK_AWAY = """
service: stage
upstreams:
  shop: {endpoints: ["http://10.0.0.1:80"]}
  next: {endpoints: ["http://10.0.0.2:80"]}
policies:
  default: {retry: {attempts: 1}, fallback: {when: [reset], upstream: next}}
routes: [{name: shop, upstream: shop}]
"""
HEDGED = """
service: stage
upstreams: {shop: {endpoints: ["http://10.0.0.1:80", "http://10.0.0.2:80"]}}
policies:
  default: {retry: {attempts: 2}, hedge: {delay: 100ms}}
routes: [{name: shop, upstream: shop}]
"""
MIRRORED = """
service: stage
upstreams:
  shop: {endpoints: ["http://10.0.0.1:80"]}
  next: {endpoints: ["http://10.0.0.2:80"]}
routes: [{name: shop, upstream: shop, mirror: {upstream: next}}]
"""
FAULTY = """
service: stage
upstreams: {shop: {endpoints: ["http://10.0.0.1:80"]}}
policies:
  default: {retry: {attempts: 1}, faults: [{share: 100%, delay: 50ms}, {share: 100%, abort: 503}]}
routes: [{name: shop, upstream: shop}]
"""


def answered(stage):
    client, server = stage.ask(request()), stage.accept()
    server.answer(200, b"hi")
    return client, server


def answered_in_chunks(stage):
    client, server = stage.ask(request()), stage.accept()
    server.send(CHUNKED, b"2\r\nab\r\n", b"0\r\n\r\n")
    return client, server


def uploaded(stage):
    client = stage.ask(request("POST /x HTTP/1.1", "Content-Length: 5") + b"ab")
    server = stage.accept()
    client.send(b"cde")
    server.answer()
    return client, server


def retried(stage):
    client, server = stage.ask(request()), stage.accept()
    server.answer(503)
    stage.pass_time(1)
    server.answer()
    return client, server


def fallen_back(stage):
    client, server = stage.ask(request()), stage.accept()
    server.reset()
    return client, server


def fallen_back_in_vain(stage):
    client, server = stage.ask(request()), stage.accept()
    server.reset()
    stage.refuse()
    return client, server


def refused_by_the_upstream(stage):
    client = stage.ask(request())
    while stage.connects:
        stage.refuse()
        stage.pass_time(1)
    return (client,)


def timed_out(stage):
    client, server = stage.ask(request()), stage.accept()
    stage.pass_time(20)
    return client, server


def broken_off(stage):
    client, server = stage.ask(request()), stage.accept()
    server.send(response(200, b"12", "Content-Length: 5"))
    server.reset()
    return client, server


def left_by_the_client(stage):
    client, server = stage.ask(request()), stage.accept()
    client.reset()
    return client, server


def malformed(stage):
    return (stage.ask(b"BAD\r\n\r\n"),)


def silent(stage):
    return (stage.client(),)


def tunnelled(stage):
    client = stage.ask(b"CONNECT db.test:443 HTTP/1.1\r\nHost: db.test:443\r\n\r\n")
    if stage.lookups.pending:
        stage.resolve(["10.0.0.7"])
    server = stage.accept()
    client.send(b"x")
    server.send(b"y")
    return client, server


def hedged(stage):
    client, first = stage.ask(request()), stage.accept()
    stage.pass_time(0.11)
    second = stage.accept()
    return client, first, second


def won_by_a_hedge(stage):
    client, first, second = hedged(stage)
    second.answer()
    return client, first, second


def won_by_a_hedge_after_a_failure(stage):
    client, first, second = hedged(stage)
    first.reset()
    second.answer()
    return client, first, second


def lost_with_its_hedge(stage):
    client, first, second = hedged(stage)
    first.reset()
    second.reset()
    return client, first, second


def won_while_its_hedge_connects(stage):
    client, first = stage.ask(request()), stage.accept()
    stage.pass_time(0.11)
    assert stage.connects == 1
    first.answer()
    return client, first


def hedged_in_vain(stage):
    client, first = stage.ask(request()), stage.accept()
    stage.pass_time(0.11)
    stage.refuse()
    first.answer()
    return client, first


def mirrored(stage):
    client, server, copy = stage.ask(request()), stage.accept(), stage.accept()
    copy.answer()
    server.answer()
    return client, server, copy


def mirrored_in_vain(stage):
    client, server, copy = stage.ask(request()), stage.accept(), stage.accept()
    copy.reset()
    server.answer()
    return client, server, copy


def mirrored_nowhere(stage):
    client, server = stage.ask(request()), stage.accept()
    stage.refuse()
    server.answer()
    return client, server


def faulty(stage):
    client = stage.ask(request())
    stage.pass_time(0.06)
    return (client,)


KINDS = [
    answered, answered_in_chunks, uploaded, retried, refused_by_the_upstream, timed_out,
    broken_off, left_by_the_client, malformed, silent, tunnelled,
]  # fmt: skip


def end(stage, kind):
    """One connection of a kind, to its end, and forgotten by this test."""
    peers = kind(stage)
    for peer in peers:
        peer.close()
    stage.pass_time(3)
    for peer in peers:  # the transports are this test's own
        peer.transport._protocol = peer.protocol = None
    for entry in stage.bindings.gates.of(CIRCUIT_BREAKER).values():
        entry.gate.reset(stage.loop.now)
    for kept in (stage.clients, stage.servers, stage.records, stage.connector.pending):
        kept.clear()


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        *((kind, None) for kind in KINDS),
        (fallen_back, FALLBACK),
        (fallen_back_in_vain, FALLBACK_AWAY),
        *((kind, HEDGED) for kind in (won_by_a_hedge, won_by_a_hedge_after_a_failure)),
        *((kind, HEDGED) for kind in (won_while_its_hedge_connects, hedged_in_vain)),
        (lost_with_its_hedge, HEDGED),
        *((kind, MIRRORED) for kind in (mirrored, mirrored_in_vain, mirrored_nowhere)),
        (faulty, FAULTY),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_nothing_is_left(make_stage, kind, text):
    stage = make_stage(text) if text else make_stage()
    for _ in range(3):
        end(stage, kind)
    gc.collect()
    gc.disable()
    try:
        for _ in range(30):
            end(stage, kind)
        gc.set_debug(gc.DEBUG_SAVEALL)
        gc.collect()
        left = Counter(type(one).__name__ for one in gc.garbage)
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()
    assert sum(left.values()) < 30, left.most_common(10)
