"""A gRPC service that ends its streams and connections in unusual ways, played with `h2`."""

import socket
import threading

import h2.config
import h2.connection
import h2.events
from h2.settings import SettingCodes, Settings
from issues.bed import RawUpstream

REPLY = b"\0\0\0\4\0" + bytes(1024)
HEAD = [(":status", "200"), ("content-type", "application/grpc")]
OK = [("grpc-status", "0")]


class HostileService(RawUpstream):
    """`how`: the name of one of the tests in test_grpc_interop.py.

    `most_streams`: that one connection had at once.
    """

    def __init__(self, how: str) -> None:
        self.how = how
        self.requests = self.pings = self.pongs = self.most_streams = 0
        self._lock = threading.Lock()
        super().__init__(self._play)

    def _play(self, peer: socket.socket) -> None:
        config = h2.config.H2Configuration(client_side=False, header_encoding="utf-8")
        connection = h2.connection.H2Connection(config)
        if self.how == "max_streams":
            limit = {SettingCodes.MAX_CONCURRENT_STREAMS: 1}
            connection.local_settings = Settings(client=False, initial_values=limit)
        connection.initiate_connection()
        streams: set[int] = set()
        peer.sendall(connection.data_to_send())
        while data := peer.recv(65536):
            for event in connection.receive_data(data):
                self._take(event, connection, streams)
            peer.sendall(connection.data_to_send())

    def _take(
        self, event: h2.events.Event, connection: h2.connection.H2Connection, streams: set[int]
    ) -> None:
        if isinstance(event, h2.events.RequestReceived):
            streams.add(event.stream_id)
            with self._lock:
                self.requests += 1
                self.most_streams = max(self.most_streams, len(streams))
        elif isinstance(event, h2.events.DataReceived):
            if event.flow_controlled_length:
                connection.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        elif isinstance(event, h2.events.StreamEnded):
            streams.discard(event.stream_id)
            self._answer(connection, event.stream_id)
        elif isinstance(event, h2.events.PingAckReceived):
            self.pongs += 1

    def _answer(self, connection: h2.connection.H2Connection, stream: int) -> None:
        how = self.how
        self._ping(connection)
        connection.send_headers(stream, HEAD)
        self._ping(connection)
        if how == "rst_after_header":
            connection.reset_stream(stream, 0)
            return
        self._ping(connection)
        if how == "rst_during_data":
            connection.send_data(stream, REPLY[: len(REPLY) // 2])
        else:
            connection.send_data(stream, REPLY)
        self._ping(connection)
        if how in ("rst_during_data", "rst_after_data"):
            connection.reset_stream(stream, 0)
            return
        connection.send_headers(stream, OK, end_stream=True)
        if how == "goaway":
            connection.close_connection(last_stream_id=stream)

    def _ping(self, connection: h2.connection.H2Connection) -> None:
        if self.how == "ping":
            self.pings += 1
            connection.ping(b"outgoing")
