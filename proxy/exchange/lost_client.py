"""The client's side of an exchange whose client has left, and that goes on."""

from asyncio import get_running_loop

from proxy.errors import InternalError
from proxy.http.message import OwnFields, ResponseHead
from proxy.wire.alarm import Alarm
from proxy.wire.streams import ClientStream, StreamHandler, Trailers


class LostClient(ClientStream):
    """Takes the place of the client's stream, after its request has arrived completely."""

    __slots__ = ("_bytes", "_trailers")

    def __init__(self, former: ClientStream, handler: StreamHandler) -> None:
        super().__init__()
        self.alarm = Alarm(get_running_loop(), self._on_alarm)
        self.client = former.client
        self.handler = handler
        self._bytes = former.request_bytes
        self._trailers = former.request_trailers

    @property
    def request_bytes(self) -> int:
        return self._bytes

    @property
    def unsent_bytes(self) -> int:
        return 0

    @property
    def request_trailers(self) -> Trailers:
        return self._trailers

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

    def break_off(self, *, hard: bool) -> None:
        pass

    def finish(self, now: float) -> None:
        self.handler = None
        self.alarm.close()

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass

    def _on_alarm(self) -> None:
        if self.handler is not None:
            self.handler.on_alarm()
