"""Resilience Proxy: a sidecar that retries, times out, limits and drains a service's HTTP calls."""

__version__ = "0.1.0"
