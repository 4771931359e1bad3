"""Bytes played through the whole data plane, in memory: what went upstream, what came back.

The gateway is the real one, with real routes, policies and pools; the sockets on both sides are
scripted (tests/exchange/wires.py). Retries are off, so that one request is one attempt.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from conformance.canonical import count_requests
from conformance.strict import Message, Requests
from exchange.stage import Stage
from exchange.wires import Client, Server

from proxy.config.model import Listener
from proxy.errors import BadRequest, ConnectTimeout

CONFIG = """
service: stage
upstreams:
  app: {endpoints: ["http://10.0.0.1:80"]}
tracing: {propagate: []}
egress: {allow: [a], connect_ports: [443]}
limits: {header_bytes: 1KiB, url_bytes: 200B, headers: 16, body_bytes: 1KiB}
policies:
  default:
    timeouts: {propagate: false}
    retry: {attempts: 1}
    circuit_breaker: {mode: "off"}
routes:
  - {name: app, upstream: app}
"""
"""One upstream for whatever is asked, small limits, and no field in a head that differs each time
but X-Request-Id."""

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
OK_TO_HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"


@dataclass
class Upstream:
    """The upstream's side of one connection: answers each whole request with 200."""

    server: Server
    answers: bool = True
    came: bytes = b""
    read: Requests = field(default_factory=Requests)
    answered: int = 0

    def turn(self) -> bool:
        """Take what has come, and answer; whether there was anything."""
        data = self.server.received()
        self.came += data
        self.read.feed(data)
        while self.answers and self.answered < len(self.read.whole) and not self.server.closed:
            message = self.read.whole[self.answered]
            self.answered += 1
            head = isinstance(message.first, tuple) and message.first[0] == "HEAD"
            self.server.send(OK_TO_HEAD if head else OK)
        return bool(data)


@dataclass(frozen=True)
class Settled:
    """What observers are told of an exchange, or of what never became one (method "").

    `sent`: it went upstream.
    """

    method: str
    target: str
    status: int
    reason: str
    sent: bool
    bytes_in: int

    @classmethod
    def of(cls, record: Any) -> "Settled":
        head = getattr(record, "head", None)
        target = ""
        if head is not None:
            target = head.path if head.query_text is None else f"{head.path}?{head.query_text}"
        return cls(
            method=record.method,
            target=target,
            status=record.status,
            reason=record.reason,
            sent=any(attempt.endpoint for attempt in record.attempts)
            and record.reason != ConnectTimeout.reason,
            bytes_in=record.bytes_in,
        )


class Play:
    """One client of a stage and the upstream's connections that come about by it.

    `settled` are the exchanges that are over, in their order.
    """

    def __init__(
        self, stage: Stage, *, listener: Listener = Listener.OUTBOUND, answers: bool = True
    ) -> None:
        self.stage = stage
        self.answers = answers
        self.upstreams: list[Upstream] = []
        self.settled: list[Settled] = []
        self.came = b""
        stage.gateway.observers[:] = [lambda record: self.settled.append(Settled.of(record))]
        self.client: Client = stage.client(listener)

    def send(self, pieces: Iterable[bytes]) -> None:
        """What the client sends, with the upstream's answers as soon as they are due."""
        for piece in pieces:
            if self.client.closed or not self.client.reading:
                break
            self.client.send(piece)
            self.turn()

    def end(self) -> None:
        """The client sends no more; time passes until nothing is to be waited for.

        The upstream leaves too, so that another play of the same stage finds nothing of this one.
        """
        if not self.client.closed:
            self.client.close()
        self.wait(1.5)
        for upstream in self.upstreams:
            upstream.server.close()
        self.stage.assert_at_rest()

    def wait(self, seconds: float) -> None:
        """Time passes; what becomes due on either side is done in the half second it is due."""
        self.turn()
        for _ in range(round(seconds * 2)):
            self.stage.pass_time(0.5)
            self.turn()

    def turn(self) -> None:
        """Until neither side has anything new."""
        busy = True
        while busy:
            while self.stage.connects:
                self.upstreams.append(Upstream(self.stage.accept(), self.answers))
            self.stage.loop.run()
            turns = [upstream.turn() for upstream in self.upstreams]
            busy = any(turns)
        self.came += self.client.received()

    @property
    def forwarded(self) -> list[Message]:
        """The requests that llhttp reads upstream, whole or begun."""
        return [message for one in self.upstreams for message in one.read.messages]

    @property
    def sent_upstream(self) -> bytes:
        """All that went upstream, connection after connection."""
        return b"".join(one.came for one in self.upstreams)

    def assert_strict(self) -> None:
        """llhttp reads what went upstream as the requests that were carried, and as no others.

        Nor does it look different from what the proxy means to send (`canonical`).
        A request whose body was cut off may be there without its end, but only as the last of its
        connection.
        """
        for upstream in self.upstreams:
            assert not upstream.read.fault, (upstream.read.fault, upstream.came)
            messages = upstream.read.messages
            assert all(message.whole for message in messages[:-1]), upstream.came
            assert all(message.head_whole for message in messages), upstream.came
            assert count_requests(upstream.came) == len(upstream.read.whole), upstream.came
        carried = [one for one in self.settled if one.sent]
        if carried and carried[-1].reason == BadRequest.reason:
            # Its body turned out malformed: perhaps while the connection was still awaited.
            del carried[len(self.forwarded) :]
        assert [one.first for one in self.forwarded] == [
            (one.method, one.target) for one in carried
        ], self.sent_upstream
        for message, one in zip(self.forwarded, carried, strict=True):
            assert len(message.body) == one.bytes_in or not message.whole, self.sent_upstream

    @property
    def hung_up(self) -> bool:
        """Whether the client has been told that nothing more will come."""
        return bool(self.client.closed) or self.client.transport.eof_written
