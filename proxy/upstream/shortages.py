"""Failures because this process has run out of a resource: never an upstream's fault.

They have no condition, so no breaker counts them, and no retry uses more of the missing resource.
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
    """A connect timeout that expired before there was an address to connect to."""

    proxy_error = "dns_timeout"


class LookUpQueued(LookUpTimeout):
    """A deadline expired while the look-up waited in the proxy's own queue."""

    blame = Blame.PROXY
    condition = None


class LookUpShortage(DnsFailure):
    """The look-up failed because no descriptor, thread or memory was left."""

    blame = Blame.PROXY
    condition = None


class LookUpStoodStill(LookUpTimeout):
    """A look-up took too long because this process was stopped or had no CPU time."""

    blame = Blame.PROXY
    condition = None


class ConnectStoodStill(ConnectTimeout):
    """A connect took too long because this process was stopped or had no CPU time."""

    blame = Blame.PROXY
    condition = None


class ConnectShortage(ConnectFailed):
    """The connection failed because no descriptor or memory was left."""

    blame = Blame.PROXY
    condition = None


class NoThread(RuntimeError):
    """No thread can be started."""


def look_up_shortage(error: BaseException, host: str) -> LookUpShortage | None:
    """The failure if an error of a look-up of `host` is a shortage of this process, else None."""
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
    """The failure if an error of a connect is a shortage of this process, else None."""
    if error.errno in NO_DESCRIPTORS:
        return ConnectShortage(
            f"No file descriptor is left for a connection to {where}: {RAISE_DESCRIPTORS}."
        )
    if error.errno in NO_MEMORY:
        return ConnectShortage(f"The system has no memory left for a connection to {where}.")
    return None
