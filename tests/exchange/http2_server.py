"""The server's side of an HTTP/2 connection to an upstream, played with the library `h2`."""

import h2.config
import h2.connection
import h2.events
from exchange.wires import Peer
from h2.settings import SettingCodes, Settings
from hyperframe.frame import DataFrame, HeadersFrame, RstStreamFrame

STREAMS = SettingCodes.MAX_CONCURRENT_STREAMS
WINDOW = SettingCodes.INITIAL_WINDOW_SIZE
CONNECT = SettingCodes.ENABLE_CONNECT_PROTOCOL


class Request:
    """A stream as the server sees it. `reset`: the code of the proxy's RST_STREAM."""

    def __init__(self, number, fields):
        self.id = number
        self.fields = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in fields]
        self.body = b""
        self.ended = False
        self.trailers = None
        self.reset = None

    def all(self, name):
        return [value for given, value in self.fields if given == name]

    def get(self, name):
        (value,) = self.all(name)
        return value


class Http2Server(Peer):
    """`requests` are all streams so far, in order; `goaway`: the code that the proxy said.

    It takes all that comes, but gives credit only by `credit`.
    """

    def __init__(self, loop, connection, endpoint, settings):
        super().__init__(loop, connection)
        self.endpoint = endpoint
        config = h2.config.H2Configuration(client_side=False, header_encoding=None)
        self.h2 = h2.connection.H2Connection(config)
        self.h2.local_settings = Settings(client=False, initial_values=settings)
        self.requests = []
        self.goaway = None
        self.pings = 0
        self._by_id = {}

    def greet(self):
        self.h2.initiate_connection()
        self.listen()
        self._flush()

    # --- what the proxy sent ------------------------------------------------------------------

    def listen(self):
        """Take what has come, and answer what the protocol wants answered."""
        data = self.received()
        for event in self.h2.receive_data(data) if data else []:
            self._take(event)
        self._flush()

    def _take(self, event):
        one = self._by_id.get(getattr(event, "stream_id", None))
        if isinstance(event, h2.events.RequestReceived):
            one = self._by_id[event.stream_id] = Request(event.stream_id, event.headers)
            self.requests.append(one)
        elif isinstance(event, h2.events.DataReceived):
            one.body += event.data
        elif isinstance(event, h2.events.TrailersReceived):
            one.trailers = dict(event.headers)
        elif isinstance(event, h2.events.StreamEnded):
            one.ended = True
        elif isinstance(event, h2.events.StreamReset):
            one.reset = event.error_code
        elif isinstance(event, h2.events.ConnectionTerminated):
            self.goaway = event.error_code
        elif isinstance(event, h2.events.PingReceived):
            self.pings += 1

    @property
    def latest(self):
        self.listen()
        return self.requests[-1]

    def request(self):
        """The one request that came."""
        self.listen()
        (one,) = self.requests
        return one

    @property
    def count(self):
        self.listen()
        return len(self.requests)

    # --- what the server sends ----------------------------------------------------------------

    def _flush(self):
        data = self.h2.data_to_send()
        if data and not self.closed:
            self.send(data)

    def head(self, one, status=200, *fields, end=False):
        self.h2.send_headers(one.id, [(":status", str(status)), *fields], end_stream=end)

    def data(self, one, piece, *, end=False):
        self.h2.send_data(one.id, piece, end_stream=end)

    def answer(self, status=200, body=b"", *fields, one=None, trailers=()):
        """A whole response, in one read."""
        one = one or self.latest
        if status >= 200 and not trailers:
            fields = (*fields, ("content-length", str(len(body))))
        self.head(one, status, *fields, end=not body and not trailers)
        if body:
            self.data(one, body, end=not trailers)
        if trailers:
            self.h2.send_headers(one.id, trailers, end_stream=True)
        self.flush()

    def flush(self):
        """Send what was prepared, as one read."""
        self._flush()

    def reset_stream(self, one, code):
        self.h2.reset_stream(one.id, code)
        self._flush()

    def say(self, *frames):
        """Frames that `h2` would not send, in one read."""
        self.send(b"".join(frame.serialize() for frame in frames))

    def malformed(self, one, fields, *pieces, end=True):
        """A response that `h2` would not send: its fields, and the pieces of its body."""
        frames = [HeadersFrame(one.id, self.h2.encoder.encode(fields), flags=["END_HEADERS"])]
        frames += [DataFrame(one.id, piece) for piece in pieces]
        if end:
            frames[-1].flags.add("END_STREAM")
        self.say(*frames)

    def refuse(self, one, code=7):
        frame = RstStreamFrame(one.id)
        frame.error_code = code
        self.say(frame)

    def go_away(self, last=None, code=0, text=b""):
        last = 2**31 - 1 if last is None else last
        # `h2` would be closed by it, so the frame is made by hand.
        payload = last.to_bytes(4, "big") + code.to_bytes(4, "big") + text
        self.send(len(payload).to_bytes(3, "big") + b"\x07\0" + bytes(4) + payload)

    def credit(self, one, count):
        self.h2.increment_flow_control_window(count, one.id)
        self.h2.increment_flow_control_window(count)
        self._flush()

    def change(self, settings):
        self.h2.update_settings(settings)
        self._flush()
