"""What docs/clients.md says of clients: pointed at the proxy in their own way, each one reaches a
host that only the proxy knows. Some of them ask by CONNECT for plain HTTP.
"""

import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from chaos.upstream import ChaosUpstream
from integration.running_proxy import RunningProxy
from integration.settings import Settings
from integration.tools import curl
from websockets.sync.server import serve

URL = "http://inventory.test/api/plain"
NODE = shutil.which("node")

URLLIB = "import sys, urllib.request as u; print(u.urlopen(sys.argv[1]).read().decode())"
REQUESTS = "import sys, requests; print(requests.get(sys.argv[1]).text)"
AIOHTTP = """
import asyncio, sys, aiohttp
async def main():
    async with aiohttp.ClientSession({options}) as session, session.get(sys.argv[1]) as answer:
        print(await answer.text())
asyncio.run(main())
"""
FETCH = "fetch(process.argv[1]).then(r => r.text()).then(console.log)"
NODE_HTTP = """
const [host, port] = process.env.HTTP_PROXY.slice(7).split(":");
const headers = {host: new URL(process.argv[1]).host};
require("http").get({host, port, path: process.argv[1], headers}, r => r.pipe(process.stdout));
"""


@pytest.fixture(scope="module")
def proxy(
    module_proxy: Callable[[Settings], RunningProxy], shared_chaos: ChaosUpstream
) -> RunningProxy:
    target = {"upstream": "chaos", "rewrite": {"prefix": "/plain"}}
    named = {"hosts": ["inventory.test"], "path": "/api/plain"}
    return module_proxy(
        {
            "upstreams": {"chaos": {"endpoints": [shared_chaos.url]}},
            "routes": [
                {"name": "named", "match": named, **target},
                {"name": "path", "match": {"path": "/api/plain"}, **target},
            ],
        }
    )


def node(script: str) -> list[str]:
    if NODE is None:
        pytest.skip("no node")
    return [NODE, "-e", script]


def python(script: str) -> list[str]:
    return [sys.executable, "-c", script]


@pytest.mark.parametrize(
    "command",
    [
        lambda: python(URLLIB),
        lambda: python(REQUESTS),
        lambda: python(AIOHTTP.format(options="trust_env=True")),
        lambda: python(AIOHTTP.format(options="proxy=__import__('os').environ['HTTP_PROXY']")),
        lambda: node(NODE_HTTP),
        lambda: [curl(), "-sS", "-m", "5"],
    ],
    ids=["urllib", "requests", "aiohttp-trust_env", "aiohttp-proxy", "node-http", "curl"],
)
def test_by_the_environment(proxy: RunningProxy, command: Callable[[], list[str]]) -> None:
    words = [*command(), URL]
    setting = f"http://127.0.0.1:{proxy.outbound}"
    spelling = "http_proxy" if "curl" in words[0] else "HTTP_PROXY"
    cleared = {k: v for k, v in os.environ.items() if not k.lower().endswith("_proxy")}
    done = subprocess.run(
        words, env=cleared | {spelling: setting}, capture_output=True, text=True, timeout=20
    )
    assert (done.returncode, done.stdout.strip()) == (0, "ok"), done.stderr


def test_node_fetch_by_its_base_url(proxy: RunningProxy) -> None:
    words = [*node(FETCH), f"http://127.0.0.1:{proxy.outbound}/api/plain"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=20)
    assert (done.returncode, done.stdout.strip()) == (0, "ok"), done.stderr


GO = """
package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
)

func main() {
	answer, err := http.Get(os.Args[1])
	if err != nil {
		panic(err)
	}
	text, _ := io.ReadAll(answer.Body)
	fmt.Println(string(text))
}
"""


@pytest.mark.long
def test_go_by_the_environment_and_by_its_base_url(proxy: RunningProxy, tmp_path: Path) -> None:
    go = shutil.which("go")
    if go is None:
        pytest.skip("no go")
    (tmp_path / "main.go").write_text(GO)
    cleared = {k: v for k, v in os.environ.items() if not k.lower().endswith("_proxy")}
    building = {"GO111MODULE": "off", "GOCACHE": str(tmp_path / "cache")}
    subprocess.run([go, "build", "-o", "get", "main.go"], cwd=tmp_path, env=cleared | building,
                   check=True, timeout=300)  # fmt: skip
    address = f"http://127.0.0.1:{proxy.outbound}"
    for url, setting in ((URL, {"HTTP_PROXY": address}), (f"{address}/api/plain", {})):
        done = subprocess.run(
            [tmp_path / "get", url], env=cleared | setting, capture_output=True, text=True,
            timeout=20,
        )  # fmt: skip
        assert (done.returncode, done.stdout.strip()) == (0, "ok"), done.stderr


# What Node's fetch does with undici's EnvHttpProxyAgent, and with NODE_USE_ENV_PROXY.
NODE_CONNECT = """
const http = require("http");
const [host, port] = process.env.HTTP_PROXY.slice(7).split(":");
const url = new URL(process.argv[1]);
const path = url.hostname + ":" + (url.port || 80);
const asked = http.request({host, port, method: "CONNECT", path, headers: {host: path}});
asked.on("connect", (answer, socket) => {
  if (answer.statusCode !== 200) throw new Error("CONNECT was answered " + answer.statusCode);
  http.get(url, {createConnection: () => socket}, r => r.pipe(process.stdout));
});
asked.end();
"""


def test_node_by_connect_for_plain_http(proxy: RunningProxy) -> None:
    """Carried like any request: the route that has an upstream takes it."""
    words = [*node(NODE_CONNECT), URL]
    setting = {"HTTP_PROXY": f"http://127.0.0.1:{proxy.outbound}"}
    done = subprocess.run(
        words, env=os.environ | setting, capture_output=True, text=True, timeout=20
    )
    assert (done.returncode, done.stdout.strip()) == (0, "ok"), done.stderr


WEBSOCKETS = """
import sys
import threading
from websockets.sync.client import connect
with connect(sys.argv[1], additional_headers={"X-Request-Id": "ws-1"}) as socket:
    socket.send("hello")
    print(socket.recv())
"""


def test_websockets_by_the_environment(start_proxy: Callable[..., RunningProxy]) -> None:
    """It sends CONNECT for ws:// too."""
    with serve(lambda socket: socket.send(socket.recv()), "127.0.0.1", 0) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        proxy = start_proxy({"policies": {"default": {"bulkhead": {"max_concurrent": 1}}}})
        port = server.socket.getsockname()[1]
        cleared = {k: v for k, v in os.environ.items() if not k.lower().endswith("_proxy")}
        done = subprocess.run(
            [*python(WEBSOCKETS), f"ws://127.0.0.1:{port}/"],
            env=cleared | {"HTTP_PROXY": f"http://127.0.0.1:{proxy.outbound}"},
            capture_output=True,
            text=True,
            timeout=20,
        )
        server.shutdown()
    assert (done.returncode, done.stdout.strip()) == (0, "hello"), done.stderr
    line = proxy.logged("ws-1")
    assert (line["status"], line["upstream"]) == (101, f"127.0.0.1:{port}")
