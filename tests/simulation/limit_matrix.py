"""A learned limit against many kinds of services and loads, each with many seeds.

``python -m tests.simulation.limit_matrix`` (``--help`` tells more). It prints a line for each kind:
the averages of the limit over 10 s and the share that is wrong (by more than 20 % and one permit);
the seconds until it stays right (median, 95th percentile); its extremes; the seconds until it is
right for half of the capacity (median, 99th percentile, share of the runs beyond 3 s) and the
averages after that; the seconds until it is right for all again, and the averages; the 99th
percentile of the time of what was admitted, in means.
"""

import argparse
import heapq
import multiprocessing
import sys
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random

sys.path.append(str(Path(__file__).parents[1]))  # as tests/conftest.py does

from proxy.outcome import SUCCESS
from proxy.policies.bulkhead import Bulkhead, BulkheadConfig, BulkheadLimit, BulkheadPermit
from proxy.policies.gate import Ask, Wait

ASK = Ask()
LEARNS, MEASURED, HALVED, RECOVERS = 60, 60, 30, 60
"""Seconds."""
TOLERATED = 0.2


@dataclass(frozen=True)
class Cell:
    """One kind of service and load.

    `model`: ``line`` (`capacity` at once, others wait), ``shared`` (all at once share the speed of
    `capacity`), ``grows`` (the time grows with those in flight beyond `capacity`).
    `times`: ``constant``, ``exponential``, ``lognormal``.
    `load`: ``open`` (at random, `offered` times what the service can do), ``rising`` (from a fifth
    of it to that, in 40 s), ``closed`` (`offered` x `capacity` callers; a refused one tries again
    after a quarter of `mean`).
    `queue`: places in the bulkhead's own queue, in capacities. `late`: the share of answers that
    the machine delays by 20 ms on average.
    """

    capacity: int
    mean: float
    model: str = "line"
    times: str = "exponential"
    load: str = "open"
    offered: float = 1.5
    queue: float = 0.0
    lowest: int = 1
    highest: int = 1000
    late: float = 0.0

    def __str__(self) -> str:
        plain = Cell(self.capacity, self.mean)
        other = [
            f"{key}={value}"
            for key, value in vars(self).items()
            if key not in ("capacity", "mean") and value != getattr(plain, key)
        ]
        return " ".join([f"{self.capacity:3} x {self.mean * 1000:.0f} ms", *other])


class Service:
    """A service behind one bulkhead, and its callers, in virtual time."""

    def __init__(self, cell: Cell, seed: int) -> None:
        self.cell = cell
        self.random = Random(seed)
        self.now = 100.0
        self.capacity = cell.capacity
        places = int(cell.queue * cell.capacity)
        self.guard = Bulkhead(
            "b",
            BulkheadConfig(
                cell.highest,
                places,
                5.0 * cell.mean if places else 0.0,
                limit=BulkheadLimit.GRADIENT,
                min=cell.lowest,
            ),
        )
        self.in_service = 0
        self.line: deque[tuple[float, BulkheadPermit]] = deque()
        self.ends: list[tuple[float, int, float, BulkheadPermit]] = []
        self.events: list[tuple[float, int, object, float, BulkheadPermit | None]] = []
        self.number = self.refused = 0
        self.work = 0.0  # of ``shared``: what each of those in service got so far
        self.worked_at = self.now
        self.took: list[float] = []
        self.begun = self.now
        if cell.load == "closed":
            for _ in range(int(cell.offered * cell.capacity)):
                self._at(self.now + self.random.random() * cell.mean, ARRIVES)
        else:
            self._at(self.now, ARRIVES)

    # --- events -----------------------------------------------------------------------------------

    def _at(
        self, when: float, what: object, begun: float = 0.0, permit: BulkheadPermit | None = None
    ) -> None:
        self.number += 1
        heapq.heappush(self.events, (when, self.number, what, begun, permit))

    def run(self, seconds: float) -> None:
        until = self.now + seconds
        events, ends = self.events, self.ends
        shared = self.cell.model == "shared"
        while True:
            nearest = events[0][0] if events else until
            if shared and ends:
                n = len(ends)
                speed = min(1.0, self.capacity / n)
                end = self.worked_at + (ends[0][0] - self.work) / speed
                if end <= min(nearest, until):
                    self.now = end
                    self._work(speed)
                    _, _, begun, permit = heapq.heappop(ends)
                    self._ended(begun, permit)
                    continue
            if nearest > until or not events:
                self.now = until
                return
            when, _, what, begun, some = heapq.heappop(events)
            self.now = when
            if what is ARRIVES:
                if self.cell.load != "closed":
                    self._at(self.now + self.random.expovariate(self._rate()), ARRIVES)
                self._arrive()
            elif what is ENDS:
                assert some is not None
                self.in_service -= 1
                self._serve()
                self._ended(begun, some)
            elif what is ANSWERED:
                assert some is not None
                self._settle(begun, some)
            else:
                assert isinstance(what, Wait)
                if what.permit is None:
                    self.guard.abandon(what)
                    self._refuse()

    def _rate(self) -> float:
        cell = self.cell
        most = cell.offered * cell.capacity / cell.mean
        if cell.load != "rising":
            return most
        return most * min(0.2 + 0.8 * (self.now - self.begun) / 40.0, 1.0)

    def _arrive(self) -> None:
        answer = self.guard.admit(self.now, ASK)
        if isinstance(answer, BulkheadPermit):
            self._begin(answer)
        elif isinstance(answer, Wait):
            answer.on_granted = lambda: self._granted(answer)
            self._at(answer.deadline, answer)
        else:
            self._refuse()

    def _granted(self, wait: Wait) -> None:
        assert isinstance(wait.permit, BulkheadPermit)
        self._begin(wait.permit)

    def _refuse(self) -> None:
        self.refused += 1
        if self.cell.load == "closed":
            pause = self.cell.mean / 4
            self._at(self.now + pause * (0.5 + self.random.random()), ARRIVES)

    # --- the service ------------------------------------------------------------------------------

    def _time(self) -> float:
        mean = self.cell.mean
        if self.cell.times == "constant":
            return mean
        if self.cell.times == "exponential":
            return self.random.expovariate(1 / mean)
        return mean * self.random.lognormvariate(-0.32, 0.8)  # the mean is 1

    def _begin(self, permit: BulkheadPermit) -> None:
        model = self.cell.model
        if model == "line":
            self.line.append((self.now, permit))
            self._serve()
        elif model == "shared":
            self._work(min(1.0, self.capacity / max(len(self.ends), 1)))
            self.number += 1
            entry = (self.work + self._time(), self.number, self.now, permit)
            heapq.heappush(self.ends, entry)
        else:
            self.in_service += 1
            seconds = self._time() * max(1.0, self.in_service / self.capacity)
            self._at(self.now + seconds, ENDS, self.now, permit)

    def _work(self, speed: float) -> None:
        self.work += speed * (self.now - self.worked_at)
        self.worked_at = self.now

    def _serve(self) -> None:
        while self.line and self.in_service < self.capacity:
            self.in_service += 1
            self._at(self.now + self._time(), ENDS, *self.line.popleft())

    def _ended(self, begun: float, permit: BulkheadPermit) -> None:
        if self.cell.late and self.random.random() < self.cell.late:
            delay = self.random.expovariate(1 / 0.02)
            self._at(self.now + delay, ANSWERED, begun, permit)
        else:
            self._settle(begun, permit)

    def _settle(self, begun: float, permit: BulkheadPermit) -> None:
        self.took.append(self.now - begun)
        self.guard.settle(permit, SUCCESS, self.now - begun, self.now)
        if self.cell.load == "closed":
            self._at(self.now + 0.001, ARRIVES)


ARRIVES, ENDS, ANSWERED = object(), object(), object()


@dataclass(frozen=True)
class Run:
    """Averages of the limit over 10 s each; the greatest error first.

    `found_after`: from then on all averages of 5 s are right. `halves_after`: until the limit is
    right for half of the capacity. `recovers_after`: the same when the service does all again.
    `slowest`: 99th percentile of what was admitted in the steady state, in means.
    """

    found: list[float]
    found_after: float
    halves_after: float
    halved: list[float]
    recovers_after: float
    recovered: list[float]
    slowest: float
    extremes: tuple[float, float]


def close(limit: float, capacity: float) -> bool:
    return abs(limit - capacity) <= max(TOLERATED * capacity, 1.0) + 1e-9


def run(cell: Cell, seed: int) -> Run:
    service = Service(cell, seed)
    limits: list[float] = []

    def go_on(seconds: int) -> list[float]:
        for _ in range(10 * seconds):
            service.run(0.1)
            limits.append(service.guard.limit)
        return limits[-10 * seconds :]

    capacity = cell.capacity
    learning = go_on(LEARNS)
    after = float(LEARNS)
    while after >= 5.0:
        part = learning[int(10 * after) - 50 : int(10 * after)]
        if not close(sum(part) / 50, capacity):
            break
        after -= 1.0
    service.took.clear()
    steady = go_on(MEASURED)
    slowest = sorted(service.took)[int(0.99 * len(service.took))] / cell.mean
    service.capacity = max(capacity // 2, 1)
    halved = go_on(HALVED)
    half = service.capacity
    down = next((n for n, limit in enumerate(halved, 1) if limit <= max(1.2 * half, half + 1)), 999)
    service.capacity = capacity
    recovered = go_on(RECOVERS)
    up = next((n for n, limit in enumerate(recovered, 1) if limit >= 0.8 * capacity), 9999)
    return Run(
        tens(steady),
        after,
        down / 10,
        tens(halved[100:]),
        up / 10,
        tens(recovered[-200:]),
        slowest,
        (min(steady), max(steady)),
    )


def tens(limits: list[float]) -> list[float]:
    return [sum(limits[at : at + 100]) / 100 for at in range(0, len(limits), 100)]


def cells() -> Iterator[Cell]:
    """One thing differs from a plain cell at a time."""
    for capacity, mean in ((3, 0.05), (5, 0.1), (10, 0.05), (20, 0.1), (50, 0.1), (100, 0.3)):
        plain = Cell(capacity, mean)
        yield plain
        yield replace(plain, times="constant")
        yield replace(plain, times="lognormal")
        for model in ("shared", "grows"):
            yield replace(plain, model=model)
            yield replace(plain, model=model, times="constant")
        for offered in (1.1, 3.0, 5.0):
            yield replace(plain, offered=offered)
            yield replace(plain, offered=offered, times="constant")
        yield replace(plain, load="rising")
        yield replace(plain, load="rising", times="constant")
        for offered in (1.5, 3.0):
            yield replace(plain, load="closed", offered=offered)
            yield replace(plain, load="closed", offered=offered, times="constant")
        yield replace(plain, queue=1.0)
        yield replace(plain, queue=1.0, times="constant")
        yield replace(plain, late=0.3)
    yield Cell(200, 0.3)
    yield Cell(200, 0.3, times="constant")
    yield Cell(20, 0.02)
    yield Cell(20, 0.02, times="constant")
    yield Cell(20, 0.5)
    yield Cell(20, 0.5, times="constant")
    yield Cell(10, 0.3)
    yield Cell(10, 0.3, times="constant")


def quantile(values: list[float], share: float) -> float:
    return sorted(values)[min(int(share * len(values)), len(values) - 1)]


def line(cell: Cell, runs: list[Run]) -> str:
    """Shares of the averages that are wrong, and times of the median and 99th percentile."""
    half = max(cell.capacity // 2, 1)

    def wrong(averages: list[float], capacity: float) -> str:
        bad = sum(not close(one, capacity) for one in averages) / len(averages)
        return f"{min(averages):5.1f}-{max(averages):5.1f} {bad:6.1%}"

    parts = [wrong([x for one in runs for x in one.found], cell.capacity)]
    after = [one.found_after for one in runs]
    parts.append(f"{quantile(after, 0.5):3.0f} {quantile(after, 0.95):3.0f}")
    parts.append(
        f"{min(one.extremes[0] for one in runs):3.0f}-{max(one.extremes[1] for one in runs):3.0f}"
    )
    waits = [one.halves_after for one in runs]
    late = sum(wait > 3.0 for wait in waits) / len(waits)
    parts.append(f"{quantile(waits, 0.5):4.1f} {quantile(waits, 0.99):5.1f} {late:4.0%}")
    parts.append(wrong([x for one in runs for x in one.halved], half))
    ups = [one.recovers_after for one in runs]
    parts.append(f"{quantile(ups, 0.5):4.1f} {quantile(ups, 0.95):5.1f}")
    parts.append(wrong([x for one in runs for x in one.recovered], cell.capacity))
    parts.append(f"{quantile([one.slowest for one in runs], 0.5):4.1f}")
    return f"{cell!s:52} " + " | ".join(parts)


HEADER = (
    f"{'':52} found             | after   | lim     | halves           | halved            "
    "| up         | recovered         | p99"
)


def _job(job: tuple[Cell, int]) -> Run:
    return run(*job)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tests.simulation.limit_matrix", description=__doc__
    )
    parser.add_argument("--seeds", type=int, default=50)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--only", default="", help="cells whose line has this text")
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args()
    print(HEADER)
    with multiprocessing.Pool(options.processes) as pool:
        for cell in cells():
            if options.only not in str(cell):
                continue
            seeds = range(options.first, options.first + options.seeds)
            runs = list(pool.imap(_job, [(cell, seed) for seed in seeds]))
            print(line(cell, runs), flush=True)


if __name__ == "__main__":
    main()
