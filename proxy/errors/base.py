"""What every failure of a request says of itself."""

from enum import Enum
from typing import ClassVar

from proxy.grpc_status import INTERNAL
from proxy.outcome import Condition


class Blame(Enum):
    """The party that must change something to fix the failure."""

    CLIENT = "client"
    UPSTREAM = "upstream"
    PROXY = "proxy"


class ProxyError(Exception):
    """A named failure. `detail` is sent to the client: it contains no header or query values.

    `condition`: what it says about the upstream, None if nothing. `decided_by`: the part of the
    proxy that decided, with its configuration keys; "" for a failure of the upstream.
    `covered_by`: words of a fallback's `when` that mean it, beside its reason; None: no fallback
    may replace it. `postpones`: nothing was tried, so a stored request waits without having
    spent an attempt. `grpc`: the code for gRPC callers; a stream that the upstream reset has its
    own.
    """

    reason: ClassVar[str]
    title: ClassVar[str]
    status: int
    grpc: int = INTERNAL
    proxy_error: ClassVar[str]
    blame: ClassVar[Blame]
    condition: ClassVar[Condition | None] = None
    decided_by: ClassVar[str] = ""
    covered_by: ClassVar[tuple[str, ...] | None] = None
    postpones: ClassVar[bool] = False

    fields: tuple[tuple[bytes, bytes], ...] = ()
    """More fields of the answer, as (name, value)."""

    def __init__(
        self,
        detail: str = "",
        *,
        retry_after: int | None = None,
        pushback: float | None = None,
    ) -> None:
        """`retry_after`: whole seconds for the Retry-After field, None for no field.

        `pushback`: the same in exact seconds, for grpc-retry-pushback-ms.
        """
        super().__init__(detail)
        self.detail = detail or self.title + "."
        self.retry_after = retry_after
        self.pushback = pushback


def let_go(error: ProxyError) -> None:
    """Forget the traceback of a failure that was handled.

    Its frames refer to the failure: only the cycle collector could free both.
    """
    error.__traceback__ = error.__context__ = None


def by_reason(reason: str) -> type[ProxyError] | None:
    """The failure of that reason."""
    for failure in subclasses():
        if failure.reason == reason:
            return failure
    return None


def subclasses(root: type[ProxyError] = ProxyError) -> list[type[ProxyError]]:
    """Every failure with its own reason, by phase."""
    found: list[type[ProxyError]] = []
    for child in root.__subclasses__():
        if "reason" in vars(child):
            found.append(child)
        found.extend(subclasses(child))
    return found
