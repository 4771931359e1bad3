"""The endpoints of the admin API, each a method; `views` makes the documents."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from itertools import chain

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler
from prometheus_client.registry import CollectorRegistry

from proxy.admin import views
from proxy.admin.access import is_loopback, refusal, same_origin
from proxy.admin.connections import HEAD, answering
from proxy.admin.controls import Controls, Rejection, Reload
from proxy.admin.documents import pieces
from proxy.admin.history import history
from proxy.admin.live import Live
from proxy.admin.metrics_page import MetricsPage
from proxy.admin.outbox_api import OutboxApi
from proxy.admin.pace import Pace
from proxy.admin.page_files import INDEX, PageFiles
from proxy.admin.problems import left_over, problem, problems
from proxy.admin.recent import BadQuery, recent
from proxy.admin.saga_api import SagaApi
from proxy.admin.sending import send
from proxy.admin.slices import Slices
from proxy.admin.store_api import StoreEndpoints
from proxy.admin.tap_stream import TapStream
from proxy.admin.watchers import MAX_WATCHERS, TooMany, Watchers
from proxy.clock import Clock, WallClock
from proxy.config import Sources
from proxy.config.server_model import LogLevel
from proxy.config.store_checks import all_inbound_needs_store
from proxy.policies import catalogue
from proxy.policies.circuit_breaker import CIRCUIT_BREAKER, CircuitBreaker
from proxy.policies.gate import GateKind
from proxy.telemetry import process_log
from proxy.telemetry.exposition import form_of
from proxy.telemetry.observed import Gateway
from proxy.telemetry.records import Records
from proxy.telemetry.tap import tap_filter
from proxy.units import UnitError, parse_duration

MAX_WAIT = 60.0
"""Maximum seconds that one request waits for the end of a drain."""

HEALTH_SHARE = 0.03
OTHERS_SHARE = 0.03
RENDERING_SHARE = 0.03
LOCAL_SHARE = 0.25
"""Shares of the loop's time: health, requests of other machines, rendering metrics, and requests of
this machine. The data plane keeps the rest."""
_REQUEST_COSTS = 0.0004
"""Seconds of the loop for a request and its answer, in addition to the document's."""

_MAX_BODY = 1024
"""Bytes of a request's body: it is a word, if anything."""

_JSON = "application/json; charset=utf-8"

_ORDERS: dict[str, Callable[[CircuitBreaker, float], None]] = {
    "force-open": CircuitBreaker.force_open,
    "disable": CircuitBreaker.disable,
    "reset": CircuitBreaker.reset,
}


class AdminApi:
    """Refers to what the endpoints show; it has no state of its own."""

    def __init__(
        self,
        gateway: Gateway,
        controls: Controls,
        registry: CollectorRegistry,
        records: Records,
        reload: Callable[[str], Awaitable[Reload]],
        sources: Callable[[], Sources],
        clock: Clock = time.monotonic,
        wall_clock: WallClock = time.time,
    ) -> None:
        self._gateway = gateway
        self._controls = controls
        self._metrics = MetricsPage(registry, time.monotonic, Pace(RENDERING_SHARE, time.monotonic))
        self._health_pace = Pace(HEALTH_SHARE, time.monotonic)
        self._others_pace = Pace(OTHERS_SHARE, time.monotonic)
        self._local_pace = Pace(LOCAL_SHARE, time.monotonic)
        self._slices = Slices(time.monotonic, self._local_pace)
        self._records = records
        self._reload = reload
        self._sources = sources
        self._clock = clock
        self._wall_clock = wall_clock
        self._page = PageFiles()
        self._outbox = OutboxApi(controls)
        self._sagas = SagaApi(lambda: controls.sagas)
        live = Live(gateway, controls, records, clock, wall_clock)
        self._tap = TapStream(records.tap)
        self._store = StoreEndpoints(controls)
        self._watchers = Watchers(live.opening, live.next)

    def application(self) -> web.Application:
        middlewares = [answering, problems, self._paced, self._access]
        app = web.Application(middlewares=middlewares, client_max_size=_MAX_BODY)
        app.add_routes(self._routes())
        app.add_routes([web.get("/page/{name:.+}", self.page_file)])
        app.on_shutdown.append(self._end_streams)
        app.on_response_prepare.append(left_over)
        return app

    def _routes(self) -> list[web.RouteDef]:
        return [
            web.get("/", self.index),
            web.get("/health/live", self.live),
            web.get("/health/ready", self.ready),
            web.get("/health/inbound-drained", self.inbound_drained),
            web.get("/metrics", self.metrics),
            web.get("/status", self.status),
            web.get("/in-flight", self.in_flight),
            *(
                web.get("/" + kind.member.replace("_", "-"), partial(self.gates, kind))
                for kind in catalogue.kinds()
            ),
            web.get("/upstreams", self.upstreams),
            web.get("/routes", self.routes),
            web.get("/recent", self.recent),
            web.get("/history", self.history),
            web.get("/events", self.events, allow_head=False),
            web.get("/config", self.config),
            *self._store.routes(),
            *self._outbox.routes(),
            *self._sagas.routes(),
            web.post("/drain", self.drain),
            web.post("/reload", self.reload),
            web.post("/bypass", self.bypass),
            web.post("/log-level", self.log_level),
            # Names have colons and may have slashes: the order follows the last slash.
            web.post("/circuit-breakers/{name:.+}/{order:[^/]+}", self.order),
        ]

    @web.middleware
    async def _paced(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Limit the admin API's share of the loop, so that the data plane keeps most of it."""
        pace = self._pace_of(request)
        try:
            await pace.turn()
            return await handler(request)
        finally:
            pace.spent(_REQUEST_COSTS)

    def _pace_of(self, request: web.Request) -> Pace:
        if request.path.startswith("/health/"):
            return self._health_pace
        return self._local_pace if is_loopback(request.remote) else self._others_pace

    @web.middleware
    async def _access(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        reason = refusal(request, self._gateway.config.admin.remote)
        if reason is not None:
            return problem(403, reason)
        return await handler(request)

    # --- reading ------------------------------------------------------------------------------

    async def index(self, request: web.Request) -> web.Response:
        """The page for a browser, a list of the endpoints for other clients."""
        if "text/html" in request.headers.get(hdrs.ACCEPT, ""):
            return await self._page.answer(INDEX)
        lines = [f"{route.method:4} {route.path}" for route in self._routes()[1:-1]]
        lines.append(f"POST /circuit-breakers/{{name}}/{{{'|'.join(_ORDERS)}}}")
        return web.Response(text="\n".join(lines) + "\n", headers={"Vary": "Accept"})

    async def page_file(self, request: web.Request) -> web.Response:
        return await self._page.answer(request.match_info["name"])

    async def events(self, request: web.Request) -> web.StreamResponse:
        """Server-sent events for the page, until the client leaves."""
        hosts = request.headers.getall(hdrs.HOST, [])
        if not all(same_origin(o, hosts) for o in request.headers.getall(hdrs.ORIGIN, [])):
            return problem(403, "A page of another origin cannot watch.")
        try:
            if request.query.get("requests"):
                return await self._tapped(request)
            return await self._watchers.serve(request)
        except TooMany:
            return problem(503, "Too many pages are open; close one.")

    async def _tapped(self, request: web.Request) -> web.StreamResponse:
        """Every settled request, for `tap`. Raises TooMany."""
        query = request.query
        try:
            wants = tap_filter(
                query.get("route", ""), query.get("status", ""), query.get("path", "")
            )
        except ValueError as error:
            return problem(400, str(error))
        if self._tap.closed or len(self._tap) + len(self._watchers) >= MAX_WATCHERS:
            raise TooMany
        return await self._tap.serve(request, wants)

    async def _end_streams(self, app: web.Application) -> None:
        self._watchers.close()
        self._tap.close()

    async def live(self, request: web.Request) -> web.Response:
        return _json({"status": "live"})

    async def ready(self, request: web.Request) -> web.Response:
        if self._controls.draining:
            return _json({"status": "draining"}, 503)
        if not self._controls.ready:
            return _json({"status": "starting"}, 503)
        store = self._controls.store
        if store is None or not store.failure:
            return _json({"status": "ready"})
        blocks = all_inbound_needs_store(self._gateway.config)
        told = {"status": "store failed" if blocks else "ready", "store": "failed"}
        return _json(told, 503 if blocks else 200)

    async def inbound_drained(self, request: web.Request) -> web.Response:
        """For the service's preStop hook: answers when the service gets no more requests."""
        drained = await self._controls.inbound_drained()
        return _json({"status": "drained" if drained else "serving"})

    async def metrics(self, request: web.Request) -> web.StreamResponse:
        form = form_of(",".join(request.headers.getall(hdrs.ACCEPT, [])))
        document = await self._metrics.get(form, fresh=is_loopback(request.remote))
        return await send(request, document, form.content_type)

    async def status(self, request: web.Request) -> web.StreamResponse:
        recorder = self._records.recorder
        return await self._document(
            request, lambda: views.status(self._gateway, self._controls, recorder, self._clock)
        )

    async def in_flight(self, request: web.Request) -> web.StreamResponse:
        return await self._document(
            request, lambda: views.in_flight(self._gateway, self._controls, self._clock())
        )

    async def gates(self, kind: GateKind, request: web.Request) -> web.StreamResponse:
        return await self._document(request, lambda: views.gates(self._gateway, kind, self._clock))

    async def upstreams(self, request: web.Request) -> web.StreamResponse:
        return await self._document(request, lambda: views.upstreams(self._gateway, self._clock))

    async def routes(self, request: web.Request) -> web.StreamResponse:
        return await self._document(request, lambda: views.routes(self._gateway))

    async def recent(self, request: web.Request) -> web.StreamResponse:
        """The first value of a repeated filter counts."""
        recorder, gateway, query = self._records.recorder, self._gateway, request.query
        try:
            return await self._document(
                request,
                lambda: recent(
                    recorder,
                    gateway,
                    query,
                    self._clock(),
                    self._wall_clock(),
                    views.tries_of(self._controls),
                ),
            )
        except BadQuery as error:
            return problem(400, str(error))

    async def history(self, request: web.Request) -> web.StreamResponse:
        return await self._document(request, lambda: history(self._records))

    async def config(self, request: web.Request) -> web.StreamResponse:
        config, sources = self._gateway.config, self._sources()

        def text() -> Iterator[str]:
            return chain(pieces(views.configuration(config, sources)), "\n")

        async with self._slices.kept(config, text) as slices:
            return await send(request, slices, _JSON)

    async def _document(
        self, request: web.Request, make: Callable[[], views.Document]
    ) -> web.StreamResponse:
        """A document of any size. `make` is called when its turn has come."""
        key = request.path_qs
        text = await self._slices.text(key, lambda: chain(pieces(make()), "\n"))
        return await send(request, text, _JSON)

    # --- changing -----------------------------------------------------------------------------

    async def drain(self, request: web.Request) -> web.Response:
        """Begin the drain unless it has begun; with ``?wait=10s`` answer when it has ended.

        200 after its end, 202 before.
        """
        try:
            wait = _wait_asked(request)
        except UnitError as error:
            return problem(400, f"wait: {error}")
        self._controls.begin_drain()
        drained = asyncio.ensure_future(self._controls.drained())
        try:
            await asyncio.wait({drained}, timeout=wait)
        finally:
            over = drained.done()
            drained.cancel()
        cut = drained.result() if over else self._controls.drain_cut
        document = {
            "status": "drained" if over else "draining",
            "cut": cut,
            "in_flight": views.in_flight_counts(self._gateway),
        }
        return _json(document, 200 if over else 202)

    async def reload(self, request: web.Request) -> web.Response:
        """Read the configuration file again: 200, or 409 or 422 if nothing was changed.

        422: the file has problems; 409: the file is valid, but its change needs a restart.
        """
        # The client may leave: the reload is still made.
        outcome = await asyncio.shield(self._reload("POST /reload"))
        if outcome.rejection is None:
            return _json({"result": outcome.result, "problems": list(outcome.problems)})
        status = 422 if outcome.rejection is Rejection.INVALID else 409
        detail = f"Nothing has changed: {outcome.rejection.value}."
        return problem(status, detail, outcome.problems)

    async def bypass(self, request: web.Request) -> web.Response:
        """Turn the bypass on for its full time, or off; the body is ``on`` or ``off``."""
        word = await _word_of(request)
        if word not in ("on", "off"):
            return problem(400, f"The body must be on or off, and not {word[:40]!r}.")
        # The client may leave: the change is still made.
        await asyncio.shield(self._controls.turn_bypass(word == "on"))
        left = self._controls.bypass_left
        return _json({"bypass": {"on": left > 0, "ends_in_s": round(left, 1)}})

    async def log_level(self, request: web.Request) -> web.Response:
        """Set the level of the proxy's own log; the body is the level."""
        word = await _word_of(request)
        try:
            level = LogLevel(word)
        except ValueError:
            known = ", ".join(each.value for each in LogLevel)
            return problem(400, f"The body must be a level, {known}, and not {word[:40]!r}.")
        process_log.set_level(level)
        return _json({"log_level": level.value})

    async def order(self, request: web.Request) -> web.Response:
        """Force a breaker open, disable it, or reset it; the answer shows its new state."""
        name, order = request.match_info["name"], request.match_info["order"]
        entry = self._gateway.bindings.gates.of(CIRCUIT_BREAKER).get(name)
        if entry is None or not isinstance(entry.gate, CircuitBreaker):
            return problem(404, f"There is no circuit breaker {name!r}; see /circuit-breakers.")
        give = _ORDERS.get(order)
        if give is None:
            return problem(404, f"Unknown order {order!r}; the orders are {', '.join(_ORDERS)}.")
        now = self._clock()
        give(entry.gate, now)
        return _json(views.gate(entry, now))


def _json(document: views.Document, status: int = 200) -> web.Response:
    text = "".join(pieces(document)) + "\n"
    return web.Response(status=status, text=text, content_type="application/json")


async def _word_of(request: web.Request) -> str:
    """The single word of a body, without quotes and spaces. Raises HTTPException."""
    try:
        async with asyncio.timeout(HEAD):
            body = await request.read()
    except TimeoutError:
        text = f"The body did not come whole within {HEAD:g} s."
        raise web.HTTPRequestTimeout(text=text) from None
    return body.decode("utf-8", "replace").strip().strip("\"'")


def _wait_asked(request: web.Request) -> float:
    """Seconds; 0 without ``wait``, the maximum for a bare ``?wait``. Raises UnitError."""
    text = request.query.get("wait")
    if text is None:
        return 0.0
    return min(parse_duration(text), MAX_WAIT) if text else MAX_WAIT
