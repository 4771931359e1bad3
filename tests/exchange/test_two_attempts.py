"""Two attempts at once for one request: the first good response wins, the other is cancelled."""

import pytest
from exchange.wires import request

from proxy.errors import ClientGone
from proxy.exchange.attempt import Attempt
from proxy.exchange.body import RequestBody
from proxy.exchange.request import Request
from proxy.exchange.script import Script
from proxy.exchange.timing import Timing
from proxy.policies.circuit_breaker import CIRCUIT_BREAKER

CONFIG = """
service: stage
upstreams:
  shop:
    endpoints: ["http://10.0.0.1:80", "http://10.0.0.2:80"]
policies:
  default:
    timeouts: {attempt: 2s, request: 10s}
    circuit_breaker: {minimum_calls: 1, window: {size: 4}, scope: endpoint}
routes:
  - {name: shop, upstream: shop}
"""


class Racer(Script):
    """Begins two attempts, and waits until one of them is done."""

    def __init__(self, stage, client, head, piece=b""):
        super().__init__()
        self.stage = stage
        self.done_in_order = []
        terms = stage.gate().terms
        timing = Timing(client.alarm, self, stage.loop.now)
        body = RequestBody(client, piece, awaits_word=False) if head.has_body else None
        self.request = Request(terms, client, head, body, timing)
        self.binding = self.request.bind()
        timing.begin(self.binding.policies.timeouts, None)
        if body is not None:
            body.set_limit(self.binding.policies.retry.body_limit)
        self.attempts = [Attempt(self.request, self.binding, self, number=n) for n in (1, 2)]

    async def race(self):
        for attempt in self.attempts:
            attempt.begin()
        while not self.done_in_order:
            self.done_in_order.append(await self.news())

    def on_body(self, piece):
        self.request.body.on_piece(piece)

    def on_body_end(self, trailers):
        self.request.body.on_end(trailers)
        for attempt in self.attempts:
            attempt.resume_clocks()

    def on_alarm(self):
        self.request.timing.ring()


@pytest.fixture
def race(make_stage, monkeypatch):
    """Has the next request of a client raced; gives the stage, the client and the racer."""

    def race(*fields, body=b""):
        stage = make_stage(CONFIG)
        racers = []

        def begin(client, head, piece):
            racer = Racer(stage, client, head, piece)
            client.handler = racer
            racers.append(racer)
            racer.start(racer.race())

        monkeypatch.setattr(stage.gate(), "begin", begin)
        client = stage.ask(request(*fields, body=body))
        return stage, client, racers[0]

    return race


def places(stage):
    counts = stage.counts()
    return counts.active, counts.idle


@pytest.mark.interpreted  # the gate's `begin` is replaced
@pytest.mark.parametrize("winner", [0, 1])
def test_one_wins_and_the_other_is_cancelled(race, winner):
    stage, client, racer = race()
    servers = [stage.accept(), stage.accept()]
    assert {server.endpoint.host for server in servers} == {"10.0.0.1", "10.0.0.2"}
    assert [server.request().line for server in servers] == ["GET /x HTTP/1.1"] * 2
    servers[winner].answer(200, b"hello")
    won, lost = racer.attempts[winner], racer.attempts[1 - winner]
    assert racer.done_in_order == [won]
    assert (won.over, won.head.status, won.piece, lost.over) == (True, 200, b"hello", False)
    lost.cancel(ClientGone("Another attempt was faster."))
    assert (lost.over, lost.record.failure, lost.stream) == (True, "client-gone", None)
    assert servers[1 - winner].closed, "what is left of it would be another's answer"
    won.release(reusable=True)
    assert places(stage) == (0, 1)
    calls = {name: stage.snapshot(name).calls for name in stage.bindings.gates.of(CIRCUIT_BREAKER)}
    assert sorted(calls.values()) == [0, 1], "the loser is ignored, its permit is back"
    client.close()


@pytest.mark.interpreted  # the gate's `begin` is replaced
def test_a_cancelled_attempt_that_still_connects_leaves_its_place(race):
    stage, client, racer = race()
    stage.accept().answer()
    racer.attempts[1].cancel(ClientGone("Another attempt was faster."))
    assert racer.attempts[1].over
    assert racer.attempts[1].done, "its coroutine has ended"
    racer.attempts[0].release(reusable=True)
    stage.accept()
    assert places(stage) == (0, 2), "the connect went on, and its connection is idle"
    client.close()


@pytest.mark.interpreted  # the gate's `begin` is replaced
def test_each_has_its_own_deadline_and_the_body_goes_to_both(race):
    stage, client, racer = race("POST /x HTTP/1.1", "Content-Length: 4", body=b"ab")
    servers = [stage.accept(), stage.accept()]
    client.send(b"cd")
    assert [server.request().body for server in servers] == [b"abcd"] * 2
    servers[0].answer(503)
    assert racer.done_in_order == [racer.attempts[0]]
    stage.pass_time(2.01)
    assert racer.attempts[1].record.failure == "attempt-timeout"
    racer.attempts[0].release(reusable=True)
    assert places(stage) == (0, 1)
    client.close()
