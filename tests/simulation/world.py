"""One world: clients, the whole data plane and upstreams, in one thread and in virtual time.

What must hold, looked at whenever an exchange ends, and once more when all is over:

- its client has the whole answer of one attempt, or an error that says so, or sees that it broke
  off; a client that behaves, with an upstream that does, always has its answer;
- an upstream sees what may not be repeated at most once, and anything at most three times;
- a breaker hears of every failure of an upstream, and of nothing that a client did;
- no permit, place, lease or clock is left, and endpoints that learn from attempts are told of each
  one's end once;
- no endpoint is ejected for what a client did.
"""

import hashlib
import random
from collections import Counter
from dataclasses import dataclass, field
from typing import Any
from unittest.mock import patch

from exchange.stage import Stage, staged

from proxy.upstream.endpoint import Endpoint, Seat

from .plans import QUIET, Answered, Asked, Side, answered, asked
from .readers import Message, Reader

CONFIG = """
service: simulation
upstreams:
  calm:
    endpoints: ["http://10.0.0.1:80", "http://10.0.1.1:80"]
    outlier_detection: {consecutive_failures: 1}
  rough: {endpoints: ["http://10.0.0.2:80", "http://10.0.1.2:80"]}
  wild:
    endpoints: ["http://10.0.0.3:80", "http://10.0.1.3:80"]
    connections: {max: 3}
    load_balancing: ewma
    outlier_detection: {consecutive_failures: 2, eject_for: {initial: 2s, max: 4s}}
limits: {idle_timeout: 5s, header_timeout: 3s}
policies:
  default:
    timeouts: {connect: 1s, attempt: 2s, request: 20s, idle: 4s, max_duration: 9s}
    retry: {attempts: 3, backoff: {initial: 100ms, jitter: none}, budget: {min_per_second: 1000}}
    circuit_breaker: {mode: observe, window: {size: 100000}}
routes:
  - {name: calm, match: {prefix: /calm}, upstream: calm}
  - {name: rough, match: {prefix: /rough}, upstream: rough}
  - name: wild
    match: {prefix: /wild}
    upstream: wild
    circuit_breaker:
      mode: enforce
      minimum_calls: 3
      window: {size: 6}
      open_for: {initial: 1s}
      half_open: {calls: 2, max_wait: 3s}
    bulkhead: {max_concurrent: 4, max_queue: 2, queue_timeout: 500ms}
"""
SIDE_OF_HOST = {"1": Side.CALM, "2": Side.ROUGH, "3": Side.WILD}
CLIENTS = 10
REFUSED = 0.04
"""Share of the connections to rough and wild upstreams."""
PATIENCE = 90.0
"""Virtual seconds after which an exchange counts as never ending; every clock is shorter."""
ATTEMPTS = 3
_HONEST = frozenset({502, 503, 504})
_TOLD_OFF = _HONEST | {400, 408, 413, 431}


@dataclass
class Result:
    """`wrong` is empty where everything held; `digest` is the same for the same seed."""

    seed: int
    wrong: list[str] = field(default_factory=list)
    seen: Counter[str] = field(default_factory=Counter)
    digest: str = ""


class World:
    def __init__(self, stage: Stage, seed: int, exchanges: int) -> None:
        self.stage = stage
        self.random = random.Random(seed)
        self.left = exchanges
        self.number = 0
        self.result = Result(seed)
        self.asked: dict[int, Asked] = {}
        self.attempts: dict[int, list[Answered]] = {}
        self.good = self.bad = self.refused = self.excused = 0
        """What the rough upstreams did: answers, failures, connections refused, and failures while
        a client still owed its body, which may be laid to the client."""
        self._clients = [VirtualClient(self) for _ in range(CLIENTS)]
        self._servers: list[VirtualServer] = []
        self.seats: set[Seat] = set()
        """Attempts at endpoints that learn from them, until they are told of their end."""
        self._judged_records = 0

    @property
    def now(self) -> float:
        return float(self.stage.loop.now)

    def complain(self, one: Asked | None, what: str) -> None:
        about = "" if one is None else f"{one.method} {one.path} {one.fault or 'well'}: "
        self.result.wrong.append(f"seed {self.result.seed}: {about}{what}")

    def next_asked(self, *, well: bool = False) -> Asked | None:
        if not self.left:
            return None
        self.left -= 1
        self.number += 1
        one = asked(self.random, self.number, well=well)
        self.asked[one.number] = one
        self.attempts[one.number] = []
        return one

    # --- time ---------------------------------------------------------------------------------

    def play(self) -> Result:
        while self.left or any(client.busy for client in self._clients):
            self._connect()
            for client in self._clients:
                client.pump()
            for server in self._servers:
                server.pump()
            self._servers = [one for one in self._servers if not one.over]
            self._check_records()
            dues = [agent.due for agent in (*self._clients, *self._servers)]
            wait = min(dues, default=self.now) - self.now
            self.stage.pass_time(min(0.25, max(0.001, wait)))
            if len(self.result.wrong) > 20:
                return self.result
        self._end()
        return self.result

    def _connect(self) -> None:
        while self.stage.connects:
            side = SIDE_OF_HOST[self.stage.connector.pending[0][0].where.split(":")[0][-1]]
            if side is not Side.CALM and self.random.random() < REFUSED:
                self.refused += side is Side.ROUGH
                self.stage.refuse()
            else:
                self._servers.append(VirtualServer(self, self.stage.accept()))

    # --- what must hold -----------------------------------------------------------------------

    def attempt(self, number: int) -> Answered:
        """An attempt's head has arrived at an upstream."""
        one, earlier = self.asked[number], self.attempts[number]
        made = answered(self.random, one, len(earlier) + 1)
        earlier.append(made)
        if len(earlier) > (ATTEMPTS if one.repeatable else 1):
            self.complain(one, f"reached its upstream {len(earlier)} times")
        if one.side is Side.ROUGH:
            failed = bool(made.fault) or made.status >= 500
            self.bad += failed
            self.good += not failed
        return made

    def judge(self, one: Asked, answer: Message | None, *, spoilt: bool) -> None:
        """The exchange is over for its client; `answer`: what came of it, whole or not.

        `spoilt`: its client misbehaved, with this request or one behind it.
        """
        if answer is None or not answer.whole:
            self._judge_broken(one, answer, spoilt=spoilt)
            return
        where = answer.get("x-exchange")
        if not where:
            self._judge_refusal(one, answer, spoilt=spoilt)
            return
        number, attempt = (int(part) for part in where.split("."))
        if number != one.number:
            self.complain(one, f"got the answer of {number}")
            return
        meant = self.attempts[number][attempt - 1]
        if (answer.status, bytes(answer.body)) != (meant.status, meant.body):
            size = f"{len(answer.body)} of {len(meant.body)} bytes"
            self.complain(one, f"{answer.status} for {meant.status}, {size}, looks whole")
        self.result.seen["whole"] += 1

    def _judge_broken(self, one: Asked, answer: Message | None, *, spoilt: bool) -> None:
        self.result.seen["broken off"] += 1
        last = self.attempts[one.number][-1:] or [None]
        in_body = last[0] is not None and last[0].fault.endswith("in-body")
        if spoilt or (answer is not None and in_body):
            return
        self.complain(one, f"broken off, upstream: {last[0] and (last[0].fault or 'well')}")

    def _judge_refusal(self, one: Asked, answer: Message, *, spoilt: bool) -> None:
        self.result.seen[f"refused {answer.status}"] += 1
        if answer.status not in (_TOLD_OFF if spoilt else _HONEST):
            self.complain(one, f"told {answer.status}: {bytes(answer.body[:200])!r}")
        elif one.side is Side.CALM and not spoilt:
            self.complain(one, f"calm, and told {answer.status}: {bytes(answer.body[:200])!r}")

    def _check_records(self) -> None:
        """After each exchange: nothing that clients did is held against the calm upstreams."""
        records = self.stage.records
        if len(records) == self._judged_records:
            return
        if any(record.reason == "internal" for record in records[self._judged_records :]):
            self.complain(None, "an internal error")
        self._judged_records = len(records)
        failures = self._failures("calm")
        if failures:
            self.complain(None, f"{failures} failures held against the calm upstream")
            self.left = 0
        if self.stage.bulkhead_in_use() > 256:
            self.complain(None, "more places lent than there are")

    def _failures(self, name: str) -> int:
        state = self._snapshot(name)
        return state.failures if state is not None else 0

    def _snapshot(self, name: str) -> Any:
        try:
            return self.stage.snapshot(name)
        except KeyError:
            return None  # nothing has come there yet

    def _end(self) -> None:
        """All is over: nothing may be left, and the books must agree."""
        stage = self.stage
        for client in self._clients:
            client.leave()
        for _ in range(400):
            self._connect()
            for server in self._servers:
                server.pump()
            stage.pass_time(0.5)
        try:
            stage.assert_at_rest()
        except AssertionError as error:
            self.complain(None, f"not at rest: {error!r}")
        if stage.loop.timers:
            self.complain(None, f"{stage.loop.timers} clocks still run")
        ids = Counter(record.request_id for record in stage.records)
        if twice := [name for name, count in ids.items() if count > 1]:
            self.complain(None, f"recorded more than once: {twice[:5]}")
        self._check_books()
        self._check_ejections()
        self._digest()

    def _check_ejections(self) -> None:
        for name in ("calm", "wild"):
            counts = self.stage.gateway.upstreams[name].choice.standings.counts
            ejections = sum(counts.ejections.values())
            self.result.seen[f"ejections of {name}"] = ejections
        if self.result.seen["ejections of calm"]:
            self.complain(None, "a calm endpoint was ejected for what a client did")
        if self.seats:
            self.complain(None, f"{len(self.seats)} attempts were never told of")

    def _check_books(self) -> None:
        rough = self._snapshot("rough")
        if rough is None:
            return
        successes = rough.calls - rough.failures
        if successes != self.good:
            self.complain(None, f"{self.good} rough answers, {successes} successes recorded")
        fewest, most = self.bad - self.excused, self.bad + self.refused
        if not fewest <= rough.failures <= most:
            between = f"{fewest} to {most}"
            self.complain(None, f"{between} rough failures, {rough.failures} recorded")

    def _digest(self) -> None:
        lines = [
            (one.status, one.reason, round(one.duration, 9), str(one.attempts), one.bytes_out)
            for one in self.stage.records
        ]
        self.result.digest = hashlib.sha256(repr(lines).encode()).hexdigest()


class VirtualClient:
    """One client after the other, each on a connection that lasts as long as it may."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._peer: Any = None
        self._reader = Reader(responses=True)
        self._pending: list[tuple[Asked, Message | None]] = []
        self._steps: list[tuple[float, bytes]] = []
        self._fault = ""
        self._spoilt = False
        self._closed_by_answer = False
        self._since = 0.0
        self.due = 0.0

    @property
    def busy(self) -> bool:
        return bool(self._pending)

    def pump(self) -> None:
        if not self._pending and not self._begin():
            self.due = self._world.now + 1.0
            return
        self._send()
        if self._peer is not None:
            self._read()
        if self._pending and self._world.now - self._since > PATIENCE:
            self._world.complain(self._pending[0][0], "never ended")
            self._drop()

    def leave(self) -> None:
        if self._peer is not None:
            self._peer.reset()

    def _begin(self) -> bool:
        world = self._world
        first = world.next_asked()
        if first is None:
            return False
        group = [first]
        while self._may_pipeline(group[-1]) and len(group) < 4 and world.random.random() < 0.15:
            # A rough route's failures are counted: no client may spoil one of them.
            more = world.next_asked(well=any(one.side is Side.ROUGH for one in group))
            if more is None:
                break
            group.append(more)
        if self._peer is None or self._spoilt or self._closed_by_answer or self._peer.closed:
            self.leave()
            self._peer = world.stage.client()
            self._reader = Reader(responses=True)
            self._steps = []
            self._closed_by_answer = False
        for one in group:
            self._reader.expect(one.method)
            self._steps += one.steps
        self._pending = [(one, None) for one in group]
        self._fault = group[-1].fault
        self._spoilt = bool(self._fault)
        self._since = world.now
        self.due = world.now + (self._steps[0][0] if self._steps else 0.0)
        return True

    @staticmethod
    def _may_pipeline(last: Asked) -> bool:
        return not last.fault and last.version == "HTTP/1.1"

    def _send(self) -> None:
        world, peer = self._world, self._peer
        while self._steps and world.now >= self.due and not peer.closed:
            if not peer.reading:
                self.due = world.now + QUIET
                return
            peer.send(self._steps.pop(0)[1])
            self.due = world.now + (self._steps[0][0] if self._steps else QUIET)
        if not self._steps and self._fault and world.now >= self.due and not peer.closed:
            self._misbehave()
        elif not self._steps:
            self.due = max(self.due, world.now + QUIET / 2)

    def _misbehave(self) -> None:
        """What comes behind the last byte sent."""
        fault, source, peer = self._fault, self._world.random, self._peer
        self.due = self._world.now + 0.2
        match fault:
            case "reset" | "reset-after":
                peer.reset()
            case "close" | "close-after" | "half-close":
                peer.close()
            case "stall" | "trickle" | "garbage":
                pass
            case "no-reading" | "slow-reading" if not peer.transport.full:
                peer.stop_reading()
                if fault == "slow-reading":
                    self._fault = "reads-on"
                    self.due = self._world.now + source.random()
                    return
            case "reads-on" if peer.transport.full:
                peer.read_on()
        self._fault = ""

    def _read(self) -> None:
        peer = self._peer
        self._take(peer.received())
        if peer.transport.eof_written and not peer.closed:
            self._reader.ended()
            peer.close()
        if peer.closed:
            if peer.closed == "close":
                self._reader.ended()
            self._settle()
            for one, answer in self._pending:
                if self._owed(one):
                    self._world.judge(one, answer, spoilt=self._spoilt)
            self._pending, self._steps, self._peer = [], [], None

    def _owed(self, one: Asked) -> bool:
        """Not behind an answer that closed the connection: such a request was never begun."""
        return one is self._pending[0][0] and not self._closed_by_answer

    def _take(self, data: bytes) -> None:
        for message in self._reader.feed(data):
            for position, (one, answer) in enumerate(self._pending):
                if answer is None:
                    self._pending[position] = (one, message)
                    break
            else:
                if not self._spoilt:
                    self._world.complain(None, f"an answer to nothing: {message.line}")
        self._settle()

    def _settle(self) -> None:
        """Judge what is whole, in order."""
        while self._pending and (answer := self._pending[0][1]) is not None and answer.whole:
            one, _ = self._pending.pop(0)
            self._world.judge(one, answer, spoilt=self._spoilt)
            self._closed_by_answer = answer.get("connection").lower() == "close"

    def _drop(self) -> None:
        self._peer.reset()
        self._pending, self._steps, self._peer = [], [], None


class VirtualServer:
    """One connection to an upstream, from the upstream's side."""

    def __init__(self, world: World, peer: Any) -> None:
        self._world, self._peer = world, peer
        self._reader = Reader(responses=False)
        self._request: Message | None = None
        self._answer: Answered | None = None
        self._answering = False
        self._steps: list[tuple[float, bytes]] = []
        self.due = world.now

    @property
    def over(self) -> bool:
        return bool(self._peer.closed)

    def pump(self) -> None:
        peer = self._peer
        if peer.closed:
            return
        for message in self._reader.feed(peer.received()):
            if self._request is not None and self._steps:
                self._world.complain(None, f"two requests at once on one lease: {message.line}")
            self._begin(message)
        if peer.closed:
            return
        if self._request is not None and self._request.whole and self._answer is not None:
            if not self._answering:
                self._answering = True
                self._check_body()
                self.due = self._world.now + (self._steps[0][0] if self._steps else 0.0)
            self._write(self._answer)
        else:
            self.due = self._world.now + 0.25

    def _begin(self, message: Message) -> None:
        number = int(message.line.split(" ")[1].rsplit("/", 1)[1])
        self._request = message
        self._answer = self._world.attempt(number)
        self._steps = list(self._answer.steps)
        self._answering = False
        if self._answer.fault == "reset-at-head":
            if not message.whole and self._world.asked[number].side is Side.ROUGH:
                self._world.excused += 1
            self._peer.reset()

    def _write(self, answer: Answered) -> None:
        world, peer = self._world, self._peer
        while self._steps and world.now >= self.due and not peer.closed:
            if not peer.reading:
                self.due = world.now + QUIET
                return
            peer.send(self._steps.pop(0)[1])
            self.due = world.now + (self._steps[0][0] if self._steps else 0.0)
        if self._steps or peer.closed:
            return
        match answer.fault:
            case "reset-after-request" | "reset-in-body":
                peer.reset()
            case "close-after-request" | "cut-in-head" | "cut-in-body" | "idle-close":
                peer.close()
            case "hang" | "malformed" | "stall-in-body":
                self.due = world.now + 0.25
            case _:
                if answer.closes:
                    peer.close()
                self._request = self._answer = None

    def _check_body(self) -> None:
        """What arrived of a request that is whole is what its client sent, to the byte."""
        assert self._request is not None
        number = int(self._request.line.split(" ")[1].rsplit("/", 1)[1])
        one = self._world.asked[number]
        if one.fault != "garbage" and bytes(self._request.body) != one.body:
            sizes = f"{len(self._request.body)} of {len(one.body)} bytes"
            self._world.complain(one, f"its upstream got {sizes}, and took it for whole")


def run(seed: int, exchanges: int) -> Result:
    """A world of its own for so many exchanges."""
    with staged(CONFIG) as stage:
        world = World(stage, seed, exchanges)
        enter, leave = Endpoint.enter, Seat.leave

        def entering(endpoint: Endpoint, now: float) -> Seat:
            seat = enter(endpoint, now)
            world.seats.add(seat)
            return seat

        def leaving(seat: Seat, *args: Any, **more: Any) -> None:
            if seat not in world.seats:
                world.complain(None, "an attempt was told of twice")
            world.seats.discard(seat)
            leave(seat, *args, **more)

        with patch.object(Endpoint, "enter", entering), patch.object(Seat, "leave", leaving):
            return world.play()
