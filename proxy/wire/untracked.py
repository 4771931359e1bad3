"""Stands for uvloop's weak dictionary of its transports, which is interpreted.

uvloop looks into it in one case: `add_reader` for the socket of a transport is an error, which the
proxy does not make. To keep it took a new connection 6,300 instructions. Another version of uvloop
may ask in other ways: this answers as a dictionary whose transports are gone.
"""

from collections.abc import Iterator


class Untracked:
    """Forgets what is set."""

    __slots__ = ()

    def __getitem__(self, descriptor: int) -> object:
        raise KeyError(descriptor)

    def __setitem__(self, descriptor: int, transport: object) -> None:
        pass

    def __delitem__(self, descriptor: int) -> None:
        """No error: what was set is not here, and can be deleted."""

    def __contains__(self, descriptor: object) -> bool:
        return False

    def __len__(self) -> int:
        return 0

    def __iter__(self) -> Iterator[int]:
        return iter(())

    def get(self, descriptor: int, default: object = None) -> object:
        return default

    def pop(self, descriptor: int, default: object = None) -> object:
        """Unlike a dictionary's, no error without a default: what was set is not here either."""
        return default

    def values(self) -> Iterator[object]:
        return iter(())
