"""What stands for uvloop's dictionary answers as one whose transports are gone."""

import weakref

import pytest

from proxy.wire.untracked import Untracked


class Transport:
    pass


@pytest.mark.parametrize("make", [Untracked, weakref.WeakValueDictionary])
def test_what_was_set_is_gone(make):
    transports = make()
    transports[7] = Transport()
    with pytest.raises(KeyError):
        transports[7]
    assert 7 not in transports
    assert (transports.get(7), transports.get(7, "none"), transports.pop(7, None)) == (
        None,
        "none",
        None,
    )
    assert (list(transports), list(transports.values()), len(transports)) == ([], [], 0)


def test_a_transport_that_is_there_can_be_removed():
    transports, transport = Untracked(), Transport()
    transports[7] = transport
    transports.pop(7)
    transports[7] = transport
    del transports[7]
