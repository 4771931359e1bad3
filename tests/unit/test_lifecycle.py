"""The drain, second by second, on a loop whose time passes without waiting."""

import asyncio
import logging
from types import SimpleNamespace

import pytest

import proxy.lifecycle
from proxy.config.model import Listener
from proxy.config.server_model import DrainConfig
from proxy.lifecycle import Lifecycle, Phase


class WarpLoop(asyncio.SelectorEventLoop):
    """Where another loop would sleep, the clock of this one jumps."""

    def __init__(self):
        super().__init__()
        self.now = 1000.0
        select = self._selector.select

        def jump(timeout):
            assert timeout is not None, "it would wait for ever"
            self.now += timeout
            return select(0)

        self._selector.select = jump

    def time(self):
        return self.now


class Exchange:
    def __init__(self, gate):
        self.listener, self.route, self.method = gate.listener, "shop", "GET"
        self.upstream, self.request_id, self.started = "shop", "id", 990.0
        self.record = self
        self.gate = gate
        gate.exchanges.add(self)

    def cut(self):
        self.end()

    def end(self):
        self.gate.exchanges.discard(self)


class Connection:
    def __init__(self, gate, idle=True):
        self.gate, self.idle = gate, idle
        gate.connections.add(self)

    def leave(self):
        pass

    def close_idle(self):
        if self.idle:
            self.gate.connections.discard(self)


class Server:
    closed = False
    handshakes = 0

    def end_handshakes(self):
        self.handshakes = 0

    def close(self):
        self.closed = True


@pytest.fixture
def loop(monkeypatch):
    loop = WarpLoop()
    monkeypatch.setattr(proxy.lifecycle, "monotonic", loop.time)
    yield loop
    loop.close()


@pytest.fixture
def gates():
    def gate(listener):
        return SimpleNamespace(
            listener=listener, exchanges=set(), connections=set(), closing=False, last_active=900.0
        )

    return {listener: gate(listener) for listener in Listener}


@pytest.fixture
def inbound(gates):
    return gates[Listener.INBOUND]


@pytest.fixture
def outbound(gates):
    return gates[Listener.OUTBOUND]


@pytest.fixture
def servers():
    return {listener: Server() for listener in Listener}


@pytest.fixture
def lifecycle(loop, gates, servers):
    config = DrainConfig(delay=5.0, timeout=25.0)
    lifecycle = Lifecycle(SimpleNamespace(gates=gates), config, "x.yaml")
    for listener, server in servers.items():
        lifecycle.serving(listener, server)
    return lifecycle


@pytest.fixture
def at(loop):
    """Do something so many seconds from now."""
    return lambda seconds, action: loop.call_later(seconds, action)


def waited(loop, coroutine):
    """What it returns, and the seconds that it took."""
    began = loop.now
    return loop.run_until_complete(coroutine), loop.now - began


def test_ready_is_serving_on_both_listeners(loop, gates, servers):
    lifecycle = Lifecycle(SimpleNamespace(gates=gates), DrainConfig(), None)
    assert not lifecycle.ready
    lifecycle.serving(Listener.INBOUND, servers[Listener.INBOUND])
    assert not lifecycle.ready
    lifecycle.serving(Listener.OUTBOUND, servers[Listener.OUTBOUND])
    assert lifecycle.ready
    assert not lifecycle.draining


def test_nothing_to_wait_for(loop, lifecycle, servers, at):
    at(0, lambda: lifecycle.on_signal("SIGTERM"))
    status, seconds = waited(loop, lifecycle.ended())
    assert (status, lifecycle.phase, lifecycle.drain_cut) == (0, Phase.DRAINED, 0)
    assert seconds == pytest.approx(5, abs=0.1)
    assert servers[Listener.INBOUND].closed
    assert not servers[Listener.OUTBOUND].closed


def test_at_once_it_is_not_ready_and_closing(loop, lifecycle, inbound, outbound, at):
    seen = []
    at(0, lambda: lifecycle.on_signal("SIGTERM"))
    at(0.001, lambda: seen.append((lifecycle.ready, inbound.closing, outbound.closing)))
    waited(loop, lifecycle.ended())
    assert seen == [(False, True, False)]


def test_idle_connections_have_a_second_and_the_listener_the_delay(
    loop, lifecycle, inbound, servers, at
):
    at(6, Exchange(inbound).end)
    Connection(inbound)
    busy = Connection(inbound, idle=False)
    server = servers[Listener.INBOUND]
    seen = []
    at(0, lifecycle.begin_drain)
    for moment in (0.9, 1.1, 4.9, 5.1):
        at(moment, lambda: seen.append((len(inbound.connections), server.closed)))
    at(4.95, lambda: setattr(busy, "idle", True))
    waited(loop, lifecycle.drained())
    assert seen == [(2, False), (1, False), (1, False), (0, True)]


@pytest.mark.parametrize("kind", [Exchange, Connection])
@pytest.mark.parametrize("listener", list(Listener))
def test_it_waits_for_what_is_left(loop, lifecycle, gates, at, kind, listener):
    gate = gates[listener]
    left = kind(gate) if kind is Exchange else Connection(gate, idle=False)
    at(0, lifecycle.begin_drain)
    at(12, left.end if kind is Exchange else lambda: gate.connections.discard(left))
    cut, seconds = waited(loop, lifecycle.drained())
    assert cut == 0
    assert seconds == pytest.approx(12, abs=0.1)


def test_outbound_must_have_been_quiet_for_a_second(loop, lifecycle, outbound, at):
    for second in range(12):
        at(second, lambda: setattr(outbound, "last_active", loop.now))
    at(0, lifecycle.begin_drain)
    _, seconds = waited(loop, lifecycle.drained())
    assert seconds == pytest.approx(12, abs=0.1)


def test_what_is_left_at_the_timeout_is_cut_counted_and_logged(
    loop, lifecycle, inbound, outbound, at, caplog
):
    caplog.set_level(logging.WARNING)
    Exchange(inbound), Exchange(inbound), Exchange(outbound)
    at(0, lambda: lifecycle.on_signal("SIGTERM"))
    status, seconds = waited(loop, lifecycle.ended())
    assert (status, lifecycle.drain_cut) == (3, 3)
    assert seconds == pytest.approx(25, abs=0.1)
    assert not inbound.exchanges
    assert not outbound.exchanges
    cuts = [record.fields for record in caplog.records if hasattr(record, "fields")]
    assert [cut["listener"] for cut in cuts].count("inbound") == 2
    assert cuts[0]["route"] == "shop"
    assert cuts[0]["age_s"] == pytest.approx(35, abs=0.1)


def test_idle_connections_are_no_cut(loop, lifecycle, outbound, at):
    Connection(outbound)
    at(0, lambda: lifecycle.on_signal("SIGTERM"))
    status, seconds = waited(loop, lifecycle.ended())
    assert status == 0
    assert seconds == pytest.approx(25, abs=0.1)


def test_a_drain_by_request_leaves_outbound_serving_until_the_signal(
    loop, lifecycle, outbound, servers, at
):
    call = Exchange(outbound)
    at(0, lifecycle.begin_drain)
    cut, seconds = waited(loop, lifecycle.drained())
    assert (cut, len(outbound.exchanges)) == (0, 1)
    assert seconds == pytest.approx(25, abs=0.1)
    assert not servers[Listener.OUTBOUND].closed
    at(10, lambda: lifecycle.on_signal("SIGTERM"))
    at(15, call.end)
    status, seconds = waited(loop, lifecycle.ended())
    assert status == 0
    assert seconds == pytest.approx(15, abs=0.1)


def test_outbound_calls_of_the_last_moment_have_the_drains_time_too(loop, lifecycle, outbound, at):
    at(0, lifecycle.begin_drain)
    waited(loop, lifecycle.drained())
    Exchange(outbound)
    at(0, lambda: lifecycle.on_signal("SIGTERM"))
    status, seconds = waited(loop, lifecycle.ended())
    assert (status, lifecycle.drain_cut) == (3, 1)
    assert seconds == pytest.approx(25, abs=0.1)


def test_there_is_only_one_drain(loop, lifecycle, inbound, at):
    exchange = Exchange(inbound)
    at(0, lifecycle.begin_drain)
    at(10, lifecycle.begin_drain)
    at(20, lambda: lifecycle.on_signal("SIGTERM"))
    at(24, exchange.end)
    status, seconds = waited(loop, lifecycle.ended())
    assert status == 0
    assert seconds == pytest.approx(24, abs=0.1)


def test_a_second_signal_ends_it_at_once(loop, lifecycle, inbound, outbound, at):
    Exchange(inbound), Exchange(outbound)
    at(0, lambda: lifecycle.on_signal("SIGTERM"))
    at(2, lambda: lifecycle.on_signal("SIGINT"))
    status, seconds = waited(loop, lifecycle.ended())
    assert (status, lifecycle.drain_cut) == (3, 2)
    assert seconds == pytest.approx(2, abs=0.1)


def test_a_delay_is_never_longer_than_the_timeout(loop, gates, at):
    config = DrainConfig(delay=60.0, timeout=3.0)
    lifecycle = Lifecycle(SimpleNamespace(gates=gates), config, None)
    at(0, lambda: lifecycle.on_signal("SIGTERM"))
    status, seconds = waited(loop, lifecycle.ended())
    assert status == 0
    assert seconds == pytest.approx(3, abs=0.1)


def test_who_connects_during_the_drain_is_about_to_send(loop, lifecycle, inbound, at):
    fresh = []
    at(0, lifecycle.begin_drain)
    at(0.95, lambda: fresh.append(Connection(inbound)))
    at(4.95, lambda: fresh.append(Connection(inbound)))
    seen = []
    for moment in (1.1, 5.1, 5.9, 6.1):
        at(moment, lambda: seen.append(len(inbound.connections)))
    at(7, Exchange(inbound).end)
    waited(loop, lifecycle.drained())
    assert seen == [1, 2, 2, 0]


# --- when the service may be told to end --------------------------------------------------------


@pytest.mark.parametrize("kind", [Exchange, Connection])
def test_the_service_may_end_when_what_came_in_is_answered(loop, lifecycle, inbound, at, kind):
    left = kind(inbound) if kind is Exchange else Connection(inbound, idle=False)
    at(0.5, lifecycle.begin_drain)
    at(8, left.end if kind is Exchange else lambda: inbound.connections.discard(left))
    drained, seconds = waited(loop, lifecycle.inbound_drained())
    assert drained
    assert seconds == pytest.approx(8, abs=0.1)


def test_its_own_calls_do_not_hold_it_up(loop, lifecycle, outbound, servers, at):
    Exchange(outbound)
    at(0, lifecycle.begin_drain)
    drained, seconds = waited(loop, lifecycle.inbound_drained())
    assert (drained, lifecycle.phase) == (True, Phase.DRAINING)
    assert seconds == pytest.approx(5, abs=0.1)
    assert servers[Listener.INBOUND].closed


def test_half_of_the_drain_is_left_to_it(loop, lifecycle, inbound, at):
    Exchange(inbound)
    at(0, lifecycle.begin_drain)
    drained, seconds = waited(loop, lifecycle.inbound_drained())
    assert drained
    assert seconds == pytest.approx(12.5, abs=0.1)


def test_a_drain_that_is_over_holds_nobody_up(loop, lifecycle, at):
    at(0, lifecycle.begin_drain)
    waited(loop, lifecycle.drained())
    drained, seconds = waited(loop, lifecycle.inbound_drained())
    assert (drained, seconds) == (True, 0)


def test_without_a_drain_the_service_waits_for_a_moment_only(loop, lifecycle):
    drained, seconds = waited(loop, lifecycle.inbound_drained())
    assert not drained
    assert seconds == pytest.approx(proxy.lifecycle.DRAIN_WITHIN, abs=0.1)


def test_a_service_that_was_told_has_some_seconds_to_begin_its_last_calls(loop, lifecycle, at):
    at(0, lambda: lifecycle.on_signal("SIGTERM"))
    hook = loop.create_task(lifecycle.inbound_drained())
    status, seconds = waited(loop, lifecycle.ended())
    assert hook.result() is True
    assert (status, lifecycle.drain_cut) == (0, 0)
    assert seconds == pytest.approx(5 + proxy.lifecycle.TOLD, abs=0.1)


def test_a_hook_that_hangs_up_is_forgotten(loop, lifecycle, at):
    hook = loop.create_task(lifecycle.inbound_drained())
    at(0, lambda: lifecycle.on_signal("SIGTERM"))
    at(1, hook.cancel)
    _, seconds = waited(loop, lifecycle.ended())
    assert seconds == pytest.approx(5, abs=0.1)


# --- a person at a terminal ---------------------------------------------------------------------


def test_an_interrupt_with_nobody_there_skips_the_delay_and_the_quiet_second(
    loop, lifecycle, outbound, servers, at
):
    outbound.last_active = loop.now
    at(0, lambda: lifecycle.on_signal("SIGINT"))
    status, seconds = waited(loop, lifecycle.ended())
    assert (status, servers[Listener.INBOUND].closed) == (0, True)
    assert seconds == pytest.approx(0, abs=0.1)


@pytest.mark.parametrize("listener", list(Listener))
def test_an_interrupt_with_a_connection_open_is_a_drain_like_any(
    loop, lifecycle, gates, listener, at
):
    gate = gates[listener]
    connection = Connection(gate)
    at(0.5, lambda: gate.connections.discard(connection))
    at(0, lambda: lifecycle.on_signal("SIGINT"))
    _, seconds = waited(loop, lifecycle.ended())
    assert seconds == pytest.approx(5, abs=0.1)


def test_an_interrupt_after_a_drain_that_was_asked_for_skips_nothing(loop, lifecycle, at):
    at(0, lifecycle.begin_drain)
    at(1, lambda: lifecycle.on_signal("SIGINT"))
    _, seconds = waited(loop, lifecycle.ended())
    assert seconds == pytest.approx(5, abs=0.1)


def test_a_closed_terminal_may_be_told_of_twice_and_is_no_second_signal(loop, lifecycle, at):
    at(0, lifecycle.on_terminal_closed)
    at(0.1, lifecycle.on_terminal_closed)
    at(1, lambda: lifecycle.on_signal("SIGTERM"))
    _, seconds = waited(loop, lifecycle.ended())
    assert seconds == pytest.approx(5, abs=0.1)
    assert not lifecycle.at_once


# --- who asks when the service may end ----------------------------------------------------------


def test_asking_again_and_again_does_not_hold_up_the_drain(loop, lifecycle, at):
    async def poll():
        while True:
            await lifecycle.inbound_drained()
            await asyncio.sleep(0.1)

    polling = loop.create_task(poll())
    at(0, lambda: lifecycle.on_signal("SIGTERM"))
    _, seconds = waited(loop, lifecycle.ended())
    polling.cancel()
    assert seconds == pytest.approx(5 + proxy.lifecycle.TOLD, abs=0.2)
