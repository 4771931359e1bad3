"""As much of an API server as Helm needs to install and upgrade: discovery, and objects that stay.

`helm template` and dry runs have no cluster: ``lookup`` finds nothing there, and NOTES.txt is not
shown. Nothing is checked here, and nobody acts on what is stored.
"""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

Object = dict[str, Any]

_KINDS = {
    "v1": ("Secret", "Service", "ServiceAccount", "ConfigMap", "Namespace"),
    "apps/v1": ("Deployment",),
    "policy/v1": ("PodDisruptionBudget",),
    "networking.k8s.io/v1": ("NetworkPolicy",),
    "admissionregistration.k8s.io/v1": ("MutatingWebhookConfiguration",),
}
_PLURALS = {"NetworkPolicy": "networkpolicies"}
_CLUSTER_WIDE = {"MutatingWebhookConfiguration", "Namespace"}


class Store:
    """Objects by their path; `found` is how tests look at them."""

    def __init__(self) -> None:
        self._discovery = _discovery()
        self._objects: dict[str, Object] = {}

    def found(self, kind: str) -> Object:
        """The one object of this kind, releases of Helm left out."""
        (one,) = (
            one
            for one in self._objects.values()
            if one["kind"] == kind and one.get("type") != "helm.sh/release.v1"
        )
        return one

    def change(self, kind: str, **fields: Any) -> None:
        self.found(kind).update(fields)

    def answer(self, method: str, target: str, body: Object) -> tuple[int, Object]:
        """Status and document for one request."""
        url = urlsplit(target)
        if method == "POST":
            path = f"{url.path}/{body['metadata']['name']}"
            self._objects[path] = body
            return 201, body
        if url.path in self._discovery:
            return 200, self._discovery[url.path]
        if method == "GET" and url.path.rsplit("/", 1)[-1] in ("secrets", "configmaps"):
            selector = parse_qs(url.query).get("labelSelector", [""])[0]
            return 200, self._list(url.path, selector)
        if url.path not in self._objects:
            return 404, {"kind": "Status", "status": "Failure", "reason": "NotFound", "code": 404}
        if method == "DELETE":
            return 200, self._objects.pop(url.path)
        if method in ("PUT", "PATCH"):
            before = {} if method == "PUT" else self._objects[url.path]
            self._objects[url.path] = _merged(before, body)
        return 200, self._objects[url.path]

    def _list(self, path: str, selector: str) -> Object:
        wanted = dict(part.split("=", 1) for part in selector.split(",") if part)
        items = [
            one
            for at, one in self._objects.items()
            if at.rpartition("/")[0] == path
            and wanted.items() <= one["metadata"].get("labels", {}).items()
        ]
        return {"kind": "SecretList", "apiVersion": "v1", "metadata": {}, "items": items}


@contextmanager
def fake_cluster(directory: Path) -> Iterator[tuple[Store, Path]]:
    """A cluster without any object: what it stores, and its kubeconfig in `directory`."""
    store = Store()

    class Answering(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
            status, document = store.answer(self.command, self.path, json.loads(body or "{}"))
            text = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _answer  # noqa: N815 - names of http.server

        def log_message(self, *_: object) -> None:
            """Not to stderr."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answering)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield store, _kubeconfig(directory, server.server_address[1])
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _merged(before: Object, patch: Object) -> Object:
    """RFC 7396; lists are replaced, which is enough here."""
    merged = dict(before)
    for key, value in patch.items():
        here = merged.get(key)
        if value is None:
            merged.pop(key, None)
        elif isinstance(value, dict) and isinstance(here, dict):
            merged[key] = _merged(here, value)
        else:
            merged[key] = value
    return merged


def _kubeconfig(directory: Path, port: int) -> Path:
    file = directory / "kubeconfig"
    server = f"http://127.0.0.1:{port}"
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "fake",
        "clusters": [{"name": "fake", "cluster": {"server": server}}],
        "contexts": [{"name": "fake", "context": {"cluster": "fake", "user": "fake"}}],
        "users": [{"name": "fake", "user": {}}],
    }
    file.write_text(json.dumps(config), encoding="utf-8")
    file.chmod(0o600)
    return file


def _discovery() -> dict[str, Object]:
    groups = [
        {
            "name": version.partition("/")[0],
            "versions": [{"groupVersion": version, "version": "v1"}],
            "preferredVersion": {"groupVersion": version, "version": "v1"},
        }
        for version in _KINDS
        if "/" in version
    ]
    found: dict[str, Object] = {
        "/version": {"major": "1", "minor": "32", "gitVersion": "v1.32.0"},
        "/api": {"kind": "APIVersions", "versions": ["v1"]},
        "/apis": {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups},
    }
    for version, kinds in _KINDS.items():
        found[f"/apis/{version}" if "/" in version else "/api/v1"] = {
            "kind": "APIResourceList",
            "apiVersion": "v1",
            "groupVersion": version,
            "resources": [
                {
                    "name": _PLURALS.get(kind, f"{kind.lower()}s"),
                    "singularName": kind.lower(),
                    "namespaced": kind not in _CLUSTER_WIDE,
                    "kind": kind,
                    "verbs": ["get", "list", "create", "patch", "update", "delete"],
                }
                for kind in kinds
            ],
        }
    return found
