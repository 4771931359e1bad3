"""Runs case files, sequences of steps with known answers, on the policies of the proxy.

The beginning of a file's name says what its cases are about: ``circuit_breaker``, ``retry_after``
or ``backoff``. A word that the runner does not know fails the case; nothing is ever skipped.
"""

from case_runner.case_file import Case, load
from case_runner.fields import CaseError

__all__ = ["Case", "CaseError", "load"]
