"""What this process itself has run out of: never an upstream's fault.

These failures have no condition, so no breaker counts them, and no retry asks for more of what is
missing.
"""

import errno

from proxy.errors import Blame, ConnectFailed, ConnectTimeout, DnsFailure

NO_DESCRIPTORS = frozenset({errno.EMFILE, errno.ENFILE})
NO_MEMORY = frozenset({errno.ENOBUFS, errno.ENOMEM})

RAISE_DESCRIPTORS = (
    "this says nothing about the upstream. Raise this process's limit (ulimit -n), or lower "
    "limits.connections and the upstreams' connections.max"
)


class LookUpTimeout(ConnectTimeout):
    """A connect timeout that passed before there was an address to connect to."""

    proxy_error = "dns_timeout"


class LookUpQueued(LookUpTimeout):
    """The caller's time was over while the look-up stood in the proxy's own line."""

    blame = Blame.PROXY
    condition = None


class LookUpShortage(DnsFailure):
    """The look-up could not be made for want of a descriptor, a thread or memory."""

    blame = Blame.PROXY
    condition = None


class ConnectShortage(ConnectFailed):
    """The connection could not be opened for want of a descriptor or memory."""

    blame = Blame.PROXY
    condition = None


class NoThread(RuntimeError):
    """No thread can be started."""


def look_up_shortage(error: BaseException, host: str) -> LookUpShortage | None:
    """The failure, if an error of a look-up of `host` is this process's own; else None."""
    if isinstance(error, NoThread):
        return LookUpShortage(f"No thread can be started to look {host} up: raise the pids limit.")
    if not isinstance(error, OSError):
        return None
    if error.errno in NO_DESCRIPTORS:
        return LookUpShortage(f"No file descriptor is left to look {host} up: {RAISE_DESCRIPTORS}.")
    if error.errno in NO_MEMORY:
        return LookUpShortage(f"The system has no memory left to look {host} up.")
    return None


def connect_shortage(error: OSError, where: str) -> ConnectShortage | None:
    """The failure, if an error of a connect is this process's own; else None."""
    if error.errno in NO_DESCRIPTORS:
        return ConnectShortage(
            f"No file descriptor is left for a connection to {where}: {RAISE_DESCRIPTORS}."
        )
    if error.errno in NO_MEMORY:
        return ConnectShortage(f"The system has no memory left for a connection to {where}.")
    return None
