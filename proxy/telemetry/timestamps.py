"""Formats times for people and log stores."""

from time import gmtime, strftime


class Timestamps:
    """RFC 3339 in UTC with milliseconds; the text of each second is made once."""

    __slots__ = ("_second", "_text")

    def __init__(self) -> None:
        self._second = -1
        self._text = ""

    def text(self, now: float) -> str:
        """`now`: seconds since the Unix epoch."""
        second, milliseconds = divmod(int(now * 1000), 1000)
        if second != self._second:
            self._second = second
            self._text = strftime("%Y-%m-%dT%H:%M:%S.", gmtime(second))
        return f"{self._text}{milliseconds:03}Z"
