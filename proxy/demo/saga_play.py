"""`demo --saga`: orders are accepted at once and placed behind the answer, whatever dies.

        15 %     the proxy is killed with SIGKILL, and started again
    30 to 52 %   shipping refuses connections: parcels are deferred
        40 %     the proxy is killed again
    58 to 72 %   every third order is too expensive: payment declines it, and its stock is released
        80 %     the last order; the end comes when every accepted one has ended

Orders arrive at a steady rate, and every fifth caller posts twice. All times are shares of the
run's duration; they are later where the proxy needs longer to start.
"""

import asyncio
import tempfile
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from time import monotonic
from typing import Final

from aiohttp import ClientError, ClientSession, ClientTimeout, TCPConnector
from rich.console import Console

from proxy.demo.configuration import Ports, as_text
from proxy.demo.ports import LOOPBACK, ReservedPort
from proxy.demo.proxy_process import RunningProxy, start_proxy
from proxy.demo.saga_callers import Callers
from proxy.demo.saga_configuration import document
from proxy.demo.saga_report import print_report
from proxy.demo.saga_services import LIMIT, Service, make_services
from proxy.demo.scene import Tempo
from proxy.demo.stage import asked_to_end, in_terminal

_UNFINISHED: Final = ("running", "undoing", "stuck")
_ORDERS_PER_WAIT: Final = 2.4
_PATIENCE: Final = 30.0
"""Seconds for the orders that have not ended when the last one was placed."""
_LOOK: Final = ClientTimeout(total=1)


def play(duration: float) -> int:
    """The whole demo in this terminal; returns the exit status."""
    return in_terminal(duration, lambda console: _play(console, duration))


async def _play(console: Console, duration: float) -> int:
    with asked_to_end() as end:
        async with _staged(console, duration) as scene:
            playing = asyncio.create_task(scene.run())
            ending = asyncio.create_task(end.wait())
            try:
                await asyncio.wait({playing, ending}, return_when=asyncio.FIRST_COMPLETED)
                if playing.done():
                    playing.result()
            finally:
                for task in (playing, ending):
                    task.cancel()
                await asyncio.gather(playing, ending, return_exceptions=True)
    if scene.callers.orders:
        print_report(console, scene.callers.orders, scene.services, scene.states, scene.kills)
    return 0


@asynccontextmanager
async def _staged(console: Console, duration: float) -> "AsyncIterator[SagaScene]":
    """Context in which the services and the proxy run."""
    async with AsyncExitStack() as stack:
        directory = Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix="resilience-proxy-demo-"))
        )
        services = make_services(Tempo(duration))
        for service in services.values():
            stack.push_async_callback(service.shut_down)
            await service.open()
        reserved = [ReservedPort() for _ in range(3)]
        for port in reserved:
            stack.callback(port.release)
        ports = Ports(*(port.number for port in reserved))
        endpoints = {name: service.port for name, service in services.items()}
        file = directory / "proxy.yaml"
        told = document(Tempo(duration), ports, endpoints, directory / "store.db")
        file.write_text(as_text(told), encoding="utf-8")
        session = await stack.enter_async_context(ClientSession(connector=TCPConnector(limit=0)))
        scene = SagaScene(console, Tempo(duration), file, ports, services, session)
        stack.push_async_callback(scene.end)
        await scene.start()
        yield scene


class SagaScene:
    """The run. `states` counts sagas as the proxy last told them, `kills` its violent ends."""

    def __init__(
        self,
        console: Console,
        tempo: Tempo,
        file: Path,
        ports: Ports,
        services: dict[str, Service],
        session: ClientSession,
    ) -> None:
        self.services = services
        self.callers = Callers(session, f"http://{LOOPBACK}:{ports.inbound}")
        self.states: Counter[str] = Counter()
        self.kills = 0
        self._console = console
        self._tempo = tempo
        self._file = file
        self._admin = f"http://{LOOPBACK}:{ports.admin}"
        self._session = session
        self._proxy: RunningProxy | None = None
        self._began = 0.0
        self._expensive = False

    async def start(self) -> None:
        """Start the proxy. Raises ProxyDied if it does not become ready."""
        self._proxy = await start_proxy(self._file)
        await self._proxy.until_ready(self._admin, self._session)

    async def end(self) -> None:
        await self.callers.settle(0)
        await self._look()
        if self._proxy is not None:
            await self._proxy.end()

    async def run(self) -> None:
        """Until every accepted order has ended. Raises ProxyDied if the proxy ends by itself."""
        self._began = monotonic()
        self._say(f"status page: {self._admin}/")
        self._say(
            "Each order is answered 202 PENDING at once; a saga reserves, pays and ships behind "
            "the answer."
        )
        tasks = {asyncio.create_task(self._act()), asyncio.create_task(self._watch())}
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    # --- the acts ---------------------------------------------------------------------------------

    async def _order(self) -> None:
        """Place orders at a steady rate."""
        wait = self._tempo.waits / _ORDERS_PER_WAIT
        while True:
            number = len(self.callers.orders)
            self.callers.place(2 * LIMIT if self._expensive and number % 3 == 0 else 199.8)
            await asyncio.sleep(wait)

    async def _act(self) -> None:
        ordering = asyncio.create_task(self._order())
        try:
            await self._troubles()
        finally:
            ordering.cancel()
        await self.callers.settle(_PATIENCE)
        self._say("No more orders; those that have not ended go on.")
        await self._until_settled()

    async def _troubles(self) -> None:
        shipping = self.services["shipping"]
        await self._until(0.15)
        await self._die()
        await self._until(0.30)
        await shipping.close()
        self._say("Shipping refuses connections: orders are accepted, and parcels deferred.")
        await asyncio.sleep(0.10 * self._tempo.duration)
        await self._die()
        await self._until(0.52)
        await shipping.open()
        await self._look()
        self._say(f"Shipping works again, and {self._unfinished()} orders wait for a parcel.")
        await self._until(0.58)
        self._expensive = True
        self._say("Payment declines every third order: its stock is released again.")
        await asyncio.sleep(0.14 * self._tempo.duration)
        self._expensive = False
        await self._until(0.80)

    async def _die(self) -> None:
        """Kill the proxy, and start it again on the same file."""
        await self._look()
        unfinished = self._unfinished()
        assert self._proxy is not None
        killed, self._proxy = self._proxy, None
        await killed.kill()
        self.kills += 1
        self._say(f"kill -9: the proxy is gone, with about {unfinished} unfinished orders.")
        await self.start()
        self._say("The proxy is started again, and goes on with what its store has.")

    async def _until_settled(self) -> None:
        """Every accepted order has ended, and the order service was told."""
        end = monotonic() + _PATIENCE
        accepted = sum(order.accepted for order in self.callers.orders)
        while monotonic() < end:
            await self._look()
            told = len(self.services["app"].effects)
            if min(self.states["done"] + self.states["undone"], told) >= accepted:
                break
            await asyncio.sleep(0.1)

    # --- what happens meanwhile -------------------------------------------------------------------

    async def _watch(self) -> None:
        """A line each second, or fewer in a long run."""
        every = max(1.0, round(self._tempo.duration / 60))
        while True:
            await asyncio.sleep(every)
            if self._proxy is not None and self._proxy.ended:
                await self._proxy.died()
            await self._look()
            orders = self.callers.orders
            accepted = sum(order.accepted for order in orders)
            self._say(
                f"{accepted} of {len(orders)} accepted; {self.states['done']} done, "
                f"{self.states['undone']} compensated, {self._unfinished()} unfinished"
            )

    async def _look(self) -> None:
        """Ask the proxy for its counts; one that does not answer changes nothing."""
        try:
            async with self._session.get(f"{self._admin}/sagas?limit=1", timeout=_LOOK) as response:
                document = await response.json()
        except (ClientError, TimeoutError, ValueError):
            return
        self.states = Counter({one["state"]: one["count"] for one in document["counts"]})

    def _unfinished(self) -> int:
        return sum(self.states[state] for state in _UNFINISHED)

    # --- time -------------------------------------------------------------------------------------

    def _share(self) -> float:
        return (monotonic() - self._began) / self._tempo.duration

    async def _until(self, share: float) -> None:
        await asyncio.sleep(max(0.0, (share - self._share()) * self._tempo.duration))

    def _say(self, text: str) -> None:
        # Lines are not wrapped: the reader of a file has another width.
        self._console.print(
            f"{monotonic() - self._began:5.1f} s  {text}",
            soft_wrap=True,
            highlight=False,
            markup=False,
        )
