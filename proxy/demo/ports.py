"""Reserves ports of this machine, also while no socket listens on them.

The kernel can assign the port of a closed listener to an outgoing connection, and then the listener
cannot return. A socket that is bound but never listens reserves the port, and connections to it
are refused, as intended.
"""

import socket

LOOPBACK = "127.0.0.1"


class ReservedPort:
    """A free port of loopback, held until `release`."""

    __slots__ = ("_holder", "number")

    def __init__(self) -> None:
        self._holder = _bound(0)
        self.number: int = self._holder.getsockname()[1]

    def socket(self) -> socket.socket:
        """A new socket on this port, to listen on; the caller closes it."""
        return _bound(self.number)

    def release(self) -> None:
        self._holder.close()


def _bound(port: int) -> socket.socket:
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    # With this option two sockets may share a port while at most one of them listens.
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((LOOPBACK, port))
    except OSError:
        bound.close()
        raise
    return bound
