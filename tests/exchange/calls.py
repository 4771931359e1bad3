"""gRPC calls without HTTP/2: both sides of the seam, scripted. For interpreted modules only."""

from proxy.config.model import Listener
from proxy.errors import UpstreamReset
from proxy.http.making import make_response
from proxy.http.message import make_field
from proxy.wire.alarm import Alarm
from proxy.wire.streams import NO_TRAILERS, ClientStream, UpstreamSession, UpstreamStream


class Caller(ClientStream):
    """A client's stream: what it was sent, in `status`, `fields`, `data`, `trailers`.

    `broken`: "soft" or "hard" where the proxy broke it off.
    """

    def __init__(
        self,
        stage,
        *fields,
        body=b"message",
        ended=True,
        path="/shop.Stock/Deduct",
        listener=Listener.OUTBOUND,
    ):
        super().__init__()
        self.stage = stage
        self.loop = stage.loop
        self.alarm = Alarm(self.loop, self._ring)
        self.client = "10.9.8.7"
        self.receiving = not ended
        self.reading = True
        self.status = 0
        self.fields = []
        self.data = b""
        self.trailers = None
        self.broken = ""
        self.finished = False
        lines = [f"POST {path} HTTP/1.1", "Host: shop", "Transfer-Encoding: chunked", *fields]
        if not any(field.lower().startswith("content-type") for field in fields):
            lines.append("content-type: application/grpc")
        gate = stage.gate(listener)
        head = gate.parser.parse("\r\n".join([*lines, "", ""]).encode())
        head.version = 20
        head.chunked = bool(body) or not ended
        stage.clients.append(self)
        gate.begin(self, head, body)
        self.loop.run()

    def _ring(self):
        if self.handler is not None:
            self.handler.on_alarm()

    # --- what the client does ---------------------------------------------------------------------

    def send(self, piece):
        self.handler.on_body(piece)
        self.loop.run()

    def end_sending(self):
        self.receiving = False
        self.handler.on_body_end(NO_TRAILERS)
        self.loop.run()

    def leave(self):
        if not self.finished:
            self.handler.on_client_gone()
            self.loop.run()

    reset = leave  # what a stage does at its end

    def stop_reading(self):
        self.write_paused = True
        self.handler.on_client_writable(False)
        self.loop.run()

    def read_on(self):
        self.write_paused = False
        self.handler.on_client_writable(True)
        self.loop.run()

    def get(self, name):
        """A field of the head, or a trailer."""
        found = [value for given, value in (*self.fields, *(self.trailers or ())) if given == name]
        assert len(found) < 2, found
        return found[0] if found else None

    @property
    def code(self):
        """The call's status, None while it has none."""
        code = self.get("grpc-status")
        return None if code is None else int(code)

    @property
    def ended(self):
        return self.trailers is not None

    # --- ClientStream -----------------------------------------------------------------------------

    @property
    def request_bytes(self):
        return 0

    @property
    def unsent_bytes(self):
        return 0

    @property
    def request_trailers(self):
        return NO_TRAILERS

    def write_head(self, head, own, piece, ended, trailers, last):
        assert not self.status
        self.status = head.status
        self.fields = [(f.name.lower.decode(), f.value.decode()) for f in head.fields]
        self.fields += [(name.lower.decode(), value.decode()) for name, value in own]
        self.data += piece
        if ended:
            self.end(trailers)

    def write_body(self, piece):
        assert not self.ended
        self.data += piece

    def end(self, trailers):
        assert not self.ended
        assert not self.broken
        self.trailers = [(name.decode().lower(), value.decode()) for name, value in trailers]

    def break_off(self, *, hard, cancelled=False):
        self.broken = "hard" if hard else "soft"

    def finish(self, now):
        assert not self.finished
        self.finished = True
        self.handler = None
        self.alarm.close()

    def pause_reading(self):
        self.reading = False

    def resume_reading(self):
        self.reading = True


class Call(UpstreamStream):
    """An upstream's stream: the request that came, and the response to send."""

    def __init__(self, session):
        super().__init__()
        self.session = session
        self.loop = session.loop
        self.fields = {}
        self.data = b""
        self.ended = False
        self.reading = True
        self.released = None

    # --- what the upstream does -------------------------------------------------------------------

    def answer(self, *fields, status=200, data=b"", trailers=None):
        """The head; `trailers` come with it where they are given. A field is (name, value)."""
        made = [make_field(name.encode(), value.encode()) for name, value in fields]
        head = make_response(status, made, None)
        head.version = 20
        ended = trailers is not None
        self.handler.on_head(head, data, ended, _raw(trailers or ()))
        self.loop.run()

    def fail(self, code, *fields):
        """Trailers-Only."""
        self.answer(("grpc-status", str(code)), *fields, trailers=())

    def send(self, data):
        self.handler.on_piece(data)
        self.loop.run()

    def end_with(self, code, *trailers):
        own = () if code is None else (("grpc-status", str(code)),)
        self.handler.on_end(_raw((*own, *trailers)))
        self.loop.run()

    def lose(self, error=None):
        self.handler.on_lost(error or UpstreamReset("The upstream closed the connection."))
        self.loop.run()

    # --- UpstreamStream ---------------------------------------------------------------------------

    @property
    def payload_bytes(self):
        return 0

    @property
    def unsent_bytes(self):
        return 0

    @property
    def half_closes(self):
        return True

    @property
    def upgrades(self):
        return False

    def send_head(self, handler, head, own, piece, ended, trailers):
        self.handler = handler
        self.fields = {f.name.lower.decode(): f.value.decode() for f in head.fields}
        self.fields |= {name.lower.decode(): value.decode() for name, value in own}
        self.data += piece
        self.ended = ended

    def write_body(self, piece):
        self.data += piece

    def end(self, trailers):
        assert not self.ended
        self.ended = True

    def detach(self):
        self.handler = None

    def pause_reading(self):
        self.reading = False

    def resume_reading(self):
        self.reading = True


def _raw(trailers):
    return [(name.encode(), value.encode()) for name, value in trailers]


class Session(UpstreamSession):
    """An HTTP/2 connection to an endpoint, with all its calls."""

    def __init__(self, loop):
        super().__init__(100)
        self.loop = loop
        self.calls = []

    @property
    def usable(self):
        return True

    def lend(self):
        call = Call(self)
        self.calls.append(call)
        return call

    def take_back(self, stream, reusable):
        assert stream.released is None
        stream.released = "whole" if reusable else "reset"

    def close(self):
        pass


def accept(stage):
    """The connect that has waited longest succeeds; all calls of its session, as they come."""
    _, _, on_done = stage.connector.pending.pop(0)
    session = Session(stage.loop)
    on_done(session)
    stage.loop.run()
    return session.calls
