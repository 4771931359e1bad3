"""Long random plays over HTTP/2 on both sides. Each is a number; a failure names it."""

import pytest
from exchange.stage import staged
from property.http2_seeded import HEDGED, HOSTILE, LAWFUL, Hostile, Lawful

FEW = 40
MANY = 1000


def hostile(seed):
    with staged(HEDGED if seed % 3 else HOSTILE) as stage:
        play = Hostile(stage, seed)
        play.play()
        play.check()


def lawful(seed):
    with staged(LAWFUL) as stage:
        play = Lawful(stage, seed)
        play.play()
        play.check()


@pytest.mark.parametrize("seed", range(FEW))
@pytest.mark.parametrize("play", [hostile, lawful])
def test_a_play(play, seed):
    play(seed)


@pytest.mark.long
@pytest.mark.parametrize("play", [hostile, lawful])
def test_many_plays(play):
    for seed in range(FEW, MANY):
        try:
            play(seed)
        except Exception as error:
            error.add_note(f"{play.__name__}({seed})")
            raise
