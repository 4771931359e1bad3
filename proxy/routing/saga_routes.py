"""The routes of sagas' steps: no request matches them, only a saga's own tries take them."""

from proxy.config.model import DEFAULT_POLICY, Config, Listener, RouteConfig
from proxy.config.saga_model import SagaRequest, SagaStep
from proxy.routing.route import Route


def step_routes(config: Config) -> dict[str, Route]:
    """The routes of all steps, by name."""
    routes: dict[str, Route] = {}
    for saga in config.sagas.values():
        for step, request in saga.requests:
            route = step_route(config, saga.name, step, request)
            if route is not None:
                routes.setdefault(route.name, route)
    return routes


def step_route(config: Config, saga: str, step: SagaStep, request: SagaRequest) -> Route | None:
    """The route of a step's request; None if its upstream is no longer configured.

    A step of a former definition may name another upstream or policy: then the route has a name of
    its own, because breakers and bulkheads are kept by name.
    """
    if request.upstream not in config.upstreams:
        return None
    policy = step.policy if step.policy in config.policies else DEFAULT_POLICY
    name = step_route_name(config, saga, step, request)
    return Route(
        RouteConfig(
            name,
            Listener.OUTBOUND,
            upstream=request.upstream,
            policy=policy,
            policies=config.policies[policy],
        )
    )


def step_route_name(config: Config, saga: str, step: SagaStep, request: SagaRequest) -> str:
    """``place-order:pay``; with upstream and policy where those are not the present step's."""
    name = f"{saga}:{step.name}"
    present = config.sagas.get(saga)
    number = None if present is None else present.numbers.get(step.name)
    if present is not None and number is not None:
        now = present.steps[number]
        if (now.request.upstream, now.policy) == (request.upstream, step.policy):
            return name
    return f"{name}:{request.upstream}:{step.policy}"
