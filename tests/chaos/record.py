"""What the chaos upstream remembers of a request."""

import hashlib
import threading
import time
from dataclasses import dataclass, field

KEPT = 1024 * 1024
"""Bytes of a body that are kept; of a longer one only its length and digest are known."""


@dataclass(eq=False)
class Seen:
    """One request as it arrived. `complete`: to its last byte. `lost`: its connection is gone.

    `may_go`: what its script holds back may be sent.
    """

    connection: int
    method: str
    target: str
    version: str
    headers: list[tuple[str, str]]
    head: bytes
    at: float = field(default_factory=time.monotonic)
    body: bytearray = field(default_factory=bytearray)
    length: int = 0
    chunked: bool = False
    trailers: list[tuple[str, str]] = field(default_factory=list)
    complete: threading.Event = field(default_factory=threading.Event)
    lost: threading.Event = field(default_factory=threading.Event)
    answered: threading.Event = field(default_factory=threading.Event)
    may_go: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self._digest = hashlib.sha256()

    def add(self, data: bytes) -> None:
        self.length += len(data)
        self._digest.update(data)
        if len(self.body) < KEPT:
            self.body += data

    @property
    def digest(self) -> str:
        return self._digest.hexdigest()

    def header(self, name: str) -> str | None:
        """The one value of a field, None when it is absent; two of them fail the test."""
        values = self.values(name)
        assert len(values) < 2, f"{name} came {len(values)} times: {values}"
        return values[0] if values else None

    def values(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key.lower() == name.lower()]

    @property
    def request_id(self) -> str | None:
        return self.header("x-request-id")
