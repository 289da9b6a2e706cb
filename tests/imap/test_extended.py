"""Extensions as transcripts: listing, letters that come in many ways, names of letters, quotas, rights, UTF-8."""

from __future__ import annotations

import re

import pytest

from mss.imap import session
from mss.model.account import Box, BoxState
from mss.model.mailbox import Quota
from mss.model.party import BoxKind
from mss.services import accounts, own_seen, quotas
from tests.imap.imap_world import DOCTOR, LETTER, NESTED, NOW, Client, World

DESK = "accueil@pro.example"
PATIENT = "279035121518989@patient.example"


def letter(message_id: str, *, to: str = DOCTOR, references: str = "", subject: str = "Suivi") -> bytes:
    """Return a letter of a thread."""
    fields = [
        "From: Labo <labo@pro.example>", f"To: {to}", f"Subject: {subject}", f"Message-ID: <{message_id}@pro.example>",
        *([f"References: <{references}@pro.example>"] if references else []),
    ]  # fmt: skip
    return ("\r\n".join(fields) + "\r\n\r\nBonjour\r\n").encode()


def plain(lines: list[bytes]) -> list[bytes]:
    """Return lines with numbers that depend on the store made plain."""
    return [re.sub(rb"(UIDVALIDITY|APPENDUID|COPYUID) \d+", rb"\1 V", line) for line in lines]


# -- listing ---------------------------------------------------------------------------------------------------------


async def test_list_with_options(world: World, inbox: Box) -> None:
    client = await world.session()
    for name in ("a", "a/b", "c/d"):
        await client.ask(f"CREATE {name}")
    for name in ("a", "c", "c/d", "Drafts", "Junk", "Sent", "Trash", "Archive"):
        await client.ask(f"UNSUBSCRIBE {name}")
    assert await client.ask('LIST (SUBSCRIBED) "" *') == [
        b'* LIST (\\HasNoChildren \\Subscribed) "/" INBOX',
        b'* LIST (\\HasNoChildren \\Subscribed) "/" a/b',
        b"OK Done",
    ]
    assert await client.ask('LIST (SUBSCRIBED RECURSIVEMATCH) "" %') == [
        b'* LIST (\\HasNoChildren \\Subscribed) "/" INBOX',
        b'* LIST (\\HasChildren) "/" a ("CHILDINFO" ("SUBSCRIBED"))',
        b"OK Done",
    ]
    assert await client.ask('LIST "" (a% "c/%") RETURN (SUBSCRIBED CHILDREN)') == [
        b'* LIST (\\HasChildren) "/" a',
        b'* LIST (\\HasNoChildren) "/" c/d',
        b"OK Done",
    ]
    assert await client.ask('LIST (SPECIAL-USE) "" (D% S%)') == [
        b'* LIST (\\HasNoChildren \\Drafts) "/" Drafts',
        b'* LIST (\\HasNoChildren \\Sent) "/" Sent',
        b"OK Done",
    ]
    assert (await client.ask('LIST (X) "" *'))[-1].startswith(b"BAD")


async def test_list_tells_the_status_of_each(world: World, inbox: Box) -> None:
    await world.deliver(inbox)
    client = await world.session()
    assert await client.ask('LIST "" (INBOX Sent) RETURN (STATUS (MESSAGES SIZE))') == [
        b'* LIST (\\HasNoChildren) "/" INBOX',
        b"* STATUS INBOX (MESSAGES 1 SIZE %d)" % len(LETTER),
        b'* LIST (\\HasNoChildren \\Sent) "/" Sent',
        b"* STATUS Sent (MESSAGES 0 SIZE 0)",
        b"OK Done",
    ]


async def test_status_tells_sizes_and_what_is_deleted(world: World, inbox: Box) -> None:
    await world.deliver(inbox, flags=("\\Deleted",))
    await world.deliver(inbox, NESTED)
    client = await world.session()
    told = (await client.ask("STATUS INBOX (SIZE DELETED DELETED-STORAGE MAILBOXID APPENDLIMIT)"))[0]
    size, limit = len(LETTER) + len(NESTED), world.config.limits.message_max_octets
    assert told == (
        b"* STATUS INBOX (SIZE %d DELETED 1 DELETED-STORAGE %d MAILBOXID (F1) APPENDLIMIT %d)"
        % (size, len(LETTER), limit)
    )


async def test_mailboxes_are_created_for_a_special_use(world: World, inbox: Box) -> None:
    client = await world.session()
    taken = b"NO [USEATTR] That special use cannot be had"
    assert await client.ask("CREATE Mine (USE (\\Sent))") == [taken]
    assert await client.ask("CREATE Mine (USE (\\All))") == [taken]
    assert await client.ask("CREATE Mine (USE (\\Junk \\Sent))") == [taken]
    await client.ask("DELETE Junk")
    assert (await client.ask("CREATE a/Spam (USE (\\junk))"))[-1].startswith(b"OK [MAILBOXID (F")
    assert await client.ask('LIST "" a*') == [
        b'* LIST (\\HasChildren) "/" a',
        b'* LIST (\\HasNoChildren \\Junk) "/" a/Spam',
        b"OK Done",
    ]


# -- letters that come in --------------------------------------------------------------------------------------------


async def test_a_large_literal_may_come_unasked_after_login(world: World, inbox: Box) -> None:
    client = await world.session("INBOX")
    octets = LETTER + b"x" * 100_000
    told = await client.ask(b"APPEND INBOX {%d+}\r\n" % len(octets) + octets)
    assert plain(told)[-1] == b"OK [APPENDUID V 1] Done"
    assert (await client.ask("FETCH 1 RFC822.SIZE"))[0] == b"* 1 FETCH (RFC822.SIZE %d)" % len(octets)


async def test_a_literal_for_which_there_is_no_memory_is_swallowed(
    world: World, inbox: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def never(octets: int, timeout_s: float) -> bool:
        return False

    monkeypatch.setattr(world.server.house.memory, "take", never)
    client = await world.session()
    octets = b"a LOGOUT\r\n" * 10_000
    told = await client.ask(b"APPEND INBOX {%d+}\r\n" % len(octets) + octets)
    assert told == [b"NO [UNAVAILABLE] Too many letters at once, try again"]
    assert (await client.ask("NOOP"))[-1] == b"OK Done"


async def test_several_letters_come_as_one(world: World, inbox: Box) -> None:
    client = await world.session("INBOX")
    one, two = letter("1"), letter("2")
    command = b"APPEND INBOX (\\Seen) {%d+}\r\n%b (x) {%d+}\r\n%b" % (len(one), one, len(two), two)
    assert plain(await client.ask(command)) == [
        b"* FLAGS (\\Seen \\Answered \\Flagged \\Deleted \\Draft x)",
        b"* OK [PERMANENTFLAGS (\\Seen \\Answered \\Flagged \\Deleted \\Draft x \\*)] Flags",
        b"* 2 EXISTS",
        b"* 0 RECENT",
        b"OK [APPENDUID V 1:2] Done",
    ]
    assert (await client.ask("FETCH 1:2 FLAGS"))[:2] == [b"* 1 FETCH (FLAGS (\\Seen))", b"* 2 FETCH (FLAGS (x))"]


@pytest.mark.parametrize("second", [b"{0+}\r\n", b"(" + b"k" * 256 + b") {1+}\r\nx"])
async def test_of_several_letters_all_come_or_none(world: World, inbox: Box, second: bytes) -> None:
    client = await world.session("INBOX")
    told = await client.ask(b"APPEND INBOX {%d+}\r\n%b %b" % (len(LETTER), LETTER, second))
    assert told[-1].startswith(b"NO ["), told
    assert (await client.ask("STATUS INBOX (MESSAGES UIDNEXT)"))[0] == b"* STATUS INBOX (MESSAGES 0 UIDNEXT 1)"


async def test_replace(world: World, inbox: Box) -> None:
    await world.deliver(inbox)
    await world.deliver(inbox)
    client = await world.session("INBOX")
    told = plain(await client.ask(b"REPLACE 1 INBOX (\\Draft) {%d+}\r\n%b" % (len(NESTED), NESTED)))
    assert told == [
        b"* OK [APPENDUID V 3] Replaced", b"* 1 EXPUNGE", b"* 2 EXISTS", b"* 0 RECENT", b"OK Done",
    ]  # fmt: skip
    told = plain(await client.ask(b"UID REPLACE 3 Drafts {%d+}\r\n%b" % (len(LETTER), LETTER)))
    assert told == [b"* OK [APPENDUID V 1] Replaced", b"* 2 EXPUNGE", b"OK Done"]
    tail = b" {%d+}\r\n%b" % (len(LETTER), LETTER)
    assert (await client.ask(b"UID REPLACE 3 INBOX" + tail))[-1].startswith(b"NO [EXPUNGEISSUED]")
    assert (await client.ask(b"REPLACE 9 INBOX" + tail))[-1].startswith(b"BAD")
    assert (await client.ask(b"REPLACE 1 Nowhere" + tail))[-1] == b"NO [TRYCREATE] No such mailbox"
    await client.ask("EXAMINE INBOX")
    assert (await client.ask(b"REPLACE 1 INBOX" + tail))[-1].startswith(b"NO [CANNOT]")


async def test_a_binary_letter_comes_in_and_its_parts_go_out_decoded(world: World, inbox: Box) -> None:
    client = await world.session("INBOX")
    content = b"PDF\0\xff\r\n" * 20
    octets = (
        b'From: a@pro.example\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary="b"\r\n\r\n'
        b"--b\r\nContent-Type: text/plain\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\nd=C3=A9j=C3=A0\r\n"
        b"--b\r\nContent-Type: application/pdf\r\nContent-Transfer-Encoding: binary\r\n\r\n"
        + content
        + b"\r\n--b--\r\n"
    )
    assert plain(await client.ask(b"APPEND INBOX ~{%d+}\r\n%b" % (len(octets), octets)))[-1].startswith(
        b"OK [APPENDUID"
    )
    told = (await client.ask("FETCH 1 (BINARY.PEEK[1] BINARY.SIZE[2] BINARY.PEEK[1]<1.2> BINARY.SIZE[9])"))[0]
    assert told == (
        b"* 1 FETCH (BINARY[1] {6}\r\nd\xc3\xa9j\xc3\xa0 BINARY.SIZE[2] %d "
        b"BINARY[1]<1> {2}\r\n\xc3\xa9 BINARY.SIZE[9] 0)" % len(content)
    )
    client.send(b"b FETCH 1 BINARY[2]\r\n")
    opening = await client.line()
    assert opening == b"* 1 FETCH (FLAGS (\\Seen) BINARY[2] ~{%d}" % len(content)
    assert await client.reader.readexactly(len(content)) == content
    assert (await client.until(b"b "))[-1] == b"b OK Done"
    assert b"\0" not in (await client.ask("FETCH 1 BODY.PEEK[]"))[0]
    assert (await client.ask(b"APPEND INBOX ~{3+}\r\na\0:"))[-1] != b""


async def test_nul_where_no_encoding_helps_is_refused(world: World, inbox: Box) -> None:
    client = await world.session()
    octets = b"Subject: a\0b\r\n\r\nx\r\n"
    assert (await client.ask(b"APPEND INBOX ~{%d+}\r\n%b" % (len(octets), octets)))[-1].startswith(b"NO [UNKNOWN-CTE]")


async def test_an_unknown_encoding_is_said(world: World, inbox: Box) -> None:
    await world.deliver(inbox, b"Content-Transfer-Encoding: x-zip\r\nContent-Type: text/plain\r\n\r\nabc\r\n")
    client = await world.session("INBOX")
    assert (await client.ask("FETCH 1 BINARY.PEEK[1]"))[-1] == b"NO [UNKNOWN-CTE] A part's encoding is unknown"
    assert (await client.ask("FETCH 1 BINARY.SIZE[1]"))[-1] == b"NO [UNKNOWN-CTE] A part's encoding is unknown"
    assert (await client.ask("NOOP"))[-1] == b"OK Done"


# -- names, dates, previews ------------------------------------------------------------------------------------------


def field(line: bytes, name: bytes) -> str:
    """Return an item's value out of a FETCH response."""
    found = re.search(name + rb" \(?([^ )]+)\)?", line)
    assert found is not None, line
    return found.group(1).decode()


async def test_letters_have_names_that_stay(world: World, inbox: Box) -> None:
    for octets in (letter("1"), letter("2", references="1"), letter("3"), letter("1")):
        await world.deliver(inbox, octets)
    client = await world.session("INBOX")
    told = (await client.ask("FETCH 1:* (EMAILID THREADID)"))[:4]
    emails, threads = [field(line, b"EMAILID") for line in told], [field(line, b"THREADID") for line in told]
    assert emails[0] == emails[3]
    assert len(set(emails)) == 3
    assert threads[0] == threads[1] == threads[3] != threads[2]
    await client.ask("COPY 1 Archive")
    assert await client.ask(f"SEARCH EMAILID {emails[0]}") == [b"* SEARCH 1 4", b"OK Done"]
    assert await client.ask(f"SEARCH THREADID {threads[0]} NOT EMAILID {emails[0]}") == [b"* SEARCH 2", b"OK Done"]
    assert await client.ask("SEARCH EMAILID nothing") == [b"* SEARCH", b"OK Done"]
    await client.ask("SELECT Archive")
    assert field((await client.ask("FETCH 1 EMAILID"))[0], b"EMAILID") == emails[0]


async def test_a_thread_is_found_whatever_comes_first(world: World, inbox: Box) -> None:
    await world.deliver(inbox, letter("answer", references="question"))
    await world.deliver(inbox, letter("question"))
    client = await world.session("INBOX")
    told = (await client.ask("FETCH 1:2 THREADID"))[:2]
    assert field(told[0], b"THREADID") == field(told[1], b"THREADID")


async def test_the_mailbox_id_stays_when_the_name_changes(world: World, inbox: Box) -> None:
    client = await world.session()
    made = field((await client.ask("CREATE a"))[-1], b"MAILBOXID")
    await client.ask("RENAME a b")
    assert field((await client.ask("STATUS b (MAILBOXID)"))[0], b"MAILBOXID") == made
    assert made in str(await client.ask("SELECT b"))


async def test_preview_and_savedate(world: World, inbox: Box) -> None:
    await world.deliver(inbox)
    await world.deliver(inbox, NESTED)
    client = await world.session("INBOX")
    assert (await client.ask("FETCH 1:2 (PREVIEW (LAZY) SAVEDATE)"))[:2] == [
        b'* 1 FETCH (SAVEDATE "22-Nov-2026 10:30:00 +0000" PREVIEW "Bonjour")',
        b'* 2 FETCH (SAVEDATE "22-Nov-2026 10:30:00 +0000" PREVIEW {20}\r\n\xc3\xa9chographie normale)',
    ]
    assert (await client.ask("SEARCH SAVEDON 22-Nov-2026 SAVEDATESUPPORTED"))[0] == b"* SEARCH 1 2"
    assert (await client.ask("SEARCH SAVEDBEFORE 22-Nov-2026"))[0] == b"* SEARCH"
    assert (await client.ask("SEARCH SAVEDSINCE 22-Nov-2026 SUBJECT Resultats"))[0] == b"* SEARCH 1"


# -- keywords of the house -------------------------------------------------------------------------------------------


async def test_a_robot_finds_letters_of_patients_and_closed_exchanges(world: World, inbox: Box) -> None:
    await world.deliver(inbox, letter("1", to=PATIENT))
    await world.deliver(inbox, letter("2"))
    client = await world.session("INBOX")
    assert (await client.ask("SEARCH KEYWORD $MSSPatient"))[0] == b"* SEARCH 1"
    assert (await client.ask("SEARCH KEYWORD $MSSClosed"))[0] == b"* SEARCH"
    fin = letter("3", to=PATIENT, references="1", subject="[FIN]")
    await client.append("Sent", fin)
    assert (await client.ask("SEARCH KEYWORD $MSSClosed"))[0] == b"* SEARCH 1"
    await client.ask("SELECT Sent")
    assert (await client.ask("SEARCH KEYWORD $MSSPatient KEYWORD $MSSClosed"))[0] == b"* SEARCH 1"


# -- quotas ----------------------------------------------------------------------------------------------------------


async def test_quotas_are_told_and_kept(world: World, inbox: Box) -> None:
    client = await world.session("INBOX")
    assert await client.ask("GETQUOTAROOT INBOX") == [b"* QUOTAROOT INBOX", b"OK Done"]
    assert (await client.ask(f"GETQUOTA {DOCTOR}"))[-1].startswith(b"NO [NONEXISTENT]")
    await world.store.write(quotas.set_for_kind, BoxKind.PER, Quota(10 * 1024, 3), "test", NOW)
    for _ in range(2):
        await world.deliver(inbox)
    line = b'* QUOTA "docteur@pro.example" (STORAGE 1 10 MESSAGE 2 3)'
    assert await client.ask("GETQUOTAROOT Trash") == [
        b'* QUOTAROOT Trash "docteur@pro.example"', line, b"* 2 EXISTS", b"* 0 RECENT", b"OK Done",
    ]  # fmt: skip
    assert await client.ask(f"GETQUOTA {DOCTOR}") == [line, b"OK Done"]
    assert (await client.ask("GETQUOTAROOT None"))[-1].startswith(b"NO [NONEXISTENT]")
    full = b"NO [OVERQUOTA] The box holds as much as it may"
    assert (await client.ask("COPY 1:2 Archive"))[-1] == full
    assert (await client.ask("COPY 1 Archive"))[-1].startswith(b"OK [COPYUID")
    assert await client.append("INBOX", LETTER) == full
    assert (await client.ask("MOVE 1 Archive"))[-1] == b"OK Done"
    await world.store.write(quotas.set_for_box, inbox.id, Quota(letters_max=9), "test", NOW)
    assert await client.append("INBOX", LETTER + b"x" * 20_000) != full
    await world.store.write(quotas.set_for_box, inbox.id, None, "test", NOW)
    assert await client.append("INBOX", LETTER) == full


# -- rights and shared boxes -----------------------------------------------------------------------------------------


@pytest.fixture
async def desk(world: World, inbox: Box) -> Box:
    """A shared box: its owner, and the doctor as a member."""
    box = await world.box(DESK, BoxKind.ORG)
    await world.account(DESK, box)
    nurse = await world.box("infirmiere@pro.example")
    await world.account("infirmiere@pro.example", nurse, box)
    return box


async def test_rights_follow_delegations(world: World, desk: Box) -> None:
    owner = await world.session(login=DESK)
    assert await owner.ask("MYRIGHTS INBOX") == [b"* MYRIGHTS INBOX lrswikxtecda", b"OK Done"]
    assert await owner.ask("GETACL INBOX") == [
        b'* ACL INBOX "accueil@pro.example" lrswikxtecda "infirmiere@pro.example" lrswikxtecd', b"OK Done",
    ]  # fmt: skip
    assert await owner.ask("LISTRIGHTS INBOX infirmiere@pro.example") == [
        b'* LISTRIGHTS INBOX "infirmiere@pro.example" lrswikxtecd', b"OK Done",
    ]  # fmt: skip
    assert (await owner.ask("LISTRIGHTS INBOX nobody"))[0] == b'* LISTRIGHTS INBOX "nobody" ""'
    told = await owner.ask("SETACL INBOX infirmiere@pro.example -x")
    assert told == [b"NO [NOPERM] Rights follow delegations: ask the operator to give or end one"]
    member = await world.session(login="infirmiere@pro.example")
    shared = f"Shared/{DESK}/INBOX"
    assert (await member.ask(f"MYRIGHTS {shared}"))[0] == b"* MYRIGHTS Shared/accueil@pro.example/INBOX lrswikxtecd"
    for command in (f"GETACL {shared}", f"LISTRIGHTS {shared} x", f"SETACL {shared} x lr", f"DELETEACL {shared} x"):
        assert (await member.ask(command))[-1].startswith(b"NO [NOPERM]")
    assert (await member.ask(f"MYRIGHTS Shared/{DESK}/None"))[-1].startswith(b"NO [NONEXISTENT]")
    await world.store.write(accounts.set_box_state, desk.id, BoxState.CLOSED, "test", NOW)
    again = await world.session(login=DESK)
    assert (await again.ask("MYRIGHTS INBOX"))[0] == b"* MYRIGHTS INBOX lra"


async def seen(client: Client, flags: str) -> list[bytes]:
    """Change \\Seen and return what was told."""
    return await client.ask(f"STORE 1 {flags} (\\Seen)")


async def test_each_reader_of_a_shared_box_may_have_an_own_seen(world: World, desk: Box) -> None:
    await world.deliver(desk)
    await world.deliver(desk)
    await world.store.write(own_seen.begin, desk.id, True, "test", NOW)
    shared = f"Shared/{DESK}/INBOX"
    member, owner = await world.session(shared, "infirmiere@pro.example"), await world.session("INBOX", DESK)
    assert await seen(member, "+FLAGS") == [b"* 1 FETCH (UID 1 FLAGS (\\Seen))", b"OK Done"]
    assert (await member.ask("SEARCH SEEN"))[0] == b"* SEARCH 1"
    assert (await member.ask(f"STATUS {shared} (UNSEEN)"))[0].endswith(b"(UNSEEN 1)")
    assert b"* OK [UNSEEN 2] First unseen" in await member.ask(f"SELECT {shared}")
    # The other one hears that something changed, and that for them it has not.
    assert await owner.ask("NOOP") == [b"* 1 FETCH (UID 1 FLAGS ())", b"OK Done"]
    assert (await owner.ask("SEARCH SEEN"))[0] == b"* SEARCH"
    assert (await owner.ask("STATUS INBOX (UNSEEN)"))[0] == b"* STATUS INBOX (UNSEEN 2)"
    # Other flags are everybody's, and reading marks for the reader alone.
    await owner.ask("STORE 1 FLAGS (\\Flagged)")
    assert await member.ask("NOOP") == [b"* 1 FETCH (UID 1 FLAGS (\\Seen \\Flagged))", b"OK Done"]
    assert (await member.ask("FETCH 2 BODY[TEXT]"))[0].startswith(b"* 2 FETCH (FLAGS (\\Seen) BODY[TEXT]")
    assert (await owner.ask("FETCH 2 FLAGS"))[0] == b"* 2 FETCH (FLAGS ())"
    assert (await seen(member, "-FLAGS"))[0] == b"* 1 FETCH (UID 1 FLAGS (\\Flagged))"
    assert (await member.ask("STORE 1 FLAGS (\\Seen)"))[0] == b"* 1 FETCH (UID 1 FLAGS (\\Seen))"
    assert (await member.ask("STORE 1 FLAGS ()"))[0] == b"* 1 FETCH (UID 1 FLAGS ())"
    # A copy of what I have seen is seen by me: in a mailbox of the same kind, and in my own.
    await member.ask(f"COPY 2 Shared/{DESK}/Archive")
    await member.ask("MOVE 2 Archive")
    for name, login, expected in (
        (f"Shared/{DESK}/Archive", "infirmiere@pro.example", b"\\Seen"), ("Archive", DESK, b""),
        ("Archive", "infirmiere@pro.example", b"\\Seen"),
    ):  # fmt: skip
        reader = await world.session(name, login)
        assert (await reader.ask("FETCH 1 FLAGS"))[0] == b"* 1 FETCH (FLAGS (%b))" % expected


async def test_unchangedsince_guards_an_own_seen_too(world: World, desk: Box) -> None:
    await world.deliver(desk)
    await world.store.write(own_seen.begin, desk.id, True, "test", NOW)
    client = await world.session("INBOX", DESK)
    await client.ask("STORE 1 +FLAGS.SILENT (\\Seen)")
    told = await client.ask("STORE 1 (UNCHANGEDSINCE 2) -FLAGS (\\Seen)")
    assert told == [b"OK [MODIFIED 1] Some were changed meanwhile"]
    assert (await client.ask("FETCH 1 (FLAGS MODSEQ)"))[0] == b"* 1 FETCH (FLAGS (\\Seen) MODSEQ (3))"


async def test_readers_inherit_what_was_seen(world: World, desk: Box) -> None:
    await world.deliver(desk, flags=("\\Seen",))
    await world.store.write(own_seen.begin, desk.id, True, "test", NOW)
    client = await world.session("INBOX", DESK)
    assert (await client.ask("SEARCH UNSEEN"))[0] == b"* SEARCH 1"
    account = await world.store.read(lambda uow: uow.accounts.by_login(DESK))
    mailbox = await world.store.read(lambda uow: uow.mailboxes.by_name(desk.id, "INBOX"))
    assert account is not None
    assert mailbox is not None
    await world.store.write(own_seen.inherit, mailbox.id, account.id, NOW)
    assert (await client.ask("SEARCH UNSEEN"))[0] == b"* SEARCH"


# -- UTF-8 and IMAP4rev2 ---------------------------------------------------------------------------------------------


async def test_utf8_accept(world: World, inbox: Box) -> None:
    client = await world.session()
    octets = "From: Zoé <zoé@pro.example>\r\nSubject: été\r\n\r\nx\r\n".encode()
    literal = b"UTF8 (~{%d+}\r\n%b)" % (len(octets), octets)
    assert (await client.ask(b"APPEND INBOX " + literal))[-1] == b"BAD ENABLE UTF8=ACCEPT first"
    assert await client.ask("ENABLE UTF8=ACCEPT x") == [b"* ENABLED UTF8=ACCEPT", b"OK Done"]
    assert (await client.ask(b"APPEND INBOX " + literal))[-1].startswith(b"OK [APPENDUID")
    assert (await client.ask('CREATE "R\u00e9sultats"'))[-1].startswith(b"OK")
    assert (await client.ask('LIST "" "R\u00e9*"'))[0] == '* LIST (\\HasNoChildren) "/" "Résultats"'.encode()
    assert (await client.ask('STATUS "R\u00e9sultats" (MESSAGES)'))[0] == '* STATUS "Résultats" (MESSAGES 0)'.encode()
    other = await world.session()
    assert (await other.ask('LIST "" R*'))[0] == b'* LIST (\\HasNoChildren) "/" R&AOk-sultats'
    await client.ask("SELECT INBOX")
    assert (await client.ask("SEARCH CHARSET UTF-8 ALL"))[-1].startswith(b"BAD")
    assert (await client.ask('SEARCH SUBJECT "\u00e9t\u00e9"'))[0] == b"* SEARCH 1"


async def test_what_imap4rev2_changes(world: World, inbox: Box) -> None:
    await world.deliver(inbox)
    client = await world.session()
    assert await client.ask("ENABLE IMAP4rev2") == [b"* ENABLED IMAP4REV2", b"OK Done"]
    told = plain(await client.ask("SELECT INBOX"))
    assert told == [
        b"* FLAGS (\\Seen \\Answered \\Flagged \\Deleted \\Draft)",
        b"* OK [PERMANENTFLAGS (\\Seen \\Answered \\Flagged \\Deleted \\Draft \\*)] Flags",
        b"* 1 EXISTS",
        b"* OK [UIDVALIDITY V] UIDs valid",
        b"* OK [UIDNEXT 2] Next UID",
        b"* OK [MAILBOXID (F1)] Its name",
        b"* OK [HIGHESTMODSEQ 2] Highest",
        b'* LIST () "/" INBOX',
        b"OK [READ-WRITE] Selected",
    ]
    await world.deliver(inbox)
    assert await client.ask("NOOP") == [b"* 2 EXISTS", b"OK Done"]
    assert (await client.ask("SELECT Sent"))[0] == b"* OK [CLOSED] The mailbox before is closed"
    assert session.REV2 == "IMAP4REV2"
