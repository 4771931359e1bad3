"""Random digits from a strip: none twice, none lost at the seam."""

import pytest

from proxy.http.random_hex import HexStrip


class Drawn:
    """Bytes that count up, so that every stretch of digits differs from every other."""

    def __init__(self):
        self.calls = []
        self._next = 0

    def __call__(self, size):
        self.calls.append(size)
        start, self._next = self._next, self._next + size
        return b"".join(i.to_bytes(4, "big") for i in range(start // 4, (start + size) // 4))


def test_digits_come_in_order_and_none_twice():
    source = Drawn()
    strip = HexStrip(source)
    ids = [strip.draw(32) for _ in range(1000)]
    assert len(set(ids)) == 1000
    assert all(len(one) == 32 and int(one, 16) >= 0 and one == one.lower() for one in ids)
    assert len(source.calls) == 8


@pytest.mark.parametrize("digits", [1, 7, 16, 32, 4095, 4096])
def test_a_draw_is_never_short(digits):
    strip = HexStrip(Drawn())
    assert [len(strip.draw(digits)) for _ in range(600)] == [digits] * 600


def test_nothing_is_drawn_before_it_is_needed():
    source = Drawn()
    HexStrip(source)
    assert source.calls == []
