"""The record of something that never became a request: bytes that were no head, or too slow."""

from proxy.config.model import Listener
from proxy.errors import ProxyError


class Refusal:
    """What observers are told, with the same attributes as an exchange."""

    attempts = ()
    binding = None
    bytes_in = 0
    bytes_out = 0
    deadline = None
    duration = 0.0
    fallback = False
    host = ""
    method = ""
    path = ""
    queued = 0.0
    retry_refused = ""
    route = ""
    sampled = False
    trace_id = ""
    upstream = ""

    def __init__(
        self, listener: Listener, client: str, error: ProxyError, request_id: str, now: float
    ) -> None:
        self.listener = listener
        self.client = client
        self.status = error.status
        self.reason = error.reason
        self.detail = error.detail
        self.request_id = request_id
        self.started = now
