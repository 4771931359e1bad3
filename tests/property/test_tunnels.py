"""Tunnels: whatever is sent when, each side gets the other's bytes, all of them and in order."""

from exchange.stage import staged
from exchange.wires import CONNECT, SWITCHED, UPGRADE
from hypothesis import given, settings
from hypothesis import strategies as st

CONFIG = """
service: stage
upstreams: {shop: {endpoints: ["http://10.0.0.1:80"]}}
policies: {default: {timeouts: {idle: 60s}}}
routes: [{name: shop, upstream: shop}]
"""

SIDE = st.sampled_from(["client", "server"])
SEND = st.tuples(st.just("send"), SIDE, st.binary(min_size=1, max_size=20))
STEPS = st.one_of(
    SEND,
    SEND,
    st.tuples(st.sampled_from(["stop reading", "read on"]), SIDE),
    st.tuples(st.just("pass"), st.sampled_from([0.1, 5.0])),
)


class Side:
    """One end of the tunnel: what it sent, and how the other one is told that it has ended."""

    def __init__(self, peer):
        self.peer = peer
        self.sent = b""
        self.pending = b""
        self.came = b""

    def send(self, data):
        """A side that is not read from keeps its bytes until it is."""
        self.pending += data
        self.sent += data
        self.flush()

    def flush(self):
        if self.pending and self.peer.reading:
            data, self.pending = self.pending, b""
            self.peer.send(data)

    def take(self):
        self.came += self.peer.received()

    def read_on(self):
        if self.peer.transport.full:
            self.peer.read_on()


def opened(stage, asked, early):
    """Both sides of a tunnel; `early` came along with the request and with the answer to it."""
    client = stage.ask(asked + early)
    server = stage.accept()
    sides = {"client": Side(client), "server": Side(server)}
    sides["client"].sent = early
    if asked == UPGRADE:
        assert server.received().startswith(b"GET /x HTTP/1.1\r\n")
        sides["server"].sent = early
        server.send(SWITCHED + early)
    head, _, came = client.received().partition(b"\r\n\r\n")
    assert head.startswith((b"HTTP/1.1 101 ", b"HTTP/1.1 200 "))
    sides["client"].came = came
    return sides


@settings(deadline=None, max_examples=settings.default.max_examples // 2)
@given(
    st.sampled_from([CONNECT, UPGRADE]),
    st.sampled_from([b"", b"early"]),
    st.lists(STEPS, max_size=30),
    st.permutations(["client", "server"]),
)
def test_bytes_pass_whole_and_in_order(asked, early, steps, order):
    with staged(CONFIG) as stage:
        sides = opened(stage, asked, early)
        client, server = sides["client"], sides["server"]
        for what, *values in steps:
            if what == "send":
                sides[values[0]].send(values[1])
            elif what == "stop reading" and not sides[values[0]].peer.transport.full:
                sides[values[0]].peer.stop_reading()
            elif what == "read on":
                sides[values[0]].read_on()
            elif what == "pass":
                stage.pass_time(values[0])
            for side in sides.values():
                side.flush()
                side.take()
            assert server.sent.startswith(client.came)
            assert client.sent.startswith(server.came)
        for side in sides.values():
            side.read_on()
        for name in order:  # each half ends by itself, and the other goes on until it ends too
            sides[name].flush()
            sides[name].send(b"last")
            sides[name].peer.close()
        for side in sides.values():
            side.take()
        assert (client.came, server.came) == (server.sent, client.sent)
        stage.pass_time(2)
        assert client.peer.gone
        assert server.peer.gone
        stage.assert_at_rest()
        assert [record.reason for record in stage.records] == [""]
