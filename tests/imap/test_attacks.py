"""What broke other mail servers, tried on this door; each test is named in its first line. Others of the list stand
where they belong: framing in `test_wire`, signing in in `test_entry`, numbers of sessions in `test_ten_sessions`."""

from __future__ import annotations

from base64 import b64encode
from pathlib import Path

import pytest

from mss.model.account import Box
from tests.imap.imap_world import DOCTOR, LETTER, PASSWORD, World, running, with_limits

_LETTERS = {
    "CVE-2026-27859: many RFC 2231 parameters": b"Content-Type: text/plain"
    + b"".join(b";\r\n x%d*0=a" % number for number in range(20_000))
    + b"\r\n\r\nx\r\n",
    "CVE-2024-23184: many address fields": b"To: a@b.example\r\n" * 20_000 + b"\r\nx\r\n",
    "CVE-2024-23184: many addresses": b"To: " + b"a@b.example, " * 20_000 + b"z@b.example\r\n\r\nx\r\n",
    "CVE-2024-23185: a giant field": b"Subject: " + b"x" * 2_000_000 + b"\r\n\r\nx\r\n",
    "CVE-2020-12100: deep nesting": b"".join(
        b'Content-Type: multipart/mixed; boundary="b%d"\r\n\r\n--b%d\r\n' % (depth, depth) for depth in range(2000)
    ),
    "CVE-2019-19722: a group address": b"From: Group:;\r\nTo: A:a@b,c@d;, :;,;\r\nSender: ;;\r\n\r\nx\r\n",
    "CVE-2020-7046: truncated UTF-8": b'Subject: \xc3\r\nFrom: "\xe2\x82" <a@b\xf0\x9f>\r\n\r\n\xc3',
}


@pytest.mark.parametrize("name", _LETTERS)
async def test_hostile_letters_come_in_and_go_out(world: World, inbox: Box, name: str) -> None:
    octets = _LETTERS[name]
    client = await world.session("INBOX")
    answer = (await client.ask(b"APPEND INBOX {%d+}\r\n%b" % (len(octets), octets)))[-1]
    assert answer.startswith(b"OK [APPENDUID"), name
    for items in ("(ENVELOPE BODYSTRUCTURE PREVIEW)", "(BODY.PEEK[HEADER] BINARY.SIZE[1])", "BODY.PEEK[1.1.1.1.MIME]"):
        assert (await client.ask(f"FETCH 1 {items}"))[-1] == b"OK Done", (name, items)
    for program in ("SUBJECT x", "FROM a", "TEXT zzz", "SENTSINCE 1-Jan-2026"):
        assert (await client.ask(f"SEARCH {program}"))[-1] == b"OK Done", (name, program)


@pytest.mark.parametrize("name", [b'"\xc3"', b'"a\xe2\x82"', b"&w-", b"&AOk", b'"\xff/x"'])
async def test_truncated_characters_in_names_are_bad_and_no_more(world: World, inbox: Box, name: bytes) -> None:
    """CVE-2020-7046."""
    client = await world.session()
    for command in (b"SELECT %b", b"CREATE %b", b'LIST "" %b', b"STATUS %b (SIZE)", b"GETQUOTAROOT %b", b"MYRIGHTS %b"):
        assert (await client.ask(command % name))[-1].startswith(b"BAD"), command
    await client.ask("ENABLE UTF8=ACCEPT")
    assert (await client.ask(b'CREATE "\xc3"'))[-1].startswith(b"BAD")
    assert (await client.ask("NOOP"))[-1] == b"OK Done"


async def test_a_new_account_sees_nothing_of_others(world: World, inbox: Box) -> None:
    """CVE-2025-30189 and stalwart #1842: a cache showed one account's letters to another."""
    await world.deliver(inbox)
    first = await world.session("INBOX")
    emailid = (await first.ask("FETCH 1 (BODY.PEEK[] EMAILID)"))[0].rpartition(b"EMAILID (")[2].partition(b")")[0]
    box = await world.box("autre@pro.example")
    await world.account("autre@pro.example", box)
    other = await world.session("INBOX", "autre@pro.example")
    assert (await other.ask("STATUS INBOX (MESSAGES SIZE)"))[0] == b"* STATUS INBOX (MESSAGES 0 SIZE 0)"
    assert await other.ask(b"SEARCH EMAILID " + emailid) == [b"* SEARCH", b"OK Done"]
    for name in (f"Shared/{DOCTOR}/INBOX", DOCTOR):
        for command in ("SELECT", "MYRIGHTS", "GETACL", "GETQUOTAROOT"):
            assert (await other.ask(f"{command} {name}"))[-1].startswith(b"NO [NONEXISTENT]")
    assert (await other.ask(f"GETQUOTA {DOCTOR}"))[-1].startswith(b"NO [NONEXISTENT]")


@pytest.mark.parametrize(("length", "taken"), [(8191, True), (8192, True), (8193, False)])
async def test_the_base64_of_a_stranger_is_limited(world: World, length: int, taken: bool) -> None:
    """CVE-2025-59028: what a stranger sends as base64 costs a line at most, and nobody else waits for it."""
    client = await world.connect()
    opening = b"a AUTHENTICATE PLAIN "
    padding = length - len(opening) - 2
    client.send(opening + b"A" * padding + b"\r\n")
    assert (await client.line()).startswith(b"a BAD The response" if taken else b"a BAD Line too long")
    other = await world.connect()
    answer = await other.ask(b"AUTHENTICATE PLAIN " + b64encode(b"\0nobody\0" + PASSWORD.encode()))
    assert answer[-1].startswith(b"NO [AUTHENTICATIONFAILED]")


@pytest.mark.parametrize(("connections", "taken"), [(1, True), (2, True), (3, False)])
async def test_one_address_holds_so_many_connections_before_it_signs_in(
    imap_template: Path, tmp_path: Path, connections: int, taken: bool
) -> None:
    async with running(imap_template, tmp_path / "operator", with_limits(imap_unauthenticated_max=8)) as world:
        for _ in range(connections - 1):
            await world.connect(implicit_tls=False)
        if taken:
            await world.connect(implicit_tls=False)
        else:
            with pytest.raises(AssertionError, match="Too many connections"):
                await world.connect(implicit_tls=False)


@pytest.mark.parametrize(("letters", "taken"), [(4, True), (5, True), (6, False)])
async def test_the_letters_of_one_command_are_counted(
    imap_template: Path, tmp_path: Path, letters: int, taken: bool
) -> None:
    """The first letter is APPEND's own, each further one counts as an argument."""
    async with running(imap_template, tmp_path / "operator", with_limits(imap_arguments_max=4)) as world:
        await world.account(DOCTOR, await world.box(DOCTOR))
        client = await world.session()
        one = b" {%d+}\r\n%b" % (len(LETTER), LETTER)
        answer = (await client.ask(b"APPEND INBOX" + one * letters))[-1]
        assert answer.startswith(b"OK [APPENDUID" if taken else b"BAD Too many arguments")
