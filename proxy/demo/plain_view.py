"""The demo in a pipe or file: a line for every event, and one every second."""

from rich.console import Console

from proxy.demo.narration import headline
from proxy.demo.orders import Fate, World
from proxy.demo.scene import Dependency
from proxy.demo.show import Show


class PlainView:
    """Prints the changes since the last call of `update`."""

    __slots__ = ("_console", "_headline", "_next_tick", "_show", "_tick", "_told")

    def __init__(self, console: Console, show: Show) -> None:
        self._console = console
        self._show = show
        self._headline = ""
        self._told = 0
        # A long run prints fewer lines.
        self._tick = max(1.0, round(show.scene.tempo.duration / 60))
        self._next_tick = self._tick
        self._print(f"status page: {show.admin}/")

    def update(self) -> None:
        transitions = self._show.observer.transitions
        for transition in transitions[self._told :]:
            state = transition.state.replace("_", "-")
            self._print(f"{transition.breaker}: breaker is now {state}", transition.at)
        self._told = len(transitions)
        told = headline(self._show)
        if told != self._headline:
            self._headline = told
            self._print(told)
        if self._show.now() >= self._next_tick:
            self._next_tick += self._tick
            self._print(self._totals())

    def _totals(self) -> str:
        sides = []
        for world in World:
            counts = {fate: self._show.count(world, fate) for fate in Fate}
            good = sum(count for fate, count in counts.items() if fate.good)
            deferred = f" ({counts[Fate.DEFERRED]} deferred)" if counts[Fate.DEFERRED] else ""
            sides.append(f"{world.value} {good} ok{deferred}, {counts[Fate.FAILED]} failed")
        retries = sum(self._show.observer.retries.values())
        states = [
            f"{d.value} {self._show.breaker(d).state.replace('_', '-')}"
            for d in Dependency
            if self._show.breaker(d).state != "closed"
        ]
        tail = f"; breakers: {', '.join(states)}" if states else ""
        return f"{'; '.join(sides)}; {retries} retries{tail}"

    def _print(self, text: str, at: float | None = None) -> None:
        seconds = self._show.now() if at is None else at
        # Lines are not wrapped: the reader of a file has another width.
        self._console.print(
            f"{seconds:5.1f} s  {text}", soft_wrap=True, highlight=False, markup=False
        )
