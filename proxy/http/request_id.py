"""X-Request-Id: which of a caller's are kept, and new ones."""

from collections.abc import Callable

MAX_LENGTH = 128

_VISIBLE = bytes(range(0x21, 0x7F))


def valid_request_id(value: bytes) -> bool:
    """1 to 128 visible ASCII characters: safe in a log line and in a field."""
    return 0 < len(value) <= MAX_LENGTH and not value.translate(None, _VISIBLE)


def new_request_id(random_bits: Callable[[int], int]) -> str:
    """A version 4 UUID (RFC 9562 section 5.4) as text; `random_bits(n)` draws n random bits."""
    bits = random_bits(128) & ~(0xF << 76) & ~(0x3 << 62) | 0x4 << 76 | 0x2 << 62
    text = f"{bits:032x}"
    return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))
