"""The rows of the service's own tables in the admin API: they are named ``TABLE/ID``."""

import json
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web

from proxy.admin.controls import Controls
from proxy.admin.problems import problem
from proxy.errors import ProxyError

if TYPE_CHECKING:
    from proxy.delivery.tables.tables import OutboxTables

ROUTE: Final = "table:"
"""How the label of a table begins where queues have the name of their route."""
STATES: Final = ("pending", "delivering", "failed", "dead", "delivered")


class TableApi:
    """The part of ``/outbox`` that is about tables."""

    def __init__(self, controls: Controls) -> None:
        self._controls = controls

    @property
    def tables(self) -> "OutboxTables | None":
        """None: no configuration had a table so far."""
        return self._controls.outbox_tables

    def is_row(self, name: str) -> bool:
        """Whether this is the name of a row rather than of an entry."""
        return "/" in name and self.tables is not None

    async def rows(self, name: str, state: str | None, limit: int) -> web.Response:
        """The tables, and the newest rows of one."""
        if self.tables is None or name not in self.tables.workers:
            return problem(404, f"There is no outbox table {name!r}; see /outbox.")
        if state is not None and state not in STATES:
            return problem(400, f"state is one of {', '.join(STATES)}.")
        try:
            rows = await self.tables.rows(name, state=state, limit=limit)
        except ProxyError as error:
            return problem(error.status, error.detail)
        return _json({"tables": self.tables.latest, "rows": rows})

    async def row(self, which: str) -> web.Response:
        assert self.tables is not None
        try:
            found = await self.tables.row(which)
        except ProxyError as error:
            return problem(error.status, error.detail)
        return _unknown(which) if found is None else _json(found)

    async def order(self, which: str, order: str) -> web.Response:
        """409: the row's state does not allow it, or no row can be copied."""
        tables = self.tables
        assert tables is not None
        if order == "replay":
            return problem(
                409, "A table's rows are the service's: insert another one to repeat it."
            )
        try:
            before = await tables.row(which)
            if before is None:
                return _unknown(which)
            done = await (tables.cancel if order == "cancel" else tables.redrive)(which)
            row = await tables.row(which)
        except ProxyError as error:
            return problem(error.status, error.detail)
        if not done:
            return problem(409, f"Row {which} is {before['state']}; {_POSSIBLE[order]}.")
        return _json(row or before)

    async def redrive_many(self, name: str, limit: int) -> web.Response:
        if self.tables is None or name not in self.tables.workers:
            return problem(404, f"There is no outbox table {name!r}; see /outbox.")
        try:
            return _json({"redriven": await self.tables.redrive_many(name, limit)})
        except ProxyError as error:
            return problem(error.status, error.detail)


_POSSIBLE: Final = {
    "redrive": "only dead ones can be put back",
    "cancel": "only pending and failed ones can be cancelled",
}


def _unknown(which: str) -> web.Response:
    return problem(404, f"There is no row {which[:128]!r}; see /outbox?route=table:NAME.")


def _json(document: dict[str, Any]) -> web.Response:
    text = json.dumps(document, ensure_ascii=False) + "\n"
    return web.Response(text=text, content_type="application/json")
