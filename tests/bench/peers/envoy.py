"""Envoy with what corresponds to the default policy: retry, thresholds, outlier detection."""

import json
from typing import Any

from .. import programs
from ..certificates import Certificate
from ..process import free_port
from .base import Peer, Site


def _address(port: int) -> dict[str, Any]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def _typed(name: str, **values: Any) -> dict[str, Any]:
    return {"@type": f"type.googleapis.com/envoy.extensions.{name}", **values}


def _route() -> dict[str, Any]:
    return {
        "match": {"prefix": "/"},
        "route": {
            "cluster": "bench",
            "timeout": "15s",
            "retry_policy": {
                "retry_on": "connect-failure,reset,gateway-error",
                "num_retries": 2,
                "per_try_timeout": "5s",
                "retry_back_off": {"base_interval": "0.025s", "max_interval": "1s"},
            },
        },
    }


def _listener(site: Site, protocol: str = "http/1.1") -> dict[str, Any]:
    manager = _typed(
        "filters.network.http_connection_manager.v3.HttpConnectionManager",
        stat_prefix="bench",
        route_config={"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [_route()]}]},
        http_filters=[
            {
                "name": "envoy.filters.http.router",
                "typed_config": _typed("filters.http.router.v3.Router"),
            }
        ],
    )
    chain: dict[str, Any] = {
        "filters": [
            {"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}
        ]
    }
    if site.certificate is not None:
        chain["transport_socket"] = _tls(site.certificate, protocol)
    return {"name": "bench", "address": _address(site.port), "filter_chains": [chain]}


def _tls(certificate: Certificate, protocol: str = "http/1.1") -> dict[str, Any]:
    pair = {
        "certificate_chain": {"filename": certificate.cert},
        "private_key": {"filename": certificate.key},
    }
    context = _typed(
        "transport_sockets.tls.v3.DownstreamTlsContext",
        common_tls_context={"tls_certificates": [pair], "alpn_protocols": [protocol]},
    )
    return {"name": "envoy.transport_sockets.tls", "typed_config": context}


def _cluster(upstream_port: int, connections: int) -> dict[str, Any]:
    endpoint = {"endpoint": {"address": _address(upstream_port)}}
    thresholds = {
        "max_connections": connections,
        "max_pending_requests": connections,
        "max_requests": connections,
        "retry_budget": {"budget_percent": {"value": 20.0}, "min_retry_concurrency": 3},
    }
    return {
        "name": "bench",
        "type": "STATIC",
        "connect_timeout": "1s",
        "lb_policy": "LEAST_REQUEST",
        "load_assignment": {
            "cluster_name": "bench",
            "endpoints": [{"lb_endpoints": [endpoint]}],
        },
        "circuit_breakers": {"thresholds": [thresholds]},
        "outlier_detection": {
            "consecutive_5xx": 50,
            "interval": "10s",
            "base_ejection_time": "30s",
        },
    }


def _command(site: Site) -> list[str]:
    return _run(site, _listener(site), _cluster(site.upstream_port, site.connections))


def http2_command(site: Site) -> list[str]:
    """HTTP/2 on both sides."""
    options = _typed(
        "upstreams.http.v3.HttpProtocolOptions",
        explicit_http_config={"http2_protocol_options": {}},
    )
    cluster = _cluster(site.upstream_port, site.connections) | {
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": options
        }
    }
    return _run(site, _listener(site, "h2"), cluster)


def _run(site: Site, listener: dict[str, Any], cluster: dict[str, Any]) -> list[str]:
    config = {
        "admin": {"address": _address(free_port())},
        "static_resources": {"listeners": [listener], "clusters": [cluster]},
    }
    path = site.write("envoy.json", json.dumps(config, indent=1))
    return programs.ENVOY.argv(
        "--config-path", path, "--concurrency", "1", "--disable-hot-restart", "-l", "error"
    )


def _missing() -> str | None:
    return None if programs.ENVOY.path() else "envoy is not installed (extra 'bench')"


def _version() -> str:
    return programs.ENVOY.version


ENVOY = Peer("Envoy", version=_version, missing=_missing, command=_command, tls=True)
