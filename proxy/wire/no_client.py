"""The client's side of an exchange that has no client, or none any more."""

import asyncio

from proxy.errors import InternalError
from proxy.http.message import OwnFields, ResponseHead
from proxy.wire.alarm import Alarm
from proxy.wire.streams import NO_TRAILERS, ClientStream, Trailers


class NoClient(ClientStream):
    """Takes what it is given, and drops it. Its alarm rings for its handler."""

    __slots__ = ()

    def __init__(self, loop: asyncio.AbstractEventLoop, client: str) -> None:
        """`client`: the address that records show."""
        super().__init__()
        self.alarm = Alarm(loop, self._on_alarm)
        self.client = client

    def _on_alarm(self) -> None:
        if self.handler is not None:
            self.handler.on_alarm()

    @property
    def request_bytes(self) -> int:
        return 0

    @property
    def unsent_bytes(self) -> int:
        return 0

    @property
    def request_trailers(self) -> Trailers:
        return NO_TRAILERS

    def write_informational(self, head: ResponseHead) -> None:
        pass

    def write_head(
        self,
        head: ResponseHead,
        own: OwnFields,
        piece: bytes,
        ended: bool,
        trailers: Trailers,
        last: bool,
    ) -> None:
        pass

    def write_body(self, piece: bytes) -> None:
        pass

    def end(self, trailers: Trailers) -> None:
        pass

    def open_tunnel(self, head: ResponseHead, own: OwnFields, piece: bytes) -> bytes:
        raise InternalError("A request without a client became a tunnel.")

    def break_off(self, *, hard: bool, cancelled: bool = False) -> None:
        pass

    def finish(self, now: float) -> None:
        self.handler = None
        self.alarm.close()

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass
