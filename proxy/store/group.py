"""What an engine's queue holds: operations that are done together or not at all."""

from asyncio import Future
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from proxy.errors import ProxyError
from proxy.store.operations import Operation


@dataclass(slots=True)
class Group:
    """`alone`: one operation by itself, whose result is the future's; else it is `Committed`."""

    operations: Sequence[Operation[Any]]
    future: "Future[Any]"
    alone: bool
    size: int


def tell(future: "Future[Any]", result: Any = None, error: ProxyError | None = None) -> None:
    """Set a group's result or failure, unless it is not waited for any more."""
    if future.done():
        return
    if error is not None:
        future.set_exception(error)
    else:
        future.set_result(result)
