"""The addresses of the outbox's entries.

A client that knows the 128 random bits of an address may read the state, and cancel what waits.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any, Final

from proxy.delivery.documents import state_of
from proxy.delivery.entries import StoredHead
from proxy.delivery.identities import is_identity
from proxy.exchange.answers import Answer, own_answer
from proxy.exchange.carrier import Carrier
from proxy.exchange.heads import REQUEST_ID
from proxy.exchange.promised import promised
from proxy.http.message import make_field, named_field
from proxy.store.operations import Cancel, GetEntry
from proxy.store.records import Entry, EntryState
from proxy.store.store import Store

_CONTENT_TYPE: Final = make_field(b"Content-Type", b"application/json")
_NO_STORE: Final = make_field(b"Cache-Control", b"no-store")


class OutboxPlaces:
    """The states of the outbox's entries."""

    def __init__(
        self,
        store: Store,
        keep: Callable[[str], float],
        earliest: Callable[[str], float | None],
    ) -> None:
        """`keep`: how long a cancelled entry of a queue is remembered, in seconds. `earliest`: when
        an entry of a queue can be tried (`state_of`)."""
        self._store = store
        self._keep = keep
        self._earliest = earliest

    async def answer(self, carrier: Carrier, entry_id: str) -> Answer | None:
        request = carrier.request
        if not is_identity(entry_id):
            return None
        entry = await promised(carrier, self._store.do(GetEntry(entry_id)))
        if entry is None or StoredHead.unpack(entry.meta).listener is not request.terms.listener:
            return None
        if request.head.method == "DELETE":
            cancel = Cancel(entry_id, self._keep(entry.queue))
            before = await promised(carrier, self._store.do(cancel))
            entry = await promised(carrier, self._store.do(GetEntry(entry_id))) or entry
            done = before in (EntryState.PENDING, EntryState.PARKED, EntryState.CANCELLED)
            return document_answer(carrier, 200 if done else 409, self._state(entry))
        if request.head.method not in ("GET", "HEAD"):
            return document_answer(carrier, 405, self._state(entry), allow="GET, HEAD, DELETE")
        return document_answer(carrier, 200, self._state(entry))

    def _state(self, entry: Entry) -> dict[str, Any]:
        return state_of(entry, self._earliest(entry.queue))


def document_answer(
    carrier: Carrier, status: int, document: Mapping[str, Any], *, allow: str = ""
) -> Answer:
    """JSON, not to be cached."""
    request = carrier.request
    fields = [_CONTENT_TYPE, _NO_STORE, named_field(REQUEST_ID, request.id)]
    if allow:
        fields.append(make_field(b"Allow", allow.encode()))
    body = json.dumps(document).encode()
    return own_answer(request.terms, request.head.method, status, fields, body)
