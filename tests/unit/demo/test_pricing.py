"""The messages of pricing, as protobuf codes them."""

import pytest

from proxy.demo.grpc_calls import GrpcError
from proxy.demo.pricing import Quote, order_of, price_of, request_for


@pytest.mark.parametrize(
    ("message", "coded"),
    [
        (request_for("with-7"), b"\x0a\x06with-7"),
        (Quote(150, "EUR").encoded(), b"\x08\x96\x01\x12\x03EUR"),
        (Quote(0, "").encoded(), b"\x08\x00\x12\x00"),
    ],
)
def test_messages_are_coded_as_protobuf_says(message: bytes, coded: bytes) -> None:
    assert message == coded


def test_messages_are_read_back() -> None:
    assert order_of(request_for("ö" * 100)) == "ö" * 100
    quote = Quote(price_of("with-7"), "EUR")
    assert Quote.decoded(quote.encoded()) == quote
    assert Quote.decoded(b"") == Quote(0, ""), "fields that are left out have their defaults"
    assert Quote.decoded(b"\x18\x05" + quote.encoded()) == quote, "unknown fields are skipped"


@pytest.mark.parametrize(
    "message", [b"\x0a", b"\x0a\x05abc", b"\x0d\x00", b"\x08\x01", b"\xff" * 11]
)
def test_what_is_no_request_is_refused(message: bytes) -> None:
    with pytest.raises(GrpcError) as refused:
        order_of(message)
    assert refused.value.name == "INVALID_ARGUMENT"
