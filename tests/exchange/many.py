"""A session whose streams are told by the test what happens to them, as HTTP/2 streams are."""

from exchange.wires import response

from proxy.http.h1.response import ResponseParser
from proxy.http.message import RequestHead
from proxy.wire.streams import NO_TRAILERS, UpstreamSession, UpstreamStream

_parser = ResponseParser()


class Stream(UpstreamStream):
    """`sent`: pieces of the body that were sent; `head`: the request's, once it was sent."""

    def __init__(self, session):
        super().__init__()
        self.session = session
        self.head: RequestHead | None = None
        self.own = []
        self.sent = []
        self.ended = False
        self.payload = 0

    @property
    def payload_bytes(self):
        return self.payload

    @property
    def unsent_bytes(self):
        return 0

    @property
    def half_closes(self):
        return True

    @property
    def upgrades(self):
        return self.session.upgrades

    def send_head(self, handler, head, own, piece, ended, trailers):
        self.handler, self.head, self.own, self.ended = handler, head, own, ended
        if piece:
            self.sent.append(piece)

    def write_body(self, piece):
        self.sent.append(piece)

    def end(self, trailers):
        self.ended = True

    def detach(self):
        self.handler = None

    def pause_reading(self):
        pass

    def resume_reading(self):
        pass

    # --- what the upstream does ---------------------------------------------------------------

    def answer(self, status=200, body=b""):
        handler, self.handler = self.handler, None
        self.payload = len(body)
        head = _parser.parse(response(status, body).partition(b"\r\n\r\n")[0] + b"\r\n\r\n")
        handler.on_head(head, body, True, NO_TRAILERS)

    def fail(self, error):
        handler, self.handler = self.handler, None
        handler.on_lost(error)


class Session(UpstreamSession):
    """`streams`: all that were lent, in order; `broken`: how many came back unfinished."""

    def __init__(self, room=100, upgrades=False):
        super().__init__(room)
        self.upgrades = upgrades
        self.going_away = False
        self.streams = []
        self.broken = 0

    @property
    def usable(self):
        return not self.going_away

    def lend(self):
        self.streams.append(Stream(self))
        return self.streams[-1]

    def take_back(self, stream, reusable):
        stream.handler = None
        self.broken += not reusable

    def close(self):
        self.going_away = True

    @property
    def latest(self):
        return self.streams[-1]
