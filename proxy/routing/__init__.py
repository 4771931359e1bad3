"""Routing: which route takes a request, and where the request goes."""

from proxy.routing.egress import EgressRules
from proxy.routing.head import Head
from proxy.routing.table import Route, RouteTable

__all__ = ["EgressRules", "Head", "Route", "RouteTable"]
