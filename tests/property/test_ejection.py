"""What holds for ejections whatever the endpoints, the health checks and the look-ups do."""

from dataclasses import replace
from math import inf

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from proxy.outcome import Verdict
from proxy.policies.ejection import PROBE_SECONDS, Ejection, Member, Pass
from proxy.policies.ejection_config import EjectForConfig, FailureRateConfig, OutlierConfig
from proxy.policies.gate import Mode

INDEX = st.integers(0, 1000)


class EjectionMachine(RuleBasedStateMachine):
    """Endpoints that come and go, attempts that end in any order, checks that say anything."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 100.0
        self.flying: list[tuple[Member, Pass]] = []
        self.changes = 0

    @initialize(
        count=st.integers(1, 6),
        share=st.sampled_from([0.05, 0.34, 0.5, 0.67, 1.0]),
        failures=st.sampled_from([0, 1, 3]),
        rate=st.booleans(),
        chance=st.floats(0.0, 0.999),
    )
    def begin(self, count: int, share: float, failures: int, rate: bool, chance: float) -> None:
        config = OutlierConfig(
            consecutive_failures=failures,
            failure_rate=FailureRateConfig(0.5, 4, 10.0) if rate else None,
            eject_for=EjectForConfig(10.0, 60.0),
            max_ejected=share,
        )
        self.ejection = Ejection(config, lambda: chance, self._on_change)
        for _ in range(count):
            self.ejection.join()

    def _on_change(self) -> None:
        self.changes += 1

    def _entered(self, member: Member) -> Pass:
        attempt = Pass(self.now)
        member.enter(attempt)
        return attempt

    @property
    def members(self) -> list[Member]:
        return list(self.ejection.members)

    @rule(index=INDEX, count=st.integers(1, 4))
    def attempts_begin(self, index: int, count: int) -> None:
        member = self.members[index % len(self.members)]
        self.flying += [(member, self._entered(member)) for _ in range(count)]

    @rule(index=INDEX, verdict=st.sampled_from(list(Verdict)))
    def attempt_ends(self, index: int, verdict: Verdict) -> None:
        if self.flying:
            member, attempt = self.flying.pop(index % len(self.flying))
            before = member.ejected, member.row, member.until
            member.settle(attempt, verdict, self.now)
            if verdict is Verdict.IGNORED:
                assert (member.ejected, member.row, member.until) == before

    @rule(index=INDEX)
    def fails_at_once(self, index: int) -> None:
        member = self.members[index % len(self.members)]
        for _ in range(4):
            member.settle(self._entered(member), Verdict.FAILURE, self.now)

    @rule(index=INDEX, unhealthy=st.booleans())
    def is_checked(self, index: int, unhealthy: bool) -> None:
        member = self.members[index % len(self.members)]
        member.mark(unhealthy=unhealthy)
        if not unhealthy:
            member.passed_check(self.now)

    @rule(seconds=st.sampled_from([0.0, 0.5, 5.0, 11.0, 70.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def an_endpoint_comes(self) -> None:
        if len(self.members) < 8:
            self.ejection.join()

    @rule(index=INDEX)
    def an_endpoint_goes(self, index: int) -> None:
        if len(self.members) > 1:
            self.ejection.leave(self.members[index % len(self.members)], self.now)

    @rule(share=st.sampled_from([0.05, 0.34, 0.67, 1.0]), observes=st.booleans())
    def is_reloaded(self, share: float, observes: bool) -> None:
        mode = Mode.OBSERVE if observes else Mode.ENFORCE
        config = replace(self.ejection.config, max_ejected=share, mode=mode)
        assert self.ejection.reconfigure(config, self.now)

    @rule(share=st.sampled_from([0.34, 1.0]), gone=st.integers(0, 2), rate=st.booleans())
    def is_replaced(self, share: float, gone: int, rate: bool) -> None:
        former = self.ejection
        config = replace(former.config, max_ejected=share)
        if rate:
            config = replace(config, consecutive_failures=config.consecutive_failures + 1)
        before = self.members
        staying = before[min(gone, len(before) - 1) :]
        self.ejection = Ejection(config, former._random, self._on_change)
        known = {self.ejection.join(): member for member in staying}
        out = [member.until for member in staying if member.ejected]
        self.ejection.succeed(former, known, self.now)
        still = [member.until for member in self.members if member.ejected]
        assert set(still) <= set(out)
        assert not rate or not still

    @invariant()
    def at_most_so_many_are_out(self) -> None:
        out = [member for member in self.members if member.ejected]
        assert len(out) == self.ejection.ejected <= self.ejection.most
        assert len(self.members) - len(out) >= 1, "never the last one"

    @invariant()
    def an_ejection_is_as_long_as_its_row(self) -> None:
        for member in self.members:
            if member.ejected:
                usual = min(60.0, 10.0 * member.row)
                assert 0.9 * usual - 1e-9 <= member.until - member.since <= 1.1 * usual + 1e-9
                assert member.row >= 1
                assert member.usable is (self.ejection.observes and not member.unhealthy)

    @invariant()
    def whoever_is_out_gets_a_probe_in_time(self) -> None:
        waiting = [one for one in self.members if one.ejected and not one.unhealthy]
        if not waiting:
            assert self.ejection.due == inf
            return
        for member in waiting:
            later = max(member.until, self.now) + PROBE_SECONDS
            assert member.wants_probe(later)
            assert self.ejection.due <= later
            if member.wants_probe(self.now):
                assert self.ejection.due <= self.now


EjectionMachine.TestCase.settings = settings(max_examples=150, stateful_step_count=40)
TestEjections = EjectionMachine.TestCase
