"""What a turn of the loop brings leaves in one write; under TLS in few records."""

import asyncio

import pytest

from proxy.http.h2.frames import MAX_FRAME
from proxy.wire.flow import Channel
from proxy.wire.h2.buckets import Bucket
from proxy.wire.h2.sending import Sender, reads
from proxy.wire.h2.streams import Stream


class Transport:
    def __init__(self, *, tls: bool) -> None:
        self.tls = tls
        self.writes: list[tuple[bytes, ...]] = []

    def write(self, data: bytes) -> None:
        self.writes.append((data,))

    def writelines(self, pieces: list[bytes]) -> None:
        self.writes.append(tuple(pieces))

    def can_write_eof(self) -> bool:
        return not self.tls

    def is_closing(self) -> bool:
        return False


def sender_on(transport: Transport) -> Sender:
    sender = Sender()
    sender.channel = Channel(transport)  # as much of one as it uses
    sender._loop = asyncio.get_running_loop()
    sender.calm = Bucket(100.0, 100.0, 0.0)
    sender.window = 2**20
    return sender


async def test_what_a_read_causes_is_written_at_its_end() -> None:
    """It saves a turn of the loop; what no read causes waits for the turn."""
    transport = Transport(tls=False)
    sender = sender_on(transport)
    stream = Stream(1, 2**20, 0.0)
    reads.open = True
    for _ in range(3):
        sender.write(stream, b"x", False)
    assert not transport.writes
    reads.end()
    assert len(transport.writes) == 1
    sender.write(stream, b"x", False)
    assert len(transport.writes) == 1
    await asyncio.sleep(0)
    assert len(transport.writes) == 2


async def test_many_clients_share_a_write_to_their_upstream() -> None:
    transport = Transport(tls=False)
    sender = sender_on(transport)
    sender.joins = True
    streams = [Stream(2 * at + 1, 2**20, 0.0) for at in range(5)]
    sender.streams = {one.id: one for one in streams}
    for stream in streams:
        reads.open = True
        sender.write(stream, b"x", True)
        reads.end()
    assert not transport.writes
    await asyncio.sleep(0)
    assert len(transport.writes) == 1


@pytest.mark.parametrize(("tls", "pieces"), [(False, 12), (True, 1)])
async def test_under_tls_the_frames_of_a_turn_are_one_piece(tls: bool, pieces: int) -> None:
    """Each piece of a write becomes a TLS record, and a frame's head has nine bytes."""
    transport = Transport(tls=tls)
    sender = sender_on(transport)
    stream = Stream(1, 2**20, 0.0)
    for _ in range(6):
        sender.write(stream, b"x" * MAX_FRAME, False)
    sender.flush()
    (written,) = transport.writes
    assert len(written) == pieces
    assert len(b"".join(written)) == 6 * (9 + MAX_FRAME)
