"""The outbox in the admin API: queues, entries, and operators' orders."""

import asyncio
import json
import logging
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from aiohttp import web

from proxy.admin.access import is_loopback
from proxy.admin.connections import HEAD
from proxy.admin.controls import Controls
from proxy.admin.problems import problem
from proxy.admin.table_api import ROUTE, TableApi
from proxy.errors import ProxyError

if TYPE_CHECKING:
    from proxy.delivery.outbox import Outbox

MOST_LISTED = 1000
_NEWEST = 1 << 62
"""A `seq` after all others; SQLite knows no larger numbers."""
MOST_ORDERS = 4
"""Orders for many entries at once."""
MOST_REDRIVEN = 10_000
"""Entries that one order puts back."""

_log = logging.getLogger("proxy.outbox")


class OutboxApi:
    """Asks the outbox of a running proxy, and its tables; without any every answer is 404."""

    def __init__(self, controls: Controls) -> None:
        self._controls = controls
        self._tables = TableApi(controls)
        self._orders: set[asyncio.Task[int]] = set()

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/outbox", self.listing),
            web.post("/outbox/redrive", self.redrive_many),
            web.get("/outbox/{id}", self.show),
            web.get("/outbox/{id}/body", self._with(self.body)),
            web.post("/outbox/{id}/{order:redrive|replay|cancel}", self.give),
        ]

    def _with(
        self, handler: Callable[[web.Request, "Outbox"], Awaitable[web.Response]]
    ) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def answer(request: web.Request) -> web.Response:
            outbox = self._controls.deliveries
            if outbox is None:
                return problem(404, "No route has an outbox, and the store has no entries.")
            try:
                return await handler(request, outbox)
            except ProxyError as error:
                return problem(error.status, error.detail)

        return answer

    async def listing(self, request: web.Request) -> web.Response:
        """Queues, tables and entries; with ``route=table:NAME`` the rows of that table."""
        query, tables = request.query, self._tables.tables
        route = query.get("route", "")
        if route.startswith(ROUTE):
            try:
                limit = min(int(query.get("limit", "100")), MOST_LISTED)
            except ValueError:
                return problem(400, "limit is a number.")
            name = route.removeprefix(ROUTE)
            return await self._tables.rows(name, query.get("state"), max(1, limit))
        if self._controls.deliveries is None and tables is not None:
            nothing: list[Any] = []
            told = {"queues": nothing, "blocked_lanes": nothing, "entries": nothing}
            return _json({**told, "tables": tables.latest})
        return await self._with(self.overview)(request)

    async def show(self, request: web.Request) -> web.Response:
        """An entry, or a row by ``TABLE/ID``."""
        which = request.match_info["id"]
        if self._tables.is_row(which):
            return await self._tables.row(which)
        return await self._with(self.entry)(request)

    async def give(self, request: web.Request) -> web.Response:
        """Give an order to an entry, or to a row by ``TABLE/ID``."""
        which, order = request.match_info["id"], request.match_info["order"]
        if self._tables.is_row(which):
            return await self._tables.order(which, order)
        return await self._with(self.order)(request)

    async def overview(self, request: web.Request, outbox: "Outbox") -> web.Response:
        """The queues, the lanes that do not move, and entries by ``state``, ``route``, ``since``
        (Unix seconds), ``before`` (a ``seq``) and ``limit``; or by ``request_id`` alone."""
        from proxy.store.records import EntryState  # only where there is a store

        query = request.query
        try:
            state = EntryState(query["state"]) if "state" in query else None
            limit = min(int(query.get("limit", "100")), MOST_LISTED)
            since = instant(query.get("since", "0"))
            before = min(int(query["before"]), _NEWEST) if "before" in query else None
        except ValueError:
            states = ", ".join(one.value for one in EntryState)
            return problem(
                400,
                f"state is one of {states}; since is a time (Unix seconds or RFC 3339), before and "
                "limit are numbers.",
            )
        if "request_id" in query:
            found = await outbox.of_request(query["request_id"], max(1, limit))
            return _json({**await outbox.summary(), "entries": found})
        entries = await outbox.entries(
            route=query.get("route"), state=state, since=since, before=before, limit=max(1, limit)
        )
        tables = self._tables.tables
        told = {} if tables is None else {"tables": tables.latest}
        return _json({**await outbox.summary(), **told, "entries": entries})

    async def entry(self, request: web.Request, outbox: "Outbox") -> web.Response:
        found = await outbox.entry(request.match_info["id"])
        return _unknown(request) if found is None else _json(found)

    async def body(self, request: web.Request, outbox: "Outbox") -> web.Response:
        """For loopback alone, whatever `admin.remote` says."""
        if not is_loopback(request.remote):
            return problem(403, "Stored bodies are only for this machine.")
        found = await outbox.body(request.match_info["id"])
        if found is None:
            return _unknown(request)
        return web.Response(body=found, content_type="application/octet-stream")

    async def order(self, request: web.Request, outbox: "Outbox") -> web.Response:
        """409: the entry's state does not allow it."""
        entry_id, order = request.match_info["id"], request.match_info["order"]
        if order == "replay":
            copied, state = await outbox.replay(entry_id)
            if copied:
                return _json({"id": copied, "copy_of": entry_id})
        else:
            give = outbox.cancel if order == "cancel" else outbox.redrive
            done, state = await give(entry_id)
            if done:
                return _json(await outbox.entry(entry_id) or {})
        if state is None:
            return _unknown(request)
        return problem(409, f"Entry {entry_id} is {state.value}; {_POSSIBLE[order]}.")

    async def redrive_many(self, request: web.Request) -> web.Response:
        """Put dead and parked entries back. The body: ``{"filter": {"route", "state", "since"},
        "rate", "limit"}``, all optional; with a rate (entries a second) the answer is 202 at once.
        With the route ``table:NAME`` the oldest dead rows of that table, without since and rate."""
        try:
            async with asyncio.timeout(HEAD):
                chosen = Chosen.read(await request.text())
        except (ValueError, TimeoutError) as error:
            return problem(
                400, f"The body must be JSON such as {_EXAMPLE}{error and f': {error}'}."
            )
        if chosen.route is not None and chosen.route.startswith(ROUTE):
            if chosen.since or chosen.rate or chosen.state not in (None, "dead"):
                return problem(400, "Dead rows of a table are put back, without since and rate.")
            name = chosen.route.removeprefix(ROUTE)
            return await self._tables.redrive_many(name, chosen.limit)
        return await self._with(partial(self._redrive, chosen))(request)

    async def _redrive(
        self, chosen: "Chosen", request: web.Request, outbox: "Outbox"
    ) -> web.Response:
        if len(self._orders) >= MOST_ORDERS:
            return problem(503, "Too many such orders are carried out now; wait for one to end.")
        order = asyncio.get_running_loop().create_task(
            outbox.redrive_many(
                route=chosen.route,
                states=_BACK if chosen.state is None else (chosen.state,),
                since=chosen.since,
                rate=chosen.rate,
                limit=chosen.limit,
            )
        )
        self._orders.add(order)  # the client may leave: the order is still carried out
        order.add_done_callback(self._ended)
        if chosen.rate > 0:
            return _json({"result": "started"}, 202)
        return _json({"redriven": await asyncio.shield(order)})

    def _ended(self, order: "asyncio.Task[int]") -> None:
        self._orders.discard(order)
        if not order.cancelled() and isinstance(order.exception(), ProxyError):
            _log.error("an order for many entries ended early: %s", order.exception())


@dataclass(frozen=True, slots=True)
class Chosen:
    """Entries that one order puts back: `since` in Unix seconds, `rate` a second, 0 at once."""

    route: str | None = None
    state: str | None = None
    since: float = 0.0
    rate: float = 0.0
    limit: int = 1000

    @classmethod
    def read(cls, text: str) -> "Chosen":
        """Raises ValueError for anything but such an order: a filter that is misspelt must not
        put back what it was to keep."""
        asked = json.loads(text) if text.strip() else {}
        chosen = _members(asked, "filter", "rate", "limit").get("filter", {})
        route, state, since = map(_members(chosen, "route", "state", "since").get, _FILTERS)
        if not isinstance(route, str | None):
            raise ValueError("route is the name of a route")
        if state not in (None, *_BACK):
            raise ValueError(f"state is {' or '.join(_BACK)}")
        limit = max(1, min(int(_number(asked.get("limit", 1000))), MOST_REDRIVEN))
        return cls(route, state, instant(since or 0), _number(asked.get("rate", 0)), limit)


_BACK = ("parked", "dead")
_FILTERS = ("route", "state", "since")
_EXAMPLE = '{"filter": {"route": "shop"}, "rate": 10}'


def _members(document: Any, *known: str) -> dict[str, Any]:
    """Raises ValueError unless it is a mapping with some of these names."""
    if not isinstance(document, dict):
        raise ValueError("it is not a mapping")
    for name in document.keys() - set(known):
        raise ValueError(f"{name!r} is unknown; there are {', '.join(known)}")
    return document


def instant(given: Any) -> float:
    """Unix seconds, or a time as these documents show it (RFC 3339). Raises ValueError."""
    if not isinstance(given, str) or re.fullmatch(r"[0-9.]+", given):
        return _number(given)
    at = datetime.fromisoformat(given)
    return (at if at.tzinfo is not None else at.replace(tzinfo=UTC)).timestamp()


def _number(given: Any) -> float:
    """Raises ValueError unless it is a number from 0 on that ends."""
    try:
        number = float(given)
    except TypeError:
        raise ValueError(f"{given!r} is not a number") from None
    if not 0 <= number < float("inf"):
        raise ValueError(f"{given!r} is not a number from 0 on")
    return number


_POSSIBLE = {
    "redrive": "only dead and parked ones can be put back",
    "replay": "only delivered ones can be sent again as a copy",
    "cancel": "only pending and parked ones can be cancelled",
}


def _unknown(request: web.Request) -> web.Response:
    return problem(404, f"There is no entry {request.match_info['id']!r}; see /outbox.")


def _json(document: dict[str, Any], status: int = 200) -> web.Response:
    text = json.dumps(document, ensure_ascii=False) + "\n"
    return web.Response(status=status, text=text, content_type="application/json")
