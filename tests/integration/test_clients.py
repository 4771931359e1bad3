"""What docs/clients.md says of clients: pointed at the proxy in their own way, each one reaches a
host that only the proxy knows. Those that ask by CONNECT for plain HTTP are in other files.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable

import pytest
from chaos.upstream import ChaosUpstream
from integration.running_proxy import RunningProxy
from integration.settings import Settings
from integration.tools import curl

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
