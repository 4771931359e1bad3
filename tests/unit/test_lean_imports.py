"""What the proxy does not use is not loaded, and is there for whoever asks for it."""

import os
import subprocess
import sys

import pytest

from proxy.lean_imports import lean_imports

UNUSED = (
    "aiohttp.client",
    "aiohttp.connector",
    "aiohttp.web_fileresponse",
    "attr",
    "decimal",
    "email.policy",
    "html.entities",
    "http.client",
    "http.server",
    "idna",
    "importlib.resources",
    "tempfile",
    "unicodedata",
    "urllib.request",
    "uuid",
    "opentelemetry",
    "prometheus_client.exposition",
    "typing_extensions",
    "proxy.demo",
    "proxy.kubernetes",
    "proxy.top",
    "proxy.wire.h2.downstream",
    "proxy.wire.h2.upstream",
)

_LOAD = (
    "import sys\nfrom proxy.lean_imports import lean_imports\n"
    "with lean_imports():\n import proxy.app\n"
)


def run(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", _LOAD + code], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_application_loads_nothing_that_only_others_need():
    assert run(f"print(sorted({set(UNUSED)!r} & sys.modules.keys()))").strip() == "[]"


def test_a_package_that_was_deferred_is_whole_for_code_that_asks_for_a_name_of_it():
    code = (
        "import aiohttp, prometheus_client\n"
        "from aiohttp import ClientSession, web\n"
        "from prometheus_client import Counter, generate_latest\n"
        "import importlib.metadata as metadata\n"
        "assert aiohttp.__version__ == metadata.version('aiohttp')\n"
        "assert aiohttp.web is web and ClientSession.__module__ == 'aiohttp.client'\n"
        "assert not hasattr(aiohttp, 'nothing')\n"
        "print(aiohttp.__version__ in aiohttp.http.SERVER_SOFTWARE)"
    )
    assert run(code).strip() == "True"


def test_typing_extensions_is_whole_for_code_that_asks_for_another_name_of_it():
    code = (
        "for module in ('aiosignal', 'aiohttp.web_app', 'aiohttp.web', 'aiohttp'):\n"
        " sys.modules.pop(module, None)\n"
        "with lean_imports():\n"
        " import aiosignal\n"
        " from typing_extensions import Doc\n"
        "import typing_extensions\n"
        "print(Doc is typing_extensions.Doc)"
    )
    assert run(code).strip() == "True"


def test_what_aiohttp_imports_late_is_the_real_thing_once_it_is_used():
    code = (
        "from yarl import URL\n"
        "from aiohttp import helpers, web, web_fileresponse, web_protocol, web_urldispatcher\n"
        "assert helpers.parse_content_type('text/html; charset=\"UTF-8\"')[0] == 'text/html'\n"
        "assert web_protocol.html_escape('<') == web_urldispatcher.html.escape('<') == '&lt;'\n"
        "assert isinstance(helpers.getproxies(), dict)\n"
        "assert URL('http://b\u00fccher.example').raw_host == 'xn--bcher-kva.example'\n"
        "assert web_urldispatcher.FileResponse(__import__('pathlib').Path('x')).status == 200\n"
        "import attr, html, idna, tempfile, urllib.request, uuid\n"
        "modules = (attr, html, idna, tempfile, urllib.request, uuid)\n"
        "print([one.__name__ for one in modules if type(one) is not type(sys)])"
    )
    assert run(code).strip() == "[]"


def test_classes_of_attr_are_frozen_and_have_slots():
    code = (
        "from aiohttp import helpers, web\n"
        "tag = helpers.ETag('a')\n"
        "assert tag == helpers.ETag('a', False) and not hasattr(tag, '__dict__')\n"
        "try: tag.value = 'b'\n"
        "except AttributeError: print(web.get('/', web.Response))"
    )
    assert run(code).startswith("<RouteDef GET /")


def test_attr_is_whole_for_code_that_asks_for_more_of_it():
    code = (
        "for module in ('aiohttp.web_routedef', 'aiohttp.helpers'):\n"
        " sys.modules.pop(module, None)\n"
        "with lean_imports():\n"
        " import attr\n"
        " A = attr.s(frozen=True, order=True)(type('A', (), {'x': attr.ib(default=1)}))\n"
        "print(A() <= A(2))"
    )
    assert run(code).strip() == "True"


def test_the_event_loop_does_not_keep_its_transports_and_carries_them():
    code = (
        "import asyncio, uvloop, weakref\n"
        "assert weakref.WeakValueDictionary.__module__ == 'weakref'\n"
        "async def answer(reader, writer):\n"
        " writer.write(await reader.readline())\n"
        " writer.close()\n"
        "async def ask():\n"
        " server = await asyncio.start_server(answer, '127.0.0.1', 0)\n"
        " host, port = server.sockets[0].getsockname()\n"
        " for _ in range(3):\n"
        "  reader, writer = await asyncio.open_connection(host, port)\n"
        "  there = writer.get_extra_info('socket').fileno()\n"
        "  try: asyncio.get_running_loop().add_reader(there, print)\n"
        "  except FileExistsError: pass  # libuv refuses it too\n"
        "  writer.write(b'hello\\n')\n"
        "  assert await reader.read() == b'hello\\n'\n"
        "  writer.close()\n"
        " server.close()\n"
        "with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:\n"
        " runner.run(ask())"
    )
    assert run(code) == ""


@pytest.mark.parametrize("before", [None, "/etc/own.pem"])
def test_the_environment_is_the_same_after_the_imports(monkeypatch, before):
    monkeypatch.delenv("SSL_CERT_DIR", raising=False)
    monkeypatch.delenv("SSL_CERT_FILE", raising=False)
    if before is not None:
        monkeypatch.setenv("SSL_CERT_FILE", before)
    with lean_imports():
        assert os.environ["SSL_CERT_FILE"] == os.environ["SSL_CERT_DIR"] == os.devnull
    assert os.environ.get("SSL_CERT_FILE") == before
    assert "SSL_CERT_DIR" not in os.environ
    assert not [name for name in os.environ if name.endswith("_NO_EXTENSIONS")]
