"""Hedges, mirrors, limits, faults and retries together, in random histories of clients and servers.

Whatever happens: every permit, place and connection comes back; of the attempts of a hedged request
only those count that were not cancelled; each copy has one result; nobody waits forever.
"""

import logging
import random

import pytest
from exchange.stage import staged
from exchange.wires import request

from proxy.policies.circuit_breaker import CIRCUIT_BREAKER
from proxy.policies.rate_limits import RATE_LIMITS

TEXT = """
service: stage
upstreams:
  shop:
    protocol: {protocol}
    endpoints: [{endpoints}]
    connections: {{max: {connections}}}
    load_balancing: {balancing}
  copy:
    protocol: {protocol}
    endpoints: ["http://10.0.1.1:80"]
    connections: {{max: {connections}}}
policies:
  default:
    timeouts: {{mode: {mode}, attempt: {attempt}, request: 30s, connect: 1s, idle: 2s}}
    hedge: {{delay: {hedge}, max: {most}}}
    retry: {{attempts: {attempts}, backoff: {{initial: 50ms, jitter: none}}}}
    circuit_breaker: {{minimum_calls: 1000, window: {{size: 1000}}, scope: {scope}}}
    bulkhead: {{max_concurrent: 6, max_queue: 4, queue_timeout: 1s}}
    rate_limits: [{limits}]
    faults: [{faults}]
routes:
  - {{name: shop, upstream: shop, mirror: {{upstream: copy, share: 60%, max_in_flight: {copies}}}}}
"""
IGNORED = {"hedge-lost", "client-gone"}


def text(draw, protocol):
    return TEXT.format(
        protocol=protocol,
        endpoints=", ".join(f'"http://10.0.0.{n}:80"' for n in range(1, draw([1, 2, 3]) + 1)),
        connections=draw([1, 2, 100]),
        balancing=draw(["least_request", "ewma", "round_robin"]),
        mode=draw(["enforce", "enforce", "observe"]),
        attempt=draw(["300ms", "2s"]),
        hedge=draw(["0s", "100ms", "100ms", "p95"]),
        most=draw([1, 2]),
        attempts=draw([2, 3, 4]),
        scope=draw(["route", "endpoint"]),
        limits=draw(
            ["", "{rate: 5/s, burst: 2}, {name: u, key: header:x-user, rate: 2/s, burst: 1}"]
        ),
        faults=draw(
            [
                "",
                "{share: 60%, delay: 400ms}",
                "{share: 30%, abort: 503}, {share: 40%, throttle: 1KiB}",
            ]
        ),
        copies=draw([1, 3]),
    )


class History:
    """One history; `draw` decides."""

    def __init__(self, stage, draw):
        self.stage, self.random = stage, draw
        self.clients, self.asked, self.begun = [], set(), []

    def step(self):
        self.stage.chance = self.random.random()
        steps = (self.ask, self.connect, self.serve, self.serve, self.pass_time, self.leave)
        self.random.choice(steps)()

    def ask(self):
        line = self.random.choice(["GET /x HTTP/1.1", "PUT /x HTTP/1.1", "POST /x HTTP/1.1"])
        body = b"" if line.startswith("GET") else b"x" * self.random.choice([0, 100, 100_000])
        user = f"X-User: {self.random.choice('ab')}"
        self.clients.append(self.stage.ask(request(line, user, body=body)))

    def connect(self):
        if self.stage.connects:
            pending = self.stage.connector.pending
            pending.insert(0, pending.pop(self.random.randrange(len(pending))))
            if self.random.random() < 0.85:
                self.accept()
            else:
                self.stage.refuse()

    def accept(self):
        self.stage.accept()

    def serve(self):
        servers = [server for server in self.stage.servers if not server.closed]
        if not servers:
            return
        server = self.random.choice(servers)
        if server.received():
            self.asked.add(server)
        if server not in self.asked:
            return
        self.asked.discard(server)
        what = self.random.choice(["answer", "answer", "large", "503", "reset", "close", "part"])
        if what == "reset":
            server.reset()
        elif what == "close":
            server.close()
        elif what == "part":
            server.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc")
            self.begun.append(server)
        else:
            server.answer(503 if what == "503" else 200, 5000 * b"x" if what == "large" else b"ok")

    def pass_time(self):
        self.stage.pass_time(self.random.choice([0.01, 0.06, 0.11, 0.3, 1.0]))

    def leave(self):
        there = [client for client in self.clients if not client.gone]
        if there and self.random.random() < 0.3:
            self.random.choice(there).reset()
            self.stage.loop.run()

    def answer_all(self):
        """Every upstream answers what it was asked, and ends what it began."""
        while self.stage.connects:
            self.accept()
        for server in self.stage.servers:
            if server in self.begun and not server.closed:
                server.reset()
            if server.received():
                self.asked.add(server)
            if server in self.asked and not server.closed:
                self.asked.discard(server)
                server.answer()

    def end(self):
        """Nobody waits forever; and what is left of the clients ends."""
        for _ in range(60):
            self.answer_all()
            self.stage.pass_time(0.2)
        assert not any(gate.in_flight for gate in self.stage.gateway.gates.values())
        for client in self.clients:
            client.reset()
        self.stage.loop.run()
        self.stage.pass_time(40)


class Http2History(History):
    """The same with upstreams that speak HTTP/2."""

    def __init__(self, stage, draw):
        super().__init__(stage, draw)
        self.answered = set()

    def accept(self):
        self.stage.accept_http2()

    def serve(self):
        waiting = list(self.waiting())
        if not waiting:
            return
        server, one = self.random.choice(waiting)
        self.answered.add(one)
        what = self.random.choice(["answer", "answer", "large", "503", "refuse", "away", "part"])
        if what == "refuse":
            server.refuse(one)
        elif what == "away":
            last = self.random.choice([2**31 - 1, one.id, 0])
            server.go_away(last)
            self.answered.discard(one)
            self.answered.update(one for one in server.requests if one.id > last)
        elif what == "part":
            server.head(one)
            server.flush()
            self.begun.append((server, one))
        else:
            body = 5000 * b"x" if what == "large" else b"ok"
            server.answer(503 if what == "503" else 200, body, one=one)

    def answer_all(self):
        while self.stage.connects:
            self.accept()
        for server, one in self.begun:
            if not server.closed and one.reset is None:
                server.refuse(one, 2)
        self.begun.clear()
        for server, one in list(self.waiting()):
            self.answered.add(one)
            server.answer(one=one)

    def waiting(self):
        """Streams that have neither an answer nor an end."""
        for server in self.stage.servers:
            if not server.closed:
                server.listen()
                assert not server.goaway, "the proxy found fault with a lawful server"
                for one in server.requests if server.goaway is None else ():
                    if one.reset is None and one not in self.answered:
                        yield server, one

    def end(self):
        super().end()
        assert not list(self.waiting()), "cancelled, but the upstream does not know"


HISTORIES = {"http1": History, "http2": Http2History}


def play(seed, protocol):
    """What was done to requests, for the sum of all histories."""
    draw = random.Random(seed)
    with staged(text(draw.choice, protocol)) as stage:
        history = HISTORIES[protocol](stage, draw)
        for _ in range(draw.randrange(10, 60)):
            history.step()
        history.end()
        stage.assert_at_rest()
        gates = stage.bindings.gates
        attempts = [one for record in stage.records for one in record.attempts]
        counted = sum(
            entry.gate.snapshot(stage.loop.now).calls
            for entry in gates.of(CIRCUIT_BREAKER).values()
        )
        assert counted == sum(outcome not in IGNORED for _, outcome, _ in attempts)
        for record in stage.records:
            assert record.reason != "internal"
            assert not record.attempts or record.attempts[-1][1] != "hedge-lost"
        results = stage.stats().mirrors
        copies = sum(count for result, count in results.items() if result != "full")
        assert copies == sum(record.mirrored == "copy" for record in stage.records)
        for entry in gates.of(RATE_LIMITS).values():
            assert entry.gate.waiting == 0
        return sum(outcome == "hedge-lost" for _, outcome, _ in attempts), copies


@pytest.fixture(autouse=True)
def quiet():
    logging.disable(logging.WARNING)
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.parametrize("protocol", HISTORIES)
def test_some_histories(protocol):
    played = [play(seed, protocol) for seed in range(30)]
    losers, copies = (sum(each) for each in zip(*played, strict=True))
    assert losers >= 2
    assert copies > 20


@pytest.mark.long
@pytest.mark.parametrize("protocol", HISTORIES)
@pytest.mark.parametrize("first", [1000, 2000])
def test_thousands_of_histories(first, protocol):
    for seed in range(first, first + 1000):
        play(seed, protocol)
