"""Sends sagas' tries, under the configuration of the moment."""

from collections.abc import Callable

from proxy.config.model import Config, Listener
from proxy.config.saga_model import SagaRequest
from proxy.delivery.saga_record import Accepted
from proxy.delivery.saga_request import request_of
from proxy.delivery.stored_request import StoredRequest, TryResult
from proxy.delivery.tries import Tries
from proxy.exchange.gateway import Gateway
from proxy.http.authority import DEFAULT_PORTS
from proxy.policies.saga import Send
from proxy.policies.saga_rules import Phase
from proxy.routing.route import Route
from proxy.routing.saga_routes import step_route, step_route_name


class SagaSender:
    """The `Sender` of the running proxy. `tries`: those in flight."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self.tries = Tries(Listener.OUTBOUND, gateway.tell)

    def route(self, accepted: Accepted, send: Send) -> Route | None:
        config = self._gateway.config
        step = accepted.saga.steps[send.step]
        request = request_of(accepted, send)
        name = step_route_name(config, accepted.saga.name, step, request)
        present = self._gateway.table.named(name)
        if present is not None and present.config.upstream in config.upstreams:
            return present
        return step_route(config, accepted.saga.name, step, request)

    def present(self, accepted: Accepted, send: Send) -> SagaRequest | None:
        saga = self._gateway.config.sagas.get(accepted.saga.name)
        name = accepted.saga.steps[send.step].name
        if saga is None or name not in saga.numbers:
            return None
        step = saga.steps[saga.numbers[name]]
        return step.request if send.phase is Phase.DO else step.undo

    def address(self, route: Route) -> tuple[str, str]:
        return address_of(self._gateway.config, str(route.config.upstream))

    def send(
        self,
        route: Route,
        request: StoredRequest,
        keep: int,
        on_done: Callable[[TryResult], object],
    ) -> None:
        terms = self._gateway.gates[Listener.OUTBOUND].terms
        self.tries.begin_try(terms, route, request, on_done, keep=keep)


def address_of(config: Config, upstream: str) -> tuple[str, str]:
    """The Host for an upstream, that of its first endpoint, and its scheme."""
    endpoint = config.upstreams[upstream].endpoints[0]
    host = f"[{endpoint.host}]" if ":" in endpoint.host else endpoint.host
    if endpoint.port != DEFAULT_PORTS.get(endpoint.scheme):
        host = f"{host}:{endpoint.port}"
    return host, endpoint.scheme
