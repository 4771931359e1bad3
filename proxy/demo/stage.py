"""Starts everything, runs the scene, stops everything, prints the report."""

import asyncio
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from io import TextIOWrapper
from itertools import chain
from typing import Any

from aiohttp import ClientSession, TCPConnector
from rich.console import Console
from rich.live import Live

from proxy.demo import configuration
from proxy.demo.chaos import BARE, BARE_HEADER, with_faults
from proxy.demo.dependencies import DependencyServer, make_replicas, make_server
from proxy.demo.grpc_calls import GrpcChannel
from proxy.demo.live_view import picture, symbols_for
from proxy.demo.observation import Observer
from proxy.demo.orders import OrderService, OrderStream, World
from proxy.demo.plain_view import PlainView
from proxy.demo.ports import LOOPBACK, ReservedPort
from proxy.demo.proxy_process import ProxyDied, RunningProxy, running_proxy
from proxy.demo.report import print_report
from proxy.demo.scene import MINIMUM_DURATION, OVER_HTTP, Dependency, Scene
from proxy.demo.show import Show

_FRAMES_PER_SECOND = 8
_LAST_ORDERS = 1.5  # seconds for the orders in progress at the end of the scene
_HASTE = 0.3  # and after Ctrl-C
_ENDINGS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def play(duration: float, *, faults: bool) -> int:
    """The whole demo in this terminal; see `proxy.demo.run`."""
    return in_terminal(duration, lambda console: _play(console, Scene(duration, faults=faults)))


def in_terminal(duration: float, scene: Callable[[Console], Coroutine[Any, Any, int]]) -> int:
    """Run a scene that takes `duration` seconds in this terminal; returns the exit status."""
    if duration < MINIMUM_DURATION:
        print(f"the demo needs at least {MINIMUM_DURATION:g} s to show anything", file=sys.stderr)
        return 2
    if isinstance(sys.stdout, TextIOWrapper):
        # An ASCII terminal shows a question mark instead of failing.
        sys.stdout.reconfigure(errors="replace")
    try:
        return asyncio.run(scene(Console()))
    except ProxyDied as death:
        print(death, file=sys.stderr)
        return 1
    except (KeyboardInterrupt, asyncio.CancelledError):  # before the start, or twice
        return 0


async def _play(console: Console, scene: Scene) -> int:
    with asked_to_end() as end:
        async with _staged(scene) as staged:
            await _perform(staged, _viewer(console, staged.show), end)
    show = staged.show
    if any(show.orders.values()):
        print_report(console, show, configuration.request_timeouts(scene.tempo))
    return 0


@contextmanager
def asked_to_end() -> Iterator[asyncio.Event]:
    """An event that Ctrl-C and SIGTERM set, for an orderly end.

    The second signal cancels the current task.
    """
    end = asyncio.Event()
    loop = asyncio.get_running_loop()
    task = asyncio.current_task()

    def ask() -> None:
        if end.is_set() and task is not None:
            task.cancel()
        end.set()

    for number in _ENDINGS:
        loop.add_signal_handler(number, ask)
    try:
        yield end
    finally:
        for number in _ENDINGS:
            loop.remove_signal_handler(number)


class _Curtain:
    """The clock of the scene: 0 before it begins, then the seconds since."""

    __slots__ = ("_rose",)

    def __init__(self) -> None:
        self._rose: float | None = None

    def rise(self) -> None:
        self._rose = time.monotonic()

    def now(self) -> float:
        return 0.0 if self._rose is None else time.monotonic() - self._rose


@dataclass(frozen=True, slots=True)
class _Staged:
    """Everything that was started: what is displayed, the orders, the child, the clock."""

    show: Show
    stream: OrderStream
    child: RunningProxy
    curtain: _Curtain


@asynccontextmanager
async def _staged(scene: Scene) -> AsyncIterator[_Staged]:
    """Context in which dependencies, the proxy and both order services run."""
    curtain = _Curtain()
    async with AsyncExitStack() as stack:
        servers = {d: make_server(d, scene, curtain.now) for d in Dependency}
        replicas = {
            d: [server, *make_replicas(server, scene, curtain.now)] for d, server in servers.items()
        }
        for server in chain.from_iterable(replicas.values()):
            stack.push_async_callback(server.shut_down)
            await server.open()
        reserved = [ReservedPort() for _ in range(3)]
        for port in reserved:
            stack.callback(port.release)
        ports = configuration.Ports(*(port.number for port in reserved))
        admin = f"http://{LOOPBACK}:{ports.admin}"
        asking = await stack.enter_async_context(ClientSession())
        endpoints = {d: [one.port for one in each] for d, each in replicas.items()}
        text = _configuration(scene, ports, endpoints)
        child = await stack.enter_async_context(running_proxy(text, admin, asking))
        services = {
            World.WITH: await _through_the_proxy(stack, scene, ports),
            World.WITHOUT: await (
                _through_the_proxy(stack, scene, ports, BARE)
                if scene.faults
                else _directly(stack, scene, servers)
            ),
        }
        stream = OrderStream(services, scene.order_times())
        observer = Observer(asking, admin, curtain.now)
        quotes = {world: service.quotes for world, service in services.items()}
        show = Show(scene, curtain.now, stream.orders, quotes, servers, observer, admin)
        yield _Staged(show, stream, child, curtain)


def _configuration(
    scene: Scene, ports: configuration.Ports, endpoints: Mapping[Dependency, list[int]]
) -> str:
    document = configuration.document(scene.tempo, ports, endpoints)
    return configuration.as_text(with_faults(document, scene.tempo) if scene.faults else document)


async def _through_the_proxy(
    stack: AsyncExitStack, scene: Scene, ports: configuration.Ports, routes: str = ""
) -> OrderService:
    """The proxy enforces the deadlines; the client's own only cover a proxy that hangs.

    `routes`: which of its routes, as the calls' header says; the usual ones without it.
    """
    session = await stack.enter_async_context(_session())
    urls = dict.fromkeys(OVER_HTTP, f"http://{LOOPBACK}:{ports.outbound}")
    timeouts = configuration.request_timeouts(scene.tempo)
    patience = {d: 2 * seconds for d, seconds in timeouts.items()}
    headers = {BARE_HEADER: routes} if routes else {}
    pricing = await _pricing(stack, ports.outbound, headers)
    return OrderService(session, urls, pricing, patience, headers)


async def _directly(
    stack: AsyncExitStack, scene: Scene, servers: Mapping[Dependency, DependencyServer]
) -> OrderService:
    session = await stack.enter_async_context(_session())
    urls = {d: f"http://{LOOPBACK}:{servers[d].port}" for d in OVER_HTTP}
    pricing = await _pricing(stack, servers[Dependency.PRICING].port)
    return OrderService(session, urls, pricing, configuration.request_timeouts(scene.tempo))


async def _pricing(
    stack: AsyncExitStack, port: int, headers: Mapping[str, str] | None = None
) -> GrpcChannel:
    metadata = [(name.encode(), value.encode()) for name, value in (headers or {}).items()]
    channel = GrpcChannel(LOOPBACK, port, Dependency.PRICING.value, metadata)
    return await stack.enter_async_context(channel)


def _session() -> ClientSession:
    return ClientSession(connector=TCPConnector(limit=0))


async def _perform(staged: _Staged, viewer: Coroutine[Any, Any, None], end: asyncio.Event) -> None:
    """Run until the last order has its result or a signal arrives.

    Raises what any part raises, ProxyDied for the proxy.
    """
    show, stream = staged.show, staged.stream
    staged.curtain.rise()
    players = [
        asyncio.create_task(player)
        for player in (
            *(server.follow_scene() for server in show.servers.values()),
            show.observer.watch(),
            staged.child.died(),
            viewer,
        )
    ]
    orders = asyncio.create_task(stream.run())
    ending = asyncio.create_task(end.wait())
    everybody = {*players, orders, ending}
    try:
        done, _ = await asyncio.wait(everybody, return_when=asyncio.FIRST_COMPLETED)
        for player in done:
            player.result()
        orders.cancel()
        await stream.settle(_HASTE if end.is_set() else _LAST_ORDERS)
        await show.observer.look()
    finally:
        for player in everybody:
            player.cancel()
        await asyncio.gather(*everybody, return_exceptions=True)
        await stream.settle(0)


def _viewer(console: Console, show: Show) -> Coroutine[Any, Any, None]:
    live = console.is_terminal and not console.is_dumb_terminal
    return _show_live(console, show) if live else _show_plain(console, show)


async def _show_live(console: Console, show: Show) -> None:
    symbols = symbols_for(console)
    with Live(console=console, auto_refresh=False, transient=True) as live:
        while True:
            live.update(picture(show, console.width, symbols), refresh=True)
            await asyncio.sleep(1 / _FRAMES_PER_SECOND)


async def _show_plain(console: Console, show: Show) -> None:
    view = PlainView(console, show)
    while True:
        view.update()
        await asyncio.sleep(1 / _FRAMES_PER_SECOND)
