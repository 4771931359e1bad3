"""The rows of the tables in `cases/`: bytes in, and what becomes of them.

A request's `becomes` is either the bytes that go upstream, without the fields that the proxy adds
of its own (Via and X-Request-Id, and Date where a response has none), or ``"400 bad-request"``: the
status and the reason of the answer, after which the connection is closed and no whole request has
gone upstream.
A response's `becomes` is the bytes that go to the client, again without those fields, or the
answer that the client gets instead, or `Cut`: these bytes, and then an end that cannot be taken
for the response's.
"""

from dataclasses import dataclass
from typing import NamedTuple

BAD = "400 bad-request"
MALFORMED = "502 upstream-malformed"
LOST = "502 upstream-reset"
DENIED = "403 egress-denied"


class Row(NamedTuple):
    """`closes`: the proxy closes the client's connection after the answer."""

    name: str
    sent: bytes
    becomes: bytes | str
    closes: bool = False


@dataclass(frozen=True)
class Cut:
    came: bytes


class Answer(NamedTuple):
    """What the upstream sends to `asked`. `ends`: and then it closes its connection, `resets`:
    or that breaks.

    `reused`: the connection goes back into the pool. `closes` is as in a `Row`.
    """

    name: str
    sent: bytes
    becomes: bytes | str | Cut
    asked: bytes = b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n"
    ends: bool = False
    reused: bool = True
    closes: bool = False
    resets: bool = False
