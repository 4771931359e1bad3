"""Arbitrary field blocks of one HTTP/2 connection, beside another implementation of HPACK.

What has to hold whatever they are: no exception but HpackError; what is accepted says the same to
both, fields and dynamic table; and what was accepted can be encoded and read back.

Each block is a byte with its length, and so many bytes; blocks of 255 bytes repeat the one before.
"""

import hpack
from exchange.stage import Stage

from fuzz.client_side import CONFIG as CONFIG
from fuzz.controls import with_controls
from proxy.http.h2.decoder import Decoder
from proxy.http.h2.encoder import Encoder
from proxy.http.h2.errors import HpackError
from proxy.http.h2.fields import FieldStore
from proxy.http.message import Shared

_MOST = 1 << 30
_STORE = FieldStore(frozenset({b":path", b"x-id"}))


def run(stage: Stage, data: bytes) -> None:
    """Raises if anything is wrong. The stage is not used."""
    ours, oracle = Decoder(_STORE), hpack.Decoder(max_header_list_size=_MOST)
    encoder, reader = Encoder(), hpack.Decoder(max_header_list_size=_MOST)
    for block in _blocks(data[2:]):
        try:
            section = ours.decode(block, _MOST, _MOST)
        except HpackError:
            return
        found = [(field.name.text, field.value) for field in section.fields]
        assert [(each[0], each[1]) for each in oracle.decode(block, raw=True)] == found
        table = [(field.name.text, field.value) for field in ours.table]
        assert table == list(oracle.header_table.dynamic_entries)
        sent = encoder.begin()
        encoder.add_head(sent, Shared([*section.fields], {}), [])
        back = reader.decode(b"".join(sent), raw=True)
        assert [(each[0], each[1]) for each in back] == [(n.lower(), v) for n, v in found]


def _blocks(data: bytes) -> list[bytes]:
    blocks = [b""]
    at = 0
    while at < len(data):
        size = data[at]
        at += 1
        if size == 255:
            blocks.append(blocks[-1])
        else:
            blocks.append(data[at : at + size])
            at += size
    return blocks


def seeds() -> list[bytes]:
    """The examples of RFC 7541 appendix C, and blocks that change the table's size."""
    blocks = [
        "400a637573746f6d2d6b65790d637573746f6d2d686561646572",
        "040c2f73616d706c652f70617468",
        "100870617373776f726406736563726574",
        "828684410f7777772e6578616d706c652e636f6d",
        "828684be58086e6f2d6361636865",
        "828684418cf1e3c2e5f23a6ba0ab90f4ff",
        "828785bf408825a849e95ba97d7f8925a849e95bb8e8b4bf",
        "203fe11f82",
        "3f21400161016282be",
    ]
    coded = [bytes.fromhex(block) for block in blocks]
    made = [with_controls(bytes((len(block),)) + block + b"\xff") for block in coded]
    return [*made, with_controls(b"".join(bytes((len(block),)) + block for block in coded))]
