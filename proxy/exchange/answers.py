"""Responses to the client: an upstream's, or the proxy's own answers."""

from collections.abc import Sequence
from typing import Any, Final

from proxy.errors import BadRequest, Draining, ProxyError
from proxy.exchange.attempt import Attempt
from proxy.exchange.binding import Binding
from proxy.exchange.heads import DATE, PROXY_STATUS, REQUEST_ID
from proxy.exchange.record import AttemptRecord, Record
from proxy.exchange.request import Request
from proxy.exchange.terms import Terms
from proxy.grpc_status import of_http_answer
from proxy.http.grpc import GRPC_TYPE, trailers_only
from proxy.http.making import make_response
from proxy.http.max_forwards import MESSAGE_HTTP, reflection
from proxy.http.message import Field, OwnFields, RequestHead, ResponseHead, make_field, named_field
from proxy.http.problem import PROBLEM_TYPE, RETRIED_BELOW, problem_body
from proxy.policies.fallback import FallbackResponse
from proxy.policies.retry import StopReason
from proxy.wire.streams import NO_TRAILERS, Trailers


class Answer:
    """A head with the proxy's own fields, and the first piece of the body.

    `ended`: the body is complete. `last`: the client should send no other request on this
    connection. `attempt`: the attempt that got this response, None for the proxy's own.
    """

    __slots__ = ("attempt", "ended", "head", "last", "own", "piece", "trailers")

    def __init__(
        self,
        head: ResponseHead,
        own: OwnFields,
        piece: bytes,
        *,
        ended: bool = True,
        trailers: Trailers = NO_TRAILERS,
        last: bool = False,
        attempt: Attempt | None = None,
    ) -> None:
        self.head = head
        self.own = own
        self.piece = piece
        self.ended = ended
        self.trailers = trailers
        self.last = last
        self.attempt = attempt


def upstream_answer(request: Request, attempt: Attempt, status_field: bytes = b"") -> Answer:
    """The response of an attempt, with the route's header rules applied.

    `status_field` is the value of Proxy-Status, if there is already one.
    """
    head, own = forwarded_head(request, attempt, status_field)
    return Answer(
        head,
        own,
        attempt.piece,
        ended=attempt.ended,
        trailers=attempt.trailers,
        attempt=attempt,
    )


def forwarded_head(
    request: Request, attempt: Attempt, status_field: bytes = b""
) -> tuple[ResponseHead, OwnFields]:
    """The head of that response, and the proxy's own fields."""
    head = attempt.head
    assert head is not None
    dated = head.shared.dated
    rules = attempt.record.binding.response_rules
    if rules is not None:
        head = head.changed(rules.apply(head.fields))
    request.record.grpc = attempt.record.grpc
    own = request.terms.response_fields(head.version, request.id)
    if not dated:
        own.append((DATE, request.terms.date()))
    if not status_field and len(request.record.attempts) > 1:
        status_field = _retried_status(request, attempt.record)
    if request.retried_below and head.status >= 500:
        status_field = (status_field or request.terms.proxy_status.service) + RETRIED_BELOW
    if status_field:
        own.append((PROXY_STATUS, status_field))
    if rules is not None:
        own = rules.left_of(own)
    return head, own


def changed_by_rules(
    binding: Binding, head: ResponseHead, own: OwnFields
) -> tuple[ResponseHead, OwnFields]:
    """The head of the proxy's own answer, with the route's header rules applied.

    They do not change what a problem document or a gRPC status says about itself: a rule that calls
    an upstream's pages text/html would have browsers read the document as a page.
    """
    rules = binding.response_rules
    if rules is None:
        return head, own
    if any([field.value in _TOLD_AS for field in head.fields]):
        fields = rules.apply_but(_OF_ITSELF, head.fields)
    else:
        fields = rules.apply(head.fields)
    return head.changed(fields), rules.left_of(own)


def error_answer(request: Request, error: ProxyError) -> Answer:
    """The answer of an exchange that failed before its commit: a problem document, or a status."""
    record = request.record
    if request.grpc:
        return _grpc_answer(request, error)
    body = problem_body(
        error=error,
        route=record.route or None,
        upstream=record.upstream or None,
        attempts=[describe_attempt(attempt) for attempt in record.attempts],
        retry_refused=record.retry_refused,
        request_id=record.request_id,
        trace_id=record.trace_id,
    )
    fields = _fields(request.terms, request.id, error, fault_of(record, error))
    answer = own_answer(request.terms, request.head.method, error.status, fields, body)
    # Bytes after a CONNECT are not meant for this proxy (RFC 9110 section 9.3.6).
    refused_connect = request.head.method == "CONNECT"
    answer.last = refused_connect or isinstance(error, BadRequest | Draining)
    return answer


def fallback_answer(request: Request, response: FallbackResponse, status_field: bytes) -> Answer:
    """The fixed answer of a fallback."""
    return fixed_answer(request, response, [named_field(PROXY_STATUS, status_field)])


def fixed_answer(
    request: Request, response: FallbackResponse, more: Sequence[Field] = ()
) -> Answer:
    """An answer of the configuration, with the fields `more`."""
    fields = [
        make_field(name.encode("latin-1"), value.encode("latin-1"))
        for name, value in response.headers
        if not request.grpc or name.lower() not in _OF_A_BODY
    ]
    fields.extend(more)
    add_own(fields, named_field(REQUEST_ID, request.id))
    if request.grpc:
        code, message = response.grpc, response.message
        if code < 0:
            code = of_http_answer(response.status)
            message = f"The configured answer is HTTP {response.status}."
        request.record.grpc = code
        return _in_one_head(request.terms, trailers_only(code, message, fields))
    method = request.head.method
    return own_answer(request.terms, method, response.status, fields, response.body)


def add_own(fields: list[Field], own: Field) -> None:
    """Add a field of the proxy's own, unless the configuration has it: what it says is the last
    word.
    """
    if not _has(fields, own.name.lower):
        fields.append(own)


def _has(fields: list[Field], name: bytes) -> bool:
    return any([field.name.lower == name for field in fields])


def last_recipient_answer(terms: Terms, head: RequestHead, request_id: bytes) -> Answer:
    """The answer to a TRACE or OPTIONS that may not be forwarded."""
    fields = [named_field(REQUEST_ID, request_id)]
    body = b""
    if head.method == "TRACE":
        fields.append(make_field(b"Content-Type", MESSAGE_HTTP))
        body = reflection(head)
    return own_answer(terms, head.method, 200, fields, body)


def refusal_answer(
    terms: Terms, error: ProxyError, request_id: bytes, grpc: bool = False
) -> Answer:
    """The answer to input that is not a request; the connection is closed after it.

    `grpc`: it would have been a gRPC call.
    """
    if grpc:
        answer = _grpc_failure(terms, error, request_id)
        answer.last = True
        return answer
    body = problem_body(
        error=error,
        route=None,
        upstream=None,
        attempts=[],
        request_id=request_id.decode("ascii"),
        trace_id="",
    )
    answer = own_answer(terms, "", error.status, _fields(terms, request_id, error), body)
    answer.last = True
    return answer


def _retried_status(request: Request, last: AttemptRecord) -> bytes:
    """Proxy-Status of an upstream's response after several attempts.

    If something other than the number of attempts prevented a retry, it says what.
    """
    record, status = request.record, request.terms.proxy_status
    made = len(record.attempts)
    if record.retry_refused in _PLAIN_ENDS:
        return status.value(attempts=made)
    return status.refused(made, last.endpoint, record.retry_refused)


_TOLD_AS: Final = (PROBLEM_TYPE, GRPC_TYPE)
_OF_ITSELF: Final = frozenset(
    {b"content-type", b"content-encoding", b"content-language", b"grpc-status", b"grpc-message"}
)
_OF_A_BODY = ("content-type", "content-length", "content-encoding")
_PLAIN_ENDS = ("", StopReason.ATTEMPTS.value, StopReason.CONDITION.value)


def describe_attempt(attempt: AttemptRecord) -> dict[str, Any]:
    """One attempt as JSON, with the same members as in the access log."""
    told: dict[str, Any] = {"endpoint": attempt.endpoint}
    if attempt.status:
        told["status"] = attempt.status
    if attempt.failure:
        told["failure"] = attempt.failure
    if attempt.hedge:
        told["hedge"] = True
    if attempt.fault:
        told["fault"] = attempt.fault
    told["duration_ms"] = round(attempt.duration * 1000, 3)
    told["wait_ms"] = round(attempt.wait * 1000, 3)
    return told


def fault_of(record: Record, error: ProxyError | None) -> str:
    """The fault of the attempt whose failure this is, "" without one. None: its status failed."""
    if not record.attempts:
        return ""
    last = record.attempts[-1]
    return last.fault if last.failure == ("" if error is None else error.reason) else ""


def _status_field(terms: Terms, error: ProxyError, fault: str) -> Field:
    status = terms.proxy_status
    value = status.faulty(fault, error=error) if fault else status.value(error=error)
    return named_field(PROXY_STATUS, value)


def _fields(terms: Terms, request_id: bytes, error: ProxyError, fault: str = "") -> list[Field]:
    fields = [
        make_field(b"Content-Type", PROBLEM_TYPE),
        _status_field(terms, error, fault),
        named_field(REQUEST_ID, request_id),
    ]
    if error.retry_after is not None:
        fields.append(make_field(b"Retry-After", b"%d" % error.retry_after))
    fields.extend([make_field(name, value) for name, value in error.fields])
    return fields


def _grpc_answer(request: Request, error: ProxyError) -> Answer:
    """The same for a gRPC caller."""
    request.record.grpc = error.grpc
    fault = fault_of(request.record, error)
    answer = _grpc_failure(request.terms, error, request.id, fault)
    answer.last = isinstance(error, BadRequest | Draining)
    return answer


def _grpc_failure(terms: Terms, error: ProxyError, request_id: bytes, fault: str = "") -> Answer:
    """A status and the sentence, in one head."""
    fields = [_status_field(terms, error, fault), named_field(REQUEST_ID, request_id)]
    return _in_one_head(terms, trailers_only(error.grpc, error.detail, fields, error.pushback))


def _in_one_head(terms: Terms, head: ResponseHead) -> Answer:
    return Answer(head, _date(terms, head.fields), b"")


def _date(terms: Terms, fields: list[Field]) -> OwnFields:
    return [] if _has(fields, DATE.lower) else [(DATE, terms.date())]


def own_answer(terms: Terms, method: str, status: int, fields: list[Field], body: bytes) -> Answer:
    """An answer of the proxy.

    204 and 304 have no length (RFC 9110 section 8.6); HEAD has that of a GET.
    """
    head = make_response(status, fields, None if status in (204, 304) else len(body))
    return Answer(head, _date(terms, fields), body if head.has_body(method) else b"")
