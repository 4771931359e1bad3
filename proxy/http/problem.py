"""What the answers that the proxy makes itself say: problem body and Proxy-Status."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from proxy.errors import ProxyError

PROBLEM_TYPE = b"application/problem+json"
TYPE_PREFIX = "urn:resilience-proxy:problem:"
"""The prefix of a problem's `type`, before the reason. It is a name, not an address."""

_encode_json = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode

_TOKEN_START = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz*")
_TOKEN = _TOKEN_START | frozenset("0123456789!#$%&'+-.^_`|~:/")


def problem_body(
    *,
    error: ProxyError,
    route: str | None,
    upstream: str | None,
    attempts: Sequence[Mapping[str, Any]],
    request_id: str,
    trace_id: str,
    retry_refused: str = "",
) -> bytes:
    """An application/problem+json document (RFC 9457). `attempts`: JSON values.

    All members are always present, except `retry_refused` if no retry was considered; `route` and
    `upstream` are null if none was found yet.
    """
    document: dict[str, Any] = {
        "type": TYPE_PREFIX + error.reason,
        "title": error.title,
        "status": error.status,
        "detail": error.detail,
        "reason": error.reason,
        "route": route,
        "upstream": upstream,
        "attempts": attempts,
        "request_id": request_id,
        "trace_id": trace_id,
    }
    if retry_refused:
        document["retry_refused"] = retry_refused
    # Input that is not valid text must not make the answer fail.
    return _encode_json(document).encode(errors="replace")


RETRIED_BELOW: Final = b"; retried-below"
"""Parameter of Proxy-Status: the service's calls failed, and its own proxy has retried them."""


class ProxyStatus:
    """Values of Proxy-Status (RFC 9209) in the name of one service.

    The service is the intermediary's identity: a token if possible, else a string
    (RFC 9651 sections 3.3.3 and 3.3.4). `attempts`, `retry-refused`, `retried-below`,
    `fallback` and `fault` are this proxy's own parameters.
    """

    __slots__ = ("_failures", "service")

    def __init__(self, service: str) -> None:
        self.service = _item(service)
        # One for each reason and error type; an instance may refine the error type.
        self._failures: dict[tuple[str, str], bytes] = {}

    def value(
        self,
        *,
        error: ProxyError | None = None,
        attempts: int = 1,
        fallback: bool = False,
        received_status: int | None = None,
    ) -> bytes:
        """The field's value; b"" if there is nothing to report and the field is not sent.

        `error`: why the proxy made the answer. `attempts`: reported for an upstream's response
        after more than one attempt. `fallback`: the answer is a fallback, `received_status` the
        upstream's status that it replaced.
        """
        if error is not None:
            value = self._failure(error)
        elif attempts > 1:
            value = self.service + b"; attempts=%d" % attempts
        elif fallback:
            value = self.service
        else:
            return b""
        if received_status is not None:
            value += b"; received-status=%d" % received_status
        return value + b"; fallback" if fallback else value

    def faulty(self, kinds: str, *, error: ProxyError | None = None, attempts: int = 1) -> bytes:
        """The value for an attempt that suffered a fault: of its failure, or of its response."""
        value = self.value(error=error, attempts=attempts) or self.service
        return value + b"; fault=%b" % kinds.encode("ascii")

    def refused(self, attempts: int, next_hop: str, why: str) -> bytes:
        """The value for an upstream's failed response that was not retried.

        `next_hop`: its endpoint; `why`: the reason for no retry, such as ``circuit-open``.
        """
        value = self.value(attempts=attempts)
        hop = next_hop.encode("ascii", "replace").replace(b'"', b"?").replace(b"\\", b"?")
        return value + b'; next-hop="%b"; retry-refused=%b' % (hop, why.encode("ascii"))

    def _failure(self, error: ProxyError) -> bytes:
        key = (error.reason, error.proxy_error)
        value = self._failures.get(key)
        if value is None:
            text = f'; error={error.proxy_error}; details="{error.reason}"'
            value = self._failures[key] = self.service + text.encode("ascii")
        return value


def _item(name: str) -> bytes:
    """`name` as a token, else as a string with ? for characters that a string cannot hold."""
    if name[:1] in _TOKEN_START and _TOKEN.issuperset(name):
        return name.encode("ascii")
    held = "".join(character if " " <= character <= "~" else "?" for character in name)
    escaped = held.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'.encode("ascii")
