"""Promises: what may answer a request instead of its upstream, and keeps what it said.

Idempotency, the outbox and sagas are promises. They are asked in this order, after the rate limits
and before the bulkhead:

    rate limits ──▶ enter ──▶ bulkhead ──▶ attempts ──▶ the response
                      │                        └─ failed ──▶ rescue
                      └──▶ an answer                            └──▶ an answer

A promise that needs time waits with `Carrier.wait` and is woken by whatever it waits for: the store
calls back in the loop.
"""

from collections.abc import Coroutine
from typing import Any, Protocol

from proxy.errors import ProxyError


class Promise(Protocol):
    """One promise of one route. Its carrier is a `carrier.Carrier`, its answer an
    `answers.Answer` (`Any`, because those stand above the bindings that refer to promises).

    A protocol: only requests of routes with promises pay for its slower calls. One that never
    rescues inherits `covers` and `rescue`.
    """

    def accepts(self, carrier: Any) -> bool:
        """Whether `enter` will answer, before anything was waited for: idempotency then leaves
        its claim to that commit.
        """

    def enter(self, carrier: Any) -> Coroutine[None, Any, Any]:
        """The answer instead of the upstream's; None: the request goes on.

        Raises ProxyError to refuse the request.
        """

    def covers(self, carrier: Any, error: ProxyError | None, status: int) -> bool:
        """Whether `rescue` may be asked after this failure, or final status of the upstream."""
        return False

    async def rescue(self, carrier: Any, error: ProxyError | None, status: int) -> Any:
        """The answer instead of a failure; None: the failure stays. Raises nothing but the end
        of the exchange."""
        return None
