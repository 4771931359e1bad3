"""HTTP/2 on both sides of a stage, moved by a seeded random: hostile peers, and lawful ones.

A play is a number. The same number makes the same play, so a failure names what to play again.
"""

import random

from exchange.http2 import DATA, GET, PADDED, POST, Http2Client, data, frame, rst, settings, window
from exchange.http2_server import STREAMS, WINDOW
from h2.exceptions import ProtocolError

HEAD = [(":method", "HEAD"), *GET[1:]]
CALL = [*POST, ("content-type", "application/grpc"), ("te", "trailers")]
INITIAL_WINDOW = 4

HOSTILE = """
service: stage
upstreams:
  shop:
    protocol: http2
    endpoints: ["http://10.0.0.1:80"]
    connections: {max: 2, max_streams: 3}
policies:
  default:
    timeouts: {attempt: 5s, request: 15s, idle: 20s, stream_idle: 20s}
    bulkhead: {max_concurrent: 20, max_queue: 5, queue_timeout: 2s}
    retry:
      methods: any
      on: [connect-failure, reset, timeout, refused-stream, grpc-unavailable]
    circuit_breaker: {mode: observe}
routes: [{name: shop, upstream: shop}]
"""
HEDGED = HOSTILE.replace("    circuit_breaker", "    hedge: {delay: 50ms}\n    circuit_breaker")
LAWFUL = """
service: stage
upstreams:
  shop:
    protocol: http2
    endpoints: ["http://10.0.0.1:80"]
    connections: {max: 3, max_streams: 4}
policies:
  default:
    timeouts: {attempt: 500s, request: 1000s, idle: 1000s}
    retry: {methods: any, on: [connect-failure, grpc-unavailable]}
    circuit_breaker: {mode: off}
routes: [{name: shop, upstream: shop}]
"""


class Hostile:
    """Peers that reset, leave, stop and go on as they like; then time passes.

    In the end every stream, lease and permit has come back.
    """

    def __init__(self, stage, seed):
        self.stage = stage
        self.random = random.Random(seed)
        self.clients = []
        self.servers = []
        self.uploads = []
        self._connect()

    def _connect(self):
        self.client = Http2Client(self.stage.loop, self.stage.gate())
        self.stage.clients.append(self.client)
        self.clients.append(self.client)
        self.uploads = []
        self.next_id = 1

    def play(self):
        for _ in range(self.random.randrange(5, 120)):
            if self.client.closed or self.client.gone:
                self._connect()
            step = self.random.randrange(20)
            if step < 4:
                self._ask()
            elif step < 13:
                self._of_client(step)
            elif step == 13 and self.stage.connects:
                self._accept()
            elif self.servers:
                self._of_server()
        for client in self.clients:
            if client.transport.full:
                client.read_on()
        for _ in range(25):
            self.stage.pass_time(10)
            while self.stage.connects:
                self.stage.refuse()

    def _ask(self):
        choose, number = self.random.choice, self.next_id
        fields = choose([GET, POST, CALL, HEAD])
        ended = fields is GET or self.random.random() < 0.4
        sent = self.client.headers(number, fields, ended=ended)
        if not ended:
            if self.random.random() < 0.5:
                ends = self.random.random() < 0.5
                sent += data(number, bytes(choose([1, 100, 16000])), ended=ends)
            else:
                self.uploads.append(number)
            if self.random.random() < 0.1:
                sent += rst(number)
        self.next_id += 2
        self.client.send(sent)

    def _stream(self):
        return self.random.randrange(1, self.next_id, 2) if self.next_id > 1 else 0

    def _of_client(self, step):
        choose, client = self.random.choice, self.client
        if step == 4 and self.uploads:
            number, ended = choose(self.uploads), self.random.random() < 0.4
            if ended:
                self.uploads.remove(number)
            client.send(data(number, bytes(choose([1, 16000, 16384])), ended=ended))
        elif step == 5 and self._stream():
            client.send(rst(self._stream()))
        elif step == 6:
            client.send(window(0, choose([1, 1000, 100_000])))
        elif step == 7 and self._stream():
            client.send(window(self._stream(), choose([1, 1000, 100_000])))
        elif step == 8:
            client.send(settings((INITIAL_WINDOW, choose([0, 10, 65535, 100_000]))))
        elif step == 9:
            client.read_on() if client.transport.full else client.stop_reading()
        elif step == 10 and self.random.random() < 0.3:
            choose([client.close, client.reset])()
        elif step in (11, 12):
            self.stage.pass_time(choose([0.01, 0.06, 0.2, 1, 3]))

    def _accept(self):
        if self.random.random() < 0.1:
            self.stage.refuse()
            return
        limits = self.random.choice([{}, {STREAMS: 1}, {STREAMS: 2, WINDOW: 10}, {STREAMS: 0}])
        self.servers.append(self.stage.accept_http2(limits))

    def _of_server(self):
        server = self.random.choice(self.servers)
        if server.closed:
            self.servers.remove(server)
            return
        try:
            server.listen()
            self._act(server)
        except ProtocolError:
            return  # the library refuses to send this now: there is no such play

    def _act(self, server):
        choose, act = self.random.choice, self.random.randrange(25)
        if act == 0 and self.random.random() < 0.4:
            server.go_away(choose([0, 1, 3, None]))
        elif act == 1 and self.random.random() < 0.3:
            choose([server.close, server.reset])()
        elif act == 2:
            server.change({STREAMS: choose([1, 2, 5])})
        elif act == 3:
            server.change({WINDOW: choose([0, 10, 70_000])})
        else:
            live = [one for one in server.requests if one.reset is None and not over(one)]
            if live:
                self._answer(server, choose(live), act)

    def _answer(self, server, one, act):
        choose = self.random.choice
        if act == 4:
            server.refuse(one, choose([0, 2, 7, 8, 13]))
            one.over = True
        elif act == 5:
            server.credit(one, choose([1, 1000, 50_000]))
        elif act < 8 and not begun(one):
            one.begun = True
            one.over = self.random.random() < 0.3
            server.head(one, 200, ("content-type", "application/grpc"), end=one.over)
            if not one.over and self.random.random() < 0.5:
                server.data(one, bytes(choose([1, 1000, 16000])))
            server.flush()
        elif begun(one):
            if self.random.random() < 0.6:
                server.data(one, bytes(choose([1, 5000, 16000])))
            if self.random.random() < 0.5:
                one.over = True
                if self.random.random() < 0.5:
                    status = [("grpc-status", choose(["0", "14"]))]
                    server.h2.send_headers(one.id, status, end_stream=True)
                else:
                    server.data(one, b"", end=True)
            server.flush()

    def check(self):
        stage = self.stage
        assert stage.gate().streams == 0
        stage.assert_at_rest()
        for upstream in stage.gateway.upstreams:
            for endpoint in upstream.endpoints:
                for pool in endpoint.pools:
                    assert (pool.lent, pool.waiting) == (0, 0)
                    for session in pool._sessions:
                        assert session in pool._idle or not session.usable
                        assert session.connection is None or not session.connection.streams


class Lawful:
    """Peers that keep the rules, with any windows, sizes, padding and order of what they do.

    In the end every request and every response has arrived whole, with its trailers.
    """

    def __init__(self, stage, seed):
        self.stage = stage
        self.random = random.Random(seed)
        self.servers = []
        self.client = Http2Client(stage.loop, stage.gate())
        stage.clients.append(self.client)
        if self.random.random() < 0.5:
            self._change_window()
        self.next_id = 1
        self.left = {}  # of the requests' bodies
        self.sent = {}
        self.replies = {}

    def _bytes(self):
        return self.random.randbytes(self.random.choice([0, 1, 100, 5000, 16384, 40_000]))

    def _change_window(self):
        self.client.send(settings((INITIAL_WINDOW, self.random.choice([0, 10, 3000, 200_000]))))

    def play(self):
        for _ in range(self.random.randrange(20, 150)):
            step = self.random.randrange(10)
            if step == 0 and self.next_id < 20:
                self._ask()
            elif step < 3 and self.left:
                self._upload(self.random.choice(list(self.left)))
            elif step < 8:
                self._of_client(step)
            else:
                self._of_server(last=False)
        if self.client.transport.full:
            self.client.read_on()
        while self.left:
            self._upload(next(iter(self.left)))
        for _ in range(400):
            self._of_server(last=True)
        self.client.send(settings((INITIAL_WINDOW, 1_000_000)) + window(0, 2**30))
        for _ in range(100):
            self._of_server(last=True)
        self.client.read()

    def _ask(self):
        number, fields = self.next_id, self.random.choice([POST, CALL])
        self.next_id += 2
        self.client.send(
            self.client.headers(number, [*fields, ("x-number", str(number))], ended=False)
        )
        self.left[number] = self.sent[number] = self._bytes()

    def _upload(self, number):
        """The next frame of a body: DATA, padded or not, or the trailers."""
        body, size = self.left[number], self.random.choice([1, 3000, 16384])
        piece, rest = body[:size], body[size:]
        if not piece:
            self.client.send(self.client.headers(number, [("x-sum", "1")]))
            del self.left[number]
            return
        ended = not rest and self.random.random() < 0.7
        if self.random.random() < 0.2 and len(piece) < 16000:
            flags = PADDED | ended
            self.client.send(frame(DATA, flags, number, b"\x05" + piece + bytes(5)))
        else:
            self.client.send(data(number, piece, ended=ended))
        if ended:
            del self.left[number]
        else:
            self.left[number] = rest

    def _of_client(self, step):
        choose, client = self.random.choice, self.client
        if step == 3:
            client.send(window(0, choose([1, 1000, 30_000])))
        elif step == 4 and self.next_id > 1:
            number = self.random.randrange(1, self.next_id, 2)
            if number not in client.ended:
                client.send(window(number, choose([1, 1000, 30_000])))
        elif step == 5:
            client.read_on() if client.transport.full else client.stop_reading()
        elif step == 6 and self.random.random() < 0.3:
            self._change_window()
        elif step == 7:
            self.stage.pass_time(choose([0.01, 0.06]))

    def _of_server(self, *, last):
        """`last`: no client does anything more, so all credit is given."""
        limits = [{}, {STREAMS: 1}, {STREAMS: 2, WINDOW: 10}]
        while self.stage.connects:
            self.servers.append(self.stage.accept_http2(self.random.choice(limits)))
        if not self.servers:
            return
        server = self.random.choice(self.servers)
        server.listen()
        for one in server.requests:
            self._credit(server, one, last)
        live = [one for one in server.requests if not over(one)]
        if live:
            self._answer(server, self.random.choice(live))

    def _credit(self, server, one, last):
        given = getattr(one, "given", 0)
        owed = len(one.body) - given
        if owed and (last or self.random.random() < 0.5):
            count = owed if last or self.random.random() < 0.5 else self.random.randint(1, owed)
            one.given = given + count
            server.h2.increment_flow_control_window(count)
            if not one.ended:
                server.h2.increment_flow_control_window(count, one.id)
        if last and not one.ended and not getattr(one, "wide", False):
            one.wide = True
            server.h2.increment_flow_control_window(100_000, one.id)
        server.flush()

    def _answer(self, server, one):
        """The next part of a response; its end only after the request's."""
        choose = self.random.choice
        call = one.all("content-type") == ["application/grpc"]
        if not begun(one):
            one.begun = True
            one.left = body = self._bytes()
            one.status = choose(["0", "5"]) if call else choose([None, "0"])
            self.replies[int(one.get("x-number"))] = (body, one.status)
            fields = [("content-type", "application/grpc")] if call else []
            if one.status is None and self.random.random() < 0.5:
                fields.append(("content-length", str(len(body))))
            server.head(one, 200, *fields)
            if self.random.random() < 0.3:
                server.flush()
                return
        while one.left:
            size = choose([1, 4000, 16384])
            if server.h2.local_flow_control_window(one.id) < size:
                break
            server.data(one, one.left[:size])
            one.left = one.left[size:]
            if self.random.random() < 0.4:
                break
        if not one.left and one.ended:
            one.over = True
            if one.status is None:
                server.data(one, b"", end=True)
            else:
                server.h2.send_headers(one.id, [("grpc-status", one.status)], end_stream=True)
        server.flush()

    def check(self):
        client = self.client
        came = {int(one.get("x-number")): one for server in self.servers for one in server.requests}
        assert set(came) == set(self.sent)
        for number, body in self.sent.items():
            assert came[number].ended, number
            assert came[number].body == body, number
            reply, status = self.replies[number]
            assert client.body(number) == reply, number
            assert number in client.ended, number
            if status is not None:
                assert client.head(number).get("grpc-status") == status
        self.stage.pass_time(1)
        assert self.stage.gate().streams == 0
        assert len(self.stage.records) == len(self.sent)
        self.stage.assert_at_rest()


def begun(one):
    return getattr(one, "begun", False)


def over(one):
    return getattr(one, "over", False)
