"""The routes of outbox tables: no request matches them, only the tries of rows take them."""

from proxy.config.model import Config, Listener, RouteConfig
from proxy.config.table_model import TableConfig
from proxy.routing.route import Route


def table_routes(config: Config) -> dict[str, Route]:
    """The routes of all tables whose rows go to an upstream, by name."""
    routes = (table_route(config, table) for table in config.outbox_tables.values())
    return {route.name: route for route in routes if route is not None}


def table_route(config: Config, table: TableConfig) -> Route | None:
    """The route of a table's rows; None if they start a saga."""
    target = table.to
    if target.upstream is None:
        return None
    return Route(
        RouteConfig(
            table.route_name,
            Listener.OUTBOUND,
            upstream=target.upstream,
            policy=target.policy,
            policies=config.policies[target.policy],
        )
    )
