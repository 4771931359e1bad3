import asyncio

import pytest

from proxy.config.model import APP_UPSTREAM, EndpointConfig, UpstreamConfig
from proxy.errors import DnsFailure
from proxy.upstream.registry import Upstreams


def config(name, port=80, **settings):
    return UpstreamConfig(name, (EndpointConfig("http", "10.0.0.1", port),), **settings)


def never_connects(on_closed):
    raise AssertionError("nothing connects in these tests")


async def endless_lookup(host):
    await asyncio.Event().wait()
    return []


@pytest.fixture
async def make():
    made = []

    def make(*configs, **options):
        upstreams = Upstreams(
            {each.name: each for each in configs},
            never_connects,
            lookup=endless_lookup,
            **options,
        )
        made.append(upstreams)
        return upstreams

    yield make
    for upstreams in made:
        upstreams.close()
        await upstreams.wait_closed()


async def test_by_name(make):
    upstreams = make(APP_UPSTREAM, config("inventory"))
    assert upstreams["inventory"].name == "inventory"
    assert "app" in upstreams
    assert "payment" not in upstreams
    with pytest.raises(KeyError):
        upstreams["payment"]
    assert [upstream.name for upstream in upstreams] == ["app", "inventory"]
    assert len(upstreams) == 2


async def test_an_authority_gets_one_upstream_however_it_is_written(make):
    upstreams = make()
    upstream = upstreams.for_authority("http", "Shop.Example", 80)
    assert upstream.name == "shop.example:80"
    assert upstreams.for_authority("http", "shop.example", 80) is upstream
    assert upstreams.for_authority("http", "shop.example", 81) is not upstream
    assert upstreams.for_authority("https", "shop.example", 80) is not upstream
    assert upstream in list(upstreams)


async def test_a_literal_authority(make):
    upstreams = make()
    upstream = upstreams.for_authority("http", "[::1]", 80)
    assert upstream.name == "[::1]:80"
    assert upstream.ready
    assert upstreams.for_authority("http", "::1", 80) is upstream


async def test_the_least_recently_used_authority_makes_room(make):
    upstreams = make(max_authorities=2)
    first = upstreams.for_authority("http", "10.0.0.1", 80)
    second = upstreams.for_authority("http", "10.0.0.2", 80)
    upstreams.for_authority("http", "10.0.0.1", 80)
    upstreams.for_authority("http", "10.0.0.3", 80)
    assert [upstream.name for upstream in upstreams] == ["10.0.0.1:80", "10.0.0.3:80"]
    assert upstreams.for_authority("http", "10.0.0.1", 80) is first
    assert upstreams.for_authority("http", "10.0.0.2", 80) is not second


async def test_an_authority_in_use_stays_and_the_bound_gives_way(make):
    upstreams = make(max_authorities=2)
    endpoints = []
    for number in (1, 2):
        upstream = upstreams.for_authority("http", f"10.0.0.{number}", 80)
        endpoint = upstream.pick((), None)
        endpoint.pool.lent += 1
        endpoints.append(endpoint)
    upstreams.for_authority("http", "10.0.0.3", 80)
    assert len(upstreams) == 3
    for endpoint in endpoints:
        endpoint.pool.lent -= 1
    upstreams.for_authority("http", "10.0.0.4", 80)
    assert [upstream.name for upstream in upstreams] == ["10.0.0.3:80", "10.0.0.4:80"]


async def test_one_waiting_for_a_look_up_is_in_use(make):
    upstreams = make(max_authorities=1)
    waiting = upstreams.for_authority("http", "shop.example", 80)
    ticket = waiting.resolve(lambda _: None, 1.0)
    upstreams.for_authority("http", "10.0.0.3", 80)
    assert waiting in list(upstreams)
    ticket.cancel()
    upstreams.for_authority("http", "10.0.0.4", 80)
    assert waiting not in list(upstreams)


async def test_reconfigure_keeps_what_did_not_change(make):
    same, changed, gone = config("same"), config("changed"), config("gone")
    upstreams = make(same, changed, gone)
    before = {upstream.name: upstream for upstream in upstreams}
    authority = upstreams.for_authority("http", "10.0.0.9", 80)
    now = [config("new"), config("same"), config("changed", dns_refresh=1.0)]
    upstreams.reconfigure({each.name: each for each in now})
    assert upstreams["same"] is before["same"]
    assert upstreams["changed"] is not before["changed"]
    assert [upstream.name for upstream in upstreams] == [
        "new",
        "same",
        "changed",
        "10.0.0.9:80",
    ]
    assert upstreams.for_authority("http", "10.0.0.9", 80) is authority


async def test_only_callers_may_not_name_the_proxy_itself(make):
    own = UpstreamConfig("me", (EndpointConfig("http", "127.0.0.1", 7071),))
    upstreams = make(own, is_own=lambda ip, port: True)
    assert upstreams["me"].ready
    assert not upstreams.for_authority("http", "127.0.0.1", 7071).ready


async def test_close_answers_who_waits_for_a_look_up(make):
    upstreams = make()
    answers = []
    upstreams.for_authority("http", "shop.example", 80).resolve(answers.append, 5.0)
    upstreams.close()
    await upstreams.wait_closed()
    assert isinstance(answers[0], DnsFailure)
    assert "shutting down" in answers[0].detail
