"""What happens to the fields of a head, by their names: the same in every version of HTTP.

Readers ask once for each name, and remember the answer with it.
"""

from collections.abc import Callable
from typing import Final

GOES_ON: Final = 0
HELD: Final = 1
CHECKED: Final = 2
LENGTH: Final = 3
"""What happens to a field: it is forwarded, or held for the exchange; it is forwarded but must not
be ambiguous; or it frames the body."""

MAX_LENGTH_DIGITS: Final = 18
"""Maximum digits of a Content-Length that is read without llhttp: it cannot overflow."""

DISGUISED: Final = {
    b"content_length": "Content_Length could be read as Content-Length",
    b"transfer_encoding": "Transfer_Encoding could be read as Transfer-Encoding",
}
"""Names that CGI and WSGI gateways read as framing fields, and the reason for the refusal."""
CHECKED_IN_REQUESTS: Final = frozenset({b"content-type", *DISGUISED})
"""Fields of requests that are forwarded if they are unambiguous."""


class Treatment:
    """What happens to the fields of heads of one kind.

    `held_back` are the lower-case names of fields that do not go on, `checked` those of fields that
    go on if they are unambiguous. `keeps_out`: further names that do not go on.
    """

    __slots__ = ("_checked", "_held_back", "_keeps_out")

    def __init__(
        self,
        held_back: frozenset[bytes],
        checked: frozenset[bytes],
        keeps_out: Callable[[bytes], bool] | None,
    ) -> None:
        self._held_back = held_back
        self._checked = checked
        self._keeps_out = keeps_out

    def of(self, name: bytes) -> int:
        """What happens to fields with this lower-case name."""
        if name == b"content-length":
            return LENGTH
        if name in self._held_back:
            return HELD
        if name in self._checked:
            return CHECKED
        if self._keeps_out is not None and self._keeps_out(name):
            return HELD
        return GOES_ON


def hold(held: dict[bytes, list[bytes]], name: bytes, value: bytes) -> None:
    """Add a value to the held ones of its lower-case name."""
    if name in held:
        held[name].append(value)
    else:
        held[name] = [value]
