"""Who may ask what, from where, under which Host and Origin."""

import pytest
from aiohttp import web
from aiohttp.typedefs import Handler
from unit.admin.asking import Admin, Answer

from proxy.admin.access import is_loopback, names_this_machine, same_origin
from proxy.admin.api import AdminApi
from proxy.config.model import Config
from proxy.config.server_model import AdminConfig, RemoteAccess


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever asks does so from 10.0.0.9."""
    application = AdminApi.application

    @web.middleware
    async def from_elsewhere(request: web.Request, handler: Handler) -> web.StreamResponse:
        return await handler(request.clone(remote="10.0.0.9"))

    def changed(self: AdminApi) -> web.Application:
        app = application(self)
        app.middlewares.insert(0, from_elsewhere)
        return app

    monkeypatch.setattr(AdminApi, "application", changed)


def allow(admin: Admin, *remote: RemoteAccess) -> None:
    admin.gateway.config = Config("orders", admin=AdminConfig(remote=frozenset(remote)))


HEALTH = [
    ("GET", "/health/live"),
    ("GET", "/health/ready"),
    ("GET", "/health/inbound-drained"),
    ("HEAD", "/health/live"),
]
METRICS = [("GET", "/metrics")]
READ = [("GET", "/"), ("GET", "/status"), ("HEAD", "/config"), ("GET", "/circuit-breakers")]
CHANGE = [
    ("POST", "/drain"),
    ("POST", "/circuit-breakers/stock/reset"),
    ("POST", "/reload"),
    ("POST", "/health/live"),
    ("OPTIONS", "/metrics"),
]
NEVER_THERE = [("GET", "/nothing"), ("GET", "/health/secret"), ("GET", "/health/%2e%2e/status")]


@pytest.mark.usefixtures("elsewhere")
@pytest.mark.parametrize(
    ("remote", "allowed"),
    [
        ([], []),
        ([RemoteAccess.HEALTH], HEALTH),
        ([RemoteAccess.METRICS], METRICS),
        ([RemoteAccess.HEALTH, RemoteAccess.METRICS], HEALTH + METRICS),
        ([RemoteAccess.READ], HEALTH + METRICS + READ),
    ],
)
async def test_other_machines(
    admin: Admin, remote: list[RemoteAccess], allowed: list[tuple[str, str]]
) -> None:
    admin.gateway.bindings.add_breaker("stock")
    allow(admin, *remote)
    for method, path in HEALTH + METRICS + READ + CHANGE:
        answer = await admin.ask(method, path)
        assert (answer.status == 200, (method, path)) == ((method, path) in allowed, (method, path))
        assert answer.status in (200, 403)
    assert not admin.controls.draining
    for method, path in NEVER_THERE:
        expected = 404 if RemoteAccess.READ in remote else 403
        assert (await admin.ask(method, path)).status == expected


@pytest.mark.usefixtures("elsewhere")
async def test_a_header_does_not_make_another_machine_this_one(admin: Admin) -> None:
    for name in ("X-Forwarded-For", "X-Real-Ip", "Forwarded"):
        answer = await admin.ask("GET", "/status", {name: "127.0.0.1"})
        assert answer.status == 403
        assert "kubectl port-forward" in answer.json["detail"]


@pytest.mark.parametrize("host", ["evil.test", "evil.test:7072", "localhost.evil.test", "a b", ""])
async def test_a_host_that_is_a_name(admin: Admin, host: str) -> None:
    def refused(answer: Answer) -> bool:
        return answer.status == 403 and answer.json["status"] == 403

    headers = {"Host": host}
    assert refused(await admin.ask("GET", "/status", headers))
    assert refused(await admin.ask("GET", "/nothing", headers))
    assert refused(await admin.ask("POST", "/drain", headers))
    assert not admin.controls.draining
    for path in ("/health/live", "/health/ready", "/metrics"):
        assert (await admin.ask("GET", path, headers)).status == 200


async def test_two_hosts_must_both_be_good(admin: Admin) -> None:
    request = "GET /status HTTP/1.1\r\nHost: 127.0.0.1\r\nHost: evil.test\r\nConnection: close\r\n"
    assert (await admin.send(request + "\r\n")).status in (400, 403)


async def test_no_host_at_all_is_no_web_page(admin: Admin) -> None:
    assert (await admin.send("GET /status HTTP/1.0\r\n\r\n")).status == 200


@pytest.mark.parametrize(
    "origin", ["http://evil.test", "null", "", "http://127.0.0.1:1", "http://localhost:3000"]
)
async def test_a_foreign_origin_changes_nothing(admin: Admin, origin: str) -> None:
    admin.gateway.bindings.add_breaker("stock")
    for path in ("/drain", "/circuit-breakers/stock/force-open", "/reload"):
        assert (await admin.ask("POST", path, {"Origin": origin})).status == 403
    assert not admin.controls.draining
    assert (await admin.ask("GET", "/status", {"Origin": origin})).status == 200


async def test_its_own_origin_changes_what_it_wants(admin: Admin) -> None:
    for host in (f"127.0.0.1:{admin.port}", "localhost:8001", "[::1]:80"):
        headers = {"Host": host, "Origin": f"http://{host}"}
        assert (await admin.ask("POST", "/drain", headers)).status == 202


@pytest.mark.parametrize(
    ("peer", "loopback"),
    [
        ("127.0.0.1", True),
        ("127.8.9.10", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("::ffff:10.0.0.1", False),
        ("10.0.0.1", False),
        ("fe80::1%eth0", False),
        ("", False),
        (None, False),
    ],
)
def test_loopback(peer: str | None, loopback: bool) -> None:
    assert is_loopback(peer) is loopback


@pytest.mark.parametrize(
    ("host", "ours"),
    [
        ("localhost", True),
        ("LocalHost:7072", True),
        ("localhost.", True),
        ("127.0.0.1", True),
        ("10.0.0.7:7072", True),
        ("[::1]", True),
        ("[::1]:7072", True),
        ("[fe80::1]:80", True),
        ("evil.localhost", False),
        ("[localhost]", False),
        ("[::1", False),
        ("[::1]x", False),
        ("::1", False),
        ("127.0.0.1:x", False),
        ("127.0.0.1.evil.test", False),
        ("2130706433", False),
        ("0x7f.1", False),
        ("", False),
    ],
)
def test_names_this_machine(host: str, ours: bool) -> None:
    assert names_this_machine(host) is ours


def test_same_origin() -> None:
    assert same_origin("http://LOCALHOST:80", ["localhost:80"])
    assert not same_origin("http://localhost:80", ["localhost:81"])
    assert not same_origin("http://localhost", [])
    assert not same_origin("localhost:80", ["localhost:80"])
    assert not same_origin("file://localhost:80", ["localhost:80"])
