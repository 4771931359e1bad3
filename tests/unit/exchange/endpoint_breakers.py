"""Finds the circuit breaker that an attempt at an endpoint asks."""

from proxy.exchange.binding import Binding
from proxy.policies.circuit_breaker import CircuitBreaker
from proxy.upstream.endpoint import Endpoint


def breaker_at(binding: Binding, endpoint: Endpoint) -> CircuitBreaker | None:
    gates = binding.endpoint_gates(endpoint) if binding.per_endpoint else binding.attempt_gates
    return next((gate for gate in gates if isinstance(gate, CircuitBreaker)), None)
