import asyncio

from proxy.tls_renewal import TlsRenewal


class Renewed:
    """A listener's context or the upstreams: tells when it was asked for the second time."""

    def __init__(self, error=None):
        self.asked = 0
        self.twice = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._error = error

    def renew(self):
        self.asked += 1
        if self.asked == 2:
            self._loop.call_soon_threadsafe(self.twice.set)
        if self._error is not None:
            raise self._error

    async def renew_tls(self):
        self.renew()


async def test_everything_is_renewed_again_and_again_whatever_fails(caplog):
    listener, upstreams = Renewed(RuntimeError("bug")), Renewed()
    renewal = TlsRenewal([listener], upstreams, interval=0.001)
    renewal.start()
    async with asyncio.timeout(5):
        await listener.twice.wait()
        await upstreams.twice.wait()
    await renewal.stop()
    asked = upstreams.asked
    await asyncio.sleep(0.01)
    assert upstreams.asked == asked
    assert "internal error while TLS files were renewed" in caplog.text


async def test_stopping_what_was_not_started():
    await TlsRenewal([], Renewed()).stop()
