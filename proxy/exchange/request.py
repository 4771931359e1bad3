"""One client request: the data that all parts of its exchange use.

Everything here is set when the exchange begins or when its route is known. Results are in the
record.
"""

from collections.abc import Sequence
from typing import Final

from proxy.config.model import Listener
from proxy.errors import ProxyError, RequestTimeout
from proxy.exchange.binding import Binding, Mirrors
from proxy.exchange.body import RequestBody
from proxy.exchange.claim import Claim
from proxy.exchange.heads import repeat_number
from proxy.exchange.lease import Lease
from proxy.exchange.lineage import Kin, Lineage, inherited
from proxy.exchange.record import Record
from proxy.exchange.script import Script
from proxy.exchange.terms import Terms, request_to
from proxy.exchange.timing import Timing
from proxy.http.grpc import is_grpc
from proxy.http.message import Field, RequestHead
from proxy.http.tracing import TraceContext
from proxy.outcome import Condition
from proxy.policies.bulkhead import BULKHEAD, Bulkhead
from proxy.policies.deadline import InheritConfig
from proxy.policies.gate import Gate as PolicyGate
from proxy.policies.gate import Permit
from proxy.wire.alarm import NEVER
from proxy.wire.streams import ClientStream, Gate

_INBOUND: Final = Listener.INBOUND
_KEY_FIELDS: Final = (b"idempotency-key", b"x-idempotency-key")


class Keeper(Gate):
    """The part of a gate that an exchange uses."""

    def make_room(self, gate: PolicyGate, now: float) -> bool:
        """End the exchange with the slowest client that holds a permit of `gate`.

        False: no client is too slow.
        """
        raise NotImplementedError

    def settled(self, exchange: Script, record: Record, now: float) -> None:
        """An exchange is settled: count it, and call the observers."""
        raise NotImplementedError


class Request(Kin):
    """`sent` is the head as the route's rules make it. `grpc`: it is a gRPC call.

    `nested`: the number, as a repeat, of the inbound request that it is made for; b"" if that is
    not a repeat, or none is known.
    `mirrors`: the mirror that gets a copy with the first attempt; None afterwards, or without one.
    `outer_permits`: permits of the gates around all attempts, None without such a gate. `claim`:
    that of its idempotency key, None without one. `lease`: that of the claim under which it is
    sent, None without one. `minted`: the proxy gave it such a key.
    """

    __slots__ = (
        "binding",
        "body",
        "claim",
        "grpc",
        "head",
        "id",
        "lease",
        "minted",
        "mirrors",
        "nested",
        "outer_permits",
        "record",
        "sent",
        "stream",
        "terms",
        "timing",
        "trace",
    )

    binding: Binding
    sent: RequestHead
    id: bytes
    trace: TraceContext

    def __init__(
        self,
        terms: Terms,
        stream: ClientStream,
        head: RequestHead,
        body: RequestBody | None,
        timing: Timing,
        of: "Request | None" = None,
    ) -> None:
        """`of`: it is a copy of that one, with its id and trace."""
        self.terms = terms
        self.stream = stream
        self.head = head
        self.body = body
        self.timing = timing
        self.grpc = head.version == 20 and is_grpc(head)
        self.id = terms.request_id(head) if of is None else of.id
        self.trace = terms.trace(head) if of is None else of.trace
        self.lineage = self.parent = self.heir = None
        self.retried_below = False
        self.mirrors: Mirrors | None = None
        self.nested = b""
        self.outer_permits: list[Permit] | None = None
        self.claim: Claim | None = None
        self.lease: Lease | None = None
        self.minted = False
        self.record = Record(
            terms.listener, stream.client, head, self.id, self.trace, timing.started
        )

    def bind(self) -> Binding:
        """Find its destination. Raises NoAuthority, EgressDenied or Loop."""
        return self.use(self.terms.bind(self.head, self.stream.client))

    def use(self, binding: Binding) -> Binding:
        """Its destination is known."""
        self.binding = self.record.binding = binding
        self.mirrors = binding.mirrors
        self.sent = request_to(self.head, binding)
        return binding

    def send_too(self, field: Field) -> None:
        """Send another field to its upstream, with every attempt."""
        sent = self.sent
        fields = [*sent.fields, field]
        self.sent = sent.changed(path=sent.path, host_text=sent.host_text, fields=fields)

    @property
    def body_rate(self) -> int:
        """Minimum bytes per second of its client; 0: no minimum.

        gRPC and upgrades have none: their messages follow no steady pace.
        """
        rate = self.binding.policies.timeouts.body_rate
        if rate is None:
            rate = self.terms.body_rate
        head = self.head
        if not rate or self.grpc or head.upgrade is not None:
            return 0
        for kind in head.values(b"content-type"):
            if kind.lower().startswith(b"application/grpc"):
                return 0
        return rate

    @property
    def observes_rate(self) -> bool:
        """Whether `body_rate` ends nothing: the route's own, if its timeouts only observe."""
        return (
            self.timing.marks is not None and self.binding.policies.timeouts.body_rate is not None
        )

    def condition_of(self, error: ProxyError) -> Condition | None:
        """The condition of a failure; None if it says nothing about the upstream."""
        if self.timing.stood_still:
            return None
        if isinstance(error, RequestTimeout) and not self.timing.shortened:
            # With the policy's own deadline the upstream had its time. A deadline that the
            # caller shortened says nothing about the upstream.
            return Condition.TIMEOUT
        return error.condition

    @property
    def keyed(self) -> bool:
        """Whether it has an idempotency key; an empty one cannot tell a repeat from a request."""
        if self.minted:
            return True
        head = self.head
        return any([any(head.values(name)) for name in _KEY_FIELDS])

    # --- for its relatives ------------------------------------------------------------------------

    @property
    def kinship(self) -> str:
        return self.trace.trace_id

    @property
    def inbound(self) -> bool:
        return self.terms.listener is _INBOUND

    def left_to_hand_on(self, now: float) -> float:
        if self.record.answered and not self.grpc:
            return NEVER
        given = self.timing.given
        if given == NEVER:
            return NEVER
        if self.grpc:
            return self.timing.started + given - now
        return self.timing.left_to_tell(now)

    @property
    def streams(self) -> bool:
        return self.grpc

    @property
    def repeat(self) -> bytes:
        return repeat_number(self.head.held)

    def disinherit(self) -> None:
        self.timing.disinherit()

    def inherit(self, lineage: Lineage, wanted: InheritConfig) -> float:
        """Take what the inbound request that this call is made for hands on.

        Returns the seconds left of the inherited deadline, NEVER without one.
        """
        if not wanted.deadline and not wanted.retries:
            return NEVER
        latest = lineage.latest(self.kinship)
        if latest is None:
            return NEVER
        now = self.timing.started
        parent, left, repeat, streams = inherited(latest, now)
        assert isinstance(parent, Request)
        self.record.parent_id = parent.id
        if wanted.retries:
            self.nested = repeat
        if not wanted.deadline:
            return NEVER
        self.parent = parent
        if streams:
            self.timing.stream_until = now + left
        return left

    # --- for gates --------------------------------------------------------------------------------

    def observe(self, what: str) -> None:
        self.record.observe(what)

    @property
    def client(self) -> str:
        return self.terms.client(self.head, self.stream.client)

    @property
    def method(self) -> str:
        return self.head.method

    @property
    def tries(self) -> int:
        return len(self.record.attempts)

    def values(self, name: bytes) -> Sequence[bytes]:
        return self.head.values(name)

    def joined(self, name: bytes) -> bytes:
        return self.head.joined(name)

    def take_place(self) -> float:
        """Only of outbound requests: a caller from elsewhere can wait itself."""
        if self.terms.listener is _INBOUND:
            return 0.0
        bulkhead = self.binding.gate(BULKHEAD)
        if not isinstance(bulkhead, Bulkhead):
            return 0.0
        left = self.timing.time_left
        return min(bulkhead.take_place(), left) if left > 0.0 else 0.0

    def leave_place(self) -> None:
        bulkhead = self.binding.gate(BULKHEAD)
        assert isinstance(bulkhead, Bulkhead)
        bulkhead.leave_place()
