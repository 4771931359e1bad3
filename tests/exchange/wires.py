"""Transports without sockets, and the two ends that a test plays: the client and the server."""

from proxy.wire.h1.downstream import Downstream


class Socket:
    def __init__(self):
        self.options = []

    def setsockopt(self, *option):
        self.options.append(option)

    def fileno(self):
        return -1


class Transport:
    """Keeps what is written. `full` stands for a peer that does not read; `fills`: with the next
    write it will be.

    `ended_by`: how this side ended it, "" while it is open; "peer" where the other side did.
    """

    def __init__(self, loop, protocol, socket=None):
        self._loop, self._protocol = loop, protocol
        self.socket = socket if socket is not None else Socket()
        self.written = bytearray()
        self.reading = True
        self.full = self.fills = self.told = False
        self.unsent = 1000  # bytes, while it is full
        self.peer_ended = False
        self.eof_written = False
        self.ended_by = ""
        self.lost = False
        protocol.connection_made(self)

    # --- asyncio.Transport --------------------------------------------------------------------

    def write(self, data):
        assert not self.eof_written, "written behind the end"
        if not self.ended_by:
            self.written += data
        if self.fills:
            self.fills = False
            self.fill()

    def writelines(self, pieces):
        self.write(b"".join(pieces))

    def is_closing(self):
        return bool(self.ended_by)

    def pause_reading(self):
        assert self.reading
        self.reading = False

    def resume_reading(self):
        assert not self.reading
        self.reading = True

    def get_extra_info(self, name):
        if name == "socket":
            return None if self.lost else self.socket
        return ("10.9.8.7", 5) if name == "peername" else None

    def get_write_buffer_size(self):
        return self.unsent if self.full else 0

    def set_write_buffer_limits(self, high):
        """As uvloop's: the protocol is told at once."""
        assert high == 0
        if self.full and not self.told:
            self.told = True
            self._protocol.pause_writing()

    def can_write_eof(self):
        return True

    def set_protocol(self, protocol):
        self._protocol = protocol

    def write_eof(self):
        self.eof_written = True

    def close(self):
        if not self.ended_by:
            self.ended_by = "close"
            if not self.full:
                self._loop.call_soon(self._lose, None)

    def abort(self):
        if not self.lost:
            self.ended_by = "abort"
            self._loop.call_soon(self._lose, None)

    # --- the network's side -------------------------------------------------------------------

    def _lose(self, error):
        if not self.lost:
            self._protocol.connection_lost(error)
            self.lost = True

    def deliver(self, data):
        assert self.reading, "delivered while reading was paused"
        if not self.ended_by and not self.peer_ended:
            self._protocol.data_received(data)

    def end(self):
        """The peer has closed its side."""
        if self.ended_by or self.peer_ended:
            return
        self.peer_ended = True
        if not self._protocol.eof_received():
            self.close()

    def reset(self):
        """The peer, or the network, has broken it."""
        if not self.lost:
            self.ended_by = self.ended_by or "peer"
            self._loop.call_soon(self._lose, ConnectionResetError())

    def fill(self):
        self.full = self.told = True
        self._protocol.pause_writing()

    def drain(self):
        self.full = False
        if self.told:
            self.told = False
            self._protocol.resume_writing()
        if self.ended_by == "close":
            self._loop.call_soon(self._lose, None)


class Peer:
    """The other end of a transport. Each method ends with all that follows from it done."""

    def __init__(self, loop, protocol):
        self.loop = loop
        self.protocol = protocol
        self.transport = Transport(loop, protocol)
        self._taken = 0
        loop.run()

    def send(self, data, *more):
        for piece in (data, *more):
            self.transport.deliver(piece)
            self.loop.run()

    def received(self):
        """What came since the last time."""
        data = bytes(self.transport.written[self._taken :])
        self._taken += len(data)
        return data

    def close(self):
        self.transport.end()
        self.loop.run()

    def reset(self):
        self.transport.reset()
        self.loop.run()

    def stop_reading(self):
        self.transport.fill()
        self.loop.run()

    def stop_reading_soon(self):
        """The next write will be one too many."""
        self.transport.fills = True

    def read_on(self):
        self.transport.drain()
        self.loop.run()

    @property
    def reading(self):
        """Whether the proxy reads from here."""
        return self.transport.reading

    @property
    def closed(self):
        """How the proxy ended it: "close", "abort", "" not at all, or "peer"."""
        return self.transport.ended_by

    @property
    def gone(self):
        """Whether nothing is left of it."""
        return self.transport.lost


class Client(Peer):
    def __init__(self, loop, gate):
        super().__init__(loop, Downstream(gate))
        self.loop.run()

    def answer(self):
        """The one response that came, head and body."""
        return Answer(self.received())


class Server(Peer):
    """One connection to an upstream, from its side."""

    def __init__(self, loop, connection, endpoint):
        super().__init__(loop, connection)
        self.endpoint = endpoint

    def answer(self, status=200, body=b"", *fields):
        self.send(response(status, body, *fields))

    def request(self):
        """The one request that came, head and body."""
        return Answer(self.received())


class Answer:
    """A message taken apart at its first empty line; `line` is its first line."""

    def __init__(self, data):
        assert data, "nothing came"
        head, end, self.body = data.partition(b"\r\n\r\n")
        assert end, data
        self.line, *lines = head.decode("latin-1").split("\r\n")
        self.fields = [tuple(line.split(": ", 1)) for line in lines]

    @property
    def status(self):
        return int(self.line.split(" ")[1])

    def get(self, name):
        values = self.all(name)
        assert len(values) < 2, values
        return values[0] if values else None

    def all(self, name):
        return [value for given, value in self.fields if given.lower() == name.lower()]

    @property
    def names(self):
        return [name for name, _ in self.fields]

    @property
    def reason(self):
        """Of an answer that the proxy made: the slug in Proxy-Status."""
        return (self.get("proxy-status") or "").partition('details="')[2].partition('"')[0]


def request(line="GET /x HTTP/1.1", *fields, body=b""):
    """A request's bytes; with a body and no framing given, by length."""
    framed = any(field.lower().startswith(("content-length", "transfer-enc")) for field in fields)
    lines = [line, "Host: shop", *fields]
    if body and not framed:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


CONNECT = b"CONNECT 10.0.0.7:443 HTTP/1.1\r\nHost: 10.0.0.7:443\r\n\r\n"
UPGRADE = request("GET /x HTTP/1.1", "Connection: upgrade", "Upgrade: echo")
SWITCHED = b"HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n"


def response(status=200, body=b"", *fields):
    framed = any(field.lower().startswith(("content-length", "transfer-enc")) for field in fields)
    lines = [f"HTTP/1.1 {status} Word", *fields]
    if not framed and status not in (204, 304):
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body
