"""The messages of ``shop.v1.Pricing``, coded by hand:

    service Pricing { rpc Quote(QuoteRequest) returns (QuoteReply); }
    message QuoteRequest { string order = 1; }
    message QuoteReply { int64 cents = 1; string currency = 2; }

Only the two kinds of fields that these have are read (protobuf's "Encoding").
"""

from dataclasses import dataclass
from zlib import crc32

from proxy.demo.grpc_calls import GrpcError
from proxy.grpc_status import INVALID_ARGUMENT

_VARINT, _BYTES = 0, 2


@dataclass(frozen=True, slots=True)
class Quote:
    """The price of an order."""

    cents: int
    currency: str

    def encoded(self) -> bytes:
        return _number(1, self.cents) + _text(2, self.currency)

    @classmethod
    def decoded(cls, message: bytes) -> "Quote":
        fields = _fields(message)
        cents, currency = fields.get(1, 0), fields.get(2, b"")
        if not isinstance(cents, int) or not isinstance(currency, bytes):
            raise _malformed()
        return cls(cents, currency.decode("utf-8", "replace"))


def price_of(order: str) -> int:
    """Cents; the same for the same order."""
    return 500 + crc32(order.encode()) % 9500


def request_for(order: str) -> bytes:
    """A QuoteRequest."""
    return _text(1, order)


def order_of(message: bytes) -> str:
    """The order of a QuoteRequest. Raises GrpcError."""
    order = _fields(message).get(1, b"")
    if not isinstance(order, bytes):
        raise _malformed()
    return order.decode("utf-8", "replace")


def _malformed() -> GrpcError:
    return GrpcError(INVALID_ARGUMENT, "the message is malformed")


def _varint(number: int) -> bytes:
    coded = bytearray()
    while number >= 0x80:
        coded.append(number & 0x7F | 0x80)
        number >>= 7
    coded.append(number)
    return bytes(coded)


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3 | _VARINT) + _varint(value)


def _text(field: int, value: str) -> bytes:
    raw = value.encode()
    return _varint(field << 3 | _BYTES) + _varint(len(raw)) + raw


def _fields(message: bytes) -> dict[int, int | bytes]:
    """The fields by number, the last of equal ones. Raises GrpcError."""
    found: dict[int, int | bytes] = {}
    at = 0
    while at < len(message):
        key, at = _read_varint(message, at)
        value, at = _read_varint(message, at)
        if key & 7 == _VARINT:
            found[key >> 3] = value
        elif key & 7 == _BYTES and at + value <= len(message):
            found[key >> 3] = message[at : at + value]
            at += value
        else:
            raise _malformed()
    return found


def _read_varint(message: bytes, at: int) -> tuple[int, int]:
    number = shift = 0
    while at < len(message) and shift < 64:
        byte = message[at]
        at += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, at
        shift += 7
    raise _malformed()
