"""Stands for uvloop's weak dictionary of its transports, which is interpreted.

uvloop looks into it in one case: `add_reader` for the socket of a transport is an error, which the
proxy does not make. To keep it took a new connection 6,300 instructions.
"""


class Untracked:
    """Forgets what is set."""

    __slots__ = ()

    def __getitem__(self, descriptor: int) -> object:
        raise KeyError(descriptor)

    def __setitem__(self, descriptor: int, transport: object) -> None:
        pass
