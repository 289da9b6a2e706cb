"""CATENATE (RFC 4469) with URLs of RFC 5092: letters put together here, their limits, and what names nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mss.imap import commands as c
from mss.imap import urls
from mss.imap.urls import Reference, read_url
from mss.model.account import Box
from mss.model.party import BoxKind
from mss.services import mailbox
from mss.services.mailbox import Columns
from tests.imap.imap_world import DOCTOR, LETTER, NESTED, NOW, Client, World, running, with_limits

HEAD = b"Subject: Suite\r\nMIME-Version: 1.0\r\n\r\n"


def text(octets: bytes) -> bytes:
    return b"TEXT {%d+}\r\n%b" % (len(octets), octets)


def url(path: str) -> bytes:
    return f'URL "{path}"'.encode()


def catenate(*pieces: bytes) -> bytes:
    return b"CATENATE (" + b" ".join(pieces) + b")"


async def append(client: Client, *pieces: bytes, to: str = "Drafts") -> bytes:
    """Append one letter to a mailbox; returns the answer."""
    return (await client.ask(b"APPEND " + to.encode() + b" (\\Draft) " + catenate(*pieces)))[-1]


async def kept(world: World, box: Box, name: str = "Drafts") -> list[bytes]:
    """Return the letters of a mailbox."""
    found = await world.store.read(mailbox.find, box.id, name, NOW)
    rows = await world.store.read(mailbox.rows, found.id, ((1, 1000),), Columns.PLAIN, NOW)
    return [await world.store.read(mailbox.octets, found.id, row.object_id, 0, row.size_octets, NOW) for row in rows]


@pytest.fixture
async def client(world: World, inbox: Box) -> Client:
    """A client whose inbox holds a plain letter and one with parts."""
    await world.deliver(inbox)
    await world.deliver(inbox, NESTED)
    return await world.session("INBOX")


# --- URLs ---


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (b"/INBOX/;UID=3", Reference("INBOX", None, 3)),
        (b"/INBOX;UIDVALIDITY=7/;UID=3", Reference("INBOX", 7, 3)),
        (b"/inbox;uidvalidity=7/;uid=3/;section=TEXT",
         Reference("inbox", 7, 3, c.Section(b"BODY[TEXT]", text=c.Text.TEXT, peek=True))),
        (b"/a/b%2Fc%C3%A9/;UID=1", Reference("a/b/cé", None, 1)),
        (b";UID=4294967295", Reference(None, None, 4294967295)),
        (b";UID=1/;PARTIAL=5", Reference(None, None, 1, None, 5)),
        (b";UID=1/;SECTION=1.2.MIME/;PARTIAL=0.10",
         Reference(None, None, 1, c.Section(b"BODY[1.2.MIME]", (1, 2), c.Text.MIME, peek=True), 0, 10)),
        (b"/x/;UID=1/;SECTION=HEADER.FIELDS%20(To)",
         Reference("x", None, 1, c.Section(b"BODY[HEADER.FIELDS (To)]", text=c.Text.HEADER_FIELDS,
                                           fields=frozenset({b"to"}), peek=True))),
    ],
)  # fmt: skip
def test_urls_are_read(written: bytes, expected: Reference) -> None:
    assert read_url(written) == expected


@pytest.mark.parametrize(
    "written",
    [
        b"", b"/", b"/INBOX", b"/INBOX/;UID=0", b"/INBOX/;UID=4294967296", b"/;UID=1", b"//INBOX/;UID=1",
        b"/INBOX;UIDVALIDITY=0/;UID=1", b"/INBOX/;UID=1/;PARTIAL=0.0", b"/INBOX/;UID=1/;SECTION=",
        b"/INBOX/;UID=1/;SECTION=NONE", b"/INBOX/;UID=1/;SECTION=MIME", b"/INBOX/;UID=1/;SECTION=1%0D%0A",
        b"/INBOX/;UID=1/;SECTION=HEADER.FIELDS%20(%7B1%7D%0D%0Aa)", b"/%FF/;UID=1",
        b"/INBOX/;UID=1/;SECTION=TEXT]<0.1>",
        b"/INBOX/;UID=1/;SECTION=TEXT%5D%3C0.1%3E", b"imap://docteur@pro.example/INBOX/;UID=1",
        b"/INBOX/;UID=1;URLAUTH=x",
        b"/INBOX?TEXT", b"/INBOX/;UID=1\xff", b"http://pro.example/", b"/INBOX/;UID=1/;SECTION=1/;SECTION=2",
    ],
)  # fmt: skip
def test_other_urls_name_nothing(written: bytes) -> None:
    assert read_url(written) is None


@given(st.binary(max_size=60))
def test_any_octets_are_a_reference_or_nothing(written: bytes) -> None:
    for octets in (written, b"/INBOX/;UID=1/;SECTION=" + written, b"/" + written + b"/;UID=1"):
        found = read_url(octets)
        assert found is None or found.uid > 0
        said = urls.told(octets)
        assert said.isascii()
        assert said.isprintable()
        assert "]" not in said


# --- letters ---


async def test_a_letter_is_put_together_from_what_comes_and_what_is_here(
    world: World, inbox: Box, client: Client
) -> None:
    assert b" CATENATE " in (await client.ask("CAPABILITY"))[0] + b" "
    assert (await append(client, text(HEAD), url("/INBOX/;UID=1/;SECTION=TEXT"), text(b"-- \r\n"))).startswith(
        b"OK [APPENDUID "
    )
    assert await kept(world, inbox) == [HEAD + b"Bonjour\r\n-- \r\n"]
    # Nothing was marked as read by that.
    assert b"Seen" not in b"".join((await client.ask("FETCH 1:* FLAGS"))[:-1])


async def test_each_way_to_name_octets(world: World, inbox: Box, client: Client) -> None:
    (validity,) = [line for line in await client.ask("STATUS INBOX (UIDVALIDITY)") if b"STATUS" in line]
    number = validity.rpartition(b" ")[2].rstrip(b")").decode()
    cases = {
        "/INBOX/;UID=1": LETTER,
        f"/inbox;UIDVALIDITY={number}/;UID=2": NESTED,
        ";UID=1": LETTER,
        ";UID=1/;PARTIAL=6.4": LETTER[6:10],
        ";UID=1/;PARTIAL=20": LETTER[20:],
        ";UID=1/;PARTIAL=99999": b"",
        ";UID=2/;SECTION=1": b"\xc3\xa9chographie normale",
        ";UID=2/;SECTION=2.HEADER": b"Subject: dedans\r\nX-Odd: 1\r\n\r\n",
        ";UID=2/;SECTION=2.HEADER.FIELDS%20(Subject)": b"Subject: dedans\r\n\r\n",
        ";UID=2/;SECTION=3.MIME/;PARTIAL=0.12": b"Content-Type",
    }
    for path, expected in cases.items():
        await client.ask("CREATE t")
        assert (await append(client, text(b"a:b\r\n\r\n"), url(path), to="t")).startswith(b"OK"), path
        assert await kept(world, inbox, "t") == [b"a:b\r\n\r\n" + expected], path
        await client.ask("DELETE t")


@pytest.mark.parametrize(
    "path",
    [
        "/INBOX/;UID=3", "/INBOX;UIDVALIDITY=1/;UID=1", "/Nowhere/;UID=1", ";UID=1/;SECTION=4", "/Shared/x/;UID=1",
        "imap://elsewhere.example/INBOX/;UID=1", "/Shared/autre@pro.example/INBOX/;UID=1",
        "no url", ";UID=1/;SECTION=2",
    ],
)  # fmt: skip
async def test_what_names_nothing_changes_nothing(world: World, inbox: Box, client: Client, path: str) -> None:
    other = await world.box("autre@pro.example", BoxKind.ORG)
    await world.deliver(other)
    answer = await append(client, text(HEAD), url(path))
    assert answer == b"NO [BADURL %b] That URL names nothing here" % path.replace(" ", "%20").encode()
    assert await kept(world, inbox) == []


async def test_a_url_cannot_break_out_of_its_answer(client: Client) -> None:
    octets = b'x] OK\r\nt9 OK [ALERT "'
    answer = (await client.ask(b"APPEND INBOX " + catenate(b"URL {%d+}\r\n%b" % (len(octets), octets))))[-1]
    assert answer == b"NO [BADURL x%5D%20OK%0D%0At9%20OK%20%5BALERT%20%22] That URL names nothing here"
    assert (await append(client, b"URL {5+}\r\n\xff/;UI")).startswith(b"NO [BADURL %FF/;UI]")


async def test_relative_urls_need_a_selected_mailbox(world: World, inbox: Box, client: Client) -> None:
    await client.ask("UNSELECT")
    assert (await append(client, text(HEAD), url(";UID=1"))).startswith(b"NO [BADURL ;UID=1]")
    assert (await append(client, text(HEAD), url("/INBOX/;UID=1"))).startswith(b"OK")


async def test_a_shared_box_is_read_by_who_reaches_it(world: World, inbox: Box) -> None:
    desk = await world.box("accueil@pro.example", BoxKind.ORG)
    await world.account("a@pro.example", await world.box("a@pro.example"), desk)
    await world.deliver(desk)
    path = "/Shared/accueil%40pro.example/INBOX/;UID=1"
    member, stranger = await world.session(login="a@pro.example"), await world.session()
    assert (await append(member, url(path))).startswith(b"OK")
    assert (await append(stranger, url(path))).startswith(b"NO [BADURL ")


async def test_several_letters_are_all_kept_or_none(world: World, inbox: Box, client: Client) -> None:
    one, other = catenate(text(HEAD), url(";UID=1")), catenate(url(";UID=1"))
    plain = b"{%d+}\r\n%b" % (len(LETTER), LETTER)
    answer = (await client.ask(b"APPEND Drafts " + one + b" (\\Seen) " + plain + b" " + other))[-1]
    assert answer.startswith(b"OK [APPENDUID ")
    assert await kept(world, inbox) == [HEAD + LETTER, LETTER, LETTER]
    bad = catenate(url(";UID=9"))
    assert (await client.ask(b"APPEND Drafts " + one + b" " + bad))[-1].startswith(b"NO [BADURL ;UID=9]")
    assert len(await kept(world, inbox)) == 3


async def test_with_binary_and_utf8(world: World, inbox: Box, client: Client) -> None:
    head = b"MIME-Version: 1.0\r\nContent-Type: application/pdf\r\nContent-Transfer-Encoding: binary\r\n\r\n"
    assert (await append(client, text(head), b"TEXT ~{4+}\r\na\0\xffb")).startswith(b"OK")
    assert b"YQD/Yg==" in (await kept(world, inbox))[0]
    piece = b"UTF8 (~{%d+}\r\n%b)" % (len(HEAD), HEAD)
    assert await append(client, piece, url(";UID=1")) == b"BAD ENABLE UTF8=ACCEPT first"
    await client.ask("ENABLE UTF8=ACCEPT")
    assert (await append(client, piece, url(";UID=1"))).startswith(b"OK")
    assert (await kept(world, inbox))[1] == HEAD + LETTER


async def test_replace_takes_it_too(world: World, inbox: Box, client: Client) -> None:
    told = await client.ask(b"REPLACE 1 INBOX " + catenate(text(HEAD), url(";UID=1/;SECTION=TEXT")))
    assert told[-1].startswith(b"OK")
    assert await kept(world, inbox, "INBOX") == [NESTED, HEAD + b"Bonjour\r\n"]


async def test_nothing_makes_no_letter(world: World, inbox: Box, client: Client) -> None:
    assert await append(client, text(b""), url(";UID=1/;PARTIAL=9999")) == b"NO [CANNOT] A letter cannot be empty"
    for bad in (b"CATENATE ()", b"CATENATE (TEXT x)", b"CATENATE (URL)", b"CATENATE (FILE x)", b"CATENATE"):
        assert (await client.ask(b"APPEND Drafts " + bad))[-1].startswith(b"BAD"), bad


@pytest.mark.parametrize(("more", "start"), [(-1, b"OK"), (0, b"OK"), (1, b"NO [TOOBIG]")])
async def test_a_letter_is_as_large_as_it_may_be(imap_template: Path, tmp_path: Path, more: int, start: bytes) -> None:
    most = 4000
    async with running(imap_template, tmp_path / "operator", with_limits(message_max_octets=most)) as world:
        box = await world.box(DOCTOR)
        await world.account(DOCTOR, box)
        await world.deliver(box, LETTER + b"x" * 1000)
        client = await world.session("INBOX")
        whole = len(LETTER) + 1000
        rest = text(b"y" * (most - 2 * whole + more))
        answer = await append(client, url(";UID=1"), url(";UID=1"), rest)
        assert answer.startswith(start)
        # All letters of one command together are no larger than one may be.
        one = catenate(url(";UID=1"))
        several = b" ".join([b"APPEND Drafts", one, one, catenate(rest)])
        assert (await client.ask(several))[-1].startswith(start)
        assert world.server.sessions


async def test_what_is_read_for_one_letter_is_bounded_and_memory_is_given_back(
    imap_template: Path, tmp_path: Path
) -> None:
    async with running(imap_template, tmp_path / "operator", with_limits(message_max_octets=4000)) as world:
        box = await world.box(DOCTOR)
        await world.account(DOCTOR, box)
        for _ in range(2):
            await world.deliver(box, LETTER + b"x" * 3000)
        client = await world.session("INBOX")
        again = [url(f";UID={1 + turn % 2}/;SECTION=TEXT/;PARTIAL=0.1") for turn in range(6)]
        assert (await append(client, *again)).startswith(b"NO [TOOBIG]")
        same = [url(";UID=1/;SECTION=TEXT/;PARTIAL=0.1")] * 6
        for _ in range(20):
            assert (await append(client, *same)).startswith(b"OK")
