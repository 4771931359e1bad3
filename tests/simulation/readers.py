"""Reading HTTP/1.1 messages off a stream of bytes; shares no code with what it judges.

Only what the two sides of the simulation are sent: well-formed messages, or ones that end early.
"""

from dataclasses import dataclass, field

NO_BODY = frozenset({204, 304})


@dataclass
class Message:
    """`whole`: to its last byte. `until_close`: its end is that of the connection."""

    line: str
    fields: list[tuple[str, str]]
    body: bytearray = field(default_factory=bytearray)
    whole: bool = False
    until_close: bool = False

    @property
    def status(self) -> int:
        return int(self.line.split(" ")[1])

    def get(self, name: str) -> str:
        """The first value of a field, "" where there is none."""
        return next((value for given, value in self.fields if given.lower() == name), "")


class Reader:
    """Messages one after the other. `expect` takes the method of each request, for responses."""

    def __init__(self, *, responses: bool) -> None:
        self.current: Message | None = None
        self._responses = responses
        self._methods: list[str] = []
        self._data = bytearray()
        self._left = 0
        self._chunked = False
        self._trailing = False

    def expect(self, method: str) -> None:
        """A response to a request with this method is to come."""
        self._methods.append(method)

    def feed(self, data: bytes) -> list[Message]:
        """Messages whose head came with these bytes; they go on growing until they are whole."""
        self._data += data
        begun = []
        while True:
            if self.current is None:
                end = self._data.find(b"\r\n\r\n")
                if end < 0:
                    return begun
                message = self._begin(bytes(self._data[:end]))
                del self._data[: end + 4]
                if message is not None:
                    begun.append(message)
            elif not self._go_on(self.current):
                return begun

    def ended(self) -> None:
        """The connection ended, as it should for a message whose end is its own."""
        if self.current is not None and self.current.until_close:
            self.current.whole = True

    def _begin(self, head: bytes) -> Message | None:
        line, *lines = head.decode("latin-1").split("\r\n")
        fields = [(name, value.strip()) for name, _, value in (one.partition(":") for one in lines)]
        message = Message(line, fields)
        if self._responses:
            if 100 <= message.status < 200 and message.status != 101:
                return None
            method = self._methods.pop(0) if self._methods else "GET"
            if method == "HEAD" or message.status in NO_BODY:
                message.whole = True
                return message
        self._chunked = "chunked" in message.get("transfer-encoding").lower()
        length = message.get("content-length")
        message.until_close = self._responses and not self._chunked and not length
        self._left = int(length or 0)
        if self._chunked or message.until_close or self._left:
            self.current = message
        else:
            message.whole = True
        return message

    def _go_on(self, message: Message) -> bool:
        """Take what is there of the body; whether there may be more to do."""
        if self._chunked and not self._left:
            return self._next_chunk(message)
        if message.until_close:
            message.body += self._data
            self._data.clear()
            return False
        taken = self._data[: self._left]
        if not taken:
            return False
        message.body += taken
        del self._data[: len(taken)]
        self._left -= len(taken)
        if not self._left and not self._chunked:
            self._finish(message)
        elif not self._left:
            self._trailing = True  # the line end behind the chunk is still to come
        return True

    def _next_chunk(self, message: Message) -> bool:
        if self._trailing:
            if len(self._data) < 2:
                return False
            if self._data[:2] != b"\r\n":
                raise ValueError(f"no line end behind a chunk: {bytes(self._data[:20])!r}")
            del self._data[:2]
            self._trailing = False
        end = self._data.find(b"\r\n")
        if end < 0:
            return False
        size = int(bytes(self._data[:end]).split(b";")[0], 16)
        if size:
            del self._data[: end + 2]
            self._left = size
            return True
        if self._data.find(b"\r\n\r\n", end) < 0:
            return False  # trailers, or the last line end
        del self._data[: self._data.find(b"\r\n\r\n", end) + 4]
        self._finish(message)
        return True

    def _finish(self, message: Message) -> None:
        message.whole = True
        self.current = None
        self._chunked = False
