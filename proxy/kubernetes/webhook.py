"""The webhook as an aiohttp application: `POST /inject`, health and metrics.

`proxy.webhook_server` serves it, with TLS and shutdown.
"""

import asyncio
import json
import logging
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from time import perf_counter

from aiohttp import web
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.exposition import choose_encoder

from proxy import __version__
from proxy.kubernetes.admission import NoReview, review
from proxy.kubernetes.settings import Settings

MAX_BODY = 4 * 2**20
"""Maximum bytes of a review. The API server accepts 3 MiB, etcd objects of 1.5 MiB."""
MAX_BODIES = 2 * MAX_BODY
"""Maximum bytes of all large reviews being read; others wait."""
SMALL = 64 * 1024
"""Bytes up to which a review waits for no other one. Those of most pods have 5 to 20 KiB."""
BODY_WITHIN = 10.0
"""Seconds for a review to arrive, including its wait."""

_log = logging.getLogger("proxy.webhook")


class Webhook:
    """Answers reviews with one set of settings, and counts the results."""

    def __init__(self, settings: Settings, ready: Callable[[], bool]) -> None:
        self._settings = settings
        self._ready = ready
        self._bodies = Room(MAX_BODIES)
        self._large = asyncio.Lock()
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        Gauge("proxy_build_info", "Version.", ["version"], registry=registry).labels(
            __version__
        ).set(1)
        self._reviews = Counter(
            "proxy_webhook_reviews",
            "Reviews by result: injected, unchanged, refused, malformed.",
            ["result"],
            registry=registry,
        )
        self._seconds = Histogram(
            "proxy_webhook_review_duration_seconds",
            "Time to answer a review.",
            buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5),
            registry=registry,
        )
        for result in ("injected", "unchanged", "refused", "malformed"):
            self._reviews.labels(result)

    def application(self) -> web.Application:
        app = web.Application(client_max_size=MAX_BODY)
        app.add_routes(
            [
                web.get("/", self.index),
                web.post("/inject", self.inject),
                web.get("/health/live", self.live),
                web.get("/health/ready", self.ready),
                web.get("/metrics", self.metrics),
            ]
        )
        return app

    async def index(self, request: web.Request) -> web.Response:
        return web.Response(
            text="GET  /health/live\nGET  /health/ready\nPOST /inject\nGET  /metrics\n"
        )

    async def live(self, request: web.Request) -> web.Response:
        return _json({"status": "live"})

    async def ready(self, request: web.Request) -> web.Response:
        return _json({"status": "ready"}) if self._ready() else _json({"status": "ending"}, 503)

    async def metrics(self, request: web.Request) -> web.Response:
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        return web.Response(body=encode(self.registry), headers={"Content-Type": content_type})

    async def inject(self, request: web.Request) -> web.Response:
        """Answer an AdmissionReview; 400 for another body, 408 for one that does not arrive
        completely, 413 for one that is too large.
        """
        size = MAX_BODY if request.content_length is None else request.content_length
        if size > MAX_BODY:
            raise web.HTTPRequestEntityTooLarge(MAX_BODY, size)
        try:
            async with asyncio.timeout(BODY_WITHIN):
                if size <= SMALL:
                    return self._review(await request.read())
                async with self._bodies.take(size):
                    return await self._large_review(await request.read())
        except TimeoutError:
            text = f"The review did not arrive completely within {BODY_WITHIN:g} s."
            raise web.HTTPRequestTimeout(text=text) from None

    async def _large_review(self, body: bytes) -> web.Response:
        """One at a time, and for half of the time: small ones are answered between them."""
        async with self._large:
            began = perf_counter()
            try:
                return self._review(body)
            finally:
                await asyncio.sleep(perf_counter() - began)

    def _review(self, body: bytes) -> web.Response:
        began = perf_counter()
        try:
            answer = review(body, self._settings)
        except NoReview as error:
            self._reviews.labels("malformed").inc()
            _log.warning("not an AdmissionReview: %s", error)
            raise web.HTTPBadRequest(text=str(error)) from None
        seconds = perf_counter() - began
        self._reviews.labels(answer.result.value).inc()
        self._seconds.observe(seconds)
        fields = {
            "pod": answer.pod,
            "result": answer.result.value,
            "why": answer.reason,
            "duration_ms": round(seconds * 1000, 3),
        }
        _log.info("reviewed", extra={"fields": fields})
        return _json(answer.document)


class Room:
    """A budget of bytes that are lent and returned; first come, first served."""

    def __init__(self, size: int) -> None:
        self._free = size
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    @asynccontextmanager
    async def take(self, size: int) -> AsyncIterator[None]:
        """Borrow `size` bytes when they are free. `size` must not exceed the budget."""
        place = asyncio.get_running_loop().create_future()
        self._waiting.append((size, place))
        self._let_in()
        try:
            await place
            yield
        finally:
            if not place.cancelled():
                self._free += size
            else:
                with suppress(ValueError):  # it may have reached the front meanwhile
                    self._waiting.remove((size, place))
            self._let_in()

    def _let_in(self) -> None:
        while self._waiting:
            size, place = self._waiting[0]
            # Several may give up in one turn of the loop: each is cancelled before it is removed.
            if not place.cancelled():
                if size > self._free:
                    return
                self._free -= size
                place.set_result(None)
            self._waiting.popleft()


def _json(document: object, status: int = 200) -> web.Response:
    return web.Response(
        status=status, text=json.dumps(document) + "\n", content_type="application/json"
    )
