"""A service that takes so many requests at once, behind one bulkhead, in virtual time."""

import heapq
from collections import deque
from collections.abc import Callable
from random import Random

from proxy.outcome import SUCCESS
from proxy.policies.bulkhead import Bulkhead, BulkheadConfig, BulkheadLimit, BulkheadPermit
from proxy.policies.gate import Ask

ASK = Ask()


def gradient(highest: int = 1000, lowest: int = 4) -> Bulkhead:
    return Bulkhead("b", BulkheadConfig(highest, limit=BulkheadLimit.GRADIENT, min=lowest))


class LimitedService:
    """`capacity` requests at once, each takes `mean` seconds; others wait in its own line.

    `paused`: share of the time in which the machine stands still, proxy and service, for 20 to
    200 ms each time.
    """

    def __init__(
        self,
        guard: Bulkhead,
        capacity: int,
        mean: float = 0.1,
        seed: int = 1,
        *,
        paused: float = 0.0,
    ) -> None:
        self.guard, self.capacity, self.mean = guard, capacity, mean
        self.random = Random(seed)
        self.now = 100.0
        self.busy = 0
        self.line: deque[tuple[float, BulkheadPermit]] = deque()
        self.ends: list[tuple[float, int, float, BulkheadPermit]] = []
        self.number = self.refused = self.served = 0
        self.paused = paused
        self._pauses = Random(seed)
        self._pause = (self.now, self.now)

    @property
    def most(self) -> float:
        """Requests a second."""
        return self.capacity / self.mean

    def run(self, seconds: float, rate: float | Callable[[float], float]) -> None:
        """Requests arrive at random, `rate` a second on average."""
        until = self.now + seconds
        arrival = self.now
        while True:
            per_second = rate(self.now) if callable(rate) else rate
            arrival += self.random.expovariate(per_second)
            moment = self._after_pause(arrival)
            while self.ends and self.ends[0][0] <= min(moment, until):
                self.end()
            if arrival > until:
                self.now = max(self.now, until)
                return
            self.now = max(self.now, moment)
            self.arrive()

    def average(self, seconds: int, rate: float) -> float:
        """The limit meanwhile."""
        limits = []
        for _ in range(seconds):
            self.run(1, rate)
            limits.append(self.guard.limit)
        return sum(limits) / seconds

    def arrive(self) -> None:
        answer = self.guard.admit(self.now, ASK)
        if isinstance(answer, BulkheadPermit):
            self.line.append((self.now, answer))
            self.serve()
        else:
            self.refused += 1

    def serve(self) -> None:
        while self.line and self.busy < self.capacity:
            self.busy += 1
            self.number += 1
            end = self._after_pause(self.now + self.random.expovariate(1 / self.mean))
            heapq.heappush(self.ends, (end, self.number, *self.line.popleft()))

    def end(self) -> None:
        moment, _, begun, permit = heapq.heappop(self.ends)
        self.now = max(self.now, moment)
        self.busy -= 1
        self.served += 1
        self.guard.settle(permit, SUCCESS, self.now - begun, self.now)
        self.serve()

    def _after_pause(self, moment: float) -> float:
        if not self.paused:
            return moment
        begins, ends = self._pause
        while ends < moment:
            begins = ends + self._pauses.expovariate(self.paused / (1 - self.paused) / 0.11)
            ends = begins + self._pauses.uniform(0.02, 0.2)
            self._pause = begins, ends
        return ends if moment >= begins else moment
