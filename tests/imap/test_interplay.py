"""Extensions that meet: own \\Seen with QRESYNC and APPEND, letters put back with SEARCH and SORT, IMAP4rev2, QUOTA."""

from __future__ import annotations

import pytest

from mss.imap.session import REV2
from mss.model.account import Box
from mss.model.mailbox import INBOX, Quota
from mss.model.party import BoxKind
from mss.services import mailbox, own_seen, quotas, undelete
from mss.store import Uow
from tests.imap.imap_world import DOCTOR, LETTER, NOW, Client, World
from tests.imap.test_extended import DESK, letter
from tests.imap.test_resyncing import back, validity

NURSE = "infirmiere@pro.example"
SHARED = f"Shared/{DESK}/INBOX"


@pytest.fixture
async def desk(world: World) -> Box:
    """A shared box whose readers have an own \\Seen each: its owner, and a nurse as a member."""
    box = await world.box(DESK, BoxKind.ORG)
    await world.account(DESK, box)
    await world.account(NURSE, await world.box(NURSE), box)
    await world.store.write(own_seen.begin, box.id, True, "test", NOW)
    return box


async def resyncing(world: World, login: str) -> Client:
    """Return a session that has enabled QRESYNC and selected nothing."""
    client = await world.session(login=login)
    assert (await client.ask("ENABLE QRESYNC"))[-1] == b"OK Done"
    return client


def flags_told(told: list[bytes]) -> list[bytes]:
    """Return the flags of FETCH responses, in order."""
    return [line.partition(b"FLAGS (")[2].partition(b")")[0] for line in told]


# -- own \Seen -------------------------------------------------------------------------------------------------------


async def test_a_reader_who_comes_back_is_told_their_own_seen(world: World, desk: Box) -> None:
    await world.deliver(desk, flags=("\\Seen",))
    await world.deliver(desk)
    owner, nurse = await world.session("INBOX", DESK), await world.session(SHARED, NURSE)
    known = await validity(owner)
    await nurse.ask("STORE 2 +FLAGS.SILENT (\\Seen \\Flagged)")
    [mine, theirs] = [await resyncing(world, login) for login in (NURSE, DESK)]
    told = await mine.ask(f"SELECT {SHARED} (QRESYNC ({known} 1))")
    assert flags_told([line for line in told if b" FETCH " in line]) == [b"", b"\\Seen \\Flagged"]
    # The letter's own bit, from before the setting was made, is nobody's.
    assert flags_told(await back(theirs, f"{known} 1")) == [b"", b"\\Flagged"]
    for client, flags in ((mine, b"\\Seen \\Flagged"), (theirs, b"\\Flagged")):
        found = (await client.ask("UID FETCH 1:* (FLAGS) (CHANGEDSINCE 2 VANISHED)"))[0]
        assert flags_told([found]) == [flags]


async def test_a_mark_of_somebody_else_costs_a_reader_nothing_that_is_wrong(world: World, desk: Box) -> None:
    await world.deliver(desk)
    owner, nurse = await resyncing(world, DESK), await world.session(SHARED, NURSE)
    known = await validity(owner)
    for sign, seen in (("+", b"\\Seen"), ("-", b"")):
        await nurse.ask(f"STORE 1 {sign}FLAGS.SILENT (\\Seen)")
        assert flags_told(await back(owner, f"{known} 1")) == [b""]
        mine = await resyncing(world, NURSE)
        told = await mine.ask(f"SELECT {SHARED} (QRESYNC ({known} 1))")
        assert flags_told([line for line in told if b" FETCH " in line]) == [seen]


async def test_a_letter_that_a_reader_adds_as_seen_is_seen_by_them_alone(world: World, desk: Box) -> None:
    nurse, owner = await world.session(SHARED, NURSE), await world.session("INBOX", DESK)
    assert (await nurse.append(SHARED, LETTER, "(\\Seen \\Flagged) ")).startswith(b"OK [APPENDUID")
    several = b"APPEND %b (\\Seen) {%d+}\r\n%b {%d+}\r\n%b" % (
        SHARED.encode(), len(LETTER), LETTER, len(LETTER), LETTER,
    )  # fmt: skip
    assert (await nurse.ask(several))[-1].startswith(b"OK [APPENDUID")
    await nurse.ask(b"REPLACE 3 %b (\\seen) {%d+}\r\n%b" % (SHARED.encode(), len(LETTER), LETTER))
    mine, theirs = await nurse.ask("FETCH 1:3 FLAGS"), [*await owner.ask("NOOP"), *await owner.ask("FETCH 1:3 FLAGS")]
    assert flags_told(mine[:3]) == [b"\\Seen \\Flagged", b"\\Seen", b"\\Seen"]
    assert flags_told([line for line in theirs if b" FETCH " in line]) == [b"\\Flagged", b"", b""]
    assert (await owner.ask("STATUS INBOX (UNSEEN)"))[0] == b"* STATUS INBOX (UNSEEN 3)"


async def test_sort_and_thread_look_at_the_readers_own_seen(world: World, desk: Box) -> None:
    for number in range(3):
        await world.deliver(desk, letter(str(number), subject=f"S{3 - number}"))
    nurse, owner = await world.session(SHARED, NURSE), await world.session("INBOX", DESK)
    await nurse.ask("STORE 1,3 +FLAGS.SILENT (\\Seen)")
    assert (await nurse.ask("SORT (SUBJECT) UTF-8 SEEN"))[0] == b"* SORT 3 1"
    assert (await nurse.ask("THREAD REFERENCES UTF-8 UNSEEN"))[0] == b"* THREAD (2)"
    assert (await nurse.ask("SEARCH RETURN (COUNT) UNSEEN"))[0].endswith(b"COUNT 1")
    assert [line for line in await owner.ask("SORT (SUBJECT) UTF-8 UNSEEN") if b"SORT" in line] == [b"* SORT 3 2 1"]


# -- letters that come back ------------------------------------------------------------------------------------------


async def prepared(world: World, box: Box, name: str = INBOX) -> tuple[int, int]:
    """Return how many letters of a mailbox have a text, and how many a sort form."""

    def counted(uow: Uow) -> tuple[int, int]:
        where = mailbox.find(uow, box.id, name, NOW).id
        runs = ((1, 1000),)
        return len(list(uow.prepared.texts(where, box.id, runs))), len(list(uow.prepared.forms(where, box.id, runs)))

    return await world.store.read(counted)


async def test_a_letter_put_back_is_found_and_sorted_as_before(world: World, inbox: Box) -> None:
    for number, word in enumerate(("zèbre", "abeille")):
        await world.deliver(inbox, letter(str(number), subject=word).replace(b"Bonjour", b"Bonjour %d" % number))
    client = await world.session("INBOX")
    asked = ("SORT (SUBJECT) UTF-8 ALL", "SEARCH BODY Bonjour", "THREAD ORDEREDSUBJECT UTF-8 ALL")
    before = [(await client.ask(command))[0] for command in asked]
    assert await prepared(world, inbox) == (2, 2)
    await client.ask("STORE 1:2 +FLAGS.SILENT (\\Deleted)")
    await client.ask("EXPUNGE")
    lost = await world.store.read(undelete.expunged, inbox.id, NOW)
    assert await world.store.write(undelete.restore, inbox.id, lost, "test", NOW) == 2
    # What was prepared is still there: nothing is read anew.
    assert await prepared(world, inbox) == (2, 2)
    await client.ask("NOOP")
    assert [(await client.ask(command))[0] for command in asked] == before
    assert (await client.ask("UID SEARCH ALL"))[0] == b"* SEARCH 3 4"


async def test_a_client_that_comes_back_learns_of_letters_put_back(world: World, inbox: Box) -> None:
    await world.deliver(inbox)
    client = await resyncing(world, DOCTOR)
    known = await validity(client)
    await client.ask("SELECT INBOX")
    await client.ask("STORE 1 +FLAGS.SILENT (\\Deleted)")
    await client.ask("EXPUNGE")
    lost = await world.store.read(undelete.expunged, inbox.id, NOW)
    await world.store.write(undelete.restore, inbox.id, lost, "test", NOW)
    told = await back(await resyncing(world, DOCTOR), f"{known} 2")
    assert told == [b"* VANISHED (EARLIER) 1", b"* 1 FETCH (UID 2 FLAGS () MODSEQ (5))"]


async def test_letters_have_their_text_however_they_come(world: World, inbox: Box) -> None:
    client = await world.session("INBOX")
    one, two, three = (letter(str(number)).replace(b"Bonjour", b"mot%d" % number) for number in range(3))
    await client.append("INBOX", one)
    assert await prepared(world, inbox) == (1, 0)
    await client.ask(b"APPEND INBOX {%d+}\r\n%b {%d+}\r\n%b" % (len(one), one, len(two), two))
    assert await prepared(world, inbox) == (3, 0)
    await client.ask(b"REPLACE 1 INBOX {%d+}\r\n%b" % (len(three), three))
    assert await prepared(world, inbox) == (3, 0)
    await client.ask("COPY 1:3 Archive")
    assert await prepared(world, inbox, "Archive") == (3, 0)
    found = [(await client.ask(f"UID SEARCH BODY mot{number}"))[0] for number in range(3)]
    assert found == [b"* SEARCH 2", b"* SEARCH 3", b"* SEARCH 4"]


# -- quota -----------------------------------------------------------------------------------------------------------


async def test_a_copy_is_measured_in_the_box_that_it_goes_to(world: World, desk: Box) -> None:
    full = b"NO [OVERQUOTA] The box holds as much as it may"
    for _ in range(2):
        await world.deliver(desk)
    await world.store.write(quotas.set_for_box, desk.id, Quota(letters_max=2), "test", NOW)
    nurse = await world.session(SHARED, NURSE)
    # Out of a full box into one with room, and not the other way; a move inside takes no room.
    assert (await nurse.ask("COPY 1:2 INBOX"))[-1].startswith(b"OK [COPYUID")
    assert (await nurse.ask(f"MOVE 1 Shared/{DESK}/Archive"))[-1].startswith(b"OK")
    mine = await world.session("INBOX", NURSE)
    assert (await mine.ask(f"COPY 1 {SHARED}"))[-1] == full
    assert (await mine.ask(f"MOVE 1 {SHARED}"))[-1] == full
    assert (await mine.ask("STATUS INBOX (MESSAGES)"))[0] == b"* STATUS INBOX (MESSAGES 2)"
    literal = b"{%d+}\r\n%b" % (len(LETTER), LETTER)
    assert (await nurse.ask(b"APPEND %b %b %b" % (SHARED.encode(), literal, literal)))[-1] == full
    # A letter may take the place of another one in a full box, not of one in another box.
    assert (await mine.ask(b"REPLACE 1 %b %b" % (SHARED.encode(), literal)))[-1] == full
    assert (await nurse.ask(b"REPLACE 1 %b %b" % (SHARED.encode(), literal)))[-1] == b"OK Done"
    usage = Quota(octets_max=2 * len(LETTER) + 10)
    await world.store.write(quotas.set_for_box, desk.id, usage, "test", NOW)
    for more, expected in ((11, full), (10, b"OK Done"), (9, b"OK Done"), (11, full)):
        grown = LETTER + b"x" * more
        told = await nurse.ask(b"REPLACE 1 %b {%d+}\r\n%b" % (SHARED.encode(), len(grown), grown))
        assert told[-1] == expected, more
    assert (await nurse.ask(f"STATUS {SHARED} (MESSAGES)"))[0].endswith(b"(MESSAGES 1)")


# -- IMAP4rev2 and what is announced ---------------------------------------------------------------------------------


async def test_search_answers_esearch_in_imap4rev2(world: World, inbox: Box) -> None:
    for _ in range(2):
        await world.deliver(inbox)
    client = await world.session("INBOX")
    assert (await client.ask("SEARCH ALL"))[0] == b"* SEARCH 1 2"
    assert (await client.ask("ENABLE IMAP4rev2"))[0] == b"* ENABLED " + REV2.encode()
    assert (await client.ask("SEARCH ALL"))[0].partition(b") ")[2] == b"ALL 1:2"
    assert (await client.ask("UID SEARCH SEEN"))[0].partition(b") ")[2] == b"UID"
    assert (await client.ask("UID SEARCH RETURN (COUNT) ALL"))[0].partition(b") ")[2] == b"UID COUNT 2"
    assert (await client.ask("UID FETCH $ UID"))[-1].startswith(b"OK")


ANNOUNCED = [
    "IMAP4rev1", "IMAP4rev2", "SASL-IR", "ID", "ENABLE", "LITERAL+", "IDLE", "NAMESPACE", "UNSELECT", "CHILDREN",
    "UIDPLUS", "MOVE", "CONDSTORE", "QRESYNC", "SPECIAL-USE", "CREATE-SPECIAL-USE", "LIST-EXTENDED", "LIST-STATUS",
    "STATUS=SIZE", "OBJECTID", "QUOTA", "QUOTA=RES-STORAGE", "QUOTA=RES-MESSAGE", "MULTIAPPEND", "BINARY",
    "UTF8=ACCEPT", "ACL", "RIGHTS=kxte", "PREVIEW", "SAVEDATE", "REPLACE", "ESEARCH", "SEARCHRES", "WITHIN",
    "PARTIAL", "SORT", "SORT=DISPLAY", "ESORT", "THREAD=ORDEREDSUBJECT", "THREAD=REFERENCES",
    "METADATA", "LIST-METADATA", "CATENATE",
]  # fmt: skip

# A command of each extension, which must be done, and a word of its answer.
PROVEN = {
    "CATENATE": ('APPEND Archive CATENATE (URL ";UID=1")', b"OK [APPENDUID"),
    "ID": ("ID NIL", b"* ID ("),
    "NAMESPACE": ("NAMESPACE", b"* NAMESPACE ("),
    "CONDSTORE": ("FETCH 1 (MODSEQ)", b"MODSEQ ("),
    "QRESYNC": ("ENABLE QRESYNC", b"* ENABLED QRESYNC"),
    "LIST-EXTENDED": ('LIST (SUBSCRIBED) "" (INBOX Sent)', b"\\Subscribed"),
    "SPECIAL-USE": ('LIST (SPECIAL-USE) "" *', b"\\Sent"),
    "LIST-STATUS": ('LIST "" INBOX RETURN (STATUS (MESSAGES))', b"* STATUS INBOX"),
    "STATUS=SIZE": ("STATUS INBOX (SIZE)", b"(SIZE "),
    "OBJECTID": ("FETCH 1 (EMAILID THREADID)", b"EMAILID ("),
    "QUOTA": ("GETQUOTAROOT INBOX", b"* QUOTAROOT INBOX"),
    "BINARY": ("FETCH 1 BINARY.SIZE[1]", b"BINARY.SIZE[1] "),
    "ACL": ("MYRIGHTS INBOX", b"* MYRIGHTS INBOX"),
    "PREVIEW": ("FETCH 1 PREVIEW", b"PREVIEW "),
    "SAVEDATE": ("FETCH 1 SAVEDATE", b"SAVEDATE "),
    "ESEARCH": ("SEARCH RETURN (MIN) ALL", b"MIN 1"),
    "SEARCHRES": ("SEARCH RETURN (SAVE) ALL", b"OK"),
    "WITHIN": ("SEARCH YOUNGER 3600", b"* SEARCH"),
    "PARTIAL": ("SEARCH RETURN (PARTIAL 1:1) ALL", b"PARTIAL (1:1 1)"),
    "SORT": ("SORT (DATE) UTF-8 ALL", b"* SORT 1"),
    "SORT=DISPLAY": ("SORT (DISPLAYFROM) UTF-8 ALL", b"* SORT 1"),
    "ESORT": ("SORT RETURN (COUNT) (DATE) UTF-8 ALL", b"COUNT 1"),
    "THREAD=ORDEREDSUBJECT": ("THREAD ORDEREDSUBJECT UTF-8 ALL", b"* THREAD (1)"),
    "THREAD=REFERENCES": ("THREAD REFERENCES UTF-8 ALL", b"* THREAD (1)"),
    "MULTIAPPEND": ("APPEND Sent {3+}\r\na:b {3+}\r\nc:d", b"OK [APPENDUID"),
    "UIDPLUS": ("COPY 1 Archive", b"OK [COPYUID"),
    "REPLACE": ("REPLACE 1 INBOX {3+}\r\na:b", b"* OK [APPENDUID"),
    "CREATE-SPECIAL-USE": ("CREATE Important (USE (\\Important))", b"NO [USEATTR]"),
    "MOVE": ("MOVE 1 Archive", b"* OK [COPYUID"),
    "UTF8=ACCEPT": ("ENABLE UTF8=ACCEPT", b"* ENABLED UTF8=ACCEPT"),
    "METADATA": ("GETMETADATA INBOX /shared/comment", b"* METADATA INBOX (/shared/comment NIL)"),
    "LIST-METADATA": ('LIST "" INBOX RETURN (METADATA (/shared/comment))', b"* METADATA INBOX ("),
    "UNSELECT": ("UNSELECT", b"OK"),
}


async def test_what_is_announced_is_the_union_and_true(world: World, inbox: Box) -> None:
    await world.deliver(inbox)
    client = await world.session("INBOX")
    told = (await client.ask("CAPABILITY"))[0].decode().removeprefix("* CAPABILITY ").split()
    assert sorted(one for one in told if not one.startswith("APPENDLIMIT=")) == sorted(ANNOUNCED)
    assert f"APPENDLIMIT={world.config.limits.message_max_octets}" in told
    assert len(told) == len(set(told))
    for capability, (command, expected) in PROVEN.items():
        answers = await client.ask(command)
        assert any(expected in line for line in answers), (capability, answers)
        assert answers[-1].startswith((b"OK", expected)), (capability, answers)
