"""Random numbers that follow a log: where any endpoint would do, the recorded one is taken.

Balancers draw one or two endpoints, and take the better of them. The first draw for an attempt is
made to fall on the endpoint that the log has for it; the rest is chance. So a file that balances
as before meets known outcomes, and one that prefers other endpoints meets theirs. Where the log
does not have all endpoints it cannot be followed: new ones would get nothing.
"""

from collections.abc import Callable, Collection, Mapping, Sequence

from proxy.clock import Random
from proxy.config.model import Listener
from proxy.exchange.gate import ListenerGate
from proxy.simulation.recorded import RecordedRequest
from proxy.upstream.endpoint import Endpoint
from proxy.upstream.upstream import Upstream

Requests = Callable[[bytes], RecordedRequest]
"""The recorded request by the id that it is played with."""


class Guide:
    """`draw` is the chance of one upstream, `upstream`, which is made with it and set then."""

    def __init__(
        self,
        gates: Mapping[Listener, ListenerGate],
        requests: Requests,
        chance: Random,
        recorded: Collection[str],
    ) -> None:
        """`recorded`: the upstream's endpoints in the log."""
        self._recorded_endpoints = frozenset(recorded)
        self._gates = gates
        self._requests = requests
        self._chance = chance
        self._last = (b"", 0)
        self.upstream: Upstream | None = None

    def draw(self) -> float:
        if self.upstream is not None:
            standings = self.upstream.choice.standings
            usable = self.upstream.endpoints if standings is None else standings.usable
            if len(usable) > 1 and self._knows(usable):
                label = self._recorded()
                for place, endpoint in enumerate(usable):
                    if endpoint.label == label:
                        return (place + 0.5) / len(usable)
        return self._chance()

    def _knows(self, endpoints: Sequence[Endpoint]) -> bool:
        """Whether the log has them all, and their weights are equal: else each draw counts."""
        weight = endpoints[0].weight
        return all(
            endpoint.label in self._recorded_endpoints and endpoint.weight == weight
            for endpoint in endpoints
        )

    def _recorded(self) -> str:
        """The recorded endpoint of the attempt that begins now, "" after its first draw."""
        for gate in self._gates.values():
            for exchange in gate.exchanges:
                if exchange.running:
                    record = exchange.record
                    number = len(record.attempts)
                    attempts = self._requests(record.id).attempts
                    if (record.id, number) == self._last or not 0 < number <= len(attempts):
                        return ""
                    self._last = (record.id, number)
                    return attempts[number - 1].endpoint
        return ""
