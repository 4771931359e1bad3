"""Exchanges by the million in memory and in virtual time, with faults on both sides.

``python -m tests.simulation`` from the top of the repository; docs/benchmarks.md says what it holds
the proxy to. A seed gives the same run again, to the last byte and the last tick.
"""
