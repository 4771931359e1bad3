"""An honest dependency: one key, one piece of work, one answer."""

from proxy.demo.dependencies import Ledger


def test_a_repeat_gets_the_first_answer_and_no_work_is_done() -> None:
    ledger = Ledger()
    charges = iter(["C1", "C2"])
    first = ledger.record("with-1", lambda: {"charge": next(charges)})
    again = ledger.record("with-1", lambda: {"charge": next(charges)})
    other = ledger.record("with-2", lambda: {"charge": next(charges)})
    assert (first, again, other) == ({"charge": "C1"}, {"charge": "C1"}, {"charge": "C2"})
    assert ledger.repeats == 1
    assert ledger.work == {"with-1": 1, "with-2": 1}
