from proxy.delivery.identities import Identities, is_identity


def test_ids_are_in_the_order_of_time_and_differ() -> None:
    now = [1_800_000_000.0]
    identities = Identities(lambda: now[0])
    made = []
    for _ in range(200):  # more than the random bits that are read at once
        made += [identities.new() for _ in range(3)]
        now[0] += 0.001
    assert len({one[-32:] for one in made}) == 600
    assert [one[:12] for one in made] == sorted(one[:12] for one in made)
    assert made[0].startswith(f"{1_800_000_000_000:012x}")
    assert all(map(is_identity, made))


def test_what_can_be_an_id() -> None:
    assert is_identity("0123456789abcdef" * 2), "of a former version"
    for text in ("", "a" * 31, "A" * 32, "-" * 44, "ä" * 44, "a" * 45):
        assert not is_identity(text)
