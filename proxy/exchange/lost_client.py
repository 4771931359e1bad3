"""The client's side of an exchange whose client has left, and that goes on."""

from asyncio import get_running_loop

from proxy.wire.no_client import NoClient
from proxy.wire.streams import ClientStream, StreamHandler, Trailers


class LostClient(NoClient):
    """Takes the place of the client's stream, after its request has arrived completely."""

    __slots__ = ("_bytes", "_trailers")

    def __init__(self, former: ClientStream, handler: StreamHandler) -> None:
        super().__init__(get_running_loop(), former.client)
        self.handler = handler
        self._bytes = former.request_bytes
        self._trailers = former.request_trailers

    @property
    def request_bytes(self) -> int:
        return self._bytes

    @property
    def request_trailers(self) -> Trailers:
        return self._trailers
