"""The commit of an exchange, and what follows it: relay, tunnel, or the end of a broken response.

Before the commit everything can be retried, after it nothing. `_commit_head` is the only place
where that happens, for upstreams' responses, fallbacks and the proxy's own answers.
"""

from proxy.errors import ClientGone, DrainCut, ProxyError
from proxy.exchange.answers import (
    Answer,
    changed_by_rules,
    error_answer,
    forwarded_head,
)
from proxy.exchange.attempt import Attempt
from proxy.exchange.events import COMMITTED
from proxy.exchange.grpc_attempt import GrpcAttempt
from proxy.exchange.grpc_relay import GrpcRelay
from proxy.exchange.relay import Relay
from proxy.exchange.request import Keeper
from proxy.exchange.tunnel import Tunnel
from proxy.exchange.watching import Watching
from proxy.http.message import OwnFields, ResponseHead
from proxy.wire.streams import Trailers


class Committing(Watching):
    """An exchange with its way to the client. After the commit it may have a relay or a tunnel."""

    __slots__ = ("_tunnel", "gate")

    def __init__(self, gate: Keeper) -> None:
        super().__init__()
        self.gate = gate
        self._tunnel: Tunnel | None = None

    def _commit(self, answer: Answer) -> None:
        """Commit to this answer. No retry is possible afterwards."""
        head, own = answer.head, answer.own
        if answer.attempt is None and self.record.binding is not None:
            head, own = changed_by_rules(self.record.binding, head, own)
        self._commit_head(
            head,
            own,
            answer.attempt,
            answer.piece,
            answer.ended,
            answer.trailers,
            answer.last,
        )

    def _forward(self, attempt: Attempt) -> None:
        """Commit to the response of this attempt, as nearly always: no `Answer` is made for it."""
        head, own = forwarded_head(self.request, attempt)
        self._commit_head(head, own, attempt, attempt.piece, attempt.ended, attempt.trailers, False)

    def _commit_head(
        self,
        head: ResponseHead,
        own: OwnFields,
        attempt: Attempt | None,
        piece: bytes,
        ended: bool,
        trailers: Trailers,
        last: bool,
    ) -> None:
        """The commit, for all of them. `attempt` got the response, None: it is the proxy's own."""
        request, record, stream = self.request, self.record, self.request.stream
        record.status = head.status
        record.answered = True
        self.phase = COMMITTED
        if request.lineage is not None and attempt is not None:
            request.lineage.answered(request)
        if attempt is not None and (head.status == 101 or request.head.method == "CONNECT"):
            self._tunnel = Tunnel(request, attempt, self)
            self._tunnel.take_over(stream.open_tunnel(head, own, piece))
            return
        stream.write_head(head, own, piece, ended, trailers, last or self.gate.closing)
        if attempt is None:
            record.bytes_out = len(piece)
        elif ended and not stream.write_paused:
            attempt.finish()
        else:
            if isinstance(attempt, GrpcAttempt):
                self._relay = GrpcRelay(request, attempt, self)
            else:
                self._relay = Relay(request, attempt, self)
            self._relay.take_over()

    async def _relaying(self, relay: Relay) -> None:
        """Relay until the upstream's body has ended and the client has read it."""
        timing = self.request.timing
        while not relay.over:
            await self.wait(timing.idle_at)
            relay.go_on()

    async def _tunnelling(self, tunnel: Tunnel) -> None:
        """Relay a tunnel until it ends."""
        timing = self.request.timing
        while not tunnel.over:
            await self.wait(timing.idle_at)
            if not tunnel.over and tunnel.is_idle():
                break
        tunnel.close()

    def _conclude(self, error: ProxyError) -> None:
        """It failed: answer if nothing was sent yet, else make sure that nothing looks complete."""
        self.record.failed(error)
        stream = self.request.stream
        if self.phase is not COMMITTED:
            if isinstance(error, ClientGone):
                self.record.status = error.status
                if self.request.grpc:
                    self.record.grpc = error.grpc
                stream.break_off(hard=False, cancelled=True)
            else:
                self._commit(error_answer(self.request, error))
            return
        # The response is already partly sent: close, or reset if closing would look complete.
        hard = isinstance(error, ClientGone)
        if self._relay is not None and self._relay.give_up(error):
            return
        if self._tunnel is not None:
            hard = hard or not self._tunnel.upstream_ended
            self._tunnel.break_off()
        stream.break_off(hard=hard, cancelled=isinstance(error, (ClientGone, DrainCut)))
