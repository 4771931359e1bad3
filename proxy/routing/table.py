"""The table of routes, which finds the route of a request. Immutable; a reload makes a new one."""

from proxy.config.model import Config, Listener
from proxy.routing.head import Head
from proxy.routing.lookup import ListenerRoutes
from proxy.routing.route import Route
from proxy.routing.saga_routes import step_routes
from proxy.routing.table_routes import table_routes

__all__ = ["ListenerRoutes", "Route", "RouteTable"]


class RouteTable:
    """The routes in the file's order, then each listener's default route."""

    __slots__ = ("_by_listener", "_by_name", "routes")

    def __init__(self, config: Config) -> None:
        self.routes = tuple(Route(route, order) for order, route in enumerate(config.routes))
        self._by_listener = {
            listener: ListenerRoutes(
                tuple(route for route in self.routes if route.listener is listener),
                Route(config.default_route(listener), len(self.routes)),
            )
            for listener in Listener
        }
        self._by_name = {route.name: route for route in self.routes}
        self._by_name.update(step_routes(config))
        self._by_name.update(table_routes(config))
        for routes in self._by_listener.values():
            self._by_name[routes.default.name] = routes.default

    def at(self, listener: Listener) -> ListenerRoutes:
        """The routes of one listener, to match requests with."""
        return self._by_listener[listener]

    def named(self, name: str) -> Route | None:
        """The route of that name, a default one, a saga's step or an outbox table's too."""
        return self._by_name.get(name)

    def match(self, listener: Listener, head: Head) -> Route:
        """The first route of the listener that matches, else its default one."""
        return self._by_listener[listener].match(head)

    def of(self, listener: Listener) -> tuple[Route, ...]:
        """The routes of one listener in matching order, the default one last."""
        routes = self._by_listener[listener]
        return (*routes.written, routes.default)

    def default(self, listener: Listener) -> Route:
        """The route for requests that no written route matches."""
        return self._by_listener[listener].default
