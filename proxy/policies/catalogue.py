"""All gates, in the order in which they are asked.

A new gate is one file in this package, its line below and its keys in `config/policy_keys.py`; what
else belongs to it stands in docs/architecture.md. Bindings, reload, the admin API, metrics, `top`
and the page iterate over these lists.

    requests:  ask ──▶ REQUEST_GATES ──▶ ATTEMPT_GATES, for each attempt ──▶ connection
               held to the end of        held to the response's head
               the response's body

An attempt's gate with scope `endpoint`, and the gates after it, are asked when the endpoint is
chosen: if they refuse, another endpoint is tried.
"""

from collections.abc import Iterator

from proxy.policies.budget import RETRY_BUDGET
from proxy.policies.bulkhead import BULKHEAD
from proxy.policies.circuit_breaker import CIRCUIT_BREAKER
from proxy.policies.gate import GateKind
from proxy.policies.rate_limits import RATE_LIMITS

REQUEST_GATES: tuple[GateKind, ...] = (RATE_LIMITS, BULKHEAD)
"""Asked once per request."""
ATTEMPT_GATES: tuple[GateKind, ...] = (CIRCUIT_BREAKER, RETRY_BUDGET)
"""Asked for each attempt. The budget is last: it counts what all others admit."""


def kinds() -> Iterator[GateKind]:
    """All gates."""
    yield from REQUEST_GATES
    yield from ATTEMPT_GATES
