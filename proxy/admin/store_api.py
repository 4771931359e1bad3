"""The store in the admin API: its state, and the records of an idempotency key."""

from typing import TYPE_CHECKING, Any

from aiohttp import web

from proxy.admin.controls import Controls
from proxy.admin.documents import pieces
from proxy.admin.problems import problem
from proxy.errors import ProxyError
from proxy.telemetry.timestamps import Timestamps

if TYPE_CHECKING:
    from proxy.store.records import KeyRecord
    from proxy.store.store import Store

_NO_STORE = "The configuration has no store (store.url)."


def describe_store(store: "Store | None") -> dict[str, Any] | None:
    """The store as a document; None without one."""
    if store is None:
        return None
    stats = store.stats
    mean = round(1000 * stats.seconds_sum / stats.commits, 3) if stats.commits else None
    return {
        "engine": store.engine,
        "state": "failed" if store.failure else store.state.value,
        "failure": store.failure or None,
        "full": store.full,
        "bytes": stats.bytes,
        "max_bytes": store.max_bytes,
        "dies_with_pod": store.dies_with_pod,
        "shared": store.shared,
        "commits": stats.commits,
        "operations": stats.operations,
        "mean_commit_ms": mean,
        "commit_durations": {
            "le_ms": [round(1000 * bound, 3) for bound in stats.bounds],
            "counts": list(stats.seconds),
        },
        "refused_full": stats.refused_full,
        "refused_failed": stats.refused_failed,
    }


class StoreEndpoints:
    """What the operations need is imported only where there is a store."""

    def __init__(self, controls: Controls) -> None:
        self._controls = controls

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/store", self.show),
            # Keys may have slashes.
            web.get("/idempotency/{route}/{key:.+}", self.key),
            web.post("/idempotency/{route}/{key:.+}/release", self.release),
        ]

    async def show(self, request: web.Request) -> web.Response:
        return _json({"store": describe_store(self._controls.store)})

    async def key(self, request: web.Request) -> web.Response:
        """The records of a route and key, one for each scope; never the stored response."""
        store = self._controls.store
        if store is None:
            return problem(404, _NO_STORE)
        from proxy.policies.idempotency_keys import key_digest
        from proxy.store.operations import FindKeys

        route, key = request.match_info["route"], request.match_info["key"]
        try:
            records = await store.do(FindKeys(route, key_digest(key.encode())))
        except ProxyError as error:
            return problem(error.status, error.detail)
        if not records:
            return problem(404, f"Route {route!r} has no record of this key.")
        return _json({"route": route, "records": [_describe(record) for record in records]})

    async def release(self, request: web.Request) -> web.Response:
        """Forget the records of a key that are not in flight: its next request is a new one."""
        store = self._controls.store
        if store is None:
            return problem(404, _NO_STORE)
        from proxy.policies.idempotency_keys import key_digest
        from proxy.store.operations import FreeKeys

        route, key = request.match_info["route"], request.match_info["key"]
        try:
            released = await store.do(FreeKeys(route, key_digest(key.encode())))
        except ProxyError as error:
            return problem(error.status, error.detail)
        return _json({"route": route, "released": released})


def _describe(record: "KeyRecord") -> dict[str, Any]:
    times = Timestamps()
    return {
        "state": record.state.value,
        "status": record.status or None,
        "scope": record.ref.scope.hex() or None,
        "fingerprint": record.fingerprint.hex(),
        "created_at": times.text(record.created_at),
        "expires_at": times.text(record.expires_at),
        "response_bytes": len(record.response) if record.response is not None else None,
    }


def _json(document: dict[str, Any]) -> web.Response:
    text = "".join(pieces(document)) + "\n"
    return web.Response(text=text, content_type="application/json")
