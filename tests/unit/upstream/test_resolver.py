import asyncio
import errno
import resource
import socket
from functools import partial

import pytest

from proxy.errors import DnsFailure
from proxy.upstream.resolver import Resolver, literal, system_lookup
from proxy.upstream.shortages import LookUpShortage, NoThread
from proxy.upstream.tasks import Tasks


def no_news():
    """Of a look-up that has begun."""


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("10.0.0.1", "10.0.0.1"),
        ("::1", "::1"),
        ("[::1]", "::1"),
        ("[FD00:0::1]", "fd00::1"),
        ("fe80::1%eth0", "fe80::1%eth0"),
        ("localhost", None),
        ("10.0.0", None),
        ("10.0.0.256", None),
        ("[inventory]", None),
        ("", None),
    ],
)
def test_literals(host, address):
    assert literal(host) == address


class Names:
    """A look-up function that counts, and waits until it is let go."""

    def __init__(self, result):
        self.result = result
        self.asked = []
        self.gate = asyncio.Event()

    async def __call__(self, host):
        self.asked.append(host)
        await self.gate.wait()
        if isinstance(self.result, Exception):
            raise self.result
        return self.result


async def look_up(result, host="inventory"):
    names = Names(result)
    names.gate.set()
    answer = asyncio.get_running_loop().create_future()
    Resolver(Tasks(asyncio.get_running_loop()), names).look_up(host, no_news, answer.set_result)
    assert not answer.done()
    return await answer


async def test_addresses_keep_their_order_and_come_once():
    assert await look_up(["10.0.0.2", "10.0.0.1", "10.0.0.2"]) == ("10.0.0.2", "10.0.0.1")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), "(Name or service"),
        (UnicodeError("label empty or too long"), "(label empty or too long)"),
        (OSError(110, "Connection timed out"), "(Connection timed out)"),
    ],
)
async def test_a_failure_names_the_host_and_the_error(error, said):
    failure = await look_up(error)
    assert isinstance(failure, DnsFailure)
    assert failure.detail.startswith("inventory could not be looked up")
    assert said in failure.detail


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(errno.EMFILE, "Too many open files"), "No file descriptor is left"),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), "no memory left"),
        (NoThread("can't start new thread"), "No thread can be started"),
    ],
)
async def test_what_the_process_itself_lacks_is_not_the_upstreams_fault(error, said):
    failure = await look_up(error)
    assert isinstance(failure, LookUpShortage)
    assert failure.condition is None
    assert said in failure.detail


async def test_beyond_the_limit_names_wait_in_line_in_order():
    resolver = Resolver(Tasks(asyncio.get_running_loop()), names := Names(["10.0.0.1"]), at_once=2)
    begun = []
    answers = asyncio.Queue()
    for host in "abcd":
        resolver.look_up(host, partial(begun.append, host), answers.put_nowait)
    resolver.look_up("c", partial(begun.append, "c again"), answers.put_nowait)
    resolver.look_up("a", partial(begun.append, "a again"), answers.put_nowait)
    assert begun == ["a", "b", "a again"]
    names.gate.set()
    assert [await answers.get() for _ in range(6)] == [("10.0.0.1",)] * 6
    assert begun == ["a", "b", "a again", "c", "c again", "d"]
    assert names.asked == ["a", "b", "c", "d"]


async def test_without_a_descriptor_the_system_says_so_and_not_that_the_name_is_unknown(
    monkeypatch,
):
    def unknown(*_, **__):
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(socket.gaierror):
        await system_lookup("inventory.test")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (1, hard))
    try:
        with pytest.raises(OSError, match="Too many open files"):
            await system_lookup("inventory.test")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def test_no_address_is_a_failure():
    failure = await look_up([])
    assert failure.detail == "inventory has no address: check its records in the DNS."


async def test_an_unforeseen_error_is_reported_and_answered():
    loop = asyncio.get_running_loop()
    reports = []
    loop.set_exception_handler(lambda _, context: reports.append(context["exception"]))
    bug = RuntimeError("a bug")
    assert isinstance(await look_up(bug), DnsFailure)
    assert reports == [bug]


async def test_who_asks_for_the_same_name_shares_a_flight():
    names = Names(["10.0.0.1"])
    resolver = Resolver(Tasks(asyncio.get_running_loop()), names)
    answers = asyncio.Queue()
    resolver.look_up("a", no_news, answers.put_nowait)
    resolver.look_up("a", no_news, answers.put_nowait)
    resolver.look_up("b", no_news, answers.put_nowait)
    names.gate.set()
    assert [await answers.get() for _ in range(3)] == [("10.0.0.1",)] * 3
    assert names.asked == ["a", "b"]
    resolver.look_up("a", no_news, answers.put_nowait)
    await answers.get()
    assert names.asked == ["a", "b", "a"]


@pytest.mark.parametrize("started", [False, True])
async def test_closing_the_tasks_answers_who_waits(started):
    tasks = Tasks(asyncio.get_running_loop())
    resolver = Resolver(tasks, Names(["10.0.0.1"]))
    answers = []
    resolver.look_up("a", no_news, answers.append)
    if started:
        await asyncio.sleep(0)
    tasks.close()
    resolver.look_up("b", no_news, answers.append)
    await tasks.wait_closed()
    await asyncio.sleep(0)
    assert [type(answer) for answer in answers] == [DnsFailure, DnsFailure]
    assert "shutting down" in answers[0].detail


async def test_the_system_knows_localhost():
    assert set(await system_lookup("localhost")) <= {"127.0.0.1", "::1"}


async def test_a_label_that_is_too_long_is_named_as_the_fault():
    with pytest.raises(ValueError, match="longer than 63 bytes"):
        await system_lookup("x" * 64 + ".test")
