"""Mirror: copies of requests for another upstream. The client never sees their answers."""

from dataclasses import dataclass

from proxy.clock import Random


@dataclass(frozen=True, slots=True)
class MirrorConfig:
    """`share` of the requests. `credentials`: copies keep Authorization and Cookie."""

    upstream: str
    share: float = 1.0
    max_in_flight: int = 16
    credentials: bool = False


class MirrorPlaces:
    """The bulkhead of one route's mirror: `in_flight` copies of at most `config.max_in_flight`."""

    __slots__ = ("_random", "config", "in_flight")

    def __init__(self, config: MirrorConfig, random: Random) -> None:
        self.config = config
        self._random = random
        self.in_flight = 0

    def chosen(self) -> bool:
        """Draw whether a request is mirrored."""
        share = self.config.share
        return share >= 1.0 or self._random() < share

    def enter(self) -> bool:
        """Take a place; False: all are taken. `leave` returns it."""
        if self.in_flight >= self.config.max_in_flight:
            return False
        self.in_flight += 1
        return True

    def leave(self) -> None:
        self.in_flight -= 1
