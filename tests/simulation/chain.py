"""``python -m tests.simulation.chain``: what inheritance buys in a chain of four services.

Each service has its own proxy on both sides, and all is played in virtual time:

    client ─▶ [in A out] ─▶ [in B out] ─▶ [in C out] ─▶ D

Each service passes the trace on and otherwise does nothing: it makes one call and answers with its
status. It does not notice that its caller has left. Everything between is the real data plane. It
writes docs/images/chain-*.svg and tests/bench/results/simulated-chain.json; test_chain.py holds
what the docs tell.
"""

import asyncio
import json
import random
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))  # as tests/conftest.py does

from proxy.config.loading import load_text
from proxy.config.model import Listener
from proxy.exchange.bindings import Bindings
from proxy.exchange.gateway import Gateway
from proxy.http.making import make_response
from proxy.http.message import make_field
from proxy.routing.own_addresses import OwnAddresses
from proxy.routing.table import RouteTable
from proxy.simulation.plots import plot
from proxy.simulation.virtual_time import virtual_time
from proxy.upstream.registry import Upstreams
from proxy.upstream.upstream import Upstream
from proxy.wire.alarm import Alarm
from proxy.wire.streams import NO_TRAILERS, ClientStream, UpstreamSession, UpstreamStream

from .endpoints import _STYLE, IMAGES, ROOT

RESULTS = ROOT / "tests" / "bench" / "results" / "simulated-chain.json"
FILE = """
service: {name}
upstreams:
  next: {{endpoints: ["http://10.0.0.1:80"]}}
policies:
  default: {policy}
routes:
  - {{name: next, upstream: next}}
"""
NETWORK = 0.0005
"""Seconds from one process to another."""
WORK = 0.002
"""Seconds that a service works before its call."""
_PASSED_ON = (b"traceparent", b"x-request-timeout-ms", b"x-retry-attempt")


class _Client(ClientStream):
    """A caller's stream into a gate. `on_answer` is called once: status and Proxy-Status."""

    def __init__(self, loop, gate, fields, on_answer):
        super().__init__()
        self.loop = loop
        self.alarm = Alarm(loop, self._ring)
        self.client = "10.9.8.7"
        self._on_answer = on_answer
        self._over = False
        lines = ["GET /x HTTP/1.1", "Host: next"]
        lines += [f"{name.decode()}: {value.decode()}" for name, value in fields]
        gate.begin(self, gate.parser.parse("\r\n".join([*lines, "", ""]).encode()), b"")

    def _ring(self):
        if self.handler is not None:
            self.handler.on_alarm()

    def leave(self):
        if not self._over and self.handler is not None:
            self.handler.on_client_gone()

    request_bytes = unsent_bytes = 0
    request_trailers = NO_TRAILERS

    def write_head(self, head, own, piece, ended, trailers, last):
        self._over = True
        said = {name.lower: value for name, value in own}.get(b"proxy-status")
        self._on_answer(head.status, said)

    def write_body(self, piece):
        pass

    def end(self, trailers):
        pass

    def break_off(self, *, hard, cancelled=False):
        self._over = True

    def finish(self, now):
        self._over = True
        self.handler = None
        self.alarm.close()

    def pause_reading(self):
        pass

    def resume_reading(self):
        pass


class _Call(UpstreamStream):
    """One attempt of a proxy. `place(fields, answer)` takes it; returns what ends it early."""

    payload_bytes = unsent_bytes = 0
    half_closes = True
    upgrades = False

    def __init__(self, session, place):
        super().__init__()
        self.session = session
        self._place = place
        self._leave = None

    def send_head(self, handler, head, own, piece, ended, trailers):
        self.handler = handler
        fields = {field.name.lower: field.value for field in head.fields}
        fields |= {name.lower: value for name, value in own}
        kept = [(name, fields[name]) for name in _PASSED_ON if name in fields]
        loop = self.session.loop
        loop.call_later(NETWORK, self._arrive, kept)

    def _arrive(self, fields):
        if self.handler is not None:
            self._leave = self._place(fields, self._answer)

    def _answer(self, status, said=None):
        self.session.loop.call_later(NETWORK, self._deliver, status, said)

    def _deliver(self, status, said):
        self._leave = None
        if self.handler is not None:
            fields = [] if said is None else [make_field(b"Proxy-Status", said)]
            self.handler.on_head(make_response(status, fields, 0), b"", True, NO_TRAILERS)

    def detach(self):
        self.handler = None
        if self._leave is not None:
            self.session.loop.call_later(NETWORK, self._leave)
            self._leave = None

    def pause_reading(self):
        pass

    def resume_reading(self):
        pass


class _Session(UpstreamSession):
    def __init__(self, loop, place):
        super().__init__(1_000_000)
        self.loop = loop
        self._place = place

    usable = True

    def lend(self):
        return _Call(self, self._place)

    def take_back(self, stream, reusable):
        pass

    def close(self):
        pass


class _Upstreams(Upstreams):
    def __init__(self, configured, loop, places):
        self._places = places
        super().__init__(configured, lambda on_closed: None, loop=loop)

    def _build(self, config, is_own=None):
        place = self._places[config.name]

        class Connects:
            def connect(self, address, timeout, on_closed, on_done):
                loop = asyncio.get_running_loop()
                loop.call_soon(on_done, _Session(loop, place))

        return Upstream(
            config,
            resolver=None,
            connector=Connects(),
            loop=self._loop,
            random=lambda: 0.5,
        )


class Service:
    """One service with its proxy. `next`: takes its calls, as `take` does those of its caller."""

    def __init__(self, name, loop, policy, next_place, chance):
        self.loop = loop
        config = load_text(FILE.format(name=name, policy=policy), "chain.yaml", {}).config
        upstreams = _Upstreams(config.upstreams, loop, {"next": next_place, "app": self._work})
        self.gateway = Gateway(
            config,
            table=RouteTable(config),
            upstreams=upstreams,
            bindings=Bindings(config, upstreams, chance),
            own_addresses=OwnAddresses(lambda address: False),
            random=chance,
        )

    def take(self, fields, answer):
        """A request for it arrives. Returns what the caller does if it leaves."""
        return _Client(self.loop, self.gateway.gates[Listener.INBOUND], fields, answer).leave

    def _work(self, fields, answer):
        """The service itself: it works, calls, and answers with the call's status."""
        traced = [(name, value) for name, value in fields if name == b"traceparent"]
        gate = self.gateway.gates[Listener.OUTBOUND]

        def called(status, said):
            answer(status)  # its own answer, without what its proxy said

        self.loop.call_later(WORK, _Client, self.loop, gate, traced, called)
        return lambda: None  # it does not notice that its caller has left


@dataclass
class Run:
    """`offered`: when clients asked; `answered`: seconds and status; `arrived`: at the last."""

    offered: list[float]
    answered: list[tuple[float, int]]
    arrived: list[tuple[float, float]]
    """When a request came to the last service, and when its client asked."""

    def load(self, since: float, until: float) -> float:
        """Requests at the last service for each that clients made."""
        asked = sum(since <= at < until for at in self.offered)
        came = sum(since <= at < until for at, _ in self.arrived)
        return came / asked

    def late(self, patience: float) -> int:
        """Requests that reached the last service although their client had left."""
        return sum(at - begun > patience + 2 * NETWORK for at, begun in self.arrived)


def chain(policy, last, *, rate, seconds, layers=3, deadline=None, seed=1):
    """Clients ask at `rate` a second. `last(moment, chance)`: seconds and status of the last one.

    `deadline`: what clients give, and how long they wait.
    """
    source = random.Random(seed)
    with virtual_time() as loop:
        run = Run([], [], [])
        start, traces = loop.now, {}

        def place(fields, answer):
            trace = dict(fields)[b"traceparent"].split(b"-")[1]
            moment = loop.now - start
            run.arrived.append((moment, traces[trace]))
            took, status = last(moment, source.random())
            loop.call_later(took, answer, status)
            return lambda: None

        for name in reversed("abcdefgh"[:layers]):
            place = Service(name, loop, policy, place, source.random).take
        number = 0
        while loop.now - start < seconds:
            loop.advance(source.expovariate(rate))
            number += 1
            trace = b"%032x" % number
            begun = traces[trace] = loop.now - start
            fields = [(b"traceparent", b"00-" + trace + b"-00f067aa0ba902b7-00")]
            if deadline is not None:
                fields.append((b"x-request-timeout-ms", b"%d" % (1000 * deadline)))
            run.offered.append(begun)

            def answer(status, said, begun=begun):
                run.answered.append((loop.now - start - begun, status))

            leave = place(fields, answer)
            if deadline is not None:
                loop.call_later(deadline, leave)
        loop.advance(60.0)
    return run


def settings(*, inherits=True, more=""):
    """The default policy, with or without inheritance, and more keys."""
    inherit = "" if inherits else "timeouts: {inherit: {deadline: false, retries: false}}, "
    return "{" + inherit + more + "}"


# --- the runs of the docs -------------------------------------------------------------------------

BEGINS, ENDS, LASTS = 10.0, 40.0, 50.0
"""Seconds of a run: the last service is out between the first two."""
RATE = 20.0
PATIENCE = 2.0
"""Seconds that clients wait, where they say so."""
NO_BREAKER = "circuit_breaker: {mode: off}"
ATTEMPTS_ALONE = f"{NO_BREAKER}, retry: {{budget: {{ratio: 100%, min_per_second: 1000}}}}"
POLICIES = {
    "default": "",
    "without circuit breakers": NO_BREAKER,
    "nor retry budgets": ATTEMPTS_ALONE,
}


def refuses(moment, chance):
    """In the outage it answers 503 at once."""
    return (0.005, 503) if BEGINS <= moment < ENDS else (0.005, 200)


def hangs(moment, chance):
    """In the outage it answers nothing for a minute."""
    return (60.0, 200) if BEGINS <= moment < ENDS else (0.005, 200)


@dataclass(frozen=True)
class Outage:
    """`load`: requests at the last service for each of the clients', in the outage. `late`: of all
    requests that came there, the share whose client had left."""

    kind: str
    policy: str
    inherits: bool
    load: float
    late: float


def outage(kind, policy, *, inherits, rate=RATE):
    """One run, and what came of it."""
    last, deadline = (refuses, None) if kind == "503" else (hangs, PATIENCE)
    given = settings(inherits=inherits, more=POLICIES[policy])
    run = chain(given, last, rate=rate, seconds=LASTS, deadline=deadline)
    late = run.late(PATIENCE) / len(run.arrived) if deadline else 0.0
    load = run.load(BEGINS, ENDS)
    return Outage(kind, policy, inherits, round(load, 2), round(late, 3)), run


def per_second(run) -> Sequence[tuple[float, float]]:
    """Requests a second at the last service, relative to the clients' rate."""
    counts = [0] * int(LASTS)
    for at, _ in run.arrived:
        if at < LASTS:
            counts[int(at)] += 1
    return [(float(second), count / RATE) for second, count in enumerate(counts)]


def main() -> int:
    found = []
    for kind in ("503", "hang"):
        lines = []
        for policy in POLICIES:
            for inherits in (False, True):
                one, run = outage(kind, policy, inherits=inherits)
                found.append(asdict(one))
                if policy == "nor retry budgets":
                    lines.append(("with" if inherits else "without", per_second(run)))
        drawn = plot(lines, seconds=LASTS, unit="x")
        drawn = drawn.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1)
        start = drawn.index(">") + 1
        (IMAGES / f"chain-{kind}.svg").write_text(drawn[:start] + _STYLE + drawn[start:] + "\n")
    RESULTS.write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps(found, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
