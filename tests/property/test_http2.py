"""HTTP/2 at random: nothing lent is lost, no window is exceeded, no stream ends twice."""

from exchange.http2 import (
    ACK,
    CONTINUATION,
    END_HEADERS,
    GET,
    PING,
    POST,
    PRIORITY,
    Http2Client,
    data,
    frame,
    rst,
    settings,
    window,
)
from exchange.stage import staged
from exchange.wires import response
from hypothesis import given
from hypothesis import settings as how
from hypothesis import strategies as st

DEFAULT = 65535
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


class Measuring(Http2Client):
    """Counts what the proxy may send, and fails when it sends more."""

    def __init__(self, loop, gate):
        self.allowed = DEFAULT
        self.initial = DEFAULT
        self.of_streams = {}
        super().__init__(loop, gate)

    def _take(self, kind, flags, stream, body):
        super()._take(kind, flags, stream, body)
        if kind == 0:
            self.allowed -= len(body)
            self.of_streams[stream] = self.of_streams.get(stream, 0) + len(body)
            assert self.allowed >= 0, "above the connection's window"
            given = self.initial + self.more.get(stream, 0)
            assert not body or self.of_streams[stream] <= given, "above a stream's window"

    @property
    def more(self):
        return self.__dict__.setdefault("_more", {})

    def allow(self, stream, count):
        if stream:
            self.more[stream] = self.more.get(stream, 0) + count
        else:
            self.allowed += count
        self.send(window(stream, count))


class Play:
    """Both sides of a stage, moved by numbers."""

    def __init__(self, stage):
        self.stage = stage
        self.client = Measuring(stage.loop, stage.gate())
        self.next = 1
        self.half = []  # streams whose body has not ended
        self.reset = set()

    def over(self):
        return self.client.closed or self.client.goaways

    def move(self, what, number):
        if not self.over() and self.client.transport.reading:
            getattr(self, what)(number)

    # --- the client -------------------------------------------------------------------------------

    def get(self, number):
        self.client.ask(self.next)
        self.next += 2

    def post(self, number):
        body = bytes(number % 3000)
        self.client.ask(self.next, [*POST, ("content-length", str(len(body)))], body)
        self.next += 2

    def upload(self, number):
        self.client.send(self.client.headers(self.next, POST, ended=False))
        self.half.append(self.next)
        self.next += 2

    def piece(self, number):
        if self.half:
            self.client.send(data(self.half[number % len(self.half)], bytes(number % 16385 or 1)))

    def end(self, number):
        if self.half:
            stream = self.half.pop(number % len(self.half))
            trailers = self.client.headers(stream, [("x-sum", "1")])
            self.client.send(trailers if number % 2 else data(stream, b"", ended=True))

    def cancel(self, number):
        if self.next > 1:
            stream = number % self.next | 1
            if stream < self.next:
                self.half = [one for one in self.half if one != stream]
                self.client.send(rst(stream, number % 14))

    def credit(self, number):
        stream = number % (self.next + 2)
        if stream == 0 or (stream % 2 and stream < self.next):
            self.client.allow(stream, number % 30000 + 1)

    def resize(self, number):
        self.client.read()
        self.client.initial = min(self.client.initial, number % 70000)
        self.client.send(settings((4, self.client.initial)))

    def nonsense(self, number):
        stream = number % (self.next + 4)
        self.client.send(
            [
                frame(PING, 0, 0, bytes(8)),
                frame(PRIORITY, 0, stream | 1, bytes(5)),
                frame(0xBB, number % 256, stream, b"xyz"),
                data(stream, b"late"),
                window(stream, 0),
                frame(CONTINUATION, END_HEADERS, stream, b""),
                self.client.headers(stream, [("a", "b")]),
                frame(4, ACK),
                self.client.headers(self.next, [*GET, ("Bad", "x")]),
            ][number % 9]
        )
        self.next += 2

    def stop_reading(self, number):
        if not self.client.transport.full:
            self.client.stop_reading()
        elif number % 2:
            self.client.read_on()

    # --- the upstream -----------------------------------------------------------------------------

    def accept(self, number):
        if self.stage.connects:
            self.stage.accept()

    def refuse(self, number):
        if self.stage.connects:
            self.stage.refuse()

    def serve(self, number):
        busy = [one for one in self.stage.servers if not one.gone and one.received()]
        if busy and busy[0].transport.reading:
            answers = [
                response(200, bytes(number % 200_000)),
                response(503, b"no"),
                CHUNKED + b"5\r\nhello\r\n0\r\nX: y\r\n\r\n",
                CHUNKED,
            ]
            busy[0].send(answers[number % 4])
            self.client.read()

    def continue_serving(self, number):
        for server in self.stage.servers:
            if not server.gone and not server.closed and server.transport.reading:
                server.send([b"1\r\nx\r\n", b"0\r\n\r\n"][number % 2])
                self.client.read()
                break

    def lose(self, number):
        if self.stage.servers:
            server = self.stage.servers[number % len(self.stage.servers)]
            if not server.gone:
                server.reset()

    def wait(self, number):
        self.stage.pass_time(number % 3000 / 1000)
        self.client.read()


MOVES = [name for name in vars(Play) if not name.startswith("_") and name not in ("over", "move")]
HISTORY = st.lists(st.tuples(st.sampled_from(MOVES), st.integers(0, 2**20)), max_size=60)


@how(deadline=None, max_examples=100)
@given(HISTORY)
def test_nothing_is_lost_whatever_happens(history):
    with staged() as stage:
        play = Play(stage)
        for what, number in history:
            play.move(what, number)
            assert stage.gate().streams <= 100
        if play.client.transport.full and not play.client.gone:
            play.client.read_on()
        play.client.read()
        play.client.reset()
        while stage.connects:
            stage.refuse()
        stage.pass_time(120)
        stage.assert_at_rest()
        assert stage.gate().streams == 0
        assert not stage.gate().connections
        assert all(record.status for record in stage.records)
        assert not [record for record in stage.records if record.reason == "internal"]
