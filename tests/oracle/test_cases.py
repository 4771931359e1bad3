"""Every case of the case files, on the real policies."""

from case_runner import Case


def test_case(case: Case) -> None:
    case.run()
