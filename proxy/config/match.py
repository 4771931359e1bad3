"""The conditions of a route, as typed values."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ValueMatch:
    """The match of a header or query value: `exact`, a `regex` for all of it, or presence."""

    exact: str | None = None
    regex: str | None = None
    present: bool = True


@dataclass(frozen=True, slots=True)
class GrpcMatch:
    """gRPC calls: any, those of a `service`, or of one `method` of it. Case counts."""

    service: str = ""
    method: str = ""


@dataclass(frozen=True, slots=True)
class MatchConfig:
    """All given conditions must hold; an empty match takes everything.

    `hosts` are lower case, ``*.suffix`` allowed; at most one of prefix, path, regex and a service
    of `grpc` is set; header names are lower case.
    """

    hosts: tuple[str, ...] = ()
    prefix: str | None = None
    path: str | None = None
    regex: str | None = None
    methods: frozenset[str] = frozenset()
    headers: tuple[tuple[str, ValueMatch], ...] = ()
    query: tuple[tuple[str, ValueMatch], ...] = ()
    grpc: GrpcMatch | None = None

    @property
    def exact_path(self) -> str | None:
        """The only path that it can take, if there is one."""
        if self.grpc is not None and self.grpc.method:
            return f"/{self.grpc.service}/{self.grpc.method}"
        return self.path

    @property
    def below(self) -> str | None:
        """The prefix of all paths that it can take, in whole segments, if that is known."""
        if self.grpc is not None and self.grpc.service and not self.grpc.method:
            return f"/{self.grpc.service}"
        return self.prefix
