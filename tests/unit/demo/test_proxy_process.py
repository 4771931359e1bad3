"""What the demo's child gets from the environment of its parent."""

import asyncio
from pathlib import Path

from proxy.demo import proxy_process


async def test_the_addresses_of_another_proxy_do_not_reach_it(monkeypatch, tmp_path: Path):
    given = {}

    async def spawn(*words, env, **options):
        given.update(env)

    monkeypatch.setattr(asyncio, "create_subprocess_exec", spawn)
    monkeypatch.setenv("RESILIENCE_PROXY_ADMIN", "127.0.0.1:7072")
    monkeypatch.setenv("RESILIENCE_PROXY_CONFIG", "other.yaml")
    monkeypatch.setenv("PAYMENT_URL", "http://payment")
    await proxy_process._spawn(tmp_path / "proxy.yaml")
    assert given["PAYMENT_URL"] == "http://payment"
    assert "PYTHONPATH" in given
    assert not [name for name in given if name.startswith("RESILIENCE_PROXY_")]
