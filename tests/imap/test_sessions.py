"""The door on the real store, told as transcripts: one exchange after another, and what the store holds after it."""

from __future__ import annotations

import re

import pytest

from mss.config import Limits
from mss.imap import changing, reading
from mss.mail import mime
from mss.model.account import Box
from mss.model.message import Message
from mss.services import mailbox
from tests.imap.imap_world import DOCTOR, LETTER, NESTED, NOW, Client, World


def numbers(octets: bytes) -> bytes:
    """Return octets with UIDVALIDITY values, which depend on the store, made plain."""
    return re.sub(rb"(UIDVALIDITY|APPENDUID|COPYUID) \d+", rb"\1 V", octets)


async def test_select_tells_the_mailbox(world: World, inbox: Box) -> None:
    await world.deliver(inbox, flags=("\\Seen", "$Work"))
    await world.deliver(inbox)
    client = await world.session()
    told = [numbers(line) for line in await client.ask("SELECT inbox")]
    assert told == [
        b"* FLAGS (\\Seen \\Answered \\Flagged \\Deleted \\Draft $Work)",
        b"* OK [PERMANENTFLAGS (\\Seen \\Answered \\Flagged \\Deleted \\Draft $Work \\*)] Flags",
        b"* 2 EXISTS",
        b"* 0 RECENT",
        b"* OK [UNSEEN 2] First unseen",
        b"* OK [UIDVALIDITY V] UIDs valid",
        b"* OK [UIDNEXT 3] Next UID",
        b"* OK [MAILBOXID (F1)] Its name",
        b"* OK [HIGHESTMODSEQ 3] Highest",
        b"OK [READ-WRITE] Selected",
    ]
    assert (await client.ask("EXAMINE INBOX"))[-1] == b"OK [READ-ONLY] Selected"
    assert (await client.ask("SELECT Nowhere"))[-1] == b"NO [NONEXISTENT] No such mailbox"
    assert (await client.ask("FETCH 1 FLAGS"))[-1] == b"BAD Select a mailbox first"


async def test_default_mailboxes_are_listed_with_their_use(world: World, inbox: Box) -> None:
    client = await world.session()
    assert await client.ask('LIST "" *') == [
        b'* LIST (\\HasNoChildren) "/" INBOX',
        b'* LIST (\\HasNoChildren \\Archive) "/" Archive',
        b'* LIST (\\HasNoChildren \\Drafts) "/" Drafts',
        b'* LIST (\\HasNoChildren \\Junk) "/" Junk',
        b'* LIST (\\HasNoChildren \\Sent) "/" Sent',
        b'* LIST (\\HasNoChildren \\Trash) "/" Trash',
        b"OK Done",
    ]
    assert await client.ask('LIST "" ""') == [b'* LIST (\\Noselect) "/" ""', b"OK Done"]
    assert await client.ask("NAMESPACE") == [b'* NAMESPACE (("" "/")) NIL NIL', b"OK Done"]


async def test_mailboxes_are_made_renamed_and_deleted(world: World, inbox: Box) -> None:
    client = await world.session()
    assert (await client.ask("CREATE Envoy&AOk-s/2026/"))[-1].startswith(b"OK [MAILBOXID (F")
    assert await client.ask('LIST "" Envoy*') == [
        b'* LIST (\\HasChildren) "/" Envoy&AOk-s',
        b'* LIST (\\HasNoChildren) "/" Envoy&AOk-s/2026',
        b"OK Done",
    ]
    assert await client.ask("CREATE Envoy&AOk-s") == [b"NO [ALREADYEXISTS] The mailbox exists already"]
    assert await client.ask("RENAME Envoy&AOk-s Partis") == [b"OK Done"]
    assert await client.ask("DELETE Partis") == [b"NO [CANNOT] That cannot be done with this mailbox"]
    assert await client.ask("DELETE Partis/2026") == [b"OK Done"]
    assert await client.ask("DELETE Partis") == [b"OK Done"]
    assert await client.ask("DELETE Partis") == [b"NO [NONEXISTENT] No such mailbox"]
    assert await client.ask("DELETE inbox") == [b"NO [CANNOT] That cannot be done with this mailbox"]
    assert await client.ask("RENAME Nowhere Somewhere") == [b"NO [NONEXISTENT] No such mailbox"]
    assert (await client.ask('CREATE "a//b"'))[-1].startswith(b"NO [CANNOT]")


async def test_subscriptions(world: World, inbox: Box) -> None:
    client = await world.session()
    await client.ask("CREATE a/b")
    assert await client.ask("UNSUBSCRIBE a") == [b"OK Done"]
    assert await client.ask('LSUB "" a*') == [
        b'* LSUB (\\Noselect) "/" a',
        b'* LSUB () "/" a/b',
        b"OK Done",
    ]
    assert await client.ask('LSUB "" a/%') == [b'* LSUB () "/" a/b', b"OK Done"]
    assert await client.ask("SUBSCRIBE a") == [b"OK Done"]
    assert (await client.ask('LSUB "" a'))[0] == b'* LSUB () "/" a'
    assert await client.ask("SUBSCRIBE none") == [b"NO [NONEXISTENT] No such mailbox"]
    assert await client.ask("UNSUBSCRIBE none") == [b"OK Done"]


async def test_status(world: World, inbox: Box) -> None:
    await world.deliver(inbox, flags=("\\Seen",))
    await world.deliver(inbox)
    client = await world.session()
    told = (await client.ask("STATUS INBOX (MESSAGES UNSEEN UIDNEXT RECENT HIGHESTMODSEQ)"))[0]
    assert told == b"* STATUS INBOX (MESSAGES 2 UNSEEN 1 UIDNEXT 3 RECENT 0 HIGHESTMODSEQ 3)"
    assert (await client.ask("STATUS none (MESSAGES)")) == [b"NO [NONEXISTENT] No such mailbox"]


async def test_fetch_of_rows(world: World, inbox: Box) -> None:
    await world.deliver(inbox, flags=("\\Flagged",))
    client = await world.session("INBOX")
    envelope = (
        b'ENVELOPE ("Sun, 22 Nov 2026 09:00:00 +0100" "Resultats" (("Labo" NIL "labo" "pro.example")) '
        b'(("Labo" NIL "labo" "pro.example")) (("Labo" NIL "labo" "pro.example")) '
        b'((NIL NIL "docteur" "pro.example")) NIL NIL NIL "<1@pro.example>")'
    )
    structure = b'BODYSTRUCTURE ("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 9 1 NIL NIL NIL NIL)'
    date = b'INTERNALDATE "22-Nov-2026 10:30:00 +0000"'
    table = {
        "FLAGS": b"FLAGS (\\Flagged)",
        "(UID FLAGS)": b"UID 1 FLAGS (\\Flagged)",
        "RFC822.SIZE": b"RFC822.SIZE 155",
        "FAST": b"FLAGS (\\Flagged) " + date + b" RFC822.SIZE 155",
        "ALL": b"FLAGS (\\Flagged) " + date + b" RFC822.SIZE 155 " + envelope,
        "(FLAGS UID ENVELOPE BODYSTRUCTURE)": b"UID 1 FLAGS (\\Flagged) " + envelope + b" " + structure,
        "(BODY)": b'BODY ("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 9 1)',
        "BODYSTRUCTURE": structure,
    }
    for items, expected in table.items():
        assert await client.ask(f"FETCH 1 {items}") == [b"* 1 FETCH (" + expected + b")", b"OK Done"]
    assert await client.ask("UID FETCH 1:* RFC822.SIZE") == [b"* 1 FETCH (UID 1 RFC822.SIZE 155)", b"OK Done"]
    assert await client.ask("UID FETCH 9 FLAGS") == [b"OK Done"]
    assert await client.ask("FETCH 2 FLAGS") == [b"BAD No such message number"]


async def test_fetch_of_octets(world: World, inbox: Box) -> None:
    await world.deliver(inbox, NESTED)
    client = await world.session("INBOX")
    header, _, body = NESTED.partition(b"\r\n\r\n")

    def literal(label: bytes, octets: bytes) -> bytes:
        return b"* 1 FETCH (%b {%d}\r\n%b)" % (label, len(octets), octets)

    table = {
        "BODY.PEEK[]": (b"BODY[]", NESTED),
        "BODY.PEEK[HEADER]": (b"BODY[HEADER]", header + b"\r\n\r\n"),
        "RFC822.HEADER": (b"RFC822.HEADER", header + b"\r\n\r\n"),
        "BODY.PEEK[TEXT]": (b"BODY[TEXT]", body),
        "BODY.PEEK[]<5.10>": (b"BODY[]<5>", NESTED[5:15]),
        "BODY.PEEK[]<99999.10>": (b"BODY[]<99999>", b""),
        "BODY.PEEK[1]": (b"BODY[1]", "échographie normale".encode()),
        "BODY.PEEK[1.MIME]": (b"BODY[1.MIME]", b"Content-Type: text/plain; charset=utf-8\r\n\r\n"),
        "BODY.PEEK[2.HEADER]": (b"BODY[2.HEADER]", b"Subject: dedans\r\nX-Odd: 1\r\n\r\n"),
        "BODY.PEEK[2.TEXT]<0.5>": (b"BODY[2.TEXT]<0>", b"texte"),
        "BODY.PEEK[2.1]": (b"BODY[2.1]", "texte caché".encode()),
        "BODY.PEEK[3]": (b"BODY[3]", b"JVBERg=="),
        "BODY.PEEK[HEADER.FIELDS (from x-none)]": (
            b"BODY[HEADER.FIELDS (from x-none)]",
            b"From: a@pro.example\r\n\r\n",
        ),
        "BODY.PEEK[2.HEADER.FIELDS.NOT (Subject)]": (
            b"BODY[2.HEADER.FIELDS.NOT (Subject)]",
            b"X-Odd: 1\r\n\r\n",
        ),
    }
    for item, (label, octets) in table.items():
        assert await client.ask(f"FETCH 1 {item}") == [literal(label, octets), b"OK Done"]
    assert await client.ask("FETCH 1 BODY.PEEK[4]") == [b"* 1 FETCH (BODY[4] NIL)", b"OK Done"]
    assert await client.ask("FETCH 1 FLAGS") == [b"* 1 FETCH (FLAGS ())", b"OK Done"]


async def test_fetching_a_body_marks_it_as_read_once(world: World, inbox: Box) -> None:
    await world.deliver(inbox)
    client = await world.session("INBOX")
    assert (await client.ask("FETCH 1 BODY[1]"))[0].startswith(b"* 1 FETCH (FLAGS (\\Seen) BODY[1] {9}")
    assert await client.ask("FETCH 1 BODY[1]") == [b"* 1 FETCH (BODY[1] {9}\r\nBonjour\r\n)", b"OK Done"]
    await client.ask("EXAMINE INBOX")
    await client.ask("STORE 1 FLAGS ()")
    assert await client.ask("FETCH 1 (FLAGS)") == [b"* 1 FETCH (FLAGS (\\Seen))", b"OK Done"]


async def test_examine_changes_nothing(world: World, inbox: Box) -> None:
    await world.deliver(inbox, flags=("\\Deleted",))
    client = await world.session()
    await client.ask("EXAMINE INBOX")
    await client.ask("FETCH 1 BODY[]")
    refused = b"NO [CANNOT] The mailbox is open for reading only"
    for command in ("STORE 1 FLAGS (\\Seen)", "EXPUNGE", "MOVE 1 Trash"):
        assert await client.ask(command) == [refused]
    assert await client.ask("CLOSE") == [b"OK Done"]
    await client.ask("EXAMINE INBOX")
    assert await client.ask("FETCH 1 FLAGS") == [b"* 1 FETCH (FLAGS (\\Deleted))", b"OK Done"]


async def test_store(world: World, inbox: Box) -> None:
    for _ in range(3):
        await world.deliver(inbox)
    client = await world.session("INBOX")
    assert await client.ask("STORE 1:2 +FLAGS (\\Seen)") == [
        b"* 1 FETCH (UID 1 FLAGS (\\Seen))",
        b"* 2 FETCH (UID 2 FLAGS (\\Seen))",
        b"OK Done",
    ]
    assert await client.ask("STORE 1 +FLAGS.SILENT (\\Flagged)") == [b"OK Done"]
    assert await client.ask("STORE 1 -FLAGS (\\Seen)") == [b"* 1 FETCH (UID 1 FLAGS (\\Flagged))", b"OK Done"]
    assert await client.ask("UID STORE 3 FLAGS (\\Draft \\Recent \\Odd)") == [
        b"* 3 FETCH (UID 3 FLAGS (\\Draft))",
        b"OK Done",
    ]
    assert await client.ask("STORE 3 FLAGS ()") == [b"* 3 FETCH (UID 3 FLAGS ())", b"OK Done"]
    told = await client.ask("STORE 1 +FLAGS ($Work)")
    assert told[0] == b"* FLAGS (\\Seen \\Answered \\Flagged \\Deleted \\Draft $Work)"
    assert told[2:] == [b"* 1 FETCH (UID 1 FLAGS (\\Flagged $Work))", b"OK Done"]
    assert await client.ask("STORE 9 FLAGS ()") == [b"BAD No such message number"]
    assert await client.ask("UID STORE 9 FLAGS ()") == [b"OK Done"]


async def test_condstore(world: World, inbox: Box) -> None:
    for _ in range(3):
        await world.deliver(inbox)
    client = await world.session()
    assert await client.ask("ENABLE CONDSTORE X-NONE") == [b"* ENABLED CONDSTORE", b"OK Done"]
    assert b"* OK [HIGHESTMODSEQ 4] Highest" in await client.ask("SELECT INBOX")
    assert await client.ask("STORE 1 FLAGS (\\Seen)") == [
        b"* 1 FETCH (UID 1 FLAGS (\\Seen) MODSEQ (5))",
        b"OK Done",
    ]
    assert await client.ask("STORE 2 FLAGS.SILENT (\\Seen)") == [b"* 2 FETCH (UID 2 MODSEQ (6))", b"OK Done"]
    assert await client.ask("UID STORE 1:3 (UNCHANGEDSINCE 5) +FLAGS (\\Flagged)") == [
        b"* 1 FETCH (UID 1 FLAGS (\\Seen \\Flagged) MODSEQ (7))",
        b"* 3 FETCH (UID 3 FLAGS (\\Flagged) MODSEQ (7))",
        b"OK [MODIFIED 2] Some were changed meanwhile",
    ]
    assert await client.ask("FETCH 1:* (FLAGS) (CHANGEDSINCE 6)") == [
        b"* 1 FETCH (FLAGS (\\Seen \\Flagged) MODSEQ (7))",
        b"* 3 FETCH (FLAGS (\\Flagged) MODSEQ (7))",
        b"OK Done",
    ]
    assert await client.ask("SEARCH MODSEQ 6") == [b"* SEARCH 1 2 3 (MODSEQ 7)", b"OK Done"]
    assert await client.ask("SEARCH MODSEQ 8") == [b"* SEARCH", b"OK Done"]


async def test_modseq_is_told_once_a_client_knows_it(world: World, inbox: Box) -> None:
    await world.deliver(inbox)
    client = await world.session("INBOX")
    assert (await client.ask("FETCH 1 FLAGS"))[0] == b"* 1 FETCH (FLAGS ())"
    assert (await client.ask("FETCH 1 MODSEQ"))[0] == b"* 1 FETCH (MODSEQ (2))"
    assert (await client.ask("FETCH 1 FLAGS"))[0] == b"* 1 FETCH (FLAGS () MODSEQ (2))"


SEARCHES = {
    "ALL": b" 1 2 3",
    "1:2": b" 1 2",
    "UID 2:*": b" 2 3",
    "SEEN": b" 2",
    "UNSEEN UNDELETED": b" 1 3",
    "KEYWORD $work": b" 2",
    "UNKEYWORD $Work": b" 1 3",
    "KEYWORD $none": b"",
    "FROM labo": b" 1 3",
    'FROM "Labo <labo@"': b" 1 3",
    "SUBJECT resultats": b" 1 3",
    'SUBJECT "d\'échographie"': b" 2",
    "TO docteur": b" 1 3",
    "CC docteur": b"",
    "HEADER Message-ID <1@pro.example>": b" 1 3",
    'HEADER X-Odd ""': b"",
    "HEADER Content-Type mixed": b" 2",
    "TEXT bonjour": b" 1 3",
    "BODY cach": b" 2",
    "TEXT MULTIPART": b" 2",
    "BODY multipart": b"",
    "OR SEEN FROM labo": b" 1 2 3",
    "NOT FROM labo": b" 2",
    "NOT TEXT bonjour": b" 2",
    "OR BODY bonjour SUBJECT Compte": b" 1 2 3",
    "SENTON 22-Nov-2026": b" 1 3",
    "SENTBEFORE 22-Nov-2026": b"",
    "SINCE 22-Nov-2026": b" 1 2 3",
    "ON 21-Nov-2026": b"",
    "BEFORE 23-Nov-2026 SMALLER 200": b" 1 3",
    "LARGER 200": b" 2",
    "NEW": b"",
    "OLD": b" 1 2 3",
}


async def test_search(world: World, inbox: Box) -> None:
    await world.deliver(inbox)
    await world.deliver(inbox, NESTED, flags=("\\Seen", "$Work"))
    await world.deliver(inbox)
    client = await world.session("INBOX")
    found = {program: await client.ask(f"SEARCH {program}") for program in SEARCHES}
    assert found == {program: [b"* SEARCH" + expected, b"OK Done"] for program, expected in SEARCHES.items()}


async def test_search_by_uid_and_its_errors(world: World, inbox: Box) -> None:
    await world.deliver(inbox)
    await world.deliver(inbox)
    client = await world.session("INBOX")
    await client.ask("STORE 1 FLAGS (\\Deleted)")
    await client.ask("EXPUNGE")
    assert await client.ask("UID SEARCH ALL") == [b"* SEARCH 2", b"OK Done"]
    assert await client.ask("SEARCH ALL") == [b"* SEARCH 1", b"OK Done"]
    assert await client.ask("SEARCH 7") == [b"BAD No such message number"]
    assert (await client.ask("SEARCH CHARSET latin1 ALL"))[-1].startswith(b"NO [BADCHARSET")


async def test_copy_and_move(world: World, inbox: Box) -> None:
    for _ in range(3):
        await world.deliver(inbox, flags=("$Work",))
    client = await world.session("INBOX")
    assert [numbers(line) for line in await client.ask("COPY 1:2 Archive")] == [b"OK [COPYUID V 1:2 1:2] Done"]
    assert [numbers(line) for line in await client.ask("MOVE 1,3 Archive")] == [
        b"* OK [COPYUID V 1,3 3:4] Moved",
        b"* 3 EXPUNGE",
        b"* 1 EXPUNGE",
        b"OK Done",
    ]
    assert await client.ask("UID MOVE 99 Archive") == [b"OK Nothing to do"]
    assert await client.ask("COPY 1 none") == [b"NO [TRYCREATE] No such mailbox"]
    assert await client.ask("COPY 9 Archive") == [b"BAD No such message number"]
    await client.ask("SELECT Archive")
    assert (await client.ask("UID FETCH 4 FLAGS"))[0] == b"* 4 FETCH (UID 4 FLAGS ($Work))"
    assert [numbers(line) for line in await client.ask("COPY 1 Archive")] == [
        b"* 5 EXISTS",
        b"* 0 RECENT",
        b"OK [COPYUID V 1 5] Done",
    ]


async def test_large_changes_go_in_slices(world: World, inbox: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(changing, "_SLICE_LETTERS", 2)
    for _ in range(5):
        await world.deliver(inbox)
    client = await world.session("INBOX")
    commits = world.store.commits
    assert len(await client.ask("STORE 1:* +FLAGS (\\Seen)")) == 6
    assert world.store.commits == commits + 3
    assert [numbers(line) for line in await client.ask("MOVE 1:* Archive")] == [
        b"* OK [COPYUID V 1:2,3:4,5 1:2,3:4,5] Moved",
        *(b"* %d EXPUNGE" % number for number in (5, 4, 3, 2, 1)),
        b"OK Done",
    ]


async def test_without_tls_a_client_that_sends_no_more_is_still_answered(world: World) -> None:
    client = await world.connect(implicit_tls=False)
    client.send(b"a CAPABILITY\r\nb LOGOUT\r\n")
    client.writer.write_eof()
    assert (await client.until(b"b "))[-1] == b"b OK Done"


async def test_expunge(world: World, inbox: Box) -> None:
    for _ in range(4):
        await world.deliver(inbox)
    client = await world.session("INBOX")
    await client.ask("STORE 1,2,4 FLAGS.SILENT (\\Deleted)")
    assert await client.ask("UID EXPUNGE 2:3") == [b"* 2 EXPUNGE", b"OK Done"]
    assert await client.ask("EXPUNGE") == [b"* 3 EXPUNGE", b"* 1 EXPUNGE", b"OK Done"]
    assert await client.ask("EXPUNGE") == [b"OK Done"]
    await client.ask("STORE 1 FLAGS.SILENT (\\Deleted)")
    assert await client.ask("UNSELECT") == [b"OK Done"]
    assert b"* 1 EXISTS" in await client.ask("SELECT INBOX")
    assert await client.ask("CLOSE") == [b"OK Done"]
    assert b"* 0 EXISTS" in await client.ask("SELECT INBOX")


async def test_append(world: World, inbox: Box) -> None:
    client = await world.session()
    assert numbers(await client.append("Sent", LETTER, '(\\Seen $Work) "01-Feb-2026 08:00:00 +0100" ')) == (
        b"OK [APPENDUID V 1] Done"
    )
    await client.ask("SELECT Sent")
    told = await client.ask("FETCH 1 (FLAGS INTERNALDATE BODY.PEEK[])")
    assert told[
        0
    ] == b'* 1 FETCH (FLAGS (\\Seen $Work) INTERNALDATE " 1-Feb-2026 07:00:00 +0000" BODY[] {%d}\r\n%b)' % (
        len(LETTER),
        LETTER,
    )
    client.send(b"x APPEND Sent {%d+}\r\n%b\r\n" % (len(LETTER), LETTER))
    assert [numbers(line) for line in await client.until(b"x ")] == [
        b"* 2 EXISTS",
        b"* 0 RECENT",
        b"x OK [APPENDUID V 2] Done",
    ]
    assert await client.append("none", LETTER) == b"NO [TRYCREATE] No such mailbox"
    assert await client.append("Sent", b"") == b"NO [CANNOT] A letter cannot be empty"


async def test_news_are_told_with_the_next_answer_and_expunges_only_where_allowed(world: World, inbox: Box) -> None:
    for _ in range(3):
        await world.deliver(inbox)
    one, other = await world.session("INBOX"), await world.session("INBOX")
    await other.ask("STORE 2 FLAGS (\\Deleted)")
    await other.ask("EXPUNGE")
    await other.ask("STORE 2 FLAGS (\\Flagged)")
    await world.deliver(inbox)
    assert await one.ask("FETCH 3 UID") == [
        b"* 3 FETCH (UID 3)",
        b"* 4 EXISTS",
        b"* 0 RECENT",
        b"* 3 FETCH (UID 3 FLAGS (\\Flagged))",
        b"OK Done",
    ]
    assert await one.ask("FETCH 2 FLAGS") == [b"NO [EXPUNGEISSUED] Some of these letters are gone"]
    assert await one.ask("FETCH 2 BODY[]") == [b"NO [EXPUNGEISSUED] Some of these letters are gone"]
    assert await one.ask("SEARCH ALL") == [b"* SEARCH 1 2 3 4", b"OK Done"]
    assert await one.ask("NOOP") == [b"* 2 EXPUNGE", b"OK Done"]
    assert await one.ask("UID SEARCH ALL") == [b"* SEARCH 1 3 4", b"OK Done"]


async def test_a_silent_store_hides_nothing_of_what_others_did(world: World, inbox: Box) -> None:
    await world.deliver(inbox)
    one, other = await world.session("INBOX"), await world.session("INBOX")
    await other.ask("STORE 1 +FLAGS (\\Answered)")
    told = [b"* 1 FETCH (UID 1 FLAGS (\\Seen \\Answered))", b"OK Done"]
    assert await one.ask("STORE 1 +FLAGS.SILENT (\\Seen)") == told
    assert await one.ask("STORE 1 +FLAGS.SILENT (\\Flagged)") == [b"OK Done"]
    await other.ask("NOOP")
    assert await other.ask("STORE 1 +FLAGS.SILENT (\\Flagged)") == [b"OK Done"]
    assert await one.ask("NOOP") == [b"OK Done"]


async def test_idle_tells_at_once(world: World, inbox: Box) -> None:
    client = await world.session("INBOX")
    client.send(b"i IDLE\r\n")
    assert await client.line() == b"+ Idling"
    await world.deliver(inbox)
    assert [await client.line(), await client.line()] == [b"* 1 EXISTS", b"* 0 RECENT"]
    other = await world.session("INBOX")
    await other.ask("STORE 1 FLAGS (\\Seen \\Deleted)")
    assert await client.line() == b"* 1 FETCH (UID 1 FLAGS (\\Seen \\Deleted))"
    await other.ask("EXPUNGE")
    assert await client.line() == b"* 1 EXPUNGE"
    client.send(b"DONE\r\n")
    assert await client.line() == b"i OK Done"
    client.send(b"j IDLE\r\n")
    assert await client.line() == b"+ Idling"
    client.send(b"NOOP\r\n")
    assert await client.line() == b"j BAD Expected DONE"


async def test_idle_without_a_mailbox_waits_quietly(world: World, inbox: Box) -> None:
    client = await world.session()
    client.send(b"i IDLE\r\nDONE\r\n")
    assert [await client.line(), await client.line()] == [b"+ Idling", b"i OK Done"]


async def test_when_the_selected_mailbox_is_deleted_the_session_ends(world: World, inbox: Box) -> None:
    client, other = await world.session(), await world.session()
    await client.ask("CREATE a")
    await client.ask("SELECT a")
    await other.ask("DELETE a")
    assert await client.ask("NOOP") == [b"* BYE The selected mailbox was deleted", b""]
    await other.ask("CREATE b")
    await other.ask("SELECT b")
    assert await other.ask("DELETE b") == [b"OK Done"]
    assert await other.ask("FETCH 1 UID") == [b"BAD Select a mailbox first"]


async def test_a_large_letter_goes_out_in_slices(world: World, inbox: Box) -> None:
    large = LETTER + b"0123456789abcdef0123456789abcdef0123456789abcdef\r\n" * 60_000
    await world.deliver(inbox, large)
    client = await world.session("INBOX")
    told = await client.ask("FETCH 1 (UID BODY[])")
    assert told[0] == b"* 1 FETCH (UID 1 FLAGS (\\Seen) BODY[] {%d}\r\n%b)" % (len(large), large)
    assert told[1] == b"OK Done"
    part = await client.ask("FETCH 1 BODY.PEEK[]<1000000.1500000>")
    assert part[0] == b"* 1 FETCH (BODY[]<1000000> {1500000}\r\n%b)" % large[1_000_000:2_500_000]


async def test_parts_of_a_large_letter_are_read_piece_by_piece(
    world: World, inbox: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Clients ask for an attachment in many ranges: its letter is indexed once, and a range costs a range."""
    monkeypatch.setattr(reading, "_BATCH_OCTETS", 1000)
    attachment = bytes(range(65, 90)) * 1000
    letter = NESTED.replace(b"JVBERg==", attachment)
    await world.deliver(inbox, letter)
    client = await world.session("INBOX")
    indexed: list[int] = []
    index = mime.index

    def counted(octets: bytes, limits: Limits) -> Message:
        indexed.append(len(octets))
        return index(octets, limits)

    monkeypatch.setattr(mime, "index", counted)
    found = b""
    for start in range(0, len(attachment) + 1, 5000):
        told = (await client.ask(f"UID FETCH 1 (BODY.PEEK[3]<{start}.5000> BODY.PEEK[9])"))[0]
        assert told.endswith(b" BODY[9] NIL)")
        found += told.partition(b"}\r\n")[2].removesuffix(b" BODY[9] NIL)")
    assert found == attachment
    assert indexed == [len(letter)]
    both = await client.ask("FETCH 1 (BODY.PEEK[1] BODY.PEEK[HEADER.FIELDS (From)])")
    assert both[0].startswith(b"* 1 FETCH (BODY[1] {20}\r\n")
    assert (await client.ask("FETCH 1 BODY.PEEK[]"))[0].endswith(letter + b")")


async def test_the_header_of_a_letter_is_found_beyond_the_first_octets(world: World, inbox: Box) -> None:
    long_header = b"X-Long: " + b"y" * 900 + b"\r\n"
    letter = long_header * 80 + LETTER
    await world.deliver(inbox, letter)
    client = await world.session("INBOX")
    told = await client.ask("FETCH 1 BODY.PEEK[HEADER.FIELDS (Subject)]")
    assert told[0].endswith(b"{22}\r\nSubject: Resultats\r\n\r\n)")
    assert (await client.ask("SEARCH HEADER x-long yyyy"))[0] == b"* SEARCH 1"


async def test_pipelined_commands_are_answered_in_order(world: World, inbox: Box) -> None:
    await world.deliver(inbox)
    client = await world.session()
    client.send(b"a SELECT INBOX\r\nb FETCH 1 UID\r\nc STORE 1 FLAGS (\\Seen)\r\nd LOGOUT\r\n")
    found = await client.until(b"d ")
    assert [line[:4] for line in found if not line.startswith(b"*")] == [b"a OK", b"b OK", b"c OK", b"d OK"]


async def test_shared_boxes_have_a_namespace(world: World, inbox: Box) -> None:
    shared = await world.box("service@pro.example")
    nurse = await world.box("infirmiere@pro.example")
    await world.account("infirmiere@pro.example", nurse, shared)
    await world.deliver(shared)
    client = await world.session(login="infirmiere@pro.example")
    assert (await client.ask("NAMESPACE"))[0] == b'* NAMESPACE (("" "/")) NIL (("Shared/" "/"))'
    listed = await client.ask('LIST "" Shared*')
    assert listed[0] == b'* LIST (\\Noselect \\HasChildren) "/" Shared'
    assert b'* LIST (\\HasNoChildren) "/" Shared/service@pro.example/INBOX' in listed
    assert b"* 1 EXISTS" in await client.ask("SELECT Shared/service@pro.example/inbox")
    assert [numbers(line) for line in await client.ask("COPY 1 INBOX")] == [b"OK [COPYUID V 1 1] Done"]
    assert await client.ask("CREATE Shared/x") == [b"NO [CANNOT] That cannot be done with this mailbox"]
    assert (await client.ask("SELECT Shared"))[-1] == b"NO [NONEXISTENT] No such mailbox"
    assert (await client.ask(f"SELECT Shared/{DOCTOR}/INBOX"))[-1] == b"NO [NONEXISTENT] No such mailbox"
    assert await client.ask("RENAME Archive Shared/service@pro.example/Archive2") == [
        b"NO [CANNOT] That cannot be done with this mailbox"
    ]
    box = await world.store.read(mailbox.find, nurse.id, "INBOX", NOW)
    assert (await world.store.read(mailbox.status, box.id, NOW)).messages == 1


async def test_letters_of_others_cannot_be_reached(world: World, inbox: Box) -> None:
    await world.deliver(inbox)
    stranger = await world.box("autre@pro.example")
    await world.account("autre@pro.example", stranger)
    client: Client = await world.session("INBOX", login="autre@pro.example")
    assert await client.ask("UID FETCH 1:* BODY[]") == [b"OK Done"]
    assert await client.ask('LIST "" Shared*') == [b"OK Done"]
