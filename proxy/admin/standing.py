"""`explain FILE METHOD URL --admin`: which endpoints are in use now, as a running proxy says."""

from collections.abc import Iterable, Iterator
from typing import Any, TypeAlias

from proxy.admin.asking import NoAnswer, ask
from proxy.routing.placing import Placing

Document: TypeAlias = dict[str, Any]

_TIMEOUT = 5.0


def endpoints_now(url: str) -> dict[str, list[Document]]:
    """The endpoints of each upstream of the proxy at this admin address. Raises NoAnswer."""
    try:
        return {
            one["name"]: one["endpoints"] for one in ask(url, "/upstreams", _TIMEOUT)["upstreams"]
        }
    except (KeyError, TypeError):
        raise NoAnswer(f"{url} answers, but is not a resilience proxy") from None


def now_lines(
    url: str, placings: Iterable[Placing], found: dict[str, list[Document]]
) -> Iterator[str]:
    """What it said of these upstreams, for a terminal.

    Raises KeyError, TypeError or ValueError for what no proxy says.
    """
    for placing in placings:
        name = placing.upstream.name
        endpoints = found.get(name)
        if endpoints is None:
            yield f"{url} has no upstream {name}: it runs with another configuration"
        else:
            yield f"upstream {name} now, says {url}"
            yield from placing.now_lines(endpoints)


def now_document(placings: Iterable[Placing], found: dict[str, list[Document]]) -> Document:
    """The same as plain data: by upstream, None for one that the proxy does not have."""
    return {
        placing.upstream.name: _upstream(placing, found.get(placing.upstream.name))
        for placing in placings
    }


def _upstream(placing: Placing, endpoints: list[Document] | None) -> Document | None:
    if endpoints is None:
        return None
    hashed = {"hash": placing.owner_now(endpoints)} if placing.key is not None else {}
    return {"endpoints": endpoints, **hashed}
