"""The response was truncated after its head went to the client."""

from proxy.errors.base import Blame, ProxyError
from proxy.grpc_status import CANCELLED, UNAVAILABLE
from proxy.outcome import Condition


class RelayError(ProxyError):
    """The response had begun: the client's connection is closed, the reason logged and counted."""

    status = 502
    grpc = UNAVAILABLE
    proxy_error = "connection_terminated"


class UpstreamTruncated(RelayError):
    reason, title = "upstream-truncated", "Upstream's response was truncated"
    blame = Blame.UPSTREAM
    condition = Condition.RESET


class HedgeLost(RelayError):
    """An attempt that was cancelled because another one answered; no client gets it."""

    reason, title, status = "hedge-lost", "Another attempt answered first", 499
    grpc = CANCELLED
    blame = Blame.PROXY
    decided_by = "the hedge (hedge.delay)"


class ClientGone(RelayError):
    """No client is left to answer. 499 is nginx's status for it; it is logged, never sent."""

    reason, title, status = "client-gone", "Client went away", 499
    grpc = CANCELLED
    proxy_error = "connection_terminated"
    blame = Blame.CLIENT


class DrainCut(RelayError):
    reason, title, status = "drain-cut", "Cut at the end of the drain", 503
    blame = Blame.PROXY
    decided_by = "the drain (drain.timeout)"
