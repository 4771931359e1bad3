"""The gateway: both listeners' gates, and what their exchanges share."""

import logging
from collections.abc import Mapping, Sequence
from os import urandom

from proxy.clock import Random
from proxy.config.model import Config, Listener
from proxy.config.server_model import TraceExporter
from proxy.exchange.bindings import Bindings
from proxy.exchange.gate import ListenerGate, Observer
from proxy.exchange.lineage import Lineage
from proxy.exchange.record import Record
from proxy.exchange.terms import Terms
from proxy.http.random_hex import HexStrip
from proxy.http.request_id import RequestIds
from proxy.http.tracing import Propagator
from proxy.routing.own_addresses import OwnAddresses
from proxy.routing.table import RouteTable
from proxy.upstream.registry import Upstreams

_log = logging.getLogger("proxy.exchange")


class Gateway:
    """The data plane under one configuration at a time."""

    def __init__(
        self,
        config: Config,
        *,
        table: RouteTable,
        upstreams: Upstreams,
        bindings: Bindings,
        own_addresses: OwnAddresses,
        random: Random,
        observers: Sequence[Observer] = (),
    ) -> None:
        self.upstreams = upstreams
        self.observers = list(observers)
        self.own_addresses = own_addresses
        self._random_hex = HexStrip(urandom).draw
        self._request_ids = RequestIds(urandom)
        self._random = random
        self.lineage = Lineage()
        # A listener's scheme is fixed when it is opened.
        self._inbound_scheme = b"http" if config.listeners.inbound.tls is None else b"https"
        self.config = config
        self.table = table
        self.bindings = bindings
        terms = self._terms(config, table, bindings)
        self.gates: Mapping[Listener, ListenerGate] = {
            listener: ListenerGate(terms[listener], self.tell) for listener in Listener
        }

    def adopt(
        self,
        config: Config,
        *,
        table: RouteTable,
        bindings: Bindings,
        observers: Sequence[Observer],
    ) -> None:
        """Use another configuration from the next request of every connection on.

        Exchanges in flight finish under their own. `bindings` have taken over from the present
        ones, and the upstreams are reconfigured.
        """
        self.observers = list(observers)
        self.config = config
        self.table = table
        self.bindings = bindings
        terms = self._terms(config, table, bindings)
        for listener, gate in self.gates.items():
            gate.adopt(terms[listener])

    def _terms(
        self, config: Config, table: RouteTable, bindings: Bindings
    ) -> Mapping[Listener, Terms]:
        propagator = Propagator(
            [form.value for form in config.tracing.propagate],
            config.tracing.sample,
            random_hex=self._random_hex,
            random=self._random,
            records=config.tracing.exporter is not TraceExporter.NONE,
        )
        lineage = self.lineage if _inherits(config) else None
        return {
            listener: Terms(
                listener,
                config,
                table=table,
                bindings=bindings,
                own_addresses=self.own_addresses,
                propagator=propagator,
                new_request_id=self._request_ids.new,
                scheme=self._inbound_scheme,
                lineage=lineage,
            )
            for listener in Listener
        }

    def tell(self, record: Record) -> None:
        """Call the observers. A bug in one of them loses its own record, but no exchange."""
        for observer in self.observers:
            try:
                observer(record)
            except Exception:  # noqa: BLE001 - no bug of an observer may end an exchange
                _log.exception("internal error in the record of request %s", record.request_id)


def _inherits(config: Config) -> bool:
    """Whether an outbound route takes something from inbound requests."""
    routes = [*config.routes, config.default_route(Listener.OUTBOUND)]
    settings = [
        route.policies.timeouts.inherit for route in routes if route.listener is Listener.OUTBOUND
    ]
    return any([one.deadline or one.retries for one in settings])
