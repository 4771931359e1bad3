"""Asks the kernel which IP addresses belong to this machine, without a look-up."""

import socket

_ELSEWHERE = ("192.0.2.1", "2001:db8::1")
"""Addresses for documentation (RFC 5737, RFC 3849), which no machine has."""


def is_local_address(address: str) -> bool:
    """Whether an interface of this machine has this address now. Takes some microseconds.

    Only an address of the machine can be bound. If the machine can bind any address (Linux:
    ip_nonlocal_bind), the source address of a connection to it decides.
    """
    six = ":" in address
    family = socket.AF_INET6 if six else socket.AF_INET
    if not _binds(family, address):
        return False
    return not _binds(family, _ELSEWHERE[six]) or _is_own_source(family, address)


def _binds(family: socket.AddressFamily, address: str) -> bool:
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((address, 0))
    except OSError:
        return False
    return True


def _is_own_source(family: socket.AddressFamily, address: str) -> bool:
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((address, 9))  # sends nothing
            return bool(probe.getsockname()[0] == address)
    except OSError:
        return False
