"""The PROXY protocol: what a balancer says of a connection, in any pieces; what is no such header closes it."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Iterator
from contextlib import ExitStack, closing, suppress
from dataclasses import replace
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mss import accepting
from mss.accepting import Share, accept
from mss.balancer import Balancers, Header, Source, balancers_of
from mss.config import BalancerConfig, Config, OperatorConfig
from mss.errors import Malformed, Misconfigured
from mss.settings import parse

SIGNATURE: Final = b"\r\n\r\n\0\r\nQUIT\n"
MAX: Final = 200
CLIENT: Final = b"EHLO somebody\r\n"


def binary(body: bytes, *, how: int = 0x21, family: int = 0x11, size: int | None = None) -> bytes:
    """Return a header of version 2."""
    return SIGNATURE + struct.pack("!BBH", how, family, len(body) if size is None else size) + body


def ports(source: str, destination: str = "192.0.2.1", port: int = 40_000) -> bytes:
    """Return the addresses and ports of version 2."""
    return ip_address(source).packed + ip_address(destination).packed + struct.pack("!HH", port, 25)


V4: Final = ports("198.51.100.7")
V6: Final = ports("2001:db8::7", "2001:db8::1")
TLV: Final = b"\x02\x00\x04mx.f"

GOOD: Final[dict[bytes, Source | None]] = {
    b"PROXY TCP4 198.51.100.7 192.0.2.1 40000 25\r\n": ("198.51.100.7", 40_000),
    b"PROXY TCP4 0.0.0.0 255.255.255.255 0 65535\r\n": ("0.0.0.0", 0),
    b"PROXY TCP6 2001:db8::7 2001:db8::1 65535 25\r\n": ("2001:db8::7", 65_535),
    b"PROXY TCP6 ::ffff:198.51.100.7 ::1 1 25\r\n": ("198.51.100.7", 1),
    b"PROXY UNKNOWN\r\n": None,
    b"PROXY UNKNOWN ffff:f...f:ffff whatever 65535 65535\r\n": None,
    b"PROXY UNKNOWN " + b"x" * 91 + b"\r\n": None,
    binary(V4): ("198.51.100.7", 40_000),
    binary(V6, family=0x21): ("2001:db8::7", 40_000),
    binary(ports("::ffff:198.51.100.7", "::1"), family=0x21): ("198.51.100.7", 40_000),
    binary(V4 + TLV + b"\x04\x00\x00"): ("198.51.100.7", 40_000),
    binary(V4 + b"\x04" + struct.pack("!H", 200 - 16 - 12 - 3) + b"\0" * 169): ("198.51.100.7", 40_000),
    binary(b"", how=0x20): None,
    binary(b"", how=0x20, family=0): None,
    binary(b"whatever", how=0x20, family=0x55): None,
    binary(b"whatever", family=0): None,
}

BAD: Final = (
    CLIENT,
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 a hello of TLS",
    b"PROXY\tTCP4 198.51.100.7 192.0.2.1 40000 25\r\n",
    b"proxy TCP4 198.51.100.7 192.0.2.1 40000 25\r\n",
    b"PROXY TCP4 198.51.100.7 192.0.2.1 40000 25\n",
    b"PROXY TCP4 198.51.100.7 192.0.2.1 40000 25 \r\n",
    b"PROXY TCP4  198.51.100.7 192.0.2.1 40000 25\r\n",
    b"PROXY TCP4 198.51.100.7 192.0.2.1 40000\r\n",
    b"PROXY TCP4 198.51.100.7 192.0.2.1 40000 65536\r\n",
    b"PROXY TCP4 198.51.100.7 192.0.2.1 -1 25\r\n",
    b"PROXY TCP4 198.51.100.7 192.0.2.1 007 25\r\n",
    b"PROXY TCP4 198.51.100.7 192.0.2.1 123456 25\r\n",
    b"PROXY TCP4 198.51.100.7 192.0.2.1 \xb2 25\r\n",
    b"PROXY TCP4 198.51.100.007 192.0.2.1 40000 25\r\n",
    b"PROXY TCP4 198.51.100.7 nobody 40000 25\r\n",
    b"PROXY TCP4 2001:db8::7 2001:db8::1 40000 25\r\n",
    b"PROXY TCP6 198.51.100.7 192.0.2.1 40000 25\r\n",
    b"PROXY TCP6 fe80::1%eth0 fe80::2 40000 25\r\n",
    b"PROXY UDP4 198.51.100.7 192.0.2.1 40000 25\r\n",
    b"PROXY \r\n",
    b"PROXY UNKNOWN " + b"x" * 92 + b"\r\n",
    b"PROXY UNKNOWN " + b"x" * 500,
    SIGNATURE[:-1] + b"\r" + b"\x21\x11\x00\x0c" + V4,
    binary(V4, how=0x11),
    binary(V4, how=0x31),
    binary(V4, how=0x22),
    binary(V4, how=0x2F),
    binary(V4, family=0x12),
    binary(V4, family=0x31),
    binary(V4, family=0x21),
    binary(V4[:-1]),
    binary(b""),
    binary(V4 + b"\x02"),
    binary(V4 + b"\x02\x00\x05mx.f"),
    binary(V4 + TLV + b"\x02\x00"),
    binary(V4 + b"\x04\x00\xaa" + b"\0" * 170),
    binary(V4, size=65_535),
)


def read(octets: bytes, cuts: list[int] | None = None) -> tuple[Source | None, bytes]:
    """Read a header in pieces; returns its source and what it left to the client. EOFError when there was no end."""
    header, bounds = Header(MAX), sorted(min(cut, len(octets)) for cut in cuts or ())
    waiting = b""
    for start, end in zip([0, *bounds], [*bounds, len(octets)], strict=True):
        waiting += octets[start:end]
        if not header.done:
            waiting = waiting[header.feed(waiting) :]
    if not header.done:
        raise EOFError
    return header.source, waiting


@pytest.mark.parametrize("octets", GOOD, ids=repr)
def test_a_header_says_who_is_behind_it_and_leaves_the_rest(octets: bytes) -> None:
    assert read(octets + CLIENT) == (GOOD[octets], CLIENT)
    assert read(octets) == (GOOD[octets], b"")


@given(st.sampled_from(list(GOOD)), st.lists(st.integers(0, MAX + len(CLIENT)), max_size=12))
def test_any_split_says_the_same(octets: bytes, cuts: list[int]) -> None:
    assert read(octets + CLIENT, cuts) == (GOOD[octets], CLIENT)


@pytest.mark.parametrize("octets", GOOD, ids=repr)
def test_half_a_header_is_none_yet(octets: bytes) -> None:
    for size in range(len(octets)):
        with pytest.raises(EOFError):
            read(octets[:size])


@pytest.mark.parametrize("octets", BAD, ids=lambda octets: repr(octets[:60]))
def test_what_is_no_header_is_malformed(octets: bytes) -> None:
    with pytest.raises(Malformed):
        read(octets)


@given(st.binary(max_size=300) | st.binary(max_size=60).map(lambda rest: SIGNATURE + rest))
def test_garbage_is_malformed_or_nothing(octets: bytes) -> None:
    with suppress(Malformed, EOFError):
        read(octets)


@given(st.binary(min_size=4, max_size=60))
def test_what_begins_like_a_line_is_malformed_or_nothing(octets: bytes) -> None:
    try:
        source, _ = read(b"PROXY TCP4 " + octets)
    except (Malformed, EOFError):
        return
    assert source is not None


@pytest.mark.parametrize(
    ("ip", "included"),
    [
        ("192.0.2.10", True),
        ("192.0.2.11", False),
        ("::ffff:192.0.2.10", True),
        ("2001:db8:5::1", True),
        ("2001:db8:5::1%eth0", True),
        ("2001:db8:6::1", False),
        ("127.0.0.1", False),
    ],
)
def test_only_configured_addresses_are_balancers(ip: str, included: bool) -> None:
    config = Config(OperatorConfig("a", "b"), (), balancer=BalancerConfig(("192.0.2.10", "2001:db8:5::/64")))
    assert balancers_of(config).include(ip) is included
    assert not balancers_of(replace(config, balancer=BalancerConfig())).include(ip)


@pytest.mark.parametrize("address", ["balancer", "192.0.2.10/24", "192.0.2.0/33", ""])
def test_an_address_that_is_none_stops_the_start(address: str) -> None:
    text = '[operator]\nname = "a"\nhostname = "b"\n[[domains]]\nname = "c.example"\nkind = "patient"\n'
    with pytest.raises(Misconfigured, match=r"balancer\.addresses"):
        parse(f'{text}[balancer]\naddresses = ["{address}"]\n', root=Path())


# -- on sockets --------------------------------------------------------------------------------------------------------

LOOPBACK: Final = Balancers((ip_network("127.0.0.0/8"),), MAX, 30)
HEADER: Final = b"PROXY TCP4 198.51.100.7 192.0.2.1 40000 25\r\n"


@pytest.fixture
def bound() -> Iterator[socket.socket]:
    with closing(socket.create_server(("127.0.0.1", 0), backlog=64)) as sock:
        sock.setblocking(False)
        yield sock


class Door:
    """A door that keeps the connections that were handed to it."""

    def __init__(self, bound: socket.socket, balancers: Balancers) -> None:
        self.taken: list[tuple[socket.socket, Any]] = []
        self.came = asyncio.Event()
        work = accept(bound, Share(), lambda: len(self.taken), self._take, lambda _: None, balancers)
        self._task = asyncio.get_running_loop().create_task(work)

    def _take(self, accepted: socket.socket, address: Any) -> None:
        self.taken.append((accepted, address))
        self.came.set()

    async def next(self) -> tuple[socket.socket, Any]:
        async with asyncio.timeout(30):
            while not self.taken:
                self.came.clear()
                await self.came.wait()
        return self.taken.pop(0)

    async def close(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)


async def closed(client: socket.socket) -> bool:
    """Wait until the other side has closed."""
    client.setblocking(False)
    async with asyncio.timeout(30):
        try:
            return await asyncio.get_running_loop().sock_recv(client, 1) == b""
        except ConnectionError:
            return True


@pytest.mark.journey
async def test_a_door_hears_who_is_behind_and_gets_every_octet_after_it(bound: socket.socket) -> None:
    door = Door(bound, LOOPBACK)
    with closing(socket.create_connection(bound.getsockname())) as client:
        client.sendall(HEADER[:11])
        await asyncio.sleep(0)
        client.sendall(HEADER[11:] + CLIENT)
        accepted, address = await door.next()
        with closing(accepted):
            assert address == ("198.51.100.7", 40_000)
            assert await asyncio.get_running_loop().sock_recv(accepted, 100) == CLIENT
    await door.close()


@pytest.mark.journey
async def test_a_check_of_the_balancer_is_the_balancer(bound: socket.socket) -> None:
    door = Door(bound, LOOPBACK)
    with closing(socket.create_connection(bound.getsockname())) as client:
        client.sendall(binary(b"", how=0x20, family=0))
        accepted, address = await door.next()
        assert address == client.getsockname()
        accepted.close()
    await door.close()


@pytest.mark.journey
@pytest.mark.parametrize("octets", [CLIENT, HEADER[:-1] + b"\r", b"PROXY " + b"x" * 200])
async def test_a_balancer_that_says_nothing_of_the_kind_is_closed(bound: socket.socket, octets: bytes) -> None:
    door = Door(bound, replace(LOOPBACK, timeout_s=0.05))
    with closing(socket.create_connection(bound.getsockname())) as client:
        client.sendall(octets)
        assert await closed(client)
    assert not door.taken
    await door.close()


@pytest.mark.journey
@pytest.mark.parametrize("octets", [b"", HEADER[:20]])
async def test_one_that_leaves_before_its_end_is_closed(bound: socket.socket, octets: bytes) -> None:
    door = Door(bound, LOOPBACK)
    with closing(socket.create_connection(bound.getsockname())) as client:
        client.sendall(octets)
        client.shutdown(socket.SHUT_WR)
        assert await closed(client)
    assert not door.taken
    await door.close()


@pytest.mark.journey
async def test_nobody_else_is_believed(bound: socket.socket) -> None:
    door = Door(bound, replace(LOOPBACK, networks=(ip_network("192.0.2.10"),)))
    with closing(socket.create_connection(bound.getsockname())) as client:
        client.sendall(HEADER)
        accepted, address = await door.next()
        with closing(accepted):
            assert address == client.getsockname()
            assert await asyncio.get_running_loop().sock_recv(accepted, 100) == HEADER, "it is the client's own text"
    await door.close()


@pytest.mark.journey
async def test_too_many_that_say_nothing_yet_wait_in_the_kernel(
    bound: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accepting, "_ANNOUNCING_MAX", 2)
    door = Door(bound, LOOPBACK)
    with ExitStack() as stack:
        clients = [stack.enter_context(closing(socket.create_connection(bound.getsockname()))) for _ in range(3)]
        clients[2].sendall(HEADER)
        clients[0].sendall(HEADER)  # Room for the third comes with the first's header.
        for _ in range(2):
            stack.enter_context(closing((await door.next())[0]))
        assert not door.taken
    await door.close()


@pytest.mark.journey
async def test_a_door_that_closes_closes_those_who_wait(bound: socket.socket) -> None:
    door = Door(bound, LOOPBACK)
    with (
        closing(socket.create_connection(bound.getsockname())) as silent,
        closing(socket.create_connection(bound.getsockname())) as client,
    ):
        client.sendall(HEADER)
        accepted, _ = await door.next()
        await door.close()
        assert await closed(silent)
        accepted.close()
