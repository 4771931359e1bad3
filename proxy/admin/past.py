"""`explain --request-id`: shows what a running proxy knows of one request."""

import sys
from collections.abc import Iterable
from http import HTTPStatus
from typing import Any, TypeAlias
from urllib.parse import quote

from proxy.admin.asking import NoAnswer, ask
from proxy.admin.entry_story import entry_story
from proxy.admin.sagas import story as saga_story
from proxy.admin.story import story

Document: TypeAlias = dict[str, Any]

TOLD, UNKNOWN = 0, 1
"""Exit statuses."""

_TIMEOUT = 5.0
NOT_FOUND = HTTPStatus.NOT_FOUND.value


def explain_request(url: str, request_id: str) -> int:
    """Print the story of every request with this id, on both sides of the service.

    The id may also be that of an entry of the outbox or of a saga. What a request became is told
    first, and then its exchanges that are kept. Returns the exit status.

    1: the proxy at the admin address `url` does not answer, or knows no such request.
    """
    try:
        exchanges = _of_both_sides(url, request_id)
        entries, sagas = _promised(url, request_id, exchanges)
        exchanges = _with_tries(url, exchanges, entries, sagas)
        stories = [entry_story(one) for one in entries]
        stories += [saga_story(one) for one in sagas]
        stories += [story(one) for one in exchanges]
    except NoAnswer as error:
        return _fail(str(error))
    except (KeyError, TypeError, ValueError, AttributeError):
        return _fail(f"{url} answers, but is not a resilience proxy")
    if not stories:
        return _fail(
            f"{url} knows no request {request_id!r}: it is not in flight, and only the last "
            "requests with trouble are kept (error, retried, fallback, slow), until a restart. "
            "Its access-log line, if there is one, has its attempts."
        )
    print("\n\n".join("\n".join(lines) for lines in stories))
    return TOLD


def _of_both_sides(url: str, request_id: str) -> list[Document]:
    """The requests with this id, the inbound requests that they were made for, and all calls that
    were made for one of these, in the order in which they began.

    An inbound request without trouble is not kept, although its calls may be.
    """
    own = _entries(url, "request_id", request_id)
    family = dict.fromkeys([request_id, *(one["inherited_from"] for one in own)])
    told = list(own)
    for one in family:
        if one and one != request_id:
            told += _entries(url, "request_id", one)
        if one:
            told += _entries(url, "inherited_from", one)
    return sorted(_once(told), key=lambda one: str(one["time"]))


def _once(found: list[Document]) -> Iterable[Document]:
    """Each of them once: a service may send the id of its request on."""
    names = ("listener", "request_id", "time", "number", "under_way")
    return {tuple(one.get(name) for name in names): one for one in found}.values()


def _promised(
    url: str, wanted: str, exchanges: list[Document]
) -> tuple[list[Document], list[Document]]:
    """The entries of the outbox and the sagas of these exchanges, or of this id."""
    entries = {str(one["outbox_id"]) for one in exchanges if one.get("outbox_id")}
    sagas = {str(one["saga"]) for one in exchanges if one.get("saga")}
    if not exchanges:
        entries, sagas = {wanted}, {wanted}
    found = [_known(url, f"/outbox/{quote(one, safe='')}") for one in sorted(entries)]
    told = [_known(url, f"/sagas/{quote(one, safe='')}") for one in sorted(sagas)]
    if not exchanges and not any((*found, *told)):
        listed = _known(url, f"/outbox?request_id={quote(wanted, safe='')}") or {}
        found = [_known(url, f"/outbox/{quote(one['id'])}") for one in listed.get("entries", [])]
    return [one for one in found if one is not None], [one for one in told if one is not None]


def _with_tries(
    url: str, exchanges: list[Document], entries: list[Document], sagas: list[Document]
) -> list[Document]:
    """And what else is kept of the exchanges that accepted or delivered these."""
    more = [one for entry in entries for one in _entries(url, "outbox_id", entry["id"])]
    more += [one for saga in sagas for one in _entries(url, "saga", saga["token"])]
    known = {(one.get("number"), one["time"]) for one in exchanges}
    fresh = [one for one in more if (one.get("number"), one["time"]) not in known]
    return sorted([*exchanges, *fresh], key=lambda one: str(one["time"]))


def _known(url: str, path: str) -> Document | None:
    """A document; None if the proxy has none there."""
    try:
        return ask(url, path, _TIMEOUT)
    except NoAnswer as error:
        if error.status == NOT_FOUND:
            return None
        raise


def _entries(url: str, name: str, value: str) -> list[Document]:
    found = ask(url, f"/recent?{name}={quote(value, safe='')}", _TIMEOUT)
    under_way = [{**one, "under_way": True} for one in found["in_flight"]]
    return [*under_way, *reversed(found["recent"])]


def _fail(message: str) -> int:
    print(f"explain: {message}", file=sys.stderr)
    return UNKNOWN
