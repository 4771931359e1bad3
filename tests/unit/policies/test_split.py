"""Splits: shares, and who moves when weights change."""

from proxy.policies.split import Split


def placed(split, count=20_000):
    return [split.names[split.choose_by(b"user-%d" % number)] for number in range(count)]


def test_each_point_has_its_upstream():
    split = Split((("a", 95), ("b", 0), ("c", 5)))
    assert split.shares == [0.95, 0.0, 0.05]
    found = [split.names[split.choose(point)] for point in (0.0, 0.94999, 0.95, 0.99999)]
    assert found == ["a", "a", "c", "c"]


def test_a_last_upstream_without_weight_gets_nothing():
    split = Split((("a", 1), ("b", 0)))
    assert split.names[split.choose(0.9999999999999999)] == "a"
    assert set(placed(split, 1000)) == {"a"}


def test_values_are_spread_by_weight():
    found = placed(Split((("a", 80), ("b", 20))))
    assert 0.19 < found.count("b") / len(found) < 0.21


def test_only_as_many_move_as_must_and_none_goes_back():
    before, after = placed(Split((("a", 95), ("b", 5)))), placed(Split((("a", 90), ("b", 10))))
    moved = [(one, two) for one, two in zip(before, after, strict=True) if one != two]
    assert set(moved) == {("a", "b")}
    assert 0.04 < len(moved) / len(before) < 0.06


def test_the_order_in_the_file_does_not_matter():
    one = placed(Split((("a", 70), ("b", 20), ("c", 10))), 2000)
    assert placed(Split((("c", 10), ("a", 70), ("b", 20))), 2000) == one


def test_a_new_upstream_takes_from_all_and_moves_nothing_else():
    before = placed(Split((("a", 50), ("b", 50))))
    after = placed(Split((("a", 50), ("b", 50), ("c", 25))))
    moved = [(one, two) for one, two in zip(before, after, strict=True) if one != two]
    assert {two for _, two in moved} == {"c"}
    assert 0.19 < len(moved) / len(before) < 0.21
