"""Resilience Proxy: a sidecar that carries a service's HTTP calls through trouble."""

__version__ = "0.1.0"
