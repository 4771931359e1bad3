"""``python -m tests.fuzz SIDE [--seconds N]``: look for inputs that break a promise.

SIDE: client, hpack, http2, http2-upstream or upstream.

Needs atheris (``pip install '.[fuzz]'``). Every input that reaches new code is kept in a directory
of its own (``--keep``, default ``.fuzz/SIDE`` beside the sources) and found again by the next run;
one that breaks a promise is written beside it as ``SIDE-crash-…`` and ends the run with its
traceback. Given a file, it plays that alone.
"""

import argparse
import sys
from contextlib import suppress
from pathlib import Path

import atheris

HERE = Path(__file__).parent
sys.path.append(str(HERE.parent))

with atheris.instrument_imports(include=["proxy"]):
    from fuzz import client_side, hpack_side, http2_side, http2_upstream_side, seeds, upstream_side
    from exchange.stage import staged  # isort: skip

SIDES = {
    "client": (client_side, seeds.client_seeds),
    "hpack": (hpack_side, hpack_side.seeds),
    "http2": (http2_side, http2_side.seeds),
    "http2-upstream": (http2_upstream_side, http2_upstream_side.seeds),
    "upstream": (upstream_side, seeds.upstream_seeds),
}
MAX_INPUT_BYTES = 4096


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("side", choices=SIDES)
    parser.add_argument("--seconds", type=int, default=900)
    parser.add_argument("--keep", type=Path, help="where inputs are kept; default: .fuzz/SIDE")
    parser.add_argument("input", type=Path, nargs="?", help="play this file alone")
    chosen = parser.parse_args()
    side, make_seeds = SIDES[chosen.side]
    keep: Path = chosen.keep or HERE.parents[1] / ".fuzz" / chosen.side
    keep.mkdir(parents=True, exist_ok=True)
    words = keep.with_suffix(".dict")
    words.write_text(seeds.dictionary())
    kept = HERE / "corpus" / chosen.side
    places = [str(keep), *([str(kept)] if kept.is_dir() else [])]
    if chosen.input is not None:
        places = [str(chosen.input)]
    else:
        for number, seed in enumerate(make_seeds()):
            (keep / f"seed-{number:03}").write_bytes(seed)
    options = [
        f"-max_total_time={chosen.seconds}",
        f"-max_len={MAX_INPUT_BYTES}",
        f"-dict={words}",
        f"-artifact_prefix={keep.parent}/{chosen.side}-",
        "-timeout=10",
        "-print_final_stats=1",
    ]
    with staged(side.CONFIG) as stage:
        atheris.Setup([sys.argv[0], *options, *places], lambda data: side.run(stage, data))
        atheris.Fuzz()


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        main()
