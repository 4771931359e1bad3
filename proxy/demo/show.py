"""What the views display: the scene, both order services, the dependencies, the proxy.

The views only read it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from proxy.demo.dependencies import DependencyServer
from proxy.demo.observation import BreakerStatus, Observer
from proxy.demo.orders import Fate, Order, World
from proxy.demo.scene import Dependency, Scene

_LABELS = {
    False: {World.WITH: "with the proxy", World.WITHOUT: "without"},
    True: {World.WITH: "with policies", World.WITHOUT: "without"},
}


@dataclass(frozen=True, slots=True)
class Show:
    """`now` gives the seconds since the scene began.

    `quotes` has the gRPC statuses that each order service got from pricing, `admin` the proxy's
    admin address.
    """

    scene: Scene
    now: Callable[[], float]
    orders: Mapping[World, list[Order]]
    quotes: Mapping[World, Mapping[str, int]]
    servers: Mapping[Dependency, DependencyServer]
    observer: Observer
    admin: str

    def label(self, world: World) -> str:
        """What a copy of the order service has, in a few words."""
        return _LABELS[self.scene.faults][world]

    def breaker(self, dependency: Dependency) -> BreakerStatus:
        """Breakers are named after their routes, and routes after the dependencies."""
        return self.observer.breakers.get(dependency.value, BreakerStatus())

    def trouble(self, dependency: Dependency) -> str:
        """A dependency's trouble in a word or two."""
        act = self.scene.act(dependency, self.now())
        return act.trouble.value if act is not None else "well"

    def count(self, world: World, fate: Fate) -> int:
        return sum(order.fate is fate for order in self.orders[world])

    def last(self, fate: Fate, step: Dependency) -> Order | None:
        """The latest order through the proxy with this result at this step."""
        ended = (o for o in reversed(self.orders[World.WITH]) if o.fate is fate)
        return next((o for o in ended if o.step is step), None)
