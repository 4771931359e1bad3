"""What an exchange knows of the idempotency key that its request has claimed."""

from collections.abc import Coroutine
from typing import Any, Protocol


class Claim(Protocol):
    """The claim of one request. Its answers are `answers.Answer` (`Any`: those stand above).

    `held`: the claim is committed, and what becomes of the request is not recorded yet: from then
    on the request is answered although its client leaves, unless its response has no end
    (`endless`). `alone`: the client has left.
    """

    held: bool
    endless: bool
    alone: bool

    def keep(self, carrier: Any, answer: Any) -> Coroutine[None, Any, Any]:
        """Record an upstream's answer before it is sent. Returns the answer to send."""

    def settle(self, record: Any, complete: bool) -> None:
        """The exchange is over: record what `keep` has not. `complete`: all of its response went
        to the client.
        """
