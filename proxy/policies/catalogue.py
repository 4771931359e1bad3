"""The gates that there are, in the order in which they are asked.

A new policy is one file here, its line below and its keys in `config/policy_keys.py`. Bindings,
reload, the admin API, metrics, `top` and the page iterate over these lists.

    requests:  ask ──▶ REQUEST_GATES ──▶ ATTEMPT_GATES, for each attempt ──▶ connection
               held to the end of        held to the response's head
               the response's body

A gate of an attempt that has the scope `endpoint`, and all that follow it, are asked when the
endpoint is chosen: where they refuse it, another endpoint is tried.
"""

from collections.abc import Iterator

from proxy.policies.budget import RETRY_BUDGET
from proxy.policies.bulkhead import BULKHEAD
from proxy.policies.circuit_breaker import CIRCUIT_BREAKER
from proxy.policies.gate import GateKind

REQUEST_GATES: tuple[GateKind, ...] = (BULKHEAD,)
"""Asked once for a request."""
ATTEMPT_GATES: tuple[GateKind, ...] = (CIRCUIT_BREAKER, RETRY_BUDGET)
"""Asked for each attempt. The budget comes last: it counts what all others let pass."""


def kinds() -> Iterator[GateKind]:
    """All of them."""
    yield from REQUEST_GATES
    yield from ATTEMPT_GATES
