"""One connection of the chaos upstream: reads requests by hand, answers as the script says."""

import asyncio
import contextlib
import socket
import struct
from typing import TYPE_CHECKING

from chaos.record import Seen
from chaos.script import Ending, Fault, Framing, Step, pattern

if TYPE_CHECKING:
    from chaos.upstream import ChaosUpstream

BUFFERED = 256 * 1024
"""Bytes that are read ahead of what was asked for, so that a slow reader exerts pressure."""


TLS_HANDSHAKE = 0x16
"""First byte of a client that takes this for a TLS port: it is told off, as servers do."""


class Lost(Exception):
    """The other side closed the connection, or this one was told to."""


class ChaosConnection:
    """Reads ahead in a task of its own, so that the loss of the peer is noticed at any time."""

    def __init__(
        self,
        owner: "ChaosUpstream",
        number: int,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        self.owner = owner
        self.number = number
        self.task: asyncio.Task[None] | None = None
        self.busy = False
        self._reader = reader
        self._writer = writer
        self._buffer = bytearray()
        self._eof = False
        self._news = asyncio.Event()
        self._room = asyncio.Event()
        self._current: Seen | None = None
        self._step = Step()
        self._sent = 0

    async def run(self) -> None:
        greeted = self.number % self.owner.greet_every == 0
        if greeted and self.owner.greeting is not None:
            self._close(rst=self.owner.greeting == "rst")
            return
        pump = asyncio.ensure_future(self._pump())
        try:
            while await self._exchange():
                pass
        except (Lost, OSError):
            pass  # ENOTCONN, which is no ConnectionError, included
        finally:
            pump.cancel()
            await asyncio.gather(pump, return_exceptions=True)

    def abort(self, *, rst: bool = False) -> None:
        if rst:
            self._reset_on_close()
        self._writer.transport.abort()

    async def finish(self) -> None:
        if self._current is not None:
            self._current.lost.set()
        self._writer.close()
        with contextlib.suppress(ConnectionError, OSError):
            await self._writer.wait_closed()

    # --- reading ------------------------------------------------------------------------------

    async def _pump(self) -> None:
        try:
            while data := await self._reader.read(64 * 1024):
                self._buffer += data
                self._news.set()
                while len(self._buffer) > BUFFERED:
                    self._room.clear()
                    await self._room.wait()
        except (ConnectionError, OSError):
            pass  # an end like any other
        self._eof = True
        self._news.set()
        if self._current is not None:
            self._current.lost.set()
            self.owner.changed()

    async def _more(self) -> None:
        """Wait for bytes. Raises Lost when none will come."""
        if self._eof:
            raise Lost
        self._news.clear()
        self._room.set()
        await self._news.wait()

    async def _pause(self, seconds: float | None) -> None:
        """Let time pass (None: for ever), unless the peer leaves first: Lost."""
        try:
            async with asyncio.timeout(seconds):
                while not self._eof:
                    self._news.clear()
                    await self._news.wait()
            raise Lost
        except TimeoutError:
            return

    async def _hold(self, seen: Seen) -> None:
        """Until the test lets it go, unless the peer leaves first: Lost."""
        while not seen.may_go.is_set():
            await self._pause(0.005)

    async def _until(self, mark: bytes) -> bytes:
        while (place := self._buffer.find(mark)) < 0:
            await self._more()
        end = place + len(mark)
        taken = bytes(self._buffer[:end])
        del self._buffer[:end]
        return taken

    async def _take(self, size: int, seen: Seen) -> None:
        while size:
            if not self._buffer:
                await self._more()
                continue
            piece = bytes(self._buffer[:size])
            del self._buffer[: len(piece)]
            size -= len(piece)
            seen.add(piece)
            self._room.set()

    async def _read_head(self) -> Seen:
        while not self._buffer:
            await self._more()
        if self._buffer[0] == TLS_HANDSHAKE:
            await self._send(b"HTTP/1.1 400 Plain HTTP here\r\nConnection: close\r\n\r\n")
            raise Lost
        head = await self._until(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        method, target, version = lines[0].split(" ")
        fields = [line.partition(":") for line in lines[1:-2]]
        headers = [(name, value.strip()) for name, _, value in fields]
        return Seen(self.number, method, target, version, headers, head)

    async def _read_body(self, seen: Seen) -> None:
        if (seen.header("transfer-encoding") or "").lower() == "chunked":
            seen.chunked = True
            while size := int((await self._until(b"\r\n")).split(b";")[0], 16):
                await self._take(size, seen)
                await self._until(b"\r\n")
            while (line := await self._until(b"\r\n")) != b"\r\n":
                name, _, value = line.decode("latin-1").partition(":")
                seen.trailers.append((name, value.strip()))
        else:
            await self._take(int(seen.header("content-length") or 0), seen)
        seen.complete.set()
        self.owner.changed()

    # --- answering ----------------------------------------------------------------------------

    async def _exchange(self) -> bool:
        """One request and its answer; whether another may follow."""
        self.busy = False
        seen = await self._read_head()
        self.busy = True
        self._current = seen
        self._step = step = self.owner.record(seen)
        self._sent = 0
        if step.fault is Fault.RESET_BEFORE_BODY:
            return self._close(rst="rst" in step.flags)
        if step.read_delay:
            await asyncio.sleep(step.read_delay)  # unlike _pause it lets the peer's bytes lie
        if "continue" in step.flags:
            await self._send(b"HTTP/1.1 100 Continue\r\n\r\n")
        if "early" not in step.flags:
            await self._read_body(seen)
        if "held" in step.flags:
            await self._hold(seen)
        if step.delay:
            await self._pause(step.delay)
        keep = await self._answer(seen, step)
        seen.answered.set()
        self.owner.changed()
        self._current = None
        return keep

    async def _answer(self, seen: Seen, step: Step) -> bool:
        rst = "rst" in step.flags
        match step.fault:
            case Fault.RESET_BEFORE_HEAD:
                return self._close(rst=rst)
            case Fault.RESET_IN_HEAD:
                await self._send(b"HTTP/1.1 200 OK\r\nContent-Le")
                return self._close(rst=rst)
            case Fault.MALFORMED:
                await self._send(b"HTTP/1.1 TWO HUNDRED\r\nnonsense\r\n\r\n")
                return self._close(rst=rst)
            case Fault.HANG:
                await self._pause(None)
            case Fault.HANG_IN_HEAD:
                await self._send(b"HTTP/1.1 200 OK\r\nContent-Le")
                await self._pause(None)
            case Fault.ENDLESS_HEAD:
                await self._send(b"HTTP/1.1 200 OK\r\n")
                await self._send_for_ever(b"X-More: and more\r\n" * 1000)
        if "upgrade" in step.flags:
            return await self._tunnel(seen)
        for status in step.interim:
            await self._send(b"HTTP/1.1 %d Wait\r\nLink: </a.css>; rel=preload\r\n\r\n" % status)
        await self._respond(seen, step)
        return await self._after(step)

    async def _after(self, step: Step) -> bool:
        if step.ending is not Ending.KEEP or step.framing is Framing.UNTIL_CLOSE:
            if "early" in step.flags:
                # Closing with unread bytes would reset the connection and destroy the answer.
                if self._writer.can_write_eof():
                    self._writer.write_eof()
                await self._pause(1.0)
            return self._close(rst="rst" in step.flags)
        if step.idle_close is not None:
            await self._pause(step.idle_close)
            return self._close(rst="rst" in step.flags)
        return True

    async def _respond(self, seen: Seen, step: Step) -> None:
        body = bytes(seen.body) if "echo" in step.flags else b"ok"
        if step.size is not None:
            body = pattern(step.size)
        bodiless = step.status in (204, 304)
        fields = list(step.headers)
        if step.ending is Ending.CLOSE:
            fields.append(("Connection", "close"))
        if step.framing is Framing.CHUNKED:
            fields.append(("Transfer-Encoding", "chunked"))
        elif step.framing is Framing.LENGTH and step.status != 204:
            fields.append(("Content-Length", str(len(body))))
        version = "1.0" if "http10" in step.flags else "1.1"
        lines = [f"HTTP/{version} {step.status} Chaos", *(f"{k}: {v}" for k, v in fields)]
        head = "\r\n".join([*lines, "", ""]).encode("latin-1")
        if "twice" in step.flags:
            # In one piece: of a second answer that comes when the connection has been given to
            # another request, nobody could tell whose it is.
            await self._send((head + body) * 2)
            return
        if step.head_pause:
            await self._send(head[: len(head) // 2])
            await self._pause(step.head_pause)
            head = head[len(head) // 2 :]
        await self._send(head)
        if "endless" in step.flags:
            piece = b"for ever" * 2048
            chunked = step.framing is Framing.CHUNKED
            await self._send_for_ever(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece)
        if seen.method != "HEAD" and not bodiless:
            await self._send_body(body, seen, step)

    async def _send_body(self, body: bytes, seen: Seen, step: Step) -> None:
        sent = 0
        stop = step.truncate if step.truncate is not None else step.stall
        size = max(1, -(-len(body) // step.pieces))
        if stop is not None:
            size = min(size, max(stop, 1))
        for start in range(0, len(body), size):
            if stop is not None and sent >= stop:
                break
            if start and "held-body" in step.flags:
                await self._hold(seen)
            if start and step.interval:
                await self._pause(step.interval)
            piece = body[start : start + size]
            sent += len(piece)
            chunked = step.framing is Framing.CHUNKED
            await self._send(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece)
        if step.truncate is not None:
            self._close(rst="rst" in step.flags)
            raise Lost
        if step.stall is not None:
            await self._pause(None)
        if step.framing is Framing.CHUNKED:
            trailers = "".join(f"{name}: {value}\r\n" for name, value in step.trailers)
            await self._send(b"0\r\n" + trailers.encode("latin-1") + b"\r\n")

    async def _tunnel(self, seen: Seen) -> bool:
        kind = seen.header("upgrade") or "echo"
        head = f"HTTP/1.1 101 Switching\r\nConnection: Upgrade\r\nUpgrade: {kind}\r\n\r\n"
        await self._send(head.encode("latin-1"))
        while True:
            if self._buffer:
                data = bytes(self._buffer)
                self._buffer.clear()
                await self._send(data)
            await self._more()

    async def _send(self, data: bytes) -> None:
        """Send it, or as much of it as the script lets through; then Lost."""
        step = self._step
        cut = step.cut is not None and self._sent + len(data) >= step.cut
        if cut:
            data = data[: step.cut - self._sent]
        self._sent += len(data)
        size = 1 if "drip" in step.flags else 256 * 1024
        view = memoryview(data)
        for start in range(0, len(data), size):
            self._writer.write(view[start : start + size])
            await self._writer.drain()
        if cut:
            self._close(rst="rst" in step.flags)
            raise Lost

    async def _send_for_ever(self, data: bytes) -> None:
        while not self._eof:
            await self._send(data)
            await asyncio.sleep(0)
        raise Lost

    def _close(self, *, rst: bool = False) -> bool:
        """End the connection after what was sent; False for the caller to hand on."""
        if rst:
            self._reset_on_close()
        if "ragged" in self._step.flags or (rst and self.owner.tls is not None):
            self._writer.transport.abort()  # else TLS says good-bye first
        self._writer.close()
        return False

    def _reset_on_close(self) -> None:
        raw = self._writer.get_extra_info("socket")
        with contextlib.suppress(OSError):  # it is closed already
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
