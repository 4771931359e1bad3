"""X-Request-Id: which of a caller's are kept, and new ones."""

from proxy.http.random_hex import RandomHex

MAX_LENGTH = 128

_VISIBLE = bytes(range(0x21, 0x7F))
_VARIANTS = {digit: "89ab"[int(digit, 16) & 3] for digit in "0123456789abcdef"}


def valid_request_id(value: bytes) -> bool:
    """1 to 128 visible ASCII characters: safe in a log line and in a field."""
    return 0 < len(value) <= MAX_LENGTH and not value.translate(None, _VISIBLE)


def new_request_id(random_hex: RandomHex) -> str:
    """A version 4 UUID (RFC 9562 section 5.4) as text."""
    drawn = random_hex(32)
    variant = _VARIANTS[drawn[16]]
    return f"{drawn[:8]}-{drawn[8:12]}-4{drawn[13:16]}-{variant}{drawn[17:20]}-{drawn[20:]}"
