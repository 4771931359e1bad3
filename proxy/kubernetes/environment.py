"""``HTTP_PROXY`` and ``NO_PROXY`` of a container, in both spellings that programs look for."""

from collections.abc import Sequence

from proxy.kubernetes.shape import items_of
from proxy.kubernetes.sidecar import OUTBOUND_PORT, Object

PROXY = f"http://127.0.0.1:{OUTBOUND_PORT}"

NEVER_PROXIED = (
    "localhost",
    "127.0.0.1",
    "::1",
    "169.254.169.254",  # the metadata service of most clouds
    "metadata.google.internal",
    "kubernetes.default.svc",  # the API server has its own TLS and its own retries
    "kubernetes.default.svc.cluster.local",
)

_PROXY_NAMES = ("HTTP_PROXY", "http_proxy")
_NO_PROXY_NAMES = ("NO_PROXY", "no_proxy")


def set_proxy(container: Object, no_proxy: Sequence[str]) -> None:
    """Send the container's calls through the sidecar, unless it names a proxy of its own.

    `no_proxy` comes on top of what is never sent through it. What the container sets already
    stays as it is.
    """
    present = {variable.get("name") for variable in items_of(container, "env")}
    if present & set(_PROXY_NAMES):
        return
    added = [{"name": name, "value": PROXY} for name in _PROXY_NAMES]
    if not present & set(_NO_PROXY_NAMES):
        hosts = ",".join(dict.fromkeys((*NEVER_PROXIED, *no_proxy)))
        added += [{"name": name, "value": hosts} for name in _NO_PROXY_NAMES]
    container["env"] = [*items_of(container, "env"), *added]


def unset_proxy(container: Object) -> None:
    """Undo `set_proxy`."""
    variables = items_of(container, "env")
    if not any(_is_ours(variable) for variable in variables):
        return
    container["env"] = [
        variable
        for variable in variables
        if not _is_ours(variable)
        and not (
            variable.get("name") in _NO_PROXY_NAMES
            and str(variable.get("value")).startswith(",".join(NEVER_PROXIED[:3]))
        )
    ]
    if not container["env"]:
        del container["env"]


def _is_ours(variable: Object) -> bool:
    return variable.get("name") in _PROXY_NAMES and variable.get("value") == PROXY
