"""The proxy side by side with its peers: ``python -m tests.bench`` from the top of the repository.

Not collected by pytest. How the figures are made, and what is fair: docs/benchmarks.md.
"""
