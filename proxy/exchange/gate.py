"""The gate of one listener: its connections and its exchanges in flight."""

import asyncio
from collections.abc import Callable
from time import monotonic
from typing import Final, TypeAlias

from proxy.config.server_model import ListenerProtocol
from proxy.errors import ProxyError
from proxy.exchange.answers import last_recipient_answer, refusal_answer
from proxy.exchange.exchange import Exchange
from proxy.exchange.record import Record, refusal_record
from proxy.exchange.request import Keeper
from proxy.exchange.script import Script
from proxy.exchange.stats import OTHER
from proxy.exchange.terms import Terms
from proxy.exchange.well_known import WELL_KNOWN, Places, WellKnownExchange
from proxy.grpc_status import NO_GRPC
from proxy.http.max_forwards import counted_down, forwards_left
from proxy.http.message import RequestHead
from proxy.policies.gate import Gate
from proxy.wire.streams import ClientStream

Observer: TypeAlias = Callable[[Record], None]
"""Called with the record of every settled exchange. An exception would be a bug of the proxy."""

_NEXT_SEARCH: Final = 0.05
"""Seconds until the next search for slow clients: it looks at every exchange in flight."""


class ListenerGate(Keeper):
    """Starts the exchanges of one listener, each under the terms in effect when it begins.

    `closing`: every response is its connection's last. `last_active`: when the last exchange ended
    (monotonic seconds). `places` answers for addresses of the proxy's own, if there are any.
    """

    def __init__(self, terms: Terms, tell: Observer) -> None:
        super().__init__(terms.listener)
        self.exchanges: set[Exchange] = set()
        self.places: Places | None = None
        self.last_active = monotonic()
        self._tell = tell
        self._next_search = 0.0
        self._slow: dict[Gate, list[tuple[float, Exchange]]] = {}  # the slowest last
        self.adopt(terms)

    def adopt(self, terms: Terms) -> None:
        """Use other terms from the next request on."""
        self.terms = terms
        self.limits = terms.limits
        self.parser = terms.parser
        self.reader = terms.reader
        self.http1 = ListenerProtocol.HTTP1 in terms.protocols
        self.http2 = ListenerProtocol.HTTP2 in terms.protocols

    @property
    def in_flight(self) -> list[Record]:
        """The records of the exchanges in flight."""
        return [exchange.record for exchange in self.exchanges]

    # --- for a client's connection ----------------------------------------------------------------

    def begin(self, client: ClientStream, head: RequestHead, piece: bytes) -> None:
        if head.unusual:
            left = forwards_left(head)
            if left == 0 or head.method == "CONNECT":
                if self._answer_alone(client, head):
                    return
            elif left is not None:
                head = counted_down(head, left)
        exchange: Exchange
        if self.places is not None and head.path.startswith(WELL_KNOWN):
            exchange = WellKnownExchange(self, self.terms, client, head, piece)
            exchange.known = self.places
        else:
            exchange = Exchange(self, self.terms, client, head, piece)
        client.handler = exchange
        self.exchanges.add(exchange)
        exchange.start(exchange.run())

    def _answer_alone(self, client: ClientStream, head: RequestHead) -> bool:
        """Answer a request without an exchange; False: an exchange handles it.

        These are a CONNECT that plain HTTP follows, and a request that must not be forwarded. The
        gates are asked for each request that follows the CONNECT, not for the CONNECT itself.
        """
        terms = self.terms
        connect = head.method == "CONNECT"
        if connect and not terms.expects_plain_http(head):
            return False
        now = monotonic()
        try:
            binding = terms.bind(head, client.client)
        except ProxyError:
            return False  # the exchange will be refused for the same reason, with an answer
        request_id = terms.request_id(head)
        record = Record(self.listener, client.client, head, request_id, terms.trace(head), now)
        record.binding = binding
        record.status = 200
        record.answered = True
        if connect:
            client.expect_plain_http(terms.response_fields(11, request_id))
        else:
            answer = last_recipient_answer(terms, head, request_id)
            record.bytes_out = len(answer.piece)
            client.write_head(
                answer.head, answer.own, answer.piece, True, answer.trailers, self.closing
            )
        self.last_active = now
        self._count(record)
        if not connect:
            client.finish(now)
        return True

    def refuse(self, client: ClientStream, error: ProxyError, grpc: bool = False) -> None:
        terms = self.terms
        request_id = terms.new_request_id()
        answer = refusal_answer(terms, error, request_id, grpc)
        client.write_head(
            answer.head, answer.own, answer.piece, answer.ended, answer.trailers, answer.last
        )
        self._count_refusal(client, error, request_id, error.grpc if grpc else NO_GRPC)

    def drop(self, client: ClientStream, error: ProxyError) -> None:
        self._count_refusal(client, error, self.terms.new_request_id())

    def _count_refusal(
        self, client: ClientStream, error: ProxyError, request_id: bytes, code: int = NO_GRPC
    ) -> None:
        record = refusal_record(self.listener, client.client, error, request_id, monotonic())
        if code >= 0:
            record.grpc, record.status = code, 200
        self._count(record)

    # --- for an exchange --------------------------------------------------------------------------

    def make_room(self, gate: Gate, now: float) -> bool:
        if self._end_slowest(gate, now):
            return True
        if now < self._next_search:
            return False
        self._next_search = now + _NEXT_SEARCH
        self._find_slow(now)
        return self._end_slowest(gate, now)

    def _end_slowest(self, gate: Gate, now: float) -> bool:
        slow = self._slow.get(gate)
        while slow:
            _, exchange = slow.pop()
            if exchange.behind(gate, now) > 0.0:
                exchange.give_place(now)
                return True
        return False

    def _find_slow(self, now: float) -> None:
        """Find the slow clients of all gates at once: requests without a place may come fast."""
        found: dict[Gate, list[tuple[float, Exchange]]] = {}
        self._slow = found
        for exchange in self.exchanges:
            for gate in exchange.places():
                behind = exchange.behind(gate, now)
                if behind > 0.0:
                    found.setdefault(gate, []).append((behind, exchange))
        for slow in found.values():
            slow.sort(key=_how_slow)
        # Exchanges that have ended must not stay.
        asyncio.get_running_loop().call_later(_NEXT_SEARCH, found.clear)

    def settled(self, exchange: Script, record: Record, now: float) -> None:
        assert isinstance(exchange, Exchange)
        self.exchanges.discard(exchange)
        self.last_active = now
        self._count(record)

    def _count(self, record: Record) -> None:
        binding = record.binding
        if binding is not None:
            stats = binding.stats
        else:
            stats = self.terms.bindings.stats_of(self.listener.value, "")
        head, method = record.head, ""
        if head is not None:
            method = OTHER if head.unusual else head.method
        stats.count_answer(record.status, record.reason, record.duration, method, record.grpc)
        self._tell(record)


def _how_slow(one: tuple[float, Exchange]) -> float:
    return one[0]
