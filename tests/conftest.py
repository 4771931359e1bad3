"""What all tests share: `chaos` and `integration` can be imported from any of them."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parent))
