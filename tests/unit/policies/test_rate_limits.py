"""Rate limits: GCRA, several limits that must agree, turns, and what is remembered."""

import gc
import random
import tracemalloc
from fractions import Fraction

import pytest

from proxy.errors import RateLimited
from proxy.outcome import Verdict
from proxy.policies.gate import Ask, Mode
from proxy.policies.rate_limit import MAX_KEYS, Key, Rate, RateLimitConfig
from proxy.policies.rate_limits import RateLimits, RateRefusal, RateWait, observing

pytestmark = pytest.mark.interpreted  # a class in Python with a compiled base is none


class Asked(Ask):
    """A request: its client, its headers, and how long it may wait."""

    def __init__(self, client="10.0.0.1", longest=0.0, **headers):
        self.ip, self.longest, self.headers, self.places = client, longest, headers, 0
        self.observed = []

    @property
    def client(self):
        return self.ip

    def values(self, name):
        value = self.headers.get(name.decode().replace("-", "_"))
        return [] if value is None else [value] if isinstance(value, bytes) else value

    def observe(self, what):
        self.observed.append(what)

    def take_place(self):
        self.places += bool(self.longest)
        return self.longest

    def leave_place(self):
        self.places -= 1
        assert self.places >= 0


def limit(text="10/s", burst=1, key="route", name="", mode=Mode.ENFORCE):
    count, unit = text.split("/")
    return RateLimitConfig(name or key, key, Rate(float(count), unit), burst, mode)


def limits(*config):
    return RateLimits("shop", config)


def passes(gate, now, ask=None):
    return gate.admit(now, ask or Asked()).granted


def passed(gate, now, ask=None, most=1000):
    """How many requests pass at once."""
    return next(n for n in range(most) if not passes(gate, now, ask))


def refused(gate, now, ask=None):
    refusal = gate.admit(now, ask or Asked())
    assert isinstance(refusal, RateRefusal)
    return refusal.error()


@pytest.mark.parametrize("start", [0.0, 7.3, 1e6 + 1 / 3, 3e7])
@pytest.mark.parametrize("burst", [1, 7, 100])
def test_the_burst_at_once_and_then_the_rate(start, burst):
    gate = limits(limit("10/s", burst))
    assert passed(gate, start) == burst
    assert [passed(gate, start + 0.1 * n + 1e-5) for n in range(1, 6)] == [1] * 5
    assert passed(gate, start + 0.15 + 0.5) == 1, "half a step more gives nothing more"
    assert passed(gate, start + 1000) == burst


@pytest.mark.parametrize(("text", "seconds"), [("4/s", 0.25), ("60/m", 1), ("100/h", 36)])
def test_rates_per_second_minute_and_hour(text, seconds):
    gate = limits(limit(text))
    assert passes(gate, 5.0)
    assert not passes(gate, 5.0 + 0.99 * seconds)
    assert passes(gate, 5.0 + seconds)


@pytest.mark.parametrize(
    ("text", "burst", "policy", "later", "seconds"),
    [
        ("10/s", 5, b'"route";q=5;w=1', 0.0, 1),
        ("100/s", 250, b'"route";q=250;w=3', 0.0, 1),
        ("60/m", 60, b'"route";q=60;w=60', 0.0, 1),
        ("100/h", 1, b'"route";q=1;w=36', 0.0, 36),
        ("100/h", 1, b'"route";q=1;w=36', 33.5, 3),
        ("1000000/s", 1, b'"route";q=1;w=1', 0.0, 1),
    ],
)
def test_the_answer_to_a_refused_request(text, burst, policy, later, seconds):
    gate = limits(limit(text, burst))
    assert passed(gate, 0.0) == burst
    error = refused(gate, later)
    assert isinstance(error, RateLimited)
    assert (error.status, error.reason, error.retry_after) == (429, "rate-limited", seconds)
    assert error.fields == (
        (b"RateLimit-Policy", policy),
        (b"RateLimit", b'"route";r=0;t=%d' % seconds),
    )


@pytest.mark.parametrize("seed", range(30))
def test_it_agrees_with_exact_arithmetic(seed):
    drawn = random.Random(seed)
    unit, seconds = drawn.choice([("s", 1), ("m", 60), ("h", 3600)])
    rate, burst = drawn.choice([1, 3, 7, 60, 999, 5000]), drawn.choice([1, 2, 10, 50])
    gate = limits(limit(f"{rate}/{unit}", burst, "client"))
    step, whole = Fraction(seconds, rate), {}
    now = Fraction(drawn.choice([0, 1000, 10**6]))
    for _ in range(300):
        client = str(drawn.randrange(drawn.choice([1, 3, 200])))
        now += step * drawn.choice([0, Fraction(1, 10), 1, 3, burst]) * Fraction(drawn.random())
        after = max(whole.get(client, now), now) + step
        delay = after - burst * step - now
        passed = passes(gate, float(now), Asked(client))
        assert passed == (delay <= 0) or abs(delay) < step / 500
        if passed:
            whole[client] = after


def test_retry_after_is_when_it_passes():
    gate = limits(limit("7/m", 3))
    now = 1000.1
    passed(gate, now)
    after = refused(gate, now).retry_after
    assert not passes(gate, now + after - 1)
    assert passes(gate, now + after)


def test_each_client_has_its_own():
    gate = limits(limit("1/s", 2, "client"))
    assert passed(gate, 0.0, Asked("10.0.0.1")) == 2
    assert passed(gate, 0.0, Asked("::1")) == 2


def test_each_value_of_a_header_has_its_own_and_those_without_it_share_one():
    gate = limits(limit("1/s", 1, "header:x-user"))
    for value in (b"a", b"b", [b"a", b"b"], b"\xff" * 5000, b"\xff" * 5001):
        assert passed(gate, 0.0, Asked(x_user=value)) == 1
    assert passed(gate, 0.0, Asked()) == 1
    assert passed(gate, 0.0, Asked("10.9.9.9")) == 0, "the same limit"


def test_nothing_is_taken_unless_all_agree():
    gate = limits(limit("1/s", 5, name="all"), limit("1/s", 1, "client"))
    assert passed(gate, 0.0, Asked("a")) == 1
    for _ in range(50):
        assert not passes(gate, 0.0, Asked("a"))
    assert [passes(gate, 0.0, Asked(client)) for client in "bcdef"] == [True] * 4 + [False]
    counts = gate.snapshot(0.0)
    assert counts.allowed == {"all": 5, "client": 5}
    assert counts.limited == {"all": 1, "client": 51}


def test_the_limit_that_has_room_last_answers():
    gate = limits(limit("1/m", name="slow"), limit("1/s", name="fast"))
    assert passes(gate, 0.0)
    assert b'"slow"' in refused(gate, 0.0).fields[1][1]


def test_observe_counts_and_lets_pass():
    watching = limit("1/s", 2, name="new", mode=Mode.OBSERVE)
    gate = limits(watching, limit("1/s", 5, name="old"))
    assert passed(gate, 0.0) == 5
    counts = gate.snapshot(0.0)
    assert counts.allowed == {"new": 2, "old": 5}
    assert counts.observed == {"new": 3, "old": 0}
    assert counts.limited == {"new": 0, "old": 1}
    assert counts.total["new", "observed"] == 3
    assert limits(watching).admit(0.0, Asked()).observed == ""
    gate = limits(watching)
    assert [gate.admit(0.0, Asked()).observed for _ in range(3)] == ["", "", "rate_limits.limited"]


# --- turns ------------------------------------------------------------------------------------


def wait(gate, now, ask):
    answer = gate.admit(now, ask)
    assert isinstance(answer, RateWait)
    assert answer.permit is None
    return answer


def test_turns_come_in_order_at_the_rate():
    gate = limits(limit("10/s", 2))
    assert passed(gate, 5.0) == 2
    asks = [Asked(longest=0.35) for _ in range(3)]
    waits = [wait(gate, 5.0, ask) for ask in asks]
    assert [round(one.turn - 5.0, 6) for one in waits] == [0.1, 0.2, 0.3]
    assert gate.snapshot(5.0).waiting == 3
    assert not gate.idle(5.0)
    late = Asked(longest=0.35)
    assert isinstance(gate.admit(5.0, late), RateRefusal)
    assert late.places == 0, "what cannot end in time does not begin"
    for one, ask in zip(waits, asks, strict=True):
        gate.grant(one, one.turn - 0.01)
        assert one.permit is None, "too early"
        gate.grant(one, one.turn)
        assert one.permit is not None
        assert ask.places == 0
        gate.abandon(one)  # too late: nothing happens
    counts = gate.snapshot(5.0)
    assert (counts.waiting, counts.waited, counts.allowed) == (0, {"route": 3}, {"route": 5})
    assert gate.idle(5.0)


def test_a_newcomer_does_not_overtake():
    gate = limits(limit("10/s"))
    assert passes(gate, 0.0)
    waiting = wait(gate, 0.0, Asked(longest=1.0))
    assert not passes(gate, waiting.turn)
    assert wait(gate, waiting.turn, Asked(longest=1.0)).turn == pytest.approx(0.2)


def test_a_newcomer_does_not_overtake_one_whose_timer_is_late():
    gate = limits(limit("10/s"))
    assert passes(gate, 0.0)
    wait(gate, 0.0, Asked(longest=1.0))
    assert not passes(gate, 0.9), "one has room, and it is the one that waits"


@pytest.mark.parametrize(
    ("late", "next_turn"), [(0.02, 0.2), (0.05, 0.2), (0.3, 0.45)], ids=["a bit", "just", "far"]
)
def test_a_timer_that_is_a_bit_late_costs_no_part_of_the_rate(late, next_turn):
    gate = limits(limit("10/s"), limit("1/h", name="watching", mode=Mode.OBSERVE))
    assert passes(gate, 0.0)
    waiting = wait(gate, 0.0, Asked(longest=1.0))
    gate.grant(waiting, waiting.turn + late)
    assert waiting.permit is not None
    assert not passes(gate, next_turn - 0.01)
    assert passes(gate, next_turn + 0.01)


def test_who_leaves_the_line_costs_nothing_and_the_others_move_up():
    gate = limits(limit("10/s"))
    assert passes(gate, 0.0)
    asks = [Asked(longest=1.0) for _ in range(3)]
    first, second, third = waits = [wait(gate, 0.0, ask) for ask in asks]
    told = []
    for one in waits:
        one.on_granted = lambda one=one: told.append(one)
    gate.abandon(second)
    gate.abandon(second)
    assert (second.ask.places, told) == (0, [])
    gate.abandon(first)
    assert told == [third], "it is the first one now"
    gate.grant(third, 0.05)
    assert (third.permit, third.turn) == (None, pytest.approx(0.1))
    last = wait(gate, 0.05, Asked(longest=1.0))
    assert last.turn == pytest.approx(0.2)
    gate.grant(third, 0.1)
    assert third.permit is not None
    gate.grant(last, 0.2)
    assert last.permit is not None
    assert gate.snapshot(0.2).allowed == {"route": 3}, "those that left are not counted"


def test_impatient_requests_do_not_use_up_the_rate():
    """20 a second come and leave after 2 s, at a limit of 10 a second."""
    gate = limits(limit("10/s"))
    waits, served, now = [], 0, 0.0
    while now < 30.0:
        for one, since in waits[:]:
            if now >= one.turn:
                gate.grant(one, now)
            if one.permit is None and now - since >= 2.0:
                gate.abandon(one)
            if one.over:
                waits.remove((one, since))
                served += one.permit is not None
        answer = gate.admit(now, Asked(longest=5.0))
        served += answer.granted
        if isinstance(answer, RateWait):
            answer.on_granted = lambda one=answer: gate.grant(one, now)  # noqa: B023 - the time of the call
            waits.append((answer, now))
        now += 0.05
    assert served >= 290


def test_a_wait_for_a_limit_of_ones_own_holds_up_nobody_else():
    gate = limits(limit("10/s", 5, name="all"), limit("1/s", 1, "client"))
    assert passes(gate, 0.0, Asked("a"))
    own = wait(gate, 0.0, Asked("a", longest=5.0))
    assert own.turn == pytest.approx(1.0)
    assert [passes(gate, 0.0, Asked(client)) for client in "bcdef"] == [True] * 4 + [False]
    gate.abandon(own)
    assert passes(gate, 1.0, Asked("a"))


def test_a_turn_at_one_limit_may_lead_into_the_line_of_another():
    gate = limits(limit("10/s", 1, name="all"), limit("1/s", 1, "client"))
    assert passes(gate, 0.0, Asked("a"))
    own = wait(gate, 0.0, Asked("a", longest=5.0))
    assert passes(gate, 0.95, Asked("b"))
    later = wait(gate, 0.95, Asked("c", longest=5.0))
    gate.grant(own, own.turn)
    assert (own.permit, own.turn) == (None, pytest.approx(1.05)), "it came first"
    gate.grant(later, later.turn)
    assert (later.permit, later.turn) == (None, pytest.approx(1.15))
    gate.grant(own, own.turn)
    assert own.permit is not None
    again = wait(gate, own.turn, Asked("a", longest=5.0))
    assert again.turn == pytest.approx(2.05), "nothing is left of it in the first line"
    gate.abandon(again)
    gate.grant(later, later.turn)
    assert later.permit is not None
    assert not passes(gate, 1.9, Asked("a")), "charged when it proceeded"


def test_a_request_that_waited_says_which_limit_would_have_refused_it():
    watching = limit("1/m", name="watching", mode=Mode.OBSERVE)
    gate = limits(limit("10/s"), watching)
    assert passes(gate, 0.0)
    waiting = wait(gate, 0.0, Asked(longest=1.0))
    gate.grant(waiting, waiting.turn)
    assert waiting.ask.observed == ["rate_limits.limited"]
    assert gate.snapshot(0.1).observed == {"route": 0, "watching": 1}


def test_a_turn_that_does_not_come_in_time_is_a_refusal():
    gate = limits(limit("10/s", 1, name="all"), limit("1/s", 1, "client"))
    assert passes(gate, 0.0, Asked("a"))
    own = wait(gate, 0.0, Asked("a", longest=1.04))
    assert passes(gate, 0.95, Asked("b"))
    gate.grant(own, own.turn)
    assert own.permit is None
    error = own.timeout()
    assert isinstance(error, RateLimited)
    assert error.fields[1][1] == b'"all";r=0;t=1'
    gate.abandon(own)
    assert gate.snapshot(1.04).limited == {"all": 1, "client": 0}


def test_a_reload_asks_those_that_wait_again():
    gate = limits(limit("1/s"))
    assert passes(gate, 0.0)
    waits = [wait(gate, 0.0, Asked(longest=5.0)) for _ in range(2)]
    told = []
    for one in waits:
        one.on_granted = lambda one=one: told.append(one)
    gate.adopt((limit("1/s"), limit("1/m", 1, "client")))
    assert told == waits
    for one in waits:
        gate.grant(one, 0.5)
    assert [one.turn for one in waits] == [pytest.approx(1.0), pytest.approx(2.0)]
    gate.adopt(observing((limit("1/s"),)))
    for one in waits:
        gate.grant(one, 0.5)
        assert one.permit is not None
    assert gate.idle(0.5)


@pytest.mark.parametrize("start", [1e6 + 1 / 3, 8e6])
@pytest.mark.parametrize(("text", "burst"), [("10000/s", 20_000), ("1000/s", 50_000), ("7/s", 99)])
def test_a_large_burst_is_exact_on_a_machine_that_runs_for_months(start, text, burst):
    gate = limits(limit(text, burst))
    assert passed(gate, start, most=burst + 10) == burst


# --- reload -----------------------------------------------------------------------------------


def test_equal_settings_keep_their_state_over_a_reload():
    kept, changed = limit("1/s", 2, name="kept"), limit("1/s", 2, name="changed")
    gate = limits(kept, changed)
    assert passed(gate, 0.0) == 2
    assert gate.adopt((kept, limit("1/s", 3, name="changed"), limit("1/s", 9, name="new")))
    assert not passes(gate, 0.0)
    counts = gate.snapshot(0.0)
    assert counts.keys == {"kept": 1, "changed": 0, "new": 0}
    assert counts.allowed == {"kept": 2, "changed": 2, "new": 0}, "a counter never falls"
    assert gate.adopt((limit("1/s", 3, name="changed"),))
    assert passed(gate, 0.0) == 3


def test_a_bypass_and_its_end_keep_the_state():
    config = (limit("1/s", 2),)
    gate = RateLimits("shop", config)
    passed(gate, 0.0)
    gate.adopt(observing(config))
    assert passes(gate, 0.0)
    gate.adopt(config)
    assert not passes(gate, 0.0)


# --- what is remembered -----------------------------------------------------------------------


def test_clients_that_come_in_turns_are_told_apart():
    gate = limits(limit("1/s", 2, "client"))
    turns = [Asked(client) for client in ("a", "b", "", "x" * 50, "y" * 50)]
    assert [passes(gate, 0.0, ask) for ask in turns * 3] == [True] * 10 + [False] * 5


def test_the_keys_of_other_settings_are_forgotten():
    gate = limits(limit("1/s", 1, "client", "one"))
    assert passed(gate, 0.0, Asked("a")) == 1
    gate.adopt((limit("1/s", 2, "client", "one"),))
    assert [passed(gate, 0.0, Asked(client)) for client in "aba"] == [2, 2, 0]
    assert gate.snapshot(0.0).keys == {"one": 2}


def test_keys_that_say_nothing_any_more_are_forgotten():
    gate = limits(limit("10/s", 1, "client"))
    for number in range(1000):
        passes(gate, number / 10, Asked(str(number)))
    assert gate.snapshot(100.0).keys == {"client": 1}


def test_they_are_forgotten_while_only_known_keys_come_too():
    gate = limits(limit("10/s", 1, "client"))
    for number in range(100):
        passes(gate, number / 1000, Asked(str(number)))
    assert gate.snapshot(0.1).keys == {"client": 100}
    for number in range(1000):
        passes(gate, 100.0 + number, Asked("0"))
    assert gate.snapshot(2000.0).keys == {"client": 1}


def test_one_limit_and_several_decide_alike():
    """A limit alone has a shorter way through the gate."""
    alone = limits(limit("10/s", 3, "client"))
    beside = limits(limit("10/s", 3, "client"), limit("1000000/s", 1000000))
    for number in range(300):
        now, ask = number * 0.017, Asked(str(number % 3))
        assert passes(alone, now, ask) == passes(beside, now, ask), number
    one, both = alone.snapshot(9.0), beside.snapshot(9.0)
    assert (one.limited, one.keys["client"]) == (
        {"client": both.limited["client"]},
        both.keys["client"],
    )
    assert one.allowed["client"] == both.allowed["client"]


def test_a_full_limit_forgets_the_idlest_key():
    gate = limits(limit("1/h", 1, "client"))
    for number in range(MAX_KEYS):
        passes(gate, 0.0, Asked(str(number)))
    assert gate.snapshot(0.0).keys == {"client": MAX_KEYS}
    assert passes(gate, 1.0, Asked("new"))
    assert gate.snapshot(0.0).keys == {"client": MAX_KEYS}
    assert passes(gate, 1.0, Asked("0")), "it was forgotten"
    assert not passes(gate, 1.0, Asked("2"))


def test_a_key_that_came_again_is_not_the_idlest():
    gate = limits(limit("1/h", 2, "client"))
    for number in range(MAX_KEYS):
        passes(gate, 0.0, Asked(str(number)))
    for client in "0212":  # what is refused does not count as use
        passes(gate, 1.0, Asked(client))
    assert passed(gate, 2.0, Asked("new")) == 2
    assert passed(gate, 2.0, Asked("3")) == 2, "it was forgotten"
    assert [passed(gate, 2.0, Asked(client)) for client in "0125"] == [0, 0, 0, 1]


def test_keys_leave_in_the_order_of_their_last_use():
    """Held against a list in this order."""
    gate = limits(limit("1000/h", 1_000_000, "client"))
    draws, order = random.Random(1), []
    for number in range(MAX_KEYS):
        passes(gate, 0.0, Asked(f"{number}"))
        order.append(f"{number}")
    for number in range(300):
        one = draws.choice(order[:500])
        order.remove(one)
        order.append(one)
        assert passes(gate, 0.0, Asked(one))
        if number % 3 == 0:
            assert passes(gate, 0.0, Asked(f"new {number}"))
            order = [*order[1:], f"new {number}"]
    kept = list(gate._limits[0]._known)
    assert len(kept) == MAX_KEYS
    assert set(kept) == {one.encode() for one in order}


@pytest.mark.parametrize("how", ["other settings", "removed", "the gate goes"])
def test_forgotten_keys_do_not_wait_for_the_cycle_collector(how):
    before = len(keys_in_memory())
    gate = limits(limit("1/h", 1, "client"))
    for number in range(100):
        passes(gate, 0.0, Asked(f"{number}"))
    gc.disable()
    try:
        assert len(keys_in_memory()) >= before + 100
        if how == "other settings":
            gate.adopt((limit("2/h", 1, "client"),))
        elif how == "removed":
            gate.adopt(())
        else:
            del gate
        assert len(keys_in_memory()) <= before + 1
    finally:
        gc.enable()


def keys_in_memory():
    return [one for one in gc.get_objects() if type(one) is Key]


def test_a_limit_with_as_many_keys_as_it_remembers_stays_small():
    gate = limits(limit("1/h", 1, "header:x-user"))
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    ask = Asked()
    for number in range(MAX_KEYS + 1000):
        ask.headers["x_user"] = b"%d" % number * 100
        passes(gate, 0.0, ask)
    taken = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert gate.snapshot(0.0).keys["header:x-user"] == MAX_KEYS
    assert taken < 40 * 1024 * 1024


def test_a_permit_is_settled_without_a_trace():
    gate = limits(limit("1/s", 1))
    permit = gate.admit(0.0, Asked())
    gate.settle(permit, Verdict.FAILURE, 1.0, 0.0)
    assert not passes(gate, 0.0)
