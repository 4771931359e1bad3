"""The parts of a request that routing needs, as a protocol."""

from typing import Protocol


class Head(Protocol):
    """`host`: lower case, without port or brackets, empty without one. `path`: raw,
    beginning with ``/``, or ``*``. `query`: raw, without the question mark. `version`: of HTTP, 10,
    11 or 20."""

    @property
    def version(self) -> int: ...

    @property
    def method(self) -> str: ...

    @property
    def host(self) -> str: ...

    @property
    def path(self) -> str: ...

    @property
    def query(self) -> str: ...

    def values(self, name: bytes) -> list[bytes]:
        """All values of the fields with this lower-case name."""
        ...
