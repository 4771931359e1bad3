"""What later tries continue of the request that was accepted: its trace and its id."""

from typing import Any

from proxy.exchange.request import Request


def held_fields(request: Request) -> dict[str, str]:
    """The trace and the id that every try continues, by lower-case name."""
    held = {"x-request-id": request.id.decode("ascii")}
    propagator, context = request.terms.propagator, request.trace
    if propagator.records and context.sampled and not context.span_id:
        context.span_id = propagator.new_span_id()
    span_id = context.span_id or context.parent_id or propagator.new_span_id()
    own: list[Any] = []
    propagator.inject(own, context, span_id)
    for name, value in own:
        held[name.lower.decode("latin-1")] = value.decode("latin-1")
    return held
