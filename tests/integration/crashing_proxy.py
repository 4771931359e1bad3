"""The real command, which dies at a point of its store's work: CRASH_AT is ``committed:2``.

Put before the command as a prefix: it runs the command's own arguments in this process.
"""

import os
import sys

from proxy import cli
from proxy.store.sqlite.committer import Committer, Point


def main() -> int:
    word, _, number = os.environ["CRASH_AT"].partition(":")
    point, left = Point(word), int(number)

    def at(self: Committer, here: Point) -> None:
        nonlocal left
        if here is point:
            left -= 1
            if left == 0:
                os._exit(9)

    Committer.at = at
    return cli.main(sys.argv[4:])  # python -m proxy run ...


if __name__ == "__main__":
    sys.exit(main())
