"""Results: where a configuration names an upstream, it is told what became of an entry or a saga.

Telling is itself a delivery by the outbox: an entry in a queue of that upstream.
"""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from proxy.config.model import DEFAULT_POLICY, Listener, RouteConfig
from proxy.delivery.entries import StoredHead, last_of
from proxy.delivery.queues import RESULTS
from proxy.exchange.gateway import Gateway
from proxy.policies.outbox import OutboxConfig, ResultConfig
from proxy.routing.table import Route
from proxy.store.operations import Put
from proxy.store.records import Entry, EntryState

_NAME: Final = "results-"
_JSON: Final = (("content-type", "application/json"),)


def put_result(
    config: ResultConfig, entry_id: str, document: Mapping[str, Any], *, lane: str = ""
) -> Put:
    """The operation that tells `document` at `config`, under the id `entry_id`."""
    head = StoredHead("POST", config.path, listener=Listener.OUTBOUND, fields=_JSON)
    return Put(
        entry_id,
        RESULTS + config.upstream,
        head.pack(),
        json.dumps(document, separators=(",", ":")).encode(),
        lane=lane,
        give_up_in=OutboxConfig().max_age,
    )


def told_result(
    config: ResultConfig,
    entry: Entry,
    state: EntryState,
    attempts: int,
    history: bytes,
    entry_id: str,
) -> Put:
    """The operation that tells what became of an entry."""
    document = {
        "id": entry.id,
        "state": state.value,
        "attempts": attempts,
        "last": last_of(history),
    }
    return put_result(config, entry_id, document)


def result_route(gateway: Gateway, queue: str) -> Route | None:
    """The route of a queue: that of its name, or one to the upstream that gets results.

    None: the file has no such route or upstream.
    """
    if not queue.startswith(RESULTS):
        return gateway.table.named(queue)
    upstream = queue.removeprefix(RESULTS)
    if upstream not in gateway.config.upstreams:
        return None
    policies = gateway.config.policies[DEFAULT_POLICY]
    # Nothing is told of a telling: that would never end.
    outbox = replace(policies.outbox, result=None)
    return Route(
        RouteConfig(
            _NAME + upstream,
            Listener.OUTBOUND,
            upstream=upstream,
            policy=DEFAULT_POLICY,
            policies=replace(policies, outbox=outbox),
        )
    )
