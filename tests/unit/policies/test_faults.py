"""Faults: which one an attempt gets."""

from proxy.policies.faults import Fault, FaultConfig, Faults


def drawn(*entries: FaultConfig, chance: float = 0.0, delay: float = 0.0, abort: int = 0) -> Fault:
    fault = Faults(entries, lambda: chance).draw(delay, abort)
    return fault or Fault()


def told(fault: Fault) -> tuple[float, int, bool]:
    return fault.delay, fault.abort, fault.reset


NONE = (0.0, 0, False)


def test_a_share_of_the_attempts() -> None:
    entry = FaultConfig(0.2, abort=503)
    assert told(drawn(entry, chance=0.19)) == (0.0, 503, False)
    assert told(drawn(entry, chance=0.2)) == NONE
    assert told(drawn(FaultConfig(1.0, reset=True), chance=0.999)) == (0.0, 0, True)


def test_a_delay_goes_with_another_fault_and_the_first_end_counts() -> None:
    entries = (
        FaultConfig(1.0, abort=503),
        FaultConfig(1.0, delay=2.0),
        FaultConfig(1.0, delay=1.0),
        FaultConfig(1.0, reset=True),
    )
    fault = drawn(*entries)
    assert told(fault) == (2.0, 503, False)
    assert fault.kinds == ["delay", "abort"]


def test_the_slowest_throttle_counts_and_only_without_an_end() -> None:
    entries = (FaultConfig(1.0, throttle=2000), FaultConfig(1.0, throttle=1000))
    fault = drawn(*entries)
    assert (fault.throttle, fault.kinds) == (1000, ["throttle"])
    assert drawn(*reversed(entries), FaultConfig(1.0, delay=1.0)).throttle == 1000
    assert drawn(*entries, FaultConfig(1.0, reset=True)).kinds == ["reset"]
    asked = Faults((FaultConfig(1.0, throttle=1000, headers=True),), lambda: 0.0)
    found = [asked.draw(0.0, 0, rate) for rate in (0, 10, 5000)]
    assert [one.throttle if one else 0 for one in found] == [0, 1000, 5000]
    assert Faults((FaultConfig(1.0, headers=True),), lambda: 0.0).draw(0.0, 0, 9) is None


def test_headers_act_only_for_who_asks_and_up_to_the_caps() -> None:
    entry = FaultConfig(0.5, delay=2.0, headers=True)
    assert told(drawn(entry)) == NONE
    assert told(drawn(entry, delay=1.0)) == (1.0, 0, False)
    assert told(drawn(entry, delay=60.0, abort=418)) == (2.0, 418, False)
    assert told(drawn(entry, delay=60.0, chance=0.6)) == NONE
    assert told(drawn(FaultConfig(1.0, headers=True), delay=60.0)) == NONE
    assert told(drawn(FaultConfig(1.0, abort=500), delay=60.0, abort=418)) == (0.0, 500, False)
