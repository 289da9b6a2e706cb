"""Mailboxes as IMAP uses them: names, UIDs, MODSEQs, flags, copies, moves, expunges."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import timedelta

import pytest

from mss.config import Config
from mss.errors import Malformed
from mss.model.account import Box
from mss.model.mailbox import DEFAULT_MAILBOXES, FIRST_KEYWORD_BIT, INBOX, KEYWORDS_MAX, ChangeKind, Mailbox
from mss.services import appending, mailbox, opening
from mss.services.mailbox import Columns, FlagAction, LimitReached, MailboxExists, NoSuchMailbox, NotPermitted
from mss.services.opening import Missed, Opened, Since
from mss.store.keys import KeyMissing
from mss.store.store import Store
from tests.services.services_world import DESK, letter
from tests.store.store_world import NOW, clinic_box, driver, later

ACTOR = "account:1"
ALL = ((1, 1_000_000),)


@dataclass
class Owner:
    """A box with its mailboxes, and shorthands for what a session does."""

    store: Store
    box: Box

    async def find(self, name: str = INBOX) -> Mailbox:
        return await self.store.read(mailbox.find, self.box.id, name, NOW)

    async def names(self) -> list[str]:
        return [one.name for one in await self.store.read(mailbox.mailboxes, self.box.id, NOW)]

    async def create(self, name: str) -> Mailbox:
        return await self.store.write(mailbox.create, self.box.id, name, ACTOR, NOW)

    async def delete(self, name: str) -> None:
        await self.store.write(mailbox.delete, self.box.id, name, ACTOR, NOW)

    async def rename(self, old: str, new: str) -> None:
        await self.store.write(mailbox.rename, self.box.id, old, new, ACTOR, NOW)

    async def append(self, name: str = INBOX, *flags: str, subject: str = "a letter") -> int:
        where = await self.find(name)
        placed = await self.store.write(appending.append, where.id, letter(subject, to=[DESK]), flags, None, ACTOR, NOW)
        assert placed.uidvalidity == where.uidvalidity
        return placed.target[0][0]

    async def flag(
        self, action: FlagAction, *flags: str, uids: tuple[tuple[int, int], ...] = ALL, since: int | None = None
    ) -> mailbox.Stored:
        where = await self.find()
        return await self.store.write(mailbox.store_flags, where.id, uids, action, flags, since, ACTOR, NOW)

    async def flags(self, name: str = INBOX) -> dict[int, set[str]]:
        where = await self.find(name)
        rows = await self.store.read(mailbox.rows, where.id, ALL, Columns.PLAIN, NOW)
        return {row.uid: set(mailbox.flag_names(where.keywords, row.flags)) for row in rows}

    async def changes(self, since: int, name: str = INBOX) -> mailbox.Changes:
        return await self.store.read(mailbox.changes, (await self.find(name)).id, since, NOW)


@pytest.fixture
async def owner(store: Store) -> Owner:
    return Owner(store, await clinic_box(store))


# -- names -----------------------------------------------------------------------------------------------------------


async def test_a_new_box_has_its_mailboxes(owner: Owner) -> None:
    found = await owner.store.read(mailbox.mailboxes, owner.box.id, NOW)
    assert {one.name: one.special_use for one in found} == DEFAULT_MAILBOXES
    assert [one.name for one in found] == sorted(DEFAULT_MAILBOXES)
    assert all((one.uidnext, one.modseq, one.subscribed) == (1, 1, True) for one in found)


@pytest.mark.parametrize("name", ["INBOX", "inbox", "Inbox"])
async def test_inbox_is_found_in_any_case(owner: Owner, name: str) -> None:
    assert (await owner.find(name)).name == INBOX
    with pytest.raises(NoSuchMailbox):
        await owner.find("sent")


async def test_creating_makes_the_levels_above(owner: Owner) -> None:
    made = await owner.create("Patients/2026/Mars/")
    assert made.name == "Patients/2026/Mars"
    assert {"Patients", "Patients/2026", "Patients/2026/Mars"} <= set(await owner.names())
    with pytest.raises(MailboxExists):
        await owner.create("Patients/2026")
    assert (await owner.create("inbox/Lu")).name == "INBOX/Lu"
    with pytest.raises(MailboxExists):
        await owner.create("iNbOx")


@pytest.mark.parametrize(
    "name",
    [
        *("", "/", "a//b", "/a", "a*", "a%b", "a\x00", "a\r\nb", "a\x7f", "a\x9f", " a", "a ", "a/ b", "\ud800"),
        *("x" * 256, "é" * 256, "/".join("abcdefghijk")),
    ],
)
async def test_names_that_cannot_be(owner: Owner, name: str) -> None:
    before = await owner.names()
    with pytest.raises(Malformed):
        await owner.create(name)
    with pytest.raises(Malformed):
        await owner.rename("Junk", name)
    assert await owner.names() == before


@pytest.mark.parametrize("name", ["x" * 254, "x" * 255, "é" * 255, "/".join("abcdefghij"), "日本語", "a&b", "a\u200db"])
async def test_names_at_the_limits(owner: Owner, name: str) -> None:
    assert (await owner.create(name)).name == name


async def test_a_box_has_so_many_mailboxes_at_most(owner: Owner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mailbox, "MAILBOXES_MAX", len(DEFAULT_MAILBOXES) + 3)
    await owner.create("a")
    with pytest.raises(LimitReached):
        await owner.create("b/c/d")
    assert "b" not in await owner.names()
    await owner.create("b/c")
    with pytest.raises(LimitReached):
        await owner.create("e")


async def test_deleting(owner: Owner) -> None:
    await owner.create("a/b")
    for name in ("INBOX", "a"):
        with pytest.raises(NotPermitted):
            await owner.delete(name)
    await owner.delete("a/b")
    await owner.delete("a")
    with pytest.raises(NoSuchMailbox):
        await owner.delete("a")


async def test_a_mailbox_made_again_has_a_greater_uidvalidity(owner: Owner) -> None:
    seen = {one.uidvalidity for one in await owner.store.read(mailbox.mailboxes, owner.box.id, NOW)}
    assert len(seen) == len(DEFAULT_MAILBOXES)
    for _ in range(4):
        made = await owner.create("again")
        assert made.uidvalidity > max(seen)
        assert made.uidvalidity < 2**32
        seen.add(made.uidvalidity)
        await owner.append("again")
        await owner.delete("again")
    much_later = await owner.store.write(mailbox.create, owner.box.id, "again", ACTOR, later(days=9))
    assert much_later.uidvalidity == int(later(days=9).timestamp())


async def test_renaming_takes_those_below_along(owner: Owner) -> None:
    await owner.create("a/b/c")
    await owner.create("ab")
    uid = await owner.append("a/b")
    before = await owner.find("a/b")
    await owner.rename("a", "x/y")
    assert {"x", "x/y", "x/y/b", "x/y/b/c", "ab"} <= set(await owner.names())
    assert "a" not in await owner.names()
    after = await owner.find("x/y/b")
    assert (after.id, after.uidvalidity) == (before.id, before.uidvalidity)
    assert list(await owner.flags("x/y/b")) == [uid]


async def test_renaming_is_refused_where_it_cannot_be(owner: Owner) -> None:
    await owner.create("a/b")
    for old, new, error in (
        ("a", "Sent", MailboxExists),
        ("a", "inbox", MailboxExists),
        ("a", "a/b/c", NotPermitted),
        ("nothing", "b", NoSuchMailbox),
    ):
        with pytest.raises(error):
            await owner.rename(old, new)
    await owner.create("long/" + "y" * 200)
    with pytest.raises(Malformed):
        await owner.rename("long", "z" * 100)
    assert "long/" + "y" * 200 in await owner.names()


async def test_renaming_inbox_moves_its_letters(owner: Owner) -> None:
    for _ in range(3):
        await owner.append(INBOX, "\\Seen")
    await owner.rename("inbox", "Old/2025")
    assert await owner.flags() == {}
    assert await owner.flags("Old/2025") == {1: {"\\Seen"}, 2: {"\\Seen"}, 3: {"\\Seen"}}
    assert await owner.append() == 4
    assert "Old" in await owner.names()


async def test_subscriptions(owner: Owner) -> None:
    await owner.store.write(mailbox.subscribe, owner.box.id, "Junk", False, NOW)
    assert not (await owner.find("Junk")).subscribed
    await owner.store.write(mailbox.subscribe, owner.box.id, "Junk", True, NOW)
    assert (await owner.find("Junk")).subscribed


# -- letters ---------------------------------------------------------------------------------------------------------


async def test_append_gives_uid_and_keeps_flags_and_date(owner: Owner) -> None:
    where = await owner.find()
    when = NOW - timedelta(days=400)
    reading = letter("Résultats", to=[DESK])
    placed = await owner.store.write(appending.append, where.id, reading, ("\\Seen", "$Lu"), when, ACTOR, NOW)
    assert (placed.source, placed.target) == ((), ((1, 1),))
    [row] = await owner.store.read(mailbox.rows, where.id, ALL, Columns.ENVELOPE | Columns.BODYSTRUCTURE, NOW)
    assert (row.uid, row.modseq, row.size_octets) == (1, 2, len(reading.octets))
    assert row.internal_date_us == int(when.timestamp()) * 1_000_000
    assert (row.envelope, row.bodystructure) == (reading.envelope, reading.bodystructure)
    assert await owner.flags() == {1: {"\\Seen", "$Lu"}}
    assert await owner.store.read(mailbox.octets, where.id, row.object_id, 0, None, NOW) == reading.octets
    assert await owner.store.read(mailbox.octets, where.id, row.object_id, 5, 20, NOW) == reading.octets[5:20]
    elsewhere = await owner.find("Sent")
    with pytest.raises(NoSuchMailbox):
        await owner.store.read(mailbox.octets, elsewhere.id, row.object_id, 0, None, NOW)


async def test_a_listing_is_the_same_each_time(owner: Owner, config: Config) -> None:
    """What was opened for the one before is used again; flags, expunges and new letters are those of the moment."""
    where = await owner.find()
    both = Columns.ENVELOPE | Columns.BODYSTRUCTURE
    for number in range(4):
        await owner.append(INBOX, subject=f"letter {number}")
    first = await owner.store.read(mailbox.rows, where.id, ALL, both, NOW)
    await owner.flag(FlagAction.ADD, "\\Deleted", uids=((2, 2),))
    await owner.store.write(mailbox.expunge, where.id, None, ACTOR, NOW)
    await owner.flag(FlagAction.ADD, "\\Seen", uids=((3, 3),))
    await owner.append(INBOX, subject="letter 4")
    again = await owner.store.read(mailbox.rows, where.id, ALL, both, NOW)
    assert [row.uid for row in again] == [1, 3, 4, 5]
    assert [(row.envelope, row.bodystructure) for row in again[:3]] == [
        (row.envelope, row.bodystructure) for row in first if row.uid != 2
    ]
    assert b"letter 4" in again[3].envelope
    assert [row.flags for row in again] == [0, 1, 0, 0]
    elsewhere = Store(config)
    try:
        assert await elsewhere.read(mailbox.rows, where.id, ALL, both, NOW) == again
    finally:
        await elsewhere.close()
    await owner.store.drop_key(owner.box.id)
    with pytest.raises(KeyMissing):
        await owner.store.read(mailbox.rows, where.id, ALL, both, NOW)


@pytest.mark.parametrize(("letters", "at_a_glance"), [(1, True), (32, True), (33, False)])
async def test_few_changes_are_read_at_a_glance(owner: Owner, letters: int, at_a_glance: bool) -> None:
    where = await owner.find()
    many = tuple(appending.NewLetter(letter(f"letter {number}", to=[DESK])) for number in range(letters))
    await owner.store.write(appending.append_all, where.id, many, ACTOR, NOW)
    found = await owner.store.read(mailbox.few_changes, where.id, where.modseq, NOW)
    every = await owner.store.read(mailbox.changes, where.id, where.modseq, NOW)
    assert len(every.flags) == letters
    assert found == (every if at_a_glance else None)
    nothing = await owner.store.read(mailbox.few_changes, where.id, every.mailbox.modseq, NOW)
    assert nothing == mailbox.Changes(every.mailbox, (), ())


@pytest.mark.parametrize(("commands", "at_a_glance"), [(32, True), (33, False)])
async def test_many_commands_are_no_few_changes(owner: Owner, commands: int, at_a_glance: bool) -> None:
    await owner.append()
    before = await owner.find()
    for number in range(commands):
        await owner.flag(FlagAction.ADD if number % 2 else FlagAction.REMOVE, "\\Deleted")
        await owner.flag(FlagAction.REMOVE if number % 2 else FlagAction.ADD, "\\Seen")
    assert (await owner.find()).modseq >= before.modseq + commands
    found = await owner.store.read(mailbox.few_changes, before.id, (await owner.find()).modseq - commands, NOW)
    assert (found is not None) is at_a_glance


async def test_status_and_opening(owner: Owner) -> None:
    for flags in (("\\Seen",), (), ("\\Seen", "\\Deleted"), ("\\Deleted",)):
        await owner.append(INBOX, *flags)
    where = await owner.find()
    status = await owner.store.read(mailbox.status, where.id, NOW)
    assert (status.messages, status.unseen, status.deleted) == (4, 2, 2)
    assert status.size_octets > 400
    opened = await owner.store.read(opening.open_mailbox, where, None, NOW)
    assert (opened.runs, opened.first_unseen_uid) == (((1, 4),), 2)
    empty = await owner.store.read(opening.open_mailbox, await owner.find("Sent"), None, NOW)
    assert (empty.runs, empty.first_unseen_uid) == ((), None)


async def test_opening_tells_runs_and_what_was_missed(owner: Owner) -> None:
    for _ in range(6):
        await owner.append(INBOX)
    where = await owner.find()
    await owner.store.write(
        mailbox.store_flags, where.id, ((2, 3), (6, 6)), FlagAction.ADD, ("\\Deleted",), None, ACTOR, NOW
    )
    await owner.store.write(mailbox.store_flags, where.id, ((5, 5),), FlagAction.ADD, ("\\Seen",), None, ACTOR, NOW)
    await owner.store.write(mailbox.expunge, where.id, None, ACTOR, NOW)
    now = await owner.find()

    async def opened(since: Since | None) -> Opened:
        return await owner.store.read(opening.open_mailbox, now, since, NOW)

    assert (await opened(None)).runs == ((1, 1), (4, 5))
    assert (await opened(None)).missed is None
    assert (await opened(Since(now.uidvalidity + 1, 1))).missed is None
    assert (await opened(Since(now.uidvalidity, 7))).missed == Missed(((2, 3), (6, 6)), ((5, 9, 1),))
    assert (await opened(Since(now.uidvalidity, 9))).missed == Missed(((2, 3), (6, 6)), ())
    assert (await opened(Since(now.uidvalidity, 10))).missed == Missed((), ())


async def test_where_the_log_does_not_tell_all_the_rows_are_right(owner: Owner) -> None:
    for _ in range(4):
        await owner.append(INBOX)
    where = await owner.find()
    await owner.store.write(lambda uow: uow.mailboxes.remove(where.id, ((2, 2),)))
    assert (await owner.store.read(opening.open_mailbox, where, None, NOW)).runs == ((1, 1), (3, 4))


async def test_concurrent_appends_leave_no_gap(owner: Owner) -> None:
    uids = await asyncio.gather(*(owner.append() for _ in range(30)))
    assert sorted(uids) == list(range(1, 31))
    assert (await owner.find()).modseq == 31
    log = (await owner.changes(1)).log
    assert [one.modseq for one in log] == list(range(2, 32))
    assert {one.kind for one in log} == {ChangeKind.ADDED}


async def test_uids_are_never_given_again(owner: Owner) -> None:
    for _ in range(3):
        await owner.append(INBOX, "\\Deleted")
    where = await owner.find()
    _, gone = await owner.store.write(mailbox.expunge, where.id, None, ACTOR, NOW)
    assert gone == ((1, 3),)
    assert await owner.append() == 4
    assert (await owner.find()).uidnext == 5


async def test_many_runs_of_uids(owner: Owner) -> None:
    for _ in range(20):
        await owner.append()
    odd = tuple((uid, uid) for uid in range(1, 1200, 2))
    stored = await owner.flag(FlagAction.ADD, "\\Flagged", uids=odd)
    assert [uid for uid, _, _ in stored.rows] == list(range(1, 21, 2))
    assert len({modseq for _, modseq, _ in stored.rows}) == 1
    assert {uid for uid, flags in (await owner.flags()).items() if flags} == set(range(1, 21, 2))


# -- flags -----------------------------------------------------------------------------------------------------------


async def test_flags_are_set_operations(owner: Owner) -> None:
    for flags in ((), ("\\Seen",), ("\\Flagged", "$Work")):
        await owner.append(INBOX, *flags)
    await owner.flag(FlagAction.ADD, "\\Seen", "$Home")
    assert await owner.flags() == {
        1: {"\\Seen", "$Home"},
        2: {"\\Seen", "$Home"},
        3: {"\\Seen", "$Home", "\\Flagged", "$Work"},
    }
    await owner.flag(FlagAction.REMOVE, "\\seen", "$WORK", "$unknown")
    assert await owner.flags() == {1: {"$Home"}, 2: {"$Home"}, 3: {"$Home", "\\Flagged"}}
    await owner.flag(FlagAction.REPLACE, "\\Answered", uids=((2, 3),))
    assert await owner.flags() == {1: {"$Home"}, 2: {"\\Answered"}, 3: {"\\Answered"}}
    assert "$unknown" not in (await owner.find()).keywords


async def test_one_command_is_one_modseq_and_nothing_is_none(owner: Owner) -> None:
    for _ in range(4):
        await owner.append()
    before = (await owner.find()).modseq
    stored = await owner.flag(FlagAction.ADD, "\\Seen", uids=((1, 1), (3, 4)))
    assert [modseq for _, modseq, _ in stored.rows] == [before + 1] * 3
    assert stored.mailbox.modseq == before + 1
    again = await owner.flag(FlagAction.ADD, "\\Seen", uids=((1, 1), (3, 4)))
    assert again.mailbox.modseq == before + 1
    nobody = await owner.flag(FlagAction.ADD, "\\Seen", uids=((90, 99),))
    assert (nobody.rows, nobody.mailbox.modseq) == ((), before + 1)
    partly = await owner.flag(FlagAction.ADD, "\\Seen")
    assert {uid: modseq for uid, modseq, _ in partly.rows} == {
        1: before + 1,
        2: before + 2,
        3: before + 1,
        4: before + 1,
    }
    log = (await owner.changes(before)).log
    assert [(one.modseq, one.uid_first, one.uid_last) for one in log] == [
        (before + 1, 1, 1),
        (before + 1, 3, 4),
        (before + 2, 2, 2),
    ]


async def test_unchanged_since_leaves_newer_ones_alone(owner: Owner) -> None:
    for _ in range(3):
        await owner.append()
    mark = (await owner.find()).modseq
    await owner.flag(FlagAction.ADD, "\\Seen", uids=((2, 2),))
    stored = await owner.flag(FlagAction.ADD, "\\Flagged", since=mark)
    assert stored.modified == ((2, 2),)
    assert await owner.flags() == {1: {"\\Flagged"}, 2: {"\\Seen"}, 3: {"\\Flagged"}}
    at_once = await owner.flag(FlagAction.ADD, "\\Deleted", since=stored.mailbox.modseq)
    assert at_once.modified == ()


@pytest.mark.parametrize(("there", "more", "fits"), [(52, 1, True), (53, 1, True), (53, 2, False), (54, 1, False)])
async def test_a_mailbox_has_so_many_keywords_at_most(owner: Owner, there: int, more: int, fits: bool) -> None:
    await owner.append()
    assert KEYWORDS_MAX == 54
    await owner.flag(FlagAction.ADD, *(f"k{n}" for n in range(there)))
    new = [f"new{n}" for n in range(more)]
    if fits:
        await owner.flag(FlagAction.ADD, *new)
    else:
        with pytest.raises(LimitReached):
            await owner.flag(FlagAction.ADD, *new)
    flags = (await owner.flags())[1]
    assert len(flags) == there + (more if fits else 0)
    where = await owner.find()
    assert len(where.keywords) == len(flags)
    [row] = await owner.store.read(mailbox.rows, where.id, ALL, Columns.PLAIN, NOW)
    assert row.flags == ((1 << len(flags)) - 1) << FIRST_KEYWORD_BIT
    # Known ones go on working.
    await owner.flag(FlagAction.REMOVE, "K0")
    assert "k0" not in (await owner.flags())[1]


@pytest.mark.parametrize(("length", "fits"), [(254, True), (255, True), (256, False)])
async def test_a_keyword_is_so_long_at_most(owner: Owner, length: int, fits: bool) -> None:
    await owner.append()
    if fits:
        await owner.flag(FlagAction.ADD, "k" * length)
        assert (await owner.flags())[1] == {"k" * length}
    else:
        with pytest.raises(LimitReached):
            await owner.flag(FlagAction.ADD, "k" * length)


async def test_keywords_belong_to_their_mailbox(owner: Owner) -> None:
    await owner.append(INBOX, "$one", "$two")
    await owner.append("Sent", "$two", "$three")
    assert (await owner.find()).keywords == ("$one", "$two")
    assert (await owner.find("Sent")).keywords == ("$two", "$three")


# -- copies and moves ------------------------------------------------------------------------------------------------


async def test_copying_keeps_flags_dates_and_octets(owner: Owner) -> None:
    for flags in (("$one",), ("$two", "\\Seen"), ()):
        await owner.append(INBOX, *flags)
    await owner.append("Archive", "$two")
    source, target = await owner.find(), await owner.find("Archive")
    placed = await owner.store.write(mailbox.copy, source.id, ((1, 2), (9, 9)), target.id, ACTOR, later(days=1))
    assert (placed.uidvalidity, placed.source, placed.target) == (target.uidvalidity, ((1, 2),), ((2, 3),))
    assert await owner.flags("Archive") == {1: {"$two"}, 2: {"$one"}, 3: {"$two", "\\Seen"}}
    before = await owner.store.read(mailbox.rows, source.id, ((1, 2),), Columns.ENVELOPE, NOW)
    after = await owner.store.read(mailbox.rows, target.id, ((2, 3),), Columns.ENVELOPE, NOW)
    kept = [(row.internal_date_us, row.object_id, row.size_octets, row.envelope) for row in before]
    assert kept == [(row.internal_date_us, row.object_id, row.size_octets, row.envelope) for row in after]
    assert {row.modseq for row in after} == {3}
    assert (await owner.find()).modseq == source.modseq


async def test_copying_nothing_is_nothing(owner: Owner) -> None:
    source, target = await owner.find(), await owner.find("Archive")
    placed = await owner.store.write(mailbox.copy, source.id, ALL, target.id, ACTOR, NOW)
    assert (placed.source, placed.target) == ((), ())
    assert (await owner.find("Archive")).modseq == 1


async def test_copying_where_the_keywords_do_not_fit_is_nothing(owner: Owner) -> None:
    await owner.append(INBOX, "$new")
    await owner.append("Archive")
    where = await owner.find("Archive")
    many = tuple(f"k{n}" for n in range(KEYWORDS_MAX))
    await owner.store.write(mailbox.store_flags, where.id, ALL, FlagAction.ADD, many, None, ACTOR, NOW)
    with pytest.raises(LimitReached):
        await owner.store.write(mailbox.copy, (await owner.find()).id, ALL, where.id, ACTOR, NOW)
    assert list(await owner.flags("Archive")) == [1]


async def test_copying_into_another_box_lets_it_hold_the_letter(owner: Owner) -> None:
    other = Owner(owner.store, await clinic_box(owner.store, "other"))
    await owner.append(INBOX, "$mark", subject="shared")
    source, target = await owner.find(), await other.find()
    await owner.store.write(mailbox.copy, source.id, ALL, target.id, ACTOR, NOW)
    [mine] = await owner.store.read(mailbox.rows, source.id, ALL, Columns.ENVELOPE, NOW)
    [theirs] = await owner.store.read(mailbox.rows, target.id, ALL, Columns.ENVELOPE, NOW)
    assert theirs.envelope == mine.envelope
    owner.store._shared.keys.drop(owner.box.id)
    assert b"shared" in await owner.store.read(mailbox.octets, target.id, theirs.object_id, 0, None, NOW)


async def test_moving_is_copying_and_expunging_as_one(owner: Owner) -> None:
    for _ in range(3):
        await owner.append(INBOX, "\\Seen")
    source, target = await owner.find(), await owner.find("Archive")
    placed, modseq = await owner.store.write(mailbox.move, source.id, ((2, 3),), target.id, ACTOR, NOW)
    assert (placed.source, placed.target, modseq) == (((2, 3),), ((1, 2),), source.modseq + 1)
    assert list(await owner.flags()) == [1]
    assert await owner.flags("Archive") == {1: {"\\Seen"}, 2: {"\\Seen"}}
    log = (await owner.changes(source.modseq)).log
    assert [(one.kind, one.uid_first, one.uid_last) for one in log] == [(ChangeKind.EXPUNGED, 2, 3)]
    nothing, same = await owner.store.write(mailbox.move, source.id, ((2, 3),), target.id, ACTOR, NOW)
    assert (nothing.source, same) == ((), modseq)


async def test_moving_into_the_same_mailbox_gives_new_uids(owner: Owner) -> None:
    await owner.append()
    where = await owner.find()
    placed, _ = await owner.store.write(mailbox.move, where.id, ALL, where.id, ACTOR, NOW)
    assert placed.target == ((2, 2),)
    assert list(await owner.flags()) == [2]


async def test_expunging_takes_what_is_marked_among_those_named(owner: Owner) -> None:
    for flags in (("\\Deleted",), (), ("\\Deleted",), ("\\Deleted",)):
        await owner.append(INBOX, *flags)
    where = await owner.find()
    modseq, gone = await owner.store.write(mailbox.expunge, where.id, ((1, 3),), ACTOR, NOW)
    assert (modseq, gone) == (where.modseq + 1, ((1, 1), (3, 3)))
    again, nothing = await owner.store.write(mailbox.expunge, where.id, ((1, 3),), ACTOR, NOW)
    assert (again, nothing) == (modseq, ())
    _, last = await owner.store.write(mailbox.expunge, where.id, None, ACTOR, NOW)
    assert last == ((4, 4),)
    assert list(await owner.flags()) == [2]


async def test_crosswise_moves_do_not_lock_one_another_for_ever(owner: Owner) -> None:
    one, two = await owner.find(), await owner.find("Archive")
    for _ in range(8):
        await owner.append()
        await owner.append("Archive")
    await asyncio.gather(
        *(
            owner.store.write(mailbox.move, a.id, ((uid, uid),), b.id, ACTOR, NOW)
            for uid in range(1, 9)
            for a, b in ((one, two), (two, one))
        )
    )
    assert len(await owner.flags()) == len(await owner.flags("Archive")) == 8


async def test_a_mailbox_that_is_gone(owner: Owner) -> None:
    made = await owner.create("gone")
    target = await owner.find()
    await owner.delete("gone")
    for attempt in (
        owner.store.read(mailbox.status, made.id, NOW),
        owner.store.read(mailbox.changes, made.id, 0, NOW),
        owner.store.read(mailbox.rows, made.id, ALL, Columns.PLAIN, NOW),
        owner.store.write(appending.append, made.id, letter(to=[DESK]), (), None, ACTOR, NOW),
        owner.store.write(mailbox.copy, target.id, ALL, made.id, ACTOR, NOW),
        owner.store.write(mailbox.expunge, made.id, None, ACTOR, NOW),
    ):
        with pytest.raises(NoSuchMailbox):
            await attempt


async def test_changes_wake_those_who_watch_the_box(owner: Owner) -> None:
    ear = owner.store.subscribe("mailbox", owner.box.id)
    await owner.append()
    assert await ear.wait(30)
    await owner.flag(FlagAction.ADD, "\\Seen")
    assert await ear.wait(30)
    await owner.flag(FlagAction.ADD, "\\Seen")
    assert not await ear.wait(0.05)


async def test_what_was_done_stands_in_the_journal(owner: Owner) -> None:
    await owner.append(INBOX, "\\Deleted")
    await owner.flag(FlagAction.ADD, "\\Seen")
    await owner.store.write(mailbox.expunge, (await owner.find()).id, None, ACTOR, NOW)
    records = await owner.store.read(lambda uow: uow.journal.about_box(owner.box.id, 100))
    assert [one.event.action for one in records if one.event.actor == ACTOR] == [
        "letter.expunge",
        "letter.flags",
        "letter.append",
    ]


async def test_removed_letters_are_found_by_their_own_index(sqlite_config: Config) -> None:
    """A mailbox with years of flags behind it opens as fast as a new one."""
    store = Store(sqlite_config)
    said: list[str] = []
    await store.write(lambda uow: driver(uow).set_trace_callback(said.append))
    await store.write(lambda uow: uow.mailboxes.removed_since(1, 0))
    asked = next(one for one in said if one.startswith("SELECT changes"))
    plan = await store.write(lambda uow: driver(uow).execute(f"EXPLAIN QUERY PLAN {asked}").fetchall())
    assert "COVERING INDEX ix_changes_expunged" in str(plan)
    await store.close()
