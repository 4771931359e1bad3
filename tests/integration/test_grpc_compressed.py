"""gRPC's interoperability tests of compressed messages, frame by frame, through each listener.

The four of doc/interop-test-descriptions.md, with the calls that probe for support: what counts is
the flag of each message, which no client library shows.
"""

import gzip
import json
import socket
import struct
from collections.abc import Callable, Iterator

import h2.config
import h2.connection
import h2.events
import pytest
from integration.http2_client import DATA, END_STREAM, Answer, Fields, Http2Client, frame
from integration.running_proxy import RunningProxy
from integration.settings import Settings
from issues.bed import RawUpstream

HEAD = [(":status", "200"), ("content-type", "application/grpc"), ("grpc-encoding", "gzip")]
INVALID_ARGUMENT = 3
FIELDS: Fields = [
    *(("content-type", "application/grpc"), ("te", "trailers")),
    *(("grpc-encoding", "gzip"), ("grpc-accept-encoding", "identity,gzip")),
]
Messages = list[tuple[bool, bytes]]


def message(body: bytes, *, compressed: bool) -> bytes:
    payload = gzip.compress(body) if compressed else body
    return struct.pack(">?L", compressed, len(payload)) + payload


def messages(data: bytes) -> Messages:
    """Each one's flag and what it says."""
    found: Messages = []
    while data:
        compressed, size = struct.unpack_from(">?L", data)
        payload, data = data[5 : 5 + size], data[5 + size :]
        found.append((compressed, gzip.decompress(payload) if compressed else payload))
    return found


def ask(*, compressed: bool, expected: bool, replies: list[bool], body: int = 2000) -> bytes:
    """A message that says whether it is `compressed`, truly or not, and what shall come back."""
    asked = {"expected": expected, "replies": replies, "body": "x" * body}
    return message(json.dumps(asked).encode(), compressed=compressed)


class CompressingService(RawUpstream):
    """Checks that a message is compressed if it says so, and replies as it asks."""

    def __init__(self) -> None:
        super().__init__(self._play)

    def _play(self, peer: socket.socket) -> None:
        config = h2.config.H2Configuration(client_side=False, header_encoding="utf-8")
        connection = h2.connection.H2Connection(config)
        connection.initiate_connection()
        bodies: dict[int, bytes] = {}
        peer.sendall(connection.data_to_send())
        while data := peer.recv(65536):
            for event in connection.receive_data(data):
                if isinstance(event, h2.events.RequestReceived):
                    bodies[event.stream_id] = b""
                elif isinstance(event, h2.events.DataReceived):
                    bodies[event.stream_id] += event.data
                elif isinstance(event, h2.events.StreamEnded):
                    self._answer(connection, event.stream_id, messages(bodies[event.stream_id]))
            peer.sendall(connection.data_to_send())

    def _answer(self, connection: h2.connection.H2Connection, stream: int, asked: Messages) -> None:
        told = [(compressed, json.loads(body)) for compressed, body in asked]
        if any(compressed != one["expected"] for compressed, one in told):
            status = [*HEAD[:2], ("grpc-status", str(INVALID_ARGUMENT))]
            connection.send_headers(stream, status, end_stream=True)
            return
        connection.send_headers(stream, HEAD)
        for number, compressed in enumerate(flag for _, one in told for flag in one["replies"]):
            connection.send_data(stream, message(b"reply %d" % number, compressed=compressed))
        connection.send_headers(stream, [("grpc-status", "0")], end_stream=True)


@pytest.fixture(scope="module")
def proxy(module_proxy: Callable[[Settings], RunningProxy]) -> Iterator[RunningProxy]:
    service = CompressingService()
    app = {"endpoints": [service.url], "protocol": "http2"}
    routes = [{"name": "all", "upstream": "app"}]
    yield module_proxy({"upstreams": {"app": app}, "routes": routes})
    service.stop()


@pytest.fixture(params=["outbound", "inbound"])
def call(request: pytest.FixtureRequest, proxy: RunningProxy) -> Iterator[Callable[..., Answer]]:
    """Make a call with these messages, each in a frame of its own."""
    with Http2Client(getattr(proxy, request.param)) as client:
        stream = -1

        def make(*asked: bytes) -> Answer:
            nonlocal stream
            stream += 2
            client.send(client.head(stream, "/T/C", *FIELDS, ended=False, method="POST"))
            for one in asked:
                client.send(frame(DATA, END_STREAM if one is asked[-1] else 0, stream, one))
            return client.until_ended(stream)

        yield make


def status(answer: Answer) -> str:
    return dict(answer.fields)["grpc-status"]


def test_client_compressed(call: Callable[..., Answer]) -> None:
    """client_compressed_unary and client_compressed_streaming."""
    probe = ask(compressed=False, expected=True, replies=[False])
    assert status(call(probe)) == str(INVALID_ARGUMENT)
    one = ask(compressed=True, expected=True, replies=[False])
    other = ask(compressed=False, expected=False, replies=[False])
    for asked in ([one], [other], [one, other], [other, one]):
        answer = call(*asked)
        assert status(answer) == "0"
        assert len(messages(answer.body)) == len(asked)


@pytest.mark.parametrize("replies", [[True], [False], [True, False], [False, True, True]])
def test_server_compressed(call: Callable[..., Answer], replies: list[bool]) -> None:
    """server_compressed_unary and server_compressed_streaming."""
    answer = call(ask(compressed=False, expected=False, replies=replies))
    assert messages(answer.body) == [(flag, b"reply %d" % n) for n, flag in enumerate(replies)]
    assert dict(answer.fields)["grpc-encoding"] == "gzip"
    assert status(answer) == "0"
