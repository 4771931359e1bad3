"""What holds for every saga, whatever its services answer and wherever its process dies.

The services here count effects: a request with a key that they have seen changes nothing, as
Idempotency-Key promises. The saga's owner may die at each of its arrows, and the next one begins
with what was kept last.
"""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from proxy.policies.backoff import BackoffConfig, Jitter, JitterKind
from proxy.policies.saga import Order, Rest, Saga, SagaState, Send, Wait
from proxy.policies.saga_rules import Effect, Phase, SagaRules, StepRules, Told, UndoRules
from proxy.policies.saga_steps import StepState

BACKOFF = BackoffConfig(initial=1.0, max=8.0, jitter=Jitter(JitterKind.NONE))


@st.composite
def rules(draw: st.DrawFn) -> SagaRules:
    steps = tuple(
        StepRules(
            f"step-{number}",
            attempts=draw(st.integers(1, 3)),
            backoff=BACKOFF,
            undoable=draw(st.booleans()),
            optional=draw(st.booleans()),
        )
        for number in range(draw(st.integers(1, 4)))
    )
    pivots = [-1, *(at for at, step in enumerate(steps) if not step.optional)]
    undo = UndoRules(draw(st.sampled_from([0, 2])), backoff=BACKOFF)
    return SagaRules(
        steps, draw(st.sampled_from([5.0, 300.0])), draw(st.sampled_from(pivots)), undo
    )


DIES = ("before it is kept", "before it is sent", "before its answer", "before that is kept")
WHERE = ("nowhere",) * 8 + DIES
ENDS = ("done", "done", "done", "lost after", "lost before", "fault after", "fault before",
        "unavailable", "refused here", "refused for good", "cannot be sent")  # fmt: skip


class World:
    """The services, the store, and the process that owns the saga."""

    def __init__(self, rules: SagaRules, draw: st.DrawFn) -> None:
        self.rules, self.draw = rules, draw
        self.now = 1000.0
        self.did: dict[int, int] = {}
        self.undid: dict[int, int] = {}
        self.keys: set[Send] = set()
        self.requests: list[Send] = []
        self.deaths, self.troubles = 4, 25  # then all goes well, so that every history ends
        self.kept = ""
        self.saga = Saga(rules, self.now, lambda: 0.5)
        self.keep()

    def keep(self) -> None:
        self.kept = json.dumps(self.saga.dump())

    def dies(self, where: str) -> bool:
        """Whether the process dies here, and another one has loaded what was kept."""
        if not self.deaths or self.draw(st.sampled_from(WHERE)) != where:
            return False
        self.deaths -= 1
        self.now += self.draw(st.sampled_from([0.0, 1.0, 1000.0]))
        kept: dict[str, Any] = json.loads(self.kept)
        self.saga = Saga.load(self.rules, kept, self.now, lambda: 0.5)
        return True

    def run(self) -> None:
        for _ in range(200):
            act = self.saga.advance(self.now)
            if isinstance(act, Send):
                self.send(act)
            elif isinstance(act, Wait):
                assert act.until > self.now
                self.keep()
                self.now = act.until
            elif self.saga.state is SagaState.STUCK:
                self.keep()
                self.order()
            else:
                assert act == Rest()
                self.keep()
                return
        raise AssertionError("it does not end")

    def order(self) -> None:
        order = self.draw(st.sampled_from(Order)) if self.troubles else Order.SKIP
        self.saga.order(order, self.now)

    def send(self, act: Send) -> None:
        end = self.draw(st.sampled_from(ENDS)) if self.troubles else "done"
        self.troubles -= end != "done"
        if end == "cannot be sent":
            self.saga.cannot_send(act, "no value")
            return
        self.saga.intend(act, self.now)
        if self.dies("before it is kept"):
            return
        self.keep()
        if self.dies("before it is sent"):
            return
        told = self.serve(act, end)
        if self.dies("before its answer"):
            return
        self.saga.finish(act, told, self.now)
        if self.dies("before that is kept"):
            return
        self.keep()

    def serve(self, act: Send, end: str) -> Told:
        self.requests.append(act)
        self.check(act)
        if end in ("done", "lost after", "fault after") and act not in self.keys:
            self.keys.add(act)
            effects = self.did if act.phase is Phase.DO else self.undid
            effects[act.step] = effects.get(act.step, 0) + 1
        if end == "done":
            return Told(Effect.DONE, 200)
        if end.startswith("lost"):
            return Told(Effect.UNKNOWN, reason="attempt-timeout")
        if end.startswith("fault"):
            return Told(Effect.DOUBTFUL, 500)
        if end == "refused here":
            return Told(Effect.NONE, reason="circuit-open", spends=False)
        return Told(Effect.NONE, 503 if end == "unavailable" else 422, final="good" in end)

    def check(self, act: Send) -> None:
        steps = self.saga.steps
        if act.phase is Phase.DO:
            assert all(step.passed() for step in steps[: act.step])
            assert not any(sent.phase is Phase.UNDO for sent in self.requests)
            return
        assert not self.saga.past_pivot
        assert self.rules.steps[act.step].undoable
        undone = [sent.step for sent in self.requests if sent.phase is Phase.UNDO]
        assert undone == sorted(undone, reverse=True)
        asked = Send(act.step, Phase.DO) in self.requests
        interrupted = any(one.reason == "interrupted" for one in steps[act.step].do.tries)
        assert asked or interrupted


@given(st.data())
def test_a_saga_ends_as_it_says(data: st.DataObject) -> None:
    world = World(data.draw(rules()), data.draw)
    world.run()
    saga = world.saga
    assert all(count == 1 for count in [*world.did.values(), *world.undid.values()])
    if saga.state is SagaState.DONE:
        for at, step in enumerate(saga.steps):
            skipped = step.do.state is StepState.SKIPPED
            assert at in world.did or step.rules.optional or skipped
        assert not world.undid
    elif not saga.aborted:
        assert saga.state is SagaState.UNDONE
        for at, step in enumerate(saga.steps):
            if at in world.did and step.rules.undoable:
                settled = step.undo.state is StepState.SKIPPED or step.undo.reason
                assert at in world.undid or settled


@given(st.data())
def test_attempts_are_never_exceeded(data: st.DataObject) -> None:
    world = World(data.draw(rules()), data.draw)
    world.run()
    pivot = world.rules.pivot
    for at, step in enumerate(world.saga.steps):
        ordered = any(
            progress.state in (StepState.STUCK, StepState.SKIPPED) or progress.failures == 0
            for progress in (step.do, step.undo)
        )
        if pivot < 0 or at <= pivot or step.rules.optional:
            assert step.do.attempts <= step.rules.attempts
        if world.rules.undo.attempts and not ordered:
            assert step.undo.attempts <= world.rules.undo.attempts
