"""What routing needs to know of a request, whoever has parsed it."""

from typing import Protocol


class Head(Protocol):
    """`host`: lower case, without port or brackets, empty where there is none. `path`: raw,
    beginning with ``/``, or ``*``. `query`: raw, without the question mark."""

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
