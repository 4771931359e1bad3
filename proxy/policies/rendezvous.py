"""Weighted rendezvous hashing: which of several takes a value, so that equal values stay together.

Each place (an upstream of a split, an endpoint) draws a number for a value, and the place with the
smallest `wait` takes it (Schindelhauer and Schomaker, 2005). A draw depends on the value and the
place's seed alone: the order of the places does not matter, replicas and restarts agree, without a
place only its own values move, and while a place's weight grows, values move to it and none moves
anywhere else.

Numbers have 30 bits: their products fit into a number of the machine. They spread values, and do
not resist anyone who looks for collisions.
"""

from math import log
from typing import TYPE_CHECKING, Final
from zlib import crc32

if TYPE_CHECKING:  # for mypyc: numbers of the machine; nothing imports it when this runs
    from mypy_extensions import i64

_BITS: Final = 30
_MOST: Final = 1 << _BITS
_MASK: Final = _MOST - 1
_RANGE: Final = 1.0 / _MOST


def hash_of(value: bytes) -> int:
    """A value's hash, the same in every process."""
    bits = crc32(value)
    return (bits ^ bits >> _BITS) & _MASK


def seed_of(name: bytes) -> int:
    """What a place draws with; other names draw independently."""
    return draw(hash_of(name), 0)


def endpoint_name(scheme: str, host: str, label: str) -> bytes:
    """What an endpoint draws with: its address (`label`), so that replicas agree.

    With https the name decides which service answers at an address, and is part of it.
    """
    if scheme == "https" and not label.startswith((f"{host}:", f"[{host}]:")):
        return f"{host} {label}".encode()
    return label.encode()


def draw(hashed: int, seed: int) -> int:
    """A place's number for a hash, evenly spread. With equal weights the largest number wins."""
    bits: i64 = hashed ^ seed
    bits = (bits ^ bits >> 15) * 0x2C1B3C6D & _MASK
    bits = (bits ^ bits >> 12) * 0x297A2D39 & _MASK
    return bits ^ bits >> 15


def wait(drawn: int, weight: float) -> float:
    """The time until the first event of a process with rate `weight`: shares are the weights."""
    return -log((drawn + 0.5) * _RANGE) / weight
