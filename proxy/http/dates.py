"""The Date field (RFC 9110 section 6.6.1)."""

from email.utils import formatdate


class DateText:
    """The field's value, made once a second."""

    __slots__ = ("_second", "_text")

    def __init__(self) -> None:
        self._second = -1
        self._text = b""

    def at(self, now: float) -> bytes:
        """`now` is the time of day in seconds since 1970."""
        second = int(now)
        if second != self._second:
            self._second = second
            self._text = formatdate(second, usegmt=True).encode("ascii")
        return self._text
