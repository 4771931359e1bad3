"""The webhook as an aiohttp application: `POST /inject`, health and metrics.

How it is served (TLS, its end) is the business of `proxy.webhook_server`.
"""

import json
import logging
from collections.abc import Callable
from time import perf_counter

from aiohttp import web
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.exposition import choose_encoder

from proxy import __version__
from proxy.kubernetes.admission import NoReview, review
from proxy.kubernetes.settings import Settings

MAX_BODY = 8 * 2**20
"""Bytes of a review: a pod and what it was before; etcd takes no object of more than 1.5 MiB."""

_log = logging.getLogger("proxy.webhook")


class Webhook:
    """Answers reviews by one set of settings, and counts what became of them."""

    def __init__(self, settings: Settings, ready: Callable[[], bool]) -> None:
        self._settings = settings
        self._ready = ready
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        Gauge("proxy_build_info", "Version.", ["version"], registry=registry).labels(
            __version__
        ).set(1)
        self._reviews = Counter(
            "proxy_webhook_reviews",
            "Reviews by what became of them: injected, unchanged, refused, malformed.",
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
        """An AdmissionReview in, one out; 400 for what is none, 413 for too much."""
        body = await request.read()
        began = perf_counter()
        try:
            answer = review(body, self._settings)
        except NoReview as error:
            self._reviews.labels("malformed").inc()
            _log.warning("no AdmissionReview: %s", error)
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


def _json(document: object, status: int = 200) -> web.Response:
    return web.Response(
        status=status, text=json.dumps(document) + "\n", content_type="application/json"
    )
