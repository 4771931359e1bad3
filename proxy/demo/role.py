"""One part of the order service as a separate process, for the example chart.

    python -m proxy.demo.role orders|pricing|inventory|payment|shipping [--address HOST:PORT]

    orders       POST /orders: an order; its three calls go to `INVENTORY_URL`, `PAYMENT_URL` and
                 `SHIPPING_URL`, through HTTP_PROXY if it is set. With `PRICING_URL` it first
                 asks for the price, by gRPC in the name of `pricing`
    pricing      shop.v1.Pricing/Quote by gRPC; `--failures 0.2` answers UNAVAILABLE to a fifth
    the others   their one path; `--failures 0.2` answers 503 to a fifth of the requests
    all          SIGTERM ends after the requests in progress; GET /health, except pricing

The image contains both the proxy and this; they do not depend on each other. The service is as
simple as in `orders.py`, with one timeout above the proxy's deadlines.
"""

import argparse
import asyncio
import json
import os
import signal
import socket
import uuid
from collections.abc import AsyncIterator
from random import Random
from urllib.parse import urlsplit

from aiohttp import ClientError, ClientSession, ClientTimeout, web

from proxy.demo.dependencies import Ledger, work
from proxy.demo.grpc_calls import GrpcChannel, GrpcError, GrpcServer, no_such_method
from proxy.demo.pricing import Quote, order_of, price_of, request_for
from proxy.demo.scene import OVER_HTTP, Dependency
from proxy.grpc_status import UNAVAILABLE

ORDERS = "orders"
IDEMPOTENCY_KEY = "X-Idempotency-Key"
_CALL_SECONDS = 10.0
"""Timeout of one call in seconds; the routes' deadlines are shorter."""
_SESSION = web.AppKey("session", ClientSession)
_CHANNEL = web.AppKey("channel", GrpcChannel)
_PRICING = Dependency.PRICING


class Pricing:
    """Answers quotes, and fails a share of them (0 to 1)."""

    def __init__(self, failures: float, chance: Random) -> None:
        self._failures = failures
        self._chance = chance

    async def answer(self, path: str, message: bytes) -> bytes:
        """A handler of `GrpcServer`."""
        if path != _PRICING.path:
            raise no_such_method(path)
        if self._chance.random() < self._failures:
            raise GrpcError(UNAVAILABLE, "overloaded")
        return Quote(price_of(order_of(message)), "EUR").encoded()


async def serve_pricing(host: str, port: int, pricing: Pricing) -> None:
    """Serve until SIGTERM or SIGINT. Raises OSError if the address cannot be bound."""
    ended = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    # After the handlers: a client that can connect may also end the process.
    server = GrpcServer(socket.create_server((host, port)), pricing.answer)
    await server.begin()
    await ended.wait()
    await server.end()


def dependency_app(dependency: Dependency, failures: float, chance: Random) -> web.Application:
    """A dependency that does its work once for each key, and fails a share of it (0 to 1)."""
    ledger = Ledger()

    async def answer(request: web.Request) -> web.Response:
        await request.read()
        if chance.random() < failures:
            return web.json_response({"error": "overloaded"}, status=503)
        key = request.headers.get(IDEMPOTENCY_KEY) or str(uuid.uuid4())
        return web.json_response(ledger.record(key, lambda: work(dependency, len(ledger.work))))

    app = _app()
    app.router.add_post(dependency.path, answer)
    return app


def orders_app(urls: dict[Dependency, str]) -> web.Application:
    """The order service: reserve, then pay, then ship; the first failure fails the order.

    With a URL of pricing it first asks for the price.
    """
    pricing = urlsplit(urls.get(_PRICING, ""))

    async def session(app: web.Application) -> AsyncIterator[None]:
        timeout = ClientTimeout(total=_CALL_SECONDS)
        channel = GrpcChannel(pricing.hostname or "", pricing.port or 80, _PRICING.value)
        async with ClientSession(trust_env=True, timeout=timeout) as app[_SESSION], channel:
            app[_CHANNEL] = channel
            yield

    async def place(request: web.Request) -> web.Response:
        await request.read()
        key = request.headers.get(IDEMPOTENCY_KEY) or str(uuid.uuid4())
        done: dict[str, object] = {"order": key}
        if pricing.hostname:
            try:
                done[_PRICING.value] = await _quote(request.app[_CHANNEL], key)
            except GrpcError as failure:
                done["failed"] = {_PRICING.value: failure.name}
                return web.json_response(done, status=502)
        for dependency in OVER_HTTP:
            try:
                done[dependency.value] = await _call(request.app[_SESSION], urls, dependency, key)
            except (ClientError, TimeoutError, ValueError) as failure:
                done["failed"] = {dependency.value: str(failure) or type(failure).__name__}
                return web.json_response(done, status=502)
        return web.json_response(done, status=201)

    app = _app()
    app.cleanup_ctx.append(session)
    app.router.add_post("/orders", place)
    return app


async def _quote(channel: GrpcChannel, key: str) -> dict[str, object]:
    """The price of an order. Raises GrpcError without one."""
    reply = await channel.unary(_PRICING.path, request_for(key), _CALL_SECONDS)
    quote = Quote.decoded(reply.message)
    return {"cents": quote.cents, "currency": quote.currency}


async def _call(
    session: ClientSession, urls: dict[Dependency, str], dependency: Dependency, key: str
) -> object:
    """One call's answer. Raises ClientError, TimeoutError or ValueError without one."""
    url = urls[dependency].rstrip("/") + dependency.path
    headers = {IDEMPOTENCY_KEY: key}
    async with session.post(url, json={"order": key}, headers=headers) as response:
        text = await response.text()
        answer: object = json.loads(text) if text else None
        if not response.ok:
            reason = answer.get("reason") if isinstance(answer, dict) else None
            raise ValueError(str(reason or response.status))
        return answer


def _app() -> web.Application:
    async def healthy(_request: web.Request) -> web.Response:
        return web.json_response({"status": "ready"})

    app = web.Application()
    app.router.add_get("/health", healthy)
    return app


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not host or not port.isdigit():
        raise argparse.ArgumentTypeError(f"{text!r} is not HOST:PORT")
    return host, int(port)


def _share(text: str) -> float:
    share = float(text)
    if not 0 <= share <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not between 0 and 1")
    return share


def main(arguments: list[str] | None = None) -> None:
    """Serve until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(
        prog="python -m proxy.demo.role",
        description="One part of the order service as a separate process.",
    )
    parser.add_argument("role", choices=[ORDERS, *(one.value for one in Dependency)])
    parser.add_argument("--address", type=_address, default=("127.0.0.1", 8080))
    parser.add_argument(
        "--failures", type=_share, default=0.0, help="share of requests that get 503 or UNAVAILABLE"
    )
    options = parser.parse_args(arguments)
    host, port = options.address
    if options.role == ORDERS:
        names = {one: os.environ.get(f"{one.value.upper()}_URL") for one in OVER_HTTP}
        urls = {one: url or f"http://{one.value}:8080" for one, url in names.items()}
        app = orders_app(urls | {_PRICING: os.environ.get("PRICING_URL", "")})
    elif options.role == _PRICING.value:
        asyncio.run(serve_pricing(host, port, Pricing(options.failures, Random())))
        return
    else:
        app = dependency_app(Dependency(options.role), options.failures, Random())
    web.run_app(app, host=host, port=port, access_log=None, print=None)


if __name__ == "__main__":
    main()
