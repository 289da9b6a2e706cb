"""Commands put together at random, in every state: never an incident, never a hang, never another's letters."""

from __future__ import annotations

import random

import pytest

from mss.model.account import Box
from tests.imap.imap_world import NESTED, World

WORDS = [
    b"FETCH", b"UID", b"STORE", b"SEARCH", b"COPY", b"MOVE", b"EXPUNGE", b"LIST", b"LSUB", b"STATUS", b"CREATE",
    b"DELETE", b"RENAME", b"SUBSCRIBE", b"SELECT", b"EXAMINE", b"CLOSE", b"UNSELECT", b"NOOP", b"CHECK", b"ENABLE",
    b"NAMESPACE", b"ID", b"CAPABILITY", b"APPEND", b"REPLACE", b"GETQUOTA", b"GETQUOTAROOT", b"GETACL", b"MYRIGHTS",
    b"LISTRIGHTS",
    b"SETACL", b"DELETEACL",
    b"NAMESPACE", b"ID", b"CAPABILITY", b"SORT", b"THREAD", b"SEARCH RETURN", b"UID FETCH 1:* FLAGS",
    b"SELECT INBOX", b"UID SORT", b"GETMETADATA", b"SETMETADATA", b"GETMETADATA (DEPTH 1)", b"SETMETADATA INBOX",
]  # fmt: skip
ARGUMENTS = [
    b"1", b"1:*", b"*", b"2,1", b"99", b"4294967295", b"0", b"(FLAGS UID)", b"FULL", b"BODY[]", b"BODY.PEEK[1.1.MIME]",
    b"(BODY[2.HEADER]<1.5> ENVELOPE)", b"BODY.PEEK[HEADER.FIELDS.NOT (A B)]", b"(CHANGEDSINCE 3)", b"+FLAGS",
    b"-FLAGS.SILENT", b"FLAGS", b"(\\Seen \\Deleted $a)", b"()", b"(UNCHANGEDSINCE 2)", b"ALL", b"NOT", b"OR", b"TEXT",
    b"SUBJECT", b"caf\xc3\xa9", b'"caf\xc3\xa9"', b"SINCE", b"1-Jan-2026", b"MODSEQ", b"7", b"INBOX", b"Trash", b"x/y",
    b'""', b'"%"', b"*", b"&AOk-", b"&bad", b"(MESSAGES UNSEEN)", b"(CONDSTORE)", b"CONDSTORE", b"NIL", b"(", b")",
    b"{3+}\r\nabc", b"HEADER", b"LARGER", b'"\xff"', b"\x01", b"~", b"RETURN", b"Shared/x/INBOX",
    b"(PREVIEW SAVEDATE EMAILID THREADID)",
    b"(BINARY[1] BINARY.SIZE[2.1])", b"BINARY.PEEK[3]<1.2>", b"~{3+}\r\na\0b", b"UTF8 (~{1+}\r\nx)",
    b"EMAILID", b"THREADID",
    b"SAVEDSINCE", b"(SUBSCRIBED RECURSIVEMATCH)", b"RETURN (STATUS (SIZE MAILBOXID) SUBSCRIBED)",
    b"(USE (\\Sent))",
    b"UTF8=ACCEPT", b"IMAP4rev2", b"(SIZE DELETED-STORAGE APPENDLIMIT)", b"(\"%\" *)", b"docteur@pro.example", b"lrs",
    b"$", b"(QRESYNC (1 1))", b"(CHANGEDSINCE 1 VANISHED)", b"(PARTIAL -1:-9)", b"(MIN SAVE)", b"(SAVE)", b"(COUNT)",
    b"(SUBJECT REVERSE FROM)", b"UTF-8", b"REFERENCES", b"ORDEREDSUBJECT", b"OLDER", b"YOUNGER", b"QRESYNC",
    b"/private/comment", b"(/shared/a /private)", b"(MAXSIZE 3)", b'(/private/a "v" /shared/b NIL)',
    b"(/private/a ~{2+}\r\n\0x)",
    b"RETURN (METADATA (/shared/a))", b'CATENATE (URL "/INBOX/;UID=1" TEXT {3+}\r\na:b)',
    b'CATENATE (URL ";UID=1/;SECTION=1")',
    b"CATENATE (TEXT ~{2+}\r\n\0x)", b"CATENATE (URL /x/;UID=9)", b"APPEND INBOX",
]  # fmt: skip


def command(dice: random.Random) -> bytes:
    """Return one command, half of them well begun."""
    words = [dice.choice(WORDS)] + [dice.choice(ARGUMENTS) for _ in range(dice.randrange(5))]
    if dice.random() < 0.1:
        dice.shuffle(words)
    return b" ".join(words)


@pytest.mark.parametrize("seed", range(4))
async def test_random_commands_are_answered_and_never_an_incident(
    world: World, inbox: Box, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    monkeypatch.setattr("mss.imap.session.Session.count_error", lambda self: None)
    for _ in range(3):
        await world.deliver(inbox, NESTED)
    dice = random.Random(seed)
    client = await world.session("INBOX")
    conditions = set()
    for _ in range(250):
        asked = command(dice)
        answer = (await client.ask(asked))[-1]
        if answer == b"":
            client = await world.session("INBOX")
            continue
        assert b"incident" not in answer, asked
        assert answer.partition(b" ")[0] in (b"OK", b"NO", b"BAD"), asked
        conditions.add(answer.partition(b" ")[0])
    assert conditions == {b"OK", b"NO", b"BAD"}
    assert "incident" not in world.count.closed


@pytest.mark.slow
@pytest.mark.parametrize("implicit_tls", [True, False])
async def test_random_octets_before_login_end_the_session_or_are_bad(world: World, implicit_tls: bool) -> None:
    dice = random.Random(7)
    for _ in range(20):
        client = await world.connect(implicit_tls=implicit_tls)
        client.send(dice.randbytes(dice.randrange(1, 400)).replace(b"\n", b"\r\n") + b"\r\n")
        client.send(b"zz LOGOUT\r\n")
        told = await client.until(b"zz ")
        assert all(line[:2] in (b"* ", b"zz", b"+ ", b"") or b" BAD " in line for line in told)
        await client.close()
    await world.settled()
    assert "incident" not in world.count.closed
