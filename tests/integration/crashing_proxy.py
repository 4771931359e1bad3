"""The real command, which dies at a point of its store's work: CRASH_AT is ``committed Put``.

Put before the command as a prefix: it runs the command's own arguments in this process. It dies at
the CRASH_NUMBER-th time that the point is passed while the file CRASH_WHEN exists.
"""

import os
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))

from dying import die_at

from proxy import cli


def main() -> int:
    armed = Path(os.environ["CRASH_WHEN"])
    die_at(os.environ["CRASH_AT"], int(os.environ["CRASH_NUMBER"]), armed.exists)
    return cli.main(sys.argv[4:])  # python -m proxy run ...


if __name__ == "__main__":
    sys.exit(main())
