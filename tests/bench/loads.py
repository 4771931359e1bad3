"""The loads, and what one burst of a load comes to."""

from dataclasses import dataclass

from .process import KIB


@dataclass(frozen=True)
class Load:
    """One kind of request. `fixed_rate`: measured at that too; `sink`: needs that upstream.

    `varied`: each request has a field that no other one has.
    """

    name: str
    method: str
    path: str
    body_bytes: int = 0
    fixed_rate: bool = False
    sink: bool = False
    varied: bool = False


LOADS = (
    Load("GET 1 KiB", "GET", "/1k", fixed_rate=True),
    Load("POST 1 KiB", "POST", "/1k", body_bytes=KIB, fixed_rate=True),
    Load("GET 1 KiB, varied", "GET", "/1k", varied=True),
    Load("GET 64 KiB", "GET", "/64k"),
    Load("GET 1 MiB", "GET", "/1m"),
    Load("upload 1 MiB", "POST", "/upload", body_bytes=1024 * KIB, sink=True),
)
QUICK_LOADS = LOADS[:3]


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
