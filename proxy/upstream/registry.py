"""All upstreams of the proxy: the configured ones, and those that callers name."""

import asyncio
import random as chance
from collections import OrderedDict
from collections.abc import Iterator, Mapping

from proxy.clock import Random
from proxy.config.model import EndpointConfig, UpstreamConfig
from proxy.upstream.connector import Connector
from proxy.upstream.leases import ConnectionFactory
from proxy.upstream.resolver import Lookup, Resolver, system_lookup
from proxy.upstream.standings import StandingCounts
from proxy.upstream.tasks import Tasks
from proxy.upstream.tls import TlsContexts
from proxy.upstream.upstream import IsOwn, Upstream

MAX_AUTHORITIES = 1000
"""Maximum caller-named upstreams that are kept, unless more are in use."""


class Upstreams:
    """Owns every upstream and its tasks."""

    def __init__(
        self,
        configured: Mapping[str, UpstreamConfig],
        factory: ConnectionFactory,
        *,
        loop: asyncio.AbstractEventLoop | None = None,
        lookup: Lookup = system_lookup,
        random: Random = chance.random,
        is_own: IsOwn | None = None,
        max_authorities: int = MAX_AUTHORITIES,
    ) -> None:
        """`loop`: by default the running one. `is_own`: whether an address is the proxy's own; no
        caller-named upstream can reach it.
        """
        self._loop = loop if loop is not None else asyncio.get_running_loop()
        self._factory = factory
        self._random = random
        self._is_own = is_own
        self._max_authorities = max_authorities
        self._tasks = Tasks(self._loop)
        self._resolver = Resolver(self._tasks, lookup)
        self._contexts = TlsContexts()
        # Of the configured ones, over all reloads: a counter never falls.
        self._counts = {name: StandingCounts() for name in configured}
        self._by_name = {name: self._build(config) for name, config in configured.items()}
        # Least recently used first.
        self._by_authority: OrderedDict[tuple[str, str, int], Upstream] = OrderedDict()

    def __getitem__(self, name: str) -> Upstream:
        """A configured upstream. Raises KeyError for an unknown name."""
        return self._by_name[name]

    def __contains__(self, name: str) -> bool:
        return name in self._by_name

    def __iter__(self) -> Iterator[Upstream]:
        """All upstreams, the configured ones first."""
        yield from tuple(self._by_name.values())
        yield from tuple(self._by_authority.values())

    def __len__(self) -> int:
        return len(self._by_name) + len(self._by_authority)

    def for_authority(self, scheme: str, host: str, port: int) -> Upstream:
        """The upstream for a caller-named authority, with default settings.

        Any scheme except ``https`` means plain TCP; tunnels use a separate scheme. The returned
        upstream may be dropped later, and then still serves the exchanges that use it.
        """
        host = host.lower()
        if host.startswith("["):
            host = host[1:-1]
        key = (scheme, host, port)
        upstream = self._by_authority.get(key)
        if upstream is not None:
            self._by_authority.move_to_end(key)
            return upstream
        if len(self._by_authority) >= self._max_authorities:
            self._evict()
        name = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        config = UpstreamConfig(name, (EndpointConfig(scheme, host, port),))
        upstream = self._build(config, self._is_own)
        self._by_authority[key] = upstream
        return upstream

    def reconfigure(self, configured: Mapping[str, UpstreamConfig]) -> None:
        """Use a new configuration: an upstream stays if it can go on with its settings.

        The others are closed, and finish their exchanges.
        """
        before = self._by_name
        for name in configured:
            self._counts.setdefault(name, StandingCounts())
        self._by_name = {
            name: before[name]
            if name in before and before[name].adopt(config)
            else self._replace(before.get(name), config)
            for name, config in configured.items()
        }
        for name, upstream in before.items():
            if self._by_name.get(name) is not upstream:
                upstream.close()
        # None: caller-named upstreams.
        self._contexts.keep({None, *(config.tls for config in configured.values())})

    async def renew_tls(self) -> None:
        """Load changed CAs, certificates and keys, for new connections."""
        await self._contexts.renew()

    def close(self) -> None:
        """Close idle connections, and cancel every look-up and connect; busy connections finish.

        Waiters are told that their look-up or connect was cancelled.
        """
        for upstream in self:
            upstream.close()
        self._tasks.close()

    async def wait_closed(self) -> None:
        """Return when the tasks that `close` cancelled have ended."""
        await self._tasks.wait_closed()

    def _evict(self) -> None:
        """Make room for one more: close the least recently used that are not in use."""
        surplus = len(self._by_authority) - self._max_authorities + 1
        for key, upstream in tuple(self._by_authority.items()):
            if surplus <= 0:
                return
            if not upstream.in_use:
                del self._by_authority[key]
                upstream.close()
                surplus -= 1

    def _replace(self, former: Upstream | None, config: UpstreamConfig) -> Upstream:
        upstream = self._build(config)
        if former is not None:
            upstream.succeed(former)
        return upstream

    def _build(self, config: UpstreamConfig, is_own: IsOwn | None = None) -> Upstream:
        return Upstream(
            config,
            resolver=self._resolver,
            connector=Connector(
                self._factory, config.connections, config.tls, self._contexts, self._tasks
            ),
            loop=self._loop,
            random=self._random,
            is_own=is_own,
            counts=self._counts.get(config.name),
        )
