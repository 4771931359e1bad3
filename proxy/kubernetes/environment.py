"""``HTTP_PROXY`` and ``NO_PROXY`` of a container, in the two spellings that programs read."""

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
    "kubernetes.default.svc",  # clients of the API server have their own TLS and retries
    "kubernetes.default.svc.cluster.local",
)

_PROXY_NAMES = ("HTTP_PROXY", "http_proxy")
_NO_PROXY_NAMES = ("NO_PROXY", "no_proxy")


def set_proxy(container: Object, no_proxy: Sequence[str]) -> str | None:
    """Send the container's calls through the sidecar, unless it names its own proxy.

    `no_proxy` and the default exclusions are added to the container's own list. Returns a sentence
    if that is not possible, because the list comes from another object.
    """
    variables = items_of(container, "env")
    if any(variable.get("name") in _PROXY_NAMES for variable in variables):
        return None
    hosts = ",".join(dict.fromkeys((*NEVER_PROXIED, *no_proxy)))
    added = [{"name": name, "value": PROXY} for name in _PROXY_NAMES]
    own = [variable for variable in variables if variable.get("name") in _NO_PROXY_NAMES]
    if not own:
        added += [{"name": name, "value": hosts} for name in _NO_PROXY_NAMES]
        container["env"] = [*variables, *added]
        return None
    for variable in own:
        if isinstance(variable.get("value"), str):
            variable["value"] = _joined(variable["value"], hosts)
    if len(own) == 1:
        (missing,) = (name for name in _NO_PROXY_NAMES if name != own[0]["name"])
        text = own[0].get("value")
        # A value from another object is known only to Kubernetes.
        value = text if isinstance(text, str) else _joined(f"$({own[0]['name']})", hosts)
        added.append({"name": missing, "value": value})
    container["env"] = [*variables, *added]
    taken = [variable["name"] for variable in own if not isinstance(variable.get("value"), str)]
    if not taken:
        return None
    return (
        f"the container {container.get('name')} gets {' and '.join(taken)} from another object; "
        f"it should exclude {hosts} too"
    )


def _joined(own: str, hosts: str) -> str:
    return f"{own},{hosts}" if own.strip(", ") else hosts


def unset_proxy(container: Object) -> None:
    """Undo `set_proxy`."""
    variables = items_of(container, "env")
    ours = [index for index, variable in enumerate(variables) if _is_ours(variable)]
    if not ours:
        return
    kept = []
    for index, variable in enumerate(variables):
        if _is_ours(variable):
            continue
        if variable.get("name") in _NO_PROXY_NAMES and isinstance(variable.get("value"), str):
            own = _without_added(variable["value"])
            # The added hosts follow the proxy.
            if own is not None and (index > ours[0] or not own):
                continue
            if own is not None:
                variable["value"] = own
        kept.append(variable)
    container["env"] = kept
    if not kept:
        del container["env"]


def _without_added(value: str) -> str | None:
    """A list of hosts without the added ones; None if none were added."""
    start = value.rfind(",".join(NEVER_PROXIED[:3]))
    return None if start < 0 else value[:start].removesuffix(",")


def _is_ours(variable: Object) -> bool:
    return variable.get("name") in _PROXY_NAMES and variable.get("value") == PROXY
