"""What a strict parser reads out of bytes: llhttp in its default, unforgiving mode.

The yardstick for what the proxy sends: a request that llhttp reads as two, or refuses, could mean
something else to an upstream than it did to the proxy.
"""

import re
from dataclasses import dataclass, field

import httptools

TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")


@dataclass
class Message:
    """One message as far as it has come. `first` is method and target, or the status."""

    first: tuple[str, str] | int = 0
    fields: list[tuple[bytes, bytes]] = field(default_factory=list)
    body: bytes = b""
    head_whole: bool = False
    whole: bool = False

    def values(self, name: bytes) -> list[bytes]:
        return [value for given, value in self.fields if given.lower() == name]


class _Reader:
    """Reads a connection's bytes in any pieces. `fault` says why it gave up, "" if it did not."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.fault = ""
        self._target = b""
        self._new_parser()

    def _new_parser(self) -> None:
        raise NotImplementedError

    def _first(self) -> tuple[str, str] | int:
        raise NotImplementedError

    def feed(self, data: bytes) -> None:
        if self.fault or not data:
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            # Only an answer could make it a tunnel, and what is behind it is another message.
            self._new_parser()
            self.feed(data[upgrade.args[0] :])
        except httptools.HttpParserError as error:
            self.fault = str(error)

    @property
    def whole(self) -> list[Message]:
        return [message for message in self.messages if message.whole]

    # --- what llhttp calls --------------------------------------------------------------------

    def on_message_begin(self) -> None:
        self.messages.append(Message())
        self._target = b""

    def on_url(self, url: bytes) -> None:
        self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.messages[-1].fields.append((name, value))

    def on_headers_complete(self) -> None:
        message = self.messages[-1]
        message.first = self._first()
        message.head_whole = True

    def on_body(self, body: bytes) -> None:
        self.messages[-1].body += body

    def on_message_complete(self) -> None:
        self.messages[-1].whole = True


class Requests(_Reader):
    """Reads what came to an upstream; a head comes with its first piece.

    llhttp knows only some methods, and any token is one: it is shown GET instead.
    """

    _method = ""

    def feed(self, data: bytes) -> None:
        if data and (not self.messages or self.messages[-1].whole):
            method, space, rest = data.partition(b" ")
            if space and TOKEN.fullmatch(method):
                self._method = method.decode()
                data = b"GET " + rest
        super().feed(data)

    def _new_parser(self) -> None:
        self._parser = httptools.HttpRequestParser(self)

    def _first(self) -> tuple[str, str]:
        return self._method, self._target.decode("latin-1")


class Responses(_Reader):
    """Reads what came to a client; not for answers to HEAD, of which llhttp cannot be told."""

    def _new_parser(self) -> None:
        self._parser = httptools.HttpResponseParser(self)

    def _first(self) -> int:
        return self._parser.get_status_code()

    @property
    def final(self) -> list[Message]:
        """The messages that are no informational ones."""
        return [one for one in self.messages if not (one.whole and one.first in range(100, 200))]
