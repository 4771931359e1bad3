"""Fuzzing of both sides of the data plane: `make fuzz`, and a short run in the test suite.

`client_side` and `upstream_side` each take one input and raise if anything is wrong. The suite
plays the kept corpus and mutations of the conformance tables; `python -m tests.fuzz` has atheris
look for more, guided by coverage (docs/fuzzing.md).
"""
