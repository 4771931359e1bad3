"""Flow control, the same on both sides: who may read, who may write.

asyncio calls `pause_writing` when a transport's buffer is above its high-water mark. The
connection tells the exchange, which stops reading on the other side until the buffer is empty
enough again: so memory stays bounded however slow one side is.
"""

import asyncio


class FlowControl:
    """Reading can be paused and resumed any number of times; the transport hears of changes."""

    __slots__ = ("_reading", "_transport", "write_paused")

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._reading = True
        self.write_paused = False

    def pause_reading(self) -> None:
        if self._reading and not self._transport.is_closing():
            self._reading = False
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        if not self._reading and not self._transport.is_closing():
            self._reading = True
            self._transport.resume_reading()
