"""METADATA (RFC 5464) and its part of LIST (RFC 9590): transcripts, limits, whose notes are whose."""

from __future__ import annotations

from pathlib import Path

import pytest

from mss.errors import Malformed
from mss.imap import commands as c
from mss.imap import responses
from mss.imap.parser import parse
from mss.imap.wire import Frame
from mss.model.account import Box, BoxState
from mss.model.party import BoxKind
from mss.services import accounts
from mss.services.metadata import Wished
from tests.imap.imap_world import NOW, Client, World, running, with_limits


async def ok(client: Client, command: str) -> list[bytes]:
    """Ask for something that is done; returns what is told besides."""
    *told, answer = await client.ask(command)
    assert answer.startswith(b"OK"), answer
    return told


async def put(client: Client, mailbox: str, name: str, octets: bytes) -> bytes:
    """Note something as a literal8; returns the answer."""
    command = f"SETMETADATA {mailbox} ({name} ~{{{len(octets)}+}}\r\n".encode() + octets + b")"
    return (await client.ask(command))[-1]


# --- words ---


def read(text: bytes, *literals: bytes) -> c.Command | str:
    found = parse(Frame(b"a " + text, literals), with_limits())
    return found.text if isinstance(found, c.Bad) else found.command


@pytest.mark.parametrize(
    ("text", "wished", "size", "mailbox"),
    [
        (b'GETMETADATA "" /shared/comment', Wished(("/shared/comment",)), None, ""),
        (b'GETMETADATA INBOX "/SHARED/Comment"', Wished(("/shared/comment",)), None, "INBOX"),
        (b"GETMETADATA (MAXSIZE 7 DEPTH 1) x (/private/a /shared)", Wished(("/private/a", "/shared"), 1), 7, "x"),
        (b"GETMETADATA x (DEPTH infinity) (/private)", Wished(("/private",), None), None, "x"),
        (b'GETMETADATA x ("/private/a" /private/a)', Wished(("/private/a",)), None, "x"),
    ],
)
def test_getmetadata_is_read(text: bytes, wished: Wished, size: int | None, mailbox: str) -> None:
    assert read(text) == c.GetMetadata(mailbox, wished, size)


def test_setmetadata_is_read() -> None:
    found = read(b'SETMETADATA x (/private/a NIL /shared/b "v" /shared/c ~{2}\r\n)', b"\0n")
    assert found == c.SetMetadata("x", (("/private/a", None), ("/shared/b", b"v"), ("/shared/c", b"\0n")))
    assert "v" not in repr(found).replace("SetMetadata", "")


@pytest.mark.parametrize(
    "text",
    [
        b"GETMETADATA x comment", b"GETMETADATA x /comment", b"GETMETADATA x /privateer/a", b"GETMETADATA x /private/",
        b"GETMETADATA x /private//a", b'GETMETADATA x "/private/a*"', b'GETMETADATA x "/private/%"', b"GETMETADATA x",
        b'GETMETADATA x "/private/\xc3\xa9"', b"GETMETADATA x ()", b"GETMETADATA (DEPTH 2) x /private",
        b"GETMETADATA (DEPTH 1 DEPTH 1) x /private", b"GETMETADATA (MAXSIZE -1) x /private",
        b"GETMETADATA (X 1) x /private",
        b"GETMETADATA (MAXSIZE 1) x (MAXSIZE 1) /private", b"GETMETADATA x /private/" + b"a" * 247,
        b'SETMETADATA x (/private "a")', b"SETMETADATA x (/private/a)", b"SETMETADATA x /private/a NIL",
        b"SETMETADATA x (/private/a NIL /private/A NIL)", b'LIST "" * RETURN (METADATA)',
        b'LIST "" * RETURN (METADATA ())',
    ],
)  # fmt: skip
def test_what_is_no_metadata_command(text: bytes) -> None:
    assert isinstance(read(text), str)


def test_names_are_as_long_as_they_may_be() -> None:
    longest = "/private/" + "a" * 246
    assert read(f"GETMETADATA x {longest}".encode()) == c.GetMetadata("x", Wished((longest,)))


def test_depth_counts_levels_and_not_letters() -> None:
    names = ("/private/a", "/private/a/b", "/private/a/b/c", "/private/ab")
    taken = {depth: [name for name in names if Wished(("/private/a",), depth).takes(name)] for depth in (0, 1, None)}
    assert taken == {0: [*names[:1]], 1: [*names[:2]], None: [*names[:3]]}


def test_a_value_cannot_break_out_of_its_response() -> None:
    told = responses.metadata("x", {"/private/a": b"a\r\nb", "/private/b": b"\0", "/private/c": None})
    assert told == b"* METADATA x (/private/a {4}\r\na\r\nb /private/b ~{1}\r\n\0 /private/c NIL)\r\n"
    assert responses.metadata("x", {}) == b""


# --- sessions ---


async def test_what_is_noted_is_told_and_can_be_removed(world: World, inbox: Box) -> None:
    client = await world.session()
    assert b" METADATA LIST-METADATA " in (await client.ask("CAPABILITY"))[0] + b" "
    await ok(client, 'SETMETADATA INBOX (/private/comment "mine" /shared/comment "ours")')
    asked = "(/private/comment /shared/Comment /private/none)"
    told = b'* METADATA INBOX (/private/comment "mine" /shared/comment "ours" /private/none NIL)'
    assert (await ok(client, f"GETMETADATA INBOX {asked}"))[0].count(b"/") == told.count(b"/")
    found = (await ok(client, f"GETMETADATA INBOX {asked}"))[0]
    for part in (b'/private/comment "mine"', b'/shared/comment "ours"', b"/private/none NIL"):
        assert part in found
    await ok(client, "SETMETADATA INBOX (/private/comment NIL /private/none NIL)")
    assert await ok(client, "GETMETADATA INBOX /private/comment") == [b"* METADATA INBOX (/private/comment NIL)"]
    assert await put(client, "INBOX", "/private/comment", b"a\0b") == b"OK Done"
    assert await ok(client, "GETMETADATA INBOX /private/comment") == [
        b"* METADATA INBOX (/private/comment ~{3}\r\na\0b)"
    ]
    assert (await client.ask("GETMETADATA nowhere /private/a"))[-1] == b"NO [NONEXISTENT] No such mailbox"
    assert (await client.ask("SETMETADATA nowhere (/private/a NIL)"))[-1] == b"NO [NONEXISTENT] No such mailbox"


async def test_depth_and_maxsize(world: World, inbox: Box) -> None:
    client = await world.session()
    await ok(client, 'SETMETADATA INBOX (/private/f "1" /private/f/a "22" /private/f/a/b "333" /private/fg "4444")')
    assert await ok(client, "GETMETADATA (DEPTH 1) INBOX /private/f") == [
        b'* METADATA INBOX (/private/f "1" /private/f/a "22")'
    ]
    deep = "GETMETADATA INBOX (DEPTH infinity) (/private/f)"
    assert await ok(client, deep) == [b'* METADATA INBOX (/private/f "1" /private/f/a "22" /private/f/a/b "333")']
    assert await client.ask("GETMETADATA (MAXSIZE 2 DEPTH infinity) INBOX /private") == [
        b'* METADATA INBOX (/private/f "1" /private/f/a "22")', b"OK [METADATA LONGENTRIES 4] Done"
    ]  # fmt: skip
    assert await client.ask("GETMETADATA (MAXSIZE 0) INBOX /private/f") == [b"OK [METADATA LONGENTRIES 1] Done"]
    assert await ok(client, "GETMETADATA (DEPTH 1) INBOX /shared") == []


async def test_private_is_each_persons_and_shared_everybodys(world: World, inbox: Box) -> None:
    shared = await world.box("service@pro.example", BoxKind.ORG)
    for login in ("a@pro.example", "b@pro.example"):
        await world.account(login, await world.box(login), shared)
    one, other = [await world.session(login=f"{name}@pro.example") for name in "ab"]
    where = '"Shared/service@pro.example/INBOX"'
    await ok(one, f'SETMETADATA {where} (/private/comment "a" /shared/comment "all")')
    asked = f"GETMETADATA {where} (/private/comment /shared/comment)"
    assert b'"a"' in (await ok(one, asked))[0]
    told = (await ok(other, asked))[0]
    assert b"/private/comment NIL" in told
    assert b'/shared/comment "all"' in told
    # Who does not reach the box reaches no note of it.
    stranger = await world.session()
    assert (await stranger.ask(asked))[-1].startswith(b"NO [NONEXISTENT]")


async def test_a_closed_box_keeps_its_notes_as_they_are(world: World, inbox: Box) -> None:
    client = await world.session()
    await ok(client, 'SETMETADATA INBOX (/shared/comment "x")')
    await world.store.write(accounts.set_box_state, inbox.id, BoxState.CLOSED, "test", NOW)
    client = await world.session()
    assert (await client.ask('SETMETADATA INBOX (/shared/comment "y")'))[-1].startswith(b"NO [CANNOT]")
    assert await ok(client, "GETMETADATA INBOX /shared/comment") == [b'* METADATA INBOX (/shared/comment "x")']


async def test_the_server_is_noted_about_for_oneself_alone(world: World, inbox: Box) -> None:
    await world.account("other@pro.example", await world.box("other@pro.example"))
    client, other = await world.session(), await world.session(login="other@pro.example")
    await ok(client, 'SETMETADATA "" (/private/vendor/x "v")')
    assert await ok(client, 'GETMETADATA "" /private/vendor/x') == [b'* METADATA "" (/private/vendor/x "v")']
    assert await ok(other, 'GETMETADATA "" /private/vendor/x') == [b'* METADATA "" (/private/vendor/x NIL)']
    assert (await client.ask('SETMETADATA "" (/private/a "x" /shared/comment "x")'))[-1].startswith(b"NO [NOPERM]")
    assert await ok(client, 'GETMETADATA "" (/private/a /shared/comment)') == [
        b'* METADATA "" (/private/a NIL /shared/comment NIL)'
    ]


async def test_notes_follow_a_rename_and_die_with_their_mailbox(world: World, inbox: Box) -> None:
    client = await world.session()
    await ok(client, "CREATE old")
    await ok(client, 'SETMETADATA old (/shared/comment "kept")')
    await ok(client, "RENAME old new")
    assert await ok(client, "GETMETADATA new /shared/comment") == [b'* METADATA new (/shared/comment "kept")']
    await ok(client, "DELETE new")
    await ok(client, "CREATE new")
    assert await ok(client, "GETMETADATA new /shared/comment") == [b"* METADATA new (/shared/comment NIL)"]
    rows = await world.store.read(lambda uow: [uow.annotations.count((inbox.id, number, 0)) for number in range(20)])
    assert sum(rows) == 0


@pytest.mark.parametrize(("octets", "answer"), [(63, b"OK Done"), (64, b"OK Done"), (65, b"NO [METADATA MAXSIZE 64]")])
async def test_a_note_is_as_large_as_it_may_be(imap_template: Path, tmp_path: Path, octets: int, answer: bytes) -> None:
    async with running(imap_template, tmp_path / "operator", with_limits(imap_annotation_max_octets=64)) as world:
        await world.account("docteur@pro.example", await world.box("docteur@pro.example"))
        client = await world.session()
        assert (await put(client, "INBOX", "/private/a", b"x" * octets)).startswith(answer)
        told = await ok(client, "GETMETADATA INBOX /private/a")
        assert (b"NIL" in told[0]) is answer.startswith(b"NO")


async def test_there_are_as_many_notes_as_there_may_be_and_one_too_many_changes_nothing(
    imap_template: Path, tmp_path: Path
) -> None:
    async with running(imap_template, tmp_path / "operator", with_limits(imap_annotations_max=3)) as world:
        await world.account("docteur@pro.example", await world.box("docteur@pro.example"))
        client = await world.session()
        await ok(client, 'SETMETADATA INBOX (/private/a "1" /private/b "1")')
        await ok(client, 'SETMETADATA INBOX (/private/c "1" /shared/a "1" /shared/b "1" /shared/c "1")')
        answer = (await client.ask('SETMETADATA INBOX (/private/a "2" /private/d "1")'))[-1]
        assert answer.startswith(b"NO [METADATA TOOMANY]")
        told = await ok(client, "GETMETADATA (DEPTH 1) INBOX /private")
        assert told == [b'* METADATA INBOX (/private/a "1" /private/b "1" /private/c "1")']
        await ok(client, 'SETMETADATA INBOX (/private/a NIL /private/d "1")')


async def test_list_tells_what_was_noted(world: World, inbox: Box) -> None:
    client = await world.session()
    await ok(client, 'SETMETADATA Sent (/shared/comment "x")')
    told = await ok(client, 'LIST "" (INBOX Sent) RETURN (METADATA (/shared/comment) STATUS (MESSAGES))')
    assert told == [
        b'* LIST (\\HasNoChildren) "/" INBOX', b"* STATUS INBOX (MESSAGES 0)",
        b'* METADATA INBOX (/shared/comment NIL)', b'* LIST (\\HasNoChildren \\Sent) "/" Sent',
        b"* STATUS Sent (MESSAGES 0)", b'* METADATA Sent (/shared/comment "x")',
    ]  # fmt: skip


async def test_notes_are_sealed_in_the_store(world: World, inbox: Box) -> None:
    client = await world.session()
    await ok(client, 'SETMETADATA INBOX (/private/comment "Mme Exemple viendra mardi")')
    held = b"".join(path.read_bytes() for path in (world.config.root / "data").rglob("*") if path.is_file())
    assert b"/private/comment" in held
    assert b"viendra mardi" not in held


def test_an_entry_that_is_not_utf8_is_malformed() -> None:
    assert read(b'GETMETADATA x "/private/\xff"') == str(Malformed("Text is not UTF-8"))
