"""Faults found in the field are tested over real sockets, with the integration tests' fixtures."""

from integration.conftest import (
    module_proxy,
    refusing_port,
    shared_chaos,
    start_chaos,
    start_proxy,
)

__all__ = ["module_proxy", "refusing_port", "shared_chaos", "start_chaos", "start_proxy"]
