"""Failures of the client's bytes: they are not a valid request, or one beyond the limits."""

from proxy.errors.base import Blame, ProxyError
from proxy.grpc_status import DEADLINE_EXCEEDED, RESOURCE_EXHAUSTED


class AcceptError(ProxyError):
    """The client sent an invalid request, or one beyond the limits."""

    proxy_error = "http_request_error"
    blame = Blame.CLIENT


class BadRequest(AcceptError):
    reason, title, status = "bad-request", "Malformed request", 400


class NoAuthority(AcceptError):
    reason, title, status = "no-authority", "No usable authority", 400


class HeaderTimeout(AcceptError):
    reason, title, status = "header-timeout", "Request head too slow", 408
    grpc = DEADLINE_EXCEEDED
    decided_by = "the listener (limits.header_timeout)"


class BodyTimeout(AcceptError):
    reason, title, status = "body-timeout", "Request body stalled", 408
    grpc = DEADLINE_EXCEEDED
    decided_by = "the limits of a slow body (limits.body_rate, timeouts.idle and max_duration)"


class BodyTooLarge(AcceptError):
    reason, title, status = "body-too-large", "Request body too large", 413
    grpc = RESOURCE_EXHAUSTED
    decided_by = "the listener (limits.body_bytes), or the store (store.record_bytes)"


class UrlTooLong(AcceptError):
    reason, title, status = "url-too-long", "URL too long", 414
    decided_by = "the listener (limits.url_bytes)"


class HeadersTooLarge(AcceptError):
    reason, title, status = "headers-too-large", "Request head too large", 431
    grpc = RESOURCE_EXHAUSTED
    decided_by = "the listener (limits.header_bytes and limits.headers)"
