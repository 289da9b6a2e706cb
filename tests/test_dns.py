"""MX and TXT look-ups against a scripted name server; once against a real socket on loopback."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, cast

import dns.exception
import dns.flags
import dns.message
import dns.nameserver
import dns.rcode
import dns.resolver
import dns.rrset
import pytest

from mss import dns as lookups
from mss.errors import Malformed, Misconfigured, Unavailable
from mss.model.address import Domain

Zone = Mapping[tuple[str, str], list[str]]

ZONE: Zone = {
    ("chu.example", "MX"): ["20 mx2.chu.example.", "10 mx1.chu.example.", "10 MX3.chu.example."],
    ("null.example", "MX"): ["0 ."],
    ("odd.example", "MX"): ["0 .", "10 mx.odd.example."],
    ("unusable.example", "MX"): [r"10 not\032a\032host.example.", r"20 caf\233.example."],
    ("partly.example", "MX"): [r"1 not\032a\032host.example.", "20 mx.partly.example."],
    ("many.example", "MX"): [f"{n} mx{n}.many.example." for n in range(lookups.HOSTS_MAX + 1)],
    ("bare4.example", "A"): ["192.0.2.1"],
    ("bare6.example", "AAAA"): ["2001:db8::1"],
    ("empty.example", "TXT"): ["here"],
    ("alias.example", "CNAME"): ["chu.example."],
    ("k._domainkey.chu.example", "TXT"): ['"v=DKIM1; k=rsa; " "p=AAAA"', '"other"'],
    ("many.example", "TXT"): [f'"{n}"' for n in range(lookups.TXT_RECORDS_MAX + 1)],
}
BROKEN = {"servfail.example": dns.rcode.SERVFAIL, "refused.example": dns.rcode.REFUSED}


def answer(query: dns.message.QueryMessage, zone: Zone) -> dns.message.Message:
    """Answer from the zone as an authoritative server would."""
    question = query.question[0]
    name, kind = question.name.to_text(omit_final_dot=True).lower(), question.rdtype.name
    response = dns.message.make_response(query)
    response.flags |= dns.flags.AA
    names = {owner for owner, _ in zone} | set(BROKEN)
    if name in BROKEN:
        response.set_rcode(BROKEN[name])
    elif name not in names:
        response.set_rcode(dns.rcode.NXDOMAIN)
    elif (name, "CNAME") in zone:
        target = zone[name, "CNAME"][0]
        response.answer = [dns.rrset.from_text(question.name, 60, "IN", "CNAME", target)]
        response.answer.append(dns.rrset.from_text(target, 60, "IN", kind, *zone[target.rstrip("."), kind]))
    elif (name, kind) in zone:
        response.answer = [dns.rrset.from_text(question.name, 60, "IN", kind, *zone[name, kind])]
    return response


class Scripted(dns.nameserver.Nameserver):
    """A name server that answers from the zone without a socket, or never."""

    def __init__(self) -> None:
        self.asked = 0

    def __str__(self) -> str:
        return "scripted"

    def kind(self) -> str:
        return "scripted"

    def answer_nameserver(self) -> str:
        return "scripted"

    def answer_port(self) -> int:
        return 0

    def is_always_max_size(self) -> bool:
        return True

    async def async_query(self, request: dns.message.QueryMessage, *_: Any, **__: Any) -> dns.message.Message:
        self.asked += 1
        if "timeout" in request.question[0].name.to_text():
            raise dns.exception.Timeout
        return dns.message.from_wire(answer(request, ZONE).to_wire())


@pytest.fixture
def server() -> Scripted:
    return Scripted()


@pytest.fixture
def resolver(server: Scripted) -> lookups.Resolver:
    made = lookups.make_resolver(["192.0.2.53"])
    made.nameservers = [server]
    return made


@pytest.mark.parametrize(
    ("domain", "expected"),
    [
        pytest.param("null.example", lookups.NULL_MX, id="takes no letters"),
        pytest.param("odd.example", [(10, "mx.odd.example")], id="a null record among others is no host"),
        pytest.param("partly.example", [(20, "mx.partly.example")], id="what is no host name is left out"),
        pytest.param("bare4.example", [(0, "bare4.example")], id="its own host by A"),
        pytest.param("bare6.example", [(0, "bare6.example")], id="its own host by AAAA"),
        pytest.param("empty.example", [], id="exists without any address"),
        pytest.param("nowhere.example", [], id="does not exist"),
    ],
)
async def test_where_letters_for_a_domain_go(
    resolver: lookups.Resolver, domain: str, expected: list[tuple[int, str]]
) -> None:
    assert await lookups.mx(Domain(domain), resolver) == expected


@pytest.mark.parametrize("domain", ["chu.example", "alias.example"])
async def test_hosts_come_best_first(resolver: lookups.Resolver, domain: str) -> None:
    hosts = await lookups.mx(Domain(domain), resolver)
    assert [preference for preference, _ in hosts] == [10, 10, 20]
    assert {host for _, host in hosts[:2]} == {"mx1.chu.example", "mx3.chu.example"}
    assert hosts[2] == (20, "mx2.chu.example")


async def test_equal_hosts_come_in_any_order(resolver: lookups.Resolver, monkeypatch: pytest.MonkeyPatch) -> None:
    draws = iter([0.9, 0.1, 0.5])
    monkeypatch.setattr("random.random", lambda: next(draws))
    assert [host for _, host in await lookups.mx(Domain("chu.example"), resolver)][-1] == "mx2.chu.example"
    draws = iter([0.5, 0.1, 0.9])
    first = (await lookups.mx(Domain("chu.example"), resolver))[0]
    draws = iter([0.5, 0.9, 0.1])
    assert (await lookups.mx(Domain("chu.example"), resolver))[0] != first


async def test_only_so_many_hosts_are_tried(resolver: lookups.Resolver) -> None:
    hosts = await lookups.mx(Domain("many.example"), resolver)
    assert [preference for preference, _ in hosts] == list(range(lookups.HOSTS_MAX))


@pytest.mark.parametrize("domain", ["servfail.example", "refused.example", "timeout.example", "unusable.example"])
async def test_what_may_be_another_answer_later_is_unavailable(resolver: lookups.Resolver, domain: str) -> None:
    resolver.lifetime = 0.5 if domain != "timeout.example" else 0.01
    with pytest.raises(Unavailable):
        await lookups.mx(Domain(domain), resolver)


async def test_answers_are_remembered(resolver: lookups.Resolver, server: Scripted) -> None:
    await lookups.mx(Domain("chu.example"), resolver)
    asked = server.asked
    await lookups.mx(Domain("chu.example"), resolver)
    assert server.asked == asked


async def test_text_records_are_joined(resolver: lookups.Resolver) -> None:
    found = await lookups.txt("k._domainkey.chu.example", resolver)
    assert sorted(found) == [b"other", b"v=DKIM1; k=rsa; p=AAAA"]
    assert await lookups.txt("chu.example", resolver) == []
    assert await lookups.txt("nowhere.example", resolver) == []
    assert len(await lookups.txt("many.example", resolver)) == lookups.TXT_RECORDS_MAX


@pytest.mark.parametrize("name", ["a..b", "x" * 64 + ".example", ".".join(["label"] * 60)])
async def test_what_can_be_no_name_is_malformed(resolver: lookups.Resolver, server: Scripted, name: str) -> None:
    with pytest.raises(Malformed):
        await lookups.txt(name, resolver)
    assert server.asked == 0


async def test_a_text_look_up_that_fails_is_unavailable(resolver: lookups.Resolver) -> None:
    resolver.lifetime = 0.01
    with pytest.raises(Unavailable, match="does not answer"):
        await lookups.txt("timeout.example", resolver)


def test_a_machine_without_name_server_is_misconfigured(monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(*_: object, **__: object) -> None:
        raise dns.resolver.NoResolverConfiguration

    monkeypatch.setattr(dns.resolver.BaseResolver, "read_resolv_conf", nothing)
    with pytest.raises(Misconfigured, match="no name server"):
        lookups.make_resolver()


class Datagrams(asyncio.DatagramProtocol):
    """The scripted zone on a UDP socket."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        query = dns.message.from_wire(data)
        assert isinstance(query, dns.message.QueryMessage)
        self.transport.sendto(answer(query, ZONE).to_wire(), addr)


@pytest.mark.journey
async def test_a_name_server_on_loopback_is_asked() -> None:
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(Datagrams, local_addr=("127.0.0.1", 0))
    try:
        resolver = lookups.make_resolver(["127.0.0.1"], port=transport.get_extra_info("sockname")[1])
        assert await lookups.mx(Domain("odd.example"), resolver) == [(10, "mx.odd.example")]
        assert await lookups.mx(Domain("nowhere.example"), resolver) == []
    finally:
        transport.close()


@pytest.mark.parametrize(
    ("server", "address", "port"),
    [
        ("192.0.2.53", "192.0.2.53", 53),
        ("192.0.2.53:5353", "192.0.2.53", 5353),
        ("2001:db8::53", "2001:db8::53", 53),
        ("[2001:db8::53]", "2001:db8::53", 53),
        ("[2001:db8::53]:5353", "2001:db8::53", 5353),
    ],
)
def test_configured_name_servers(server: str, address: str, port: int) -> None:
    [made] = lookups.resolver_of([server]).nameservers
    assert isinstance(made, dns.nameserver.Do53Nameserver)
    assert (made.address, made.port) == (address, port)


@pytest.mark.parametrize("server", ["", "dns.example", "192.0.2.53:x", "192.0.2:53", "[::1", "system:53"])
def test_a_name_server_is_an_address(server: str) -> None:
    with pytest.raises(Misconfigured, match="is no name server"):
        lookups.resolver_of([server])


@pytest.mark.journey
async def test_a_silent_name_server_is_unavailable_in_time() -> None:
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(asyncio.DatagramProtocol, local_addr=("127.0.0.1", 0))
    try:
        port = transport.get_extra_info("sockname")[1]
        resolver = lookups.make_resolver(["127.0.0.1"], port=port, timeout_s=0.1)
        async with asyncio.timeout(30):
            with pytest.raises(Unavailable):
                await lookups.mx(Domain("chu.example"), resolver)
    finally:
        transport.close()
