"""The loads, and what one burst of a load comes to."""

from dataclasses import dataclass
from enum import Enum

from .process import KIB


class Heads(Enum):
    """What differs from request to request.

    Real traffic has another path, another request id and another trace in every request. Equal
    heads are the better case for whatever remembers heads.
    """

    EQUAL = "equal"
    VARIED = "varied"


class Connections(Enum):
    """What a connection is used for. RESUMED: one request, and TLS goes on with a session."""

    KEPT = "kept"
    ONE_REQUEST = "one request"
    RESUMED = "resumed"


@dataclass(frozen=True)
class Load:
    """One kind of request.

    `fixed_rate`: measured at that too. `sink`: needs that upstream. `many`: measured with 512
    connections too.
    """

    name: str
    method: str
    path: str
    body_bytes: int = 0
    fixed_rate: bool = False
    sink: bool = False
    many: bool = False
    tls: bool = False
    heads: Heads = Heads.EQUAL
    connections: Connections = Connections.KEPT


LOADS = (
    Load("GET 1 KiB", "GET", "/1k", fixed_rate=True, many=True),
    Load("GET 1 KiB, varied", "GET", "/1k", heads=Heads.VARIED, many=True),
    Load("POST 1 KiB", "POST", "/1k", body_bytes=KIB, fixed_rate=True),
    Load("GET 64 KiB", "GET", "/64k"),
    Load("GET 1 MiB", "GET", "/1m"),
    Load("upload 1 MiB", "POST", "/upload", body_bytes=1024 * KIB, sink=True),
    Load("new connections", "GET", "/1k", connections=Connections.ONE_REQUEST),
    Load("TLS GET 1 KiB", "GET", "/1k", tls=True),
    Load("TLS GET 64 KiB", "GET", "/64k", tls=True),
    Load("TLS GET 1 MiB", "GET", "/1m", tls=True),
    Load("TLS handshakes", "GET", "/1k", tls=True, connections=Connections.ONE_REQUEST),
    Load("TLS handshakes, resumed", "GET", "/1k", tls=True, connections=Connections.RESUMED),
)
QUICK_LOADS = tuple(
    load
    for load in LOADS
    if load.name in {"GET 1 KiB", "GET 1 KiB, varied", "POST 1 KiB", "new connections"}
)


@dataclass(frozen=True)
class Burst:
    """What a load generator saw; latencies in microseconds."""

    requests: int
    seconds: float
    p50: float
    p99: float
    errors: int

    @property
    def rate(self) -> float:
        return self.requests / self.seconds
