"""Refusals of what keeps requests: idempotency keys, the store, the outbox and sagas."""

from proxy.errors.admit import AdmitError
from proxy.errors.base import Blame
from proxy.grpc_status import RESOURCE_EXHAUSTED, UNAVAILABLE


class IdempotencyKeyMissing(AdmitError):
    reason, title, status = "idempotency-key-missing", "Idempotency key is missing", 400
    proxy_error = "http_request_error"
    blame = Blame.CLIENT
    decided_by = "idempotency keys (idempotency.mode)"


class IdempotencyKeyInvalid(AdmitError):
    reason, title, status = "idempotency-key-invalid", "Idempotency key is invalid", 400
    proxy_error = "http_request_error"
    blame = Blame.CLIENT
    decided_by = "idempotency keys (idempotency.headers)"


class IdempotencyKeyReused(AdmitError):
    reason, title, status = "idempotency-key-reused", "Idempotency key of another request", 422
    proxy_error = "http_request_error"
    blame = Blame.CLIENT
    decided_by = "idempotency keys (idempotency.fingerprint)"


class IdempotencyConflict(AdmitError):
    """A repeat that gets no answer of the first request."""

    status = 409
    proxy_error = "http_request_denied"
    blame = Blame.CLIENT


class IdempotencyInProgress(IdempotencyConflict):
    reason, title = "idempotency-in-progress", "First request is in progress"
    decided_by = "idempotency keys (idempotency.wait)"


class IdempotencyUnknown(IdempotencyConflict):
    reason, title = "idempotency-unknown", "Result of the first request is unknown"
    decided_by = "idempotency keys (idempotency.on_unknown)"


class IdempotencyUnreplayable(IdempotencyConflict):
    reason, title = "idempotency-unreplayable", "First response was not kept"
    decided_by = "idempotency keys (idempotency.response_limit)"


class StoreFull(AdmitError):
    reason, title, status = "store-full", "Store is full", 503
    grpc = UNAVAILABLE
    proxy_error = "http_request_denied"
    decided_by = "the store (store.max_bytes, and its disk)"


class OutboxFull(AdmitError):
    reason, title, status = "outbox-full", "Outbox is full", 503
    grpc = RESOURCE_EXHAUSTED
    proxy_error = "http_request_denied"
    decided_by = "the outbox (outbox.max_pending), or its store (store.max_bytes)"


class OutboxCredentials(AdmitError):
    reason, title, status = "outbox-credentials", "Credentials are never stored", 400
    proxy_error = "http_request_error"
    blame = Blame.CLIENT
    decided_by = "the outbox (outbox.without, headers.request.set)"


class ClaimLost(AdmitError):
    """A try of a stored request whose claim has ended: another process may try it now."""

    reason, title, status = "claim-lost", "Claim was lost", 503
    grpc = UNAVAILABLE
    proxy_error = "http_request_denied"
    decided_by = "the lease of a claim in the store"
    postpones = True


class StoreFailed(AdmitError):
    reason, title, status = "store-failed", "Store has failed", 503
    grpc = UNAVAILABLE
    proxy_error = "proxy_internal_error"
    decided_by = "the store (store.url, and its disk)"


class SagaInvalid(AdmitError):
    """The request cannot start a saga."""

    reason, title, status = "saga-invalid", "Not the input of a saga", 400
    proxy_error = "http_request_error"
    blame = Blame.CLIENT
    decided_by = "a saga (sagas)"


class SagaConflict(AdmitError):
    """Another input under the id of a saga that exists."""

    reason, title, status = "saga-conflict", "Another saga has this id", 422
    proxy_error = "http_request_error"
    blame = Blame.CLIENT
    decided_by = "a saga (sagas)"
