"""Connections are made to the first address that answers, and nothing stays open of the others."""

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest

from sidecars.kit.net.connect import Liveness, NotConnected, connect
from sidecars.kit.net.core.causes import ConnectCause
from sidecars.kit.net.poller import Poller
from tests.support.limits import open_descriptors
from tests.support.listeners import Listener


@pytest.fixture
async def poller() -> AsyncIterator[Poller]:
    with Poller() as poller:
        yield poller


def good_one() -> socket.socket:
    """Connections to it are made by the kernel; nobody takes them, so that descriptors can be counted."""
    return socket.create_server(("127.0.0.1", 0))


async def test_an_address_that_refuses_costs_no_time(poller: Poller) -> None:
    with Listener() as refusing, good_one() as good:
        before = open_descriptors()
        made = await connect(poller, [("127.0.0.1", refusing.port), good.getsockname()], 60)
        assert made.place == good.getsockname()
        assert made.tcp_seconds < 60
        assert open_descriptors() == before + 1
        made.leg.close()


async def test_an_address_that_is_silent_costs_a_stagger(poller: Poller) -> None:
    with Listener() as silent_one, good_one() as good:
        silent_one.swallow()
        before = open_descriptors()
        made = await connect(poller, [("127.0.0.1", silent_one.port), good.getsockname()], 60)
        assert made.place == good.getsockname()
        assert open_descriptors() == before + 1, "the attempt that lost is closed"
        made.leg.close()


async def test_an_end_of_patience_has_its_cause_and_leaves_nothing(poller: Poller) -> None:
    with Listener() as one:
        one.swallow()
        before = open_descriptors()
        with pytest.raises(NotConnected) as failed:
            await connect(poller, [("127.0.0.1", one.port)], 0.05)
        assert failed.value.cause is ConnectCause.TIMED_OUT
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await connect(poller, [("127.0.0.1", one.port)] * 2, 60)
        assert open_descriptors() == before


@pytest.mark.parametrize(
    ("places", "cause"),
    [
        ([], ConnectCause.NO_NAME),
        ([("127.0.0.1", 1)], ConnectCause.REFUSED),
        ([("::1", 1), ("127.0.0.1", 1)], ConnectCause.REFUSED),
        ([("255.255.255.255", 1)], ConnectCause.UNREACHABLE),
    ],
    ids=["no address", "refused", "refused by all", "no way there"],
)
async def test_why_there_is_no_connection(poller: Poller, places: list[tuple[str, int]], cause: ConnectCause) -> None:
    with pytest.raises(NotConnected) as failed:
        await connect(poller, places, 5)
    assert failed.value.cause is cause


async def test_a_peer_that_vanishes_will_be_noticed(poller: Poller) -> None:
    with good_one() as good:
        made = await connect(poller, [good.getsockname()], 5, Liveness(7, 3, 2, 21.5))
        option = made.leg.socket.getsockopt
        tcp = socket.IPPROTO_TCP
        names = (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT, socket.TCP_USER_TIMEOUT)
        assert [option(tcp, name) for name in names] == [7, 3, 2, 21500]
        assert option(tcp, socket.TCP_NODELAY)
        assert option(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        made.leg.close()
