"""Exchanges without a client: what was accepted is delivered later."""
