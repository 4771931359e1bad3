"""Reloads the configuration's files: all or nothing, without affecting requests in flight.

    POST /reload, SIGHUP ────────────┐
    a file changed, and is stable ───┴─▶ read in a thread ──problems──▶ rejected: nothing changes
                                                └──▶ swapped in one step of the loop: applied

A thread polls the files twice a second: two system calls per file detect every change of the file
and of the links in its path. A changed file is read when two polls in a row find it unchanged, so
that a file that is still being written is left alone. An empty file is probably being written, so
it is refused; ``{}`` is an intended empty configuration.
"""

import asyncio
import gc
import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import TypeAlias

from proxy.admin.controls import Rejection, Reload
from proxy.config.keys import effective, without_sections
from proxy.config.loading import EMPTY, Loaded, Origin, load
from proxy.config.model import Config, Listener
from proxy.config.problems import ConfigError
from proxy.config.server_model import ListenerTls
from proxy.config.store_model import StoreConfig
from proxy.config.summary import describe_store
from proxy.file_watch import FileWatch
from proxy.lifecycle import Lifecycle
from proxy.telemetry import process_log
from proxy.telemetry.span_counts import CannotExport
from proxy.telemetry.tracing import check_exporter
from proxy.wire.tls import ListenerContext, UnusableTls

INTERVAL = 0.5
"""Seconds between two polls of the file."""

READ_WITHIN = 60.0
"""Seconds after which a reload stops waiting for a file system."""

_SWITCH_EVERY = 0.0001
"""Seconds after which the reading thread yields the interpreter to the loop."""

Swap: TypeAlias = Callable[[], bool]
"""Applies a configuration within one step of the loop. It must not fail: it cannot be undone.

False: it cannot be applied now, or not as it was prepared, and nothing was applied.
"""

STILL_READ = "The file is still being read: the previous reload waits for its file system."
NO_FILE = "There is no file to reload: the proxy runs with the built-in defaults."

_log = logging.getLogger("proxy.reload")


class Reloader:
    """Reloads the files, one reload at a time. From `start` to `stop` it watches them.

    `sources` belong to the configuration in effect.

    `prepare` is called in a thread, and returns the function that applies a configuration. It is
    called again while that function returns False.
    """

    def __init__(
        self,
        loaded: Loaded,
        lifecycle: Lifecycle,
        prepare: Callable[[Config], Swap],
        *,
        interval: float = INTERVAL,
        within: float = READ_WITHIN,
    ) -> None:
        """The embedded default has no file to reload or watch."""
        self._running = loaded.config
        self.sources = loaded.sources
        self._origin = loaded.origin
        self._files = loaded.filename or "none"
        self._watch = loaded.watch
        self._lifecycle = lifecycle
        self._prepare = prepare
        self._interval = interval
        self._within = within
        self._reading: asyncio.Future[tuple[Loaded, Swap]] | None = None
        self._reads = 0
        self._changing = False
        self._one_at_a_time = asyncio.Lock()
        self._one_again_at_a_time = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None
        self._again: str | None = None
        self._watching: asyncio.Task[None] | None = None

    async def reload(self, trigger: str) -> Reload:
        """Read the file and apply it, or change nothing. `trigger` is for the log."""
        async with self._one_at_a_time:
            outcome = await self._try()
            self._lifecycle.reloaded(outcome, trigger)
        _report(outcome, trigger, self._files)
        return outcome

    async def apply_again(self) -> None:
        """Prepare and apply the configuration in effect once more, for something else that changed.

        A reload at the same time does not delay it: its file system may not answer.
        """
        async with self._one_again_at_a_time:
            applied = False
            while not applied:
                config = self._running
                swap = await self._prepared(config)
                applied = config is self._running and swap()

    def on_signal(self) -> None:
        """SIGHUP."""
        self._in_background("SIGHUP")

    def start(self) -> None:
        """Begin to watch the file."""
        if self._watch is not None:
            self._watching = asyncio.get_running_loop().create_task(self._watch_on(self._watch))

    async def stop(self) -> None:
        """Stop watching. A reload in progress is cancelled."""
        tasks = [task for task in (self._watching, self._task) if task is not None]
        self._watching = self._task = self._again = None
        for task in tasks:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task

    async def _try(self) -> Reload:
        if not self._origin.files:
            return Reload((NO_FILE,), Rejection.NO_FILE)
        if self._reading is not None and not self._reading.done():
            return Reload((STILL_READ,), Rejection.INVALID)
        self._reads += 1
        self._changing = False
        try:
            loaded, swap = await self._read_within(self._origin)
        except TimeoutError:
            return Reload((self._hangs(),), Rejection.INVALID)
        except ConfigError as error:
            return Reload(tuple(map(str, error.problems)), Rejection.INVALID)
        except (UnusableTls, CannotExport) as error:
            return Reload((str(error),), Rejection.INVALID)
        if loaded.empty:
            problems = tuple(f"{name}: {EMPTY}" for name in loaded.empty)
            return Reload(problems, Rejection.INVALID)
        fixed = tuple(_fixed(self._running, loaded))
        if fixed:
            return Reload(fixed, Rejection.NEEDS_RESTART)
        while not swap():
            swap = await self._prepared(loaded.config)
        former: list[object] = [self._running, self.sources]
        self._running = loaded.config
        self.sources = loaded.sources
        _let_go(former)
        return Reload(tuple(map(str, loaded.warnings)), None)

    async def _read_within(self, origin: Origin) -> tuple[Loaded, Swap]:
        """The result of `_read_and_prepare`. Raises TimeoutError if a file system does not answer.

        The waiting thread cannot be stopped, but there is only one: see `_try`.
        """
        with _beside_the_loop():
            self._reading = reading = asyncio.ensure_future(
                asyncio.to_thread(self._read_and_prepare, origin)
            )
            reading.add_done_callback(_retrieved)
            async with asyncio.timeout(self._within):
                return await asyncio.shield(reading)

    async def _prepared(self, config: Config) -> Swap:
        with _beside_the_loop():
            return await asyncio.to_thread(self._prepare, config)

    def _read_and_prepare(self, origin: Origin) -> tuple[Loaded, Swap]:
        """Runs in the thread."""
        loaded = _read(origin, self._running, self._watch)
        return loaded, self._prepare(loaded.config)

    def _hangs(self) -> str:
        return f"{self._files}: cannot be read: no answer within {self._within:g}s"

    # --- the watch ----------------------------------------------------------------------------

    async def _watch_on(self, watch: FileWatch) -> None:
        """Poll in a thread, because a file system may be slow."""
        while True:
            await asyncio.sleep(self._interval)
            if self._reading is not None and not self._reading.done():
                continue  # it looks itself, and what changes after that is seen next time
            reads = self._reads
            changed = await asyncio.to_thread(watch.changed)
            if reads != self._reads:
                continue  # a reload has read the file meanwhile
            if changed:
                self._changing = True
            elif self._changing:
                self._changing = False
                self._in_background("the file changed")

    def _in_background(self, trigger: str) -> None:
        """Reload, and once more afterwards if requested meanwhile."""
        if self._task is not None:
            self._again = trigger
            return
        self._task = asyncio.get_running_loop().create_task(self._run(trigger))

    async def _run(self, trigger: str | None) -> None:
        while trigger is not None:
            self._again = None
            try:
                await self.reload(trigger)
            except Exception as error:  # noqa: BLE001 - a bug here must not end later reloads
                process_log.bug("a reload failed", error, trigger=trigger)
            trigger = self._again
        self._task = None


def freeze_many() -> None:
    """Keep many new objects, which live long, from being examined all at once.

    They are counted, because the collector's own count is too low once other objects were freed.
    """
    if len(gc.get_objects(generation=0)) > gc.get_threshold()[0]:
        gc.freeze()


class _BesideTheLoop:
    """Let threads compute for seconds with little effect on the loop.

    With Python's switch interval of 5 ms, a loop that needs the interpreter three times per request
    falls from 4,000 requests a second to 200. Garbage collection would stop everything to examine
    the threads' objects; they live long, so they are frozen instead.
    """

    def __init__(self) -> None:
        self._threads = 0
        self._before = 0.0

    @contextmanager
    def __call__(self) -> Iterator[None]:
        """While a thread computes; several may, and the last one restores what was."""
        if self._threads == 0:
            self._before = sys.getswitchinterval()
            sys.setswitchinterval(_SWITCH_EVERY)
            gc.disable()
        self._threads += 1
        try:
            yield
        finally:
            self._threads -= 1
            if self._threads == 0:
                freeze_many()
                gc.enable()
                sys.setswitchinterval(self._before)


_beside_the_loop = _BesideTheLoop()


def _let_go(former: list[object]) -> None:
    """Drop the objects one by one, each in a step of the loop: freeing a large one takes long."""
    if former:
        former.pop()
        asyncio.get_running_loop().call_soon(_let_go, former)


def _retrieved(reading: asyncio.Future[tuple[Loaded, Swap]]) -> None:
    """Consume the result of a cancelled reading."""
    if not reading.cancelled():
        reading.exception()


def _read(origin: Origin, running: Config, watch: FileWatch | None) -> Loaded:
    """The files, if they and their new TLS files are usable.

    Raises ConfigError, UnusableTls or CannotExport. Blocks.
    """
    if watch is not None:
        watch.changed()  # from here on: what is read now is not a change
    loaded = load(origin, os.environ)
    for listener in Listener:
        tls = loaded.config.listeners.of(listener).tls
        if tls is not None and tls != running.listeners.of(listener).tls:
            ListenerContext(f"listeners.{listener.value}.tls", tls)
    check_exporter(loaded.config)
    return loaded


def _fixed(running: Config, loaded: Loaded) -> Iterator[str]:
    """Changes that need a restart, each as a problem at its place in the file."""
    problem = partial(_needs_restart, loaded)
    new = loaded.config
    if running.admin.address != new.admin.address:
        yield problem(("admin", "address"), running.admin.address, new.admin.address)
    for listener in Listener:
        name = listener.value
        before, after = running.listeners.of(listener), new.listeners.of(listener)
        if before.addresses != after.addresses:
            shown = [", ".join(map(str, each.addresses)) for each in (before, after)]
            yield problem(("listeners", name, "address"), *shown)
        if _on(before.tls) != _on(after.tls):
            yield problem(("listeners", name, "tls"), _on(before.tls), _on(after.tls))
    if running.store is None or new.store is None:
        if running.store is not new.store:
            yield problem(("store",), _store(running.store), _store(new.store))
    elif running.store != new.store:
        yield from _changes_of_store(running, loaded)


def _store(store: StoreConfig | None) -> str:
    return "none" if store is None else describe_store(store)


def _changes_of_store(running: Config, loaded: Loaded) -> Iterator[str]:
    """Each changed key. Of a URL whose shown part is the same, it is the password."""
    before, after = (
        effective(without_sections(config))["store"] for config in (running, loaded.config)
    )
    changed = [key for key in {**before, **after} if before.get(key) != after.get(key)]
    for key in changed:
        told = [str(shown.get(key, "none")) for shown in (before, after)]
        yield _needs_restart(loaded, ("store", key), *told)
    if not changed:
        yield _needs_restart(loaded, ("store", "url"), "its password", "another one")


def _needs_restart(loaded: Loaded, path: tuple[str, ...], before: object, after: object) -> str:
    where = loaded.sources.place(path) or loaded.filename
    return f"{where}: {'.'.join(path)}: {before} cannot become {after} without a restart"


def _on(tls: ListenerTls | None) -> str:
    if tls is None:
        return "off"
    return "on" if tls.client_ca is None else "mutual"


def _report(outcome: Reload, trigger: str, file: str) -> None:
    """Log the result, and one line for each problem or warning."""
    fields = {"trigger": trigger, "file": file}
    if outcome.applied:
        level = logging.WARNING
        _log.info("configuration reloaded", extra={"fields": fields})
    else:
        level = logging.ERROR
        _log.error("configuration rejected, nothing has changed", extra={"fields": fields})
    for problem in outcome.problems:
        _log.log(level, "%s", problem)
