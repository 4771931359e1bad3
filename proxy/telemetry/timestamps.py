"""Formats times for people and log stores."""

from time import gmtime, strftime


class Timestamps:
    """RFC 3339 in UTC; the text of each second is made once."""

    __slots__ = ("_digits", "_second", "_text", "_unit")

    def __init__(self, digits: int = 3) -> None:
        """`digits` of the fraction of a second."""
        self._digits = digits
        self._unit = 10**digits
        self._second = -1
        self._text = ""

    def text(self, now: float) -> str:
        """`now`: seconds since the Unix epoch."""
        second, fraction = divmod(int(now * self._unit), self._unit)
        if second != self._second:
            self._second = second
            self._text = strftime("%Y-%m-%dT%H:%M:%S.", gmtime(second))
        return f"{self._text}{fraction:0{self._digits}}Z"
