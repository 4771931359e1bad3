"""What is shown instead of a secret."""

from typing import Final

HIDDEN: Final = "***"
