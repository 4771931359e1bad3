"""The admin API's part for sagas: what they are doing, and operators' orders."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from aiohttp import web

from proxy.admin.documents import pieces
from proxy.admin.problems import problem
from proxy.errors import ProxyError

if TYPE_CHECKING:
    from proxy.delivery.sagas import Sagas

MOST = 1000
"""Sagas of one list."""
ORDERS = ("resume", "skip", "abort")
STATES = ("running", "undoing", "done", "undone", "stuck")


class SagaApi:
    """`sagas` gives those of the running proxy, None where the configuration has none."""

    def __init__(self, sagas: "Callable[[], Sagas | None]") -> None:
        self._sagas = sagas

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/sagas", self.rows),
            web.get("/sagas/{id}", self.show),
            web.post("/sagas/{id}/{order}", self.order),
        ]

    async def rows(self, request: web.Request) -> web.Response:
        """The newest first, and how many of each kind there are."""
        sagas = self._sagas()
        if sagas is None:
            return _json({"sagas": [], "counts": []})
        query = request.query
        state, limit = query.get("state") or None, query.get("limit") or "100"
        if state is not None and state not in STATES:
            return problem(400, f"state: {state[:40]!r} is none of {', '.join(STATES)}.")
        if not (limit.isascii() and limit.isdigit() and 0 < int(limit[:5]) <= MOST):
            return problem(400, f"limit: a number from 1 to {MOST}, and not {limit[:40]!r}.")
        try:
            rows = await sagas.rows(name=query.get("saga") or None, state=state, limit=int(limit))
            counts = await sagas.counts()
        except ProxyError as error:
            return problem(error.status, error.detail)
        return _json({"sagas": rows, "counts": counts})

    async def show(self, request: web.Request) -> web.Response:
        sagas, which = self._sagas(), request.match_info["id"]
        if sagas is None:
            return _unknown(which)
        try:
            return _json(await sagas.show(which))
        except LookupError:
            return _unknown(which)
        except ProxyError as error:
            return problem(error.status, error.detail)

    async def order(self, request: web.Request) -> web.Response:
        """Obey an order; the answer shows the saga after it. 409: it is not stuck."""
        sagas = self._sagas()
        which, word = request.match_info["id"], request.match_info["order"]
        if word not in ORDERS:
            return problem(404, f"Unknown order {word!r}; the orders are {', '.join(ORDERS)}.")
        if sagas is None:
            return _unknown(which)
        try:
            document = await sagas.order(which, word)
        except LookupError:
            return _unknown(which)
        except ProxyError as error:
            return problem(error.status, error.detail)
        if document is None:
            state = (await sagas.show(which))["state"]
            return problem(409, f"Only a stuck saga takes an order; {which!r} is {state}.")
        return _json(document)


def _unknown(which: str) -> web.Response:
    return problem(404, f"There is no saga {which[:128]!r}; see /sagas.")


def _json(document: Any) -> web.Response:
    text = "".join(pieces(document)) + "\n"
    return web.Response(text=text, content_type="application/json")
