"""How a client's HTTP/1 connection ends.

    HEAD ──whole head──> EXCHANGE ──finish──> HEAD        (pipelined requests wait their turn)
      └──refused──> LINGER <──finish, not to be kept──┘
                      └──> CLOSED

LINGER: the answer is sent, and what the client still sends is read and dropped for a moment,
because closing a socket with unread bytes resets it and may destroy the answer in transit (RFC 9112
section 9.6).
"""

from enum import Enum
from time import monotonic
from typing import Final

from proxy.errors import ProxyError
from proxy.http.message import RequestHead
from proxy.wire.flow import discard, reset_on_close
from proxy.wire.h1.plain_connect import ACCESS_DENIED
from proxy.wire.h1.response_writer import ResponseWriter
from proxy.wire.streams import Gate

LINGER_SECONDS: Final = 1.0


class State(Enum):
    HEAD = "head"
    EXCHANGE = "exchange"
    TUNNEL = "tunnel"
    LINGER = "linger"
    CLOSED = "closed"


# Reading a global is ten times as fast as reading an enum member (CPython 3.11).
HEAD: Final = State.HEAD
EXCHANGE: Final = State.EXCHANGE
TUNNEL: Final = State.TUNNEL
LINGER: Final = State.LINGER
CLOSED: Final = State.CLOSED


def _nothing_asked() -> RequestHead:
    """Stands for the request when there was none: the answer is written as if for this."""
    head = RequestHead()
    head.method = ""
    head.version = 11
    return head


NO_REQUEST: Final = _nothing_asked()


class ClosingConnection(ResponseWriter):
    """A client's connection with its state, and the ways to end it.

    `_buffer` has bytes that no request took yet.
    """

    __slots__ = ("_buffer", "_gate", "_linger_until", "_state")

    def __init__(self, gate: Gate) -> None:
        super().__init__()
        self._gate = gate
        self._state = HEAD
        self._buffer = b""
        self._linger_until = 0.0

    @property
    def idle(self) -> bool:
        """Whether it is between two requests and has received nothing of the next one."""
        return self._state is HEAD and not self._buffer

    def break_off(self, *, hard: bool, cancelled: bool = False) -> None:
        self.handler = None
        self._keep_alive = False
        if self._state is CLOSED:
            return
        if hard or self._ends_by_close:
            reset_on_close(self._channel.transport)
            self._channel.transport.abort()
        else:
            self._channel.transport.close()

    def cut(self) -> None:
        """Close, even with a request in flight."""
        self._buffer = b""
        self.break_off(hard=False)

    def close_idle(self) -> None:
        """Close if no request is in flight."""
        if self.idle:
            self._close(self._gate.limits.idle_timeout)

    def _refuse(self, error: ProxyError) -> None:
        self._state = EXCHANGE
        self._asked = NO_REQUEST
        self._keep_alive = self._chunks = False
        self.receiving = False
        self._buffer = b""
        self._gate.refuse(self, error)
        self._linger(more=True)

    def _drop(self, error: ProxyError, *, tls: bool) -> None:
        """Refuse input that is not HTTP; it gets no answer in HTTP. `tls`: it is TLS."""
        self._state = EXCHANGE
        self._keep_alive = False
        self._gate.drop(self, error)
        if tls:
            self._channel.write(ACCESS_DENIED)
        self._linger(more=True)

    def _end_lingering(self) -> None:
        """Close, unless the answer's last bytes are still being sent to a slow client."""
        now = monotonic()
        transport = self._channel.transport
        if now < self._linger_until and self._channel.would_lose:
            self.alarm.set(now + LINGER_SECONDS)
        elif self.half_closes or transport.is_closing():
            discard(transport)
        else:
            transport.close()  # its end is not sent yet, see `_linger`

    def _close(self, patience: float) -> None:
        """Close without a request in flight. `patience`: seconds for unsent bytes."""
        transport = self._channel.transport
        transport.close()
        if not self.half_closes or transport.get_write_buffer_size():
            # TLS would wait for close_notify, which an idle pooled client does not send. Unsent
            # bytes would wait for a client that does not read.
            self._state = LINGER
            now = monotonic()
            self._linger_until = now + patience
            self.alarm.set(now + LINGER_SECONDS)

    def _linger(self, *, more: bool) -> None:
        """`more`: the client may still send something.

        Under TLS sending cannot end alone, and the end may be the response's. The connection is
        therefore closed at once if nothing more can arrive, else after reading for a while.
        """
        self._state = LINGER
        self.receiving = False
        self._buffer = b""
        now = monotonic()
        self._linger_until = now + self._gate.limits.idle_timeout
        self.alarm.set(now + LINGER_SECONDS)
        if self._channel.closing:
            return  # it was cut, and its buffer may never drain
        self.resume_reading()
        if self.half_closes:
            self._channel.transport.write_eof()
        elif not more:
            self._end_lingering()
