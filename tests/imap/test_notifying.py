"""NOTIFY (RFC 5465): what is told, to whom, when, and what is not."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from mss.config import Limits
from mss.imap import commands as c
from mss.imap.commands import Event, EventGroup, Where
from mss.imap.notify_words import EVENTS
from mss.imap.parser import parse
from mss.imap.wire import Frame
from mss.model.account import Box, Delegation, DelegationKind
from mss.model.party import BoxKind
from mss.services import accounts
from tests.imap.imap_world import DOCTOR, LETTER, NOW, Client, World, running, with_limits

NEW_AND_GONE = Event.MESSAGE_NEW | Event.MESSAGE_EXPUNGE
OF_MESSAGES = "MessageNew MessageExpunge FlagChange"


def read(text: str) -> c.Command | str:
    found = parse(Frame(b"a NOTIFY " + text.encode()), Limits())
    return found.text if isinstance(found, c.Bad) else found.command


# --- words ---


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("NONE", c.Notify()),
        ("SET (selected NONE)", c.Notify((EventGroup(Where.SELECTED, Event.NONE),))),
        ("SET STATUS (personal (MessageNew MessageExpunge)) (inboxes NONE)",
         c.Notify((EventGroup(Where.PERSONAL, NEW_AND_GONE), EventGroup(Where.INBOXES, Event.NONE)), status=True)),
        ("set (SELECTED-delayed (messagenew (UID flags BODY.PEEK[]) MessageExpunge FlagChange))",
         c.Notify((EventGroup(Where.SELECTED_DELAYED, Event.OF_MESSAGES, (), c.Item.UID | c.Item.FLAGS,
                              (c.Section(b"BODY[]", peek=True),)),))),
        ("SET (subtree (a b/c) (MailboxName SubscriptionChange))",
         c.Notify((EventGroup(Where.SUBTREE, Event.MAILBOX_NAME | Event.SUBSCRIPTION_CHANGE, ("a", "b/c")),))),
        ("SET (mailboxes inbox (ServerMetadataChange MailboxMetadataChange))",
         c.Notify((EventGroup(Where.MAILBOXES, Event.SERVER_METADATA_CHANGE | Event.MAILBOX_METADATA_CHANGE,
                              ("INBOX",)),))),
        ("SET (subscribed (AnnotationChange))", c.Notify((EventGroup(Where.SUBSCRIBED, Event.NONE),), unknown=True)),
    ],
)  # fmt: skip
def test_notify_is_read(text: str, expected: c.Notify) -> None:
    assert read(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "", "ALL", "SET", "SET STATUS", "SET ()", "SET (personal)", "SET (personal ())", "SET (elsewhere NONE)",
        "SET (personal (MessageNew))", "SET (personal (MessageExpunge))", "SET (personal (FlagChange))",
        "SET (selected (MailboxName))", "SET (selected NONE) (selected-delayed NONE)", "SET (subtree NONE)",
        "SET (personal (MessageNew (UID) MessageExpunge))", "SET (selected (MessageNew () MessageExpunge))",
        "SET (selected (MessageNew (ALL) MessageExpunge))", "NONE (personal NONE)",
    ],
)  # fmt: skip
def test_what_is_no_notify(text: str) -> None:
    assert isinstance(read(text), str)


# --- sessions ---


async def ask(client: Client, command: str) -> list[bytes]:
    """Ask for something that is done; returns what is told besides."""
    *told, answer = await client.ask(command)
    assert answer.startswith(b"OK"), answer
    return told


def plain(line: bytes) -> bytes:
    return re.sub(rb"(UIDVALIDITY|HIGHESTMODSEQ) \d+", rb"\1 N", line)


@pytest.fixture
async def other(world: World, inbox: Box) -> Client:
    """Another session, which changes things."""
    await world.deliver(inbox)
    return await world.session("INBOX")


@pytest.fixture
async def client(world: World, other: Client) -> Client:
    """The session that is told; it sends nothing while it waits."""
    return await world.session("INBOX")


async def test_news_of_other_mailboxes_come_without_being_asked_for(client: Client, other: Client) -> None:
    assert await ask(client, f"NOTIFY SET (personal ({OF_MESSAGES}))") == []
    await other.append("Sent", LETTER)
    line = b"* STATUS Sent (MESSAGES %d UIDNEXT 2 UIDVALIDITY N UNSEEN %d HIGHESTMODSEQ N)"
    assert plain(await client.line()) == line % (1, 1)
    await ask(other, "SELECT Sent")
    await ask(other, "STORE 1 +FLAGS (\\Seen \\Deleted)")
    assert plain(await client.line()) == line % (1, 0)
    await ask(other, "EXPUNGE")
    assert plain(await client.line()) == line % (0, 0)


async def test_only_what_was_asked_for_is_told(client: Client, other: Client) -> None:
    await ask(client, "NOTIFY SET (mailboxes Junk NONE) (personal (MessageNew MessageExpunge))")
    await other.append("Junk", LETTER)
    await other.append("Trash", LETTER)
    assert (await client.line()).startswith(b"* STATUS Trash (MESSAGES 1 UIDNEXT 2 ")
    await ask(other, "SELECT Trash")
    await ask(other, "STORE 1 +FLAGS (\\Flagged)")
    await other.append("Drafts", LETTER)
    assert (await client.line()).startswith(b"* STATUS Drafts ")
    # Nothing of the selected mailbox is told: its group was not named.
    await other.append("INBOX", LETTER)
    await other.append("Archive", LETTER)
    assert (await client.line()).startswith(b"* STATUS Archive ")
    assert await client.ask("NOOP") == [b"OK Done"]
    await ask(client, "NOTIFY NONE")
    await other.append("Archive", LETTER)
    assert await client.ask("NOOP") == [b"OK Done"]


async def test_how_each_mailbox_stands_is_told_first(client: Client, other: Client) -> None:
    await other.append("Sent", LETTER)
    told = await ask(client, "NOTIFY SET STATUS (mailboxes (INBOX Sent Nowhere) (MessageNew MessageExpunge))")
    assert [plain(line) for line in told] == [b"* STATUS Sent (MESSAGES 1 UIDNEXT 2 UIDVALIDITY N UNSEEN 1)"]


async def test_the_selected_mailbox_is_told_of_at_once(world: World, inbox: Box, client: Client, other: Client) -> None:
    await ask(client, f"NOTIFY SET (selected ({OF_MESSAGES}))")
    await world.deliver(inbox)
    assert [await client.line() for _ in range(2)] == [b"* 2 EXISTS", b"* 0 RECENT"]
    await ask(other, "STORE 1 +FLAGS (\\Flagged)")
    assert await client.line() == b"* 1 FETCH (UID 1 FLAGS (\\Flagged))"
    await ask(other, "STORE 1 +FLAGS.SILENT (\\Deleted)")
    assert await client.line() == b"* 1 FETCH (UID 1 FLAGS (\\Flagged \\Deleted))"
    await ask(other, "EXPUNGE")
    assert await client.line() == b"* 1 EXPUNGE"
    assert await ask(client, "FETCH 1 (UID)") == [b"* 1 FETCH (UID 2)"]


async def test_selected_delayed_keeps_numbers_until_a_command_lets_them_go(client: Client, other: Client) -> None:
    await ask(client, "NOTIFY SET (selected-delayed (MessageNew MessageExpunge))")
    await ask(other, "STORE 1 +FLAGS.SILENT (\\Deleted)")
    await ask(other, "EXPUNGE")
    await other.append("INBOX", LETTER)
    # Flags are not told; the new letter is, and the old one keeps its number.
    assert [await client.line() for _ in range(2)] == [b"* 2 EXISTS", b"* 0 RECENT"]
    assert await ask(client, "FETCH 2 (UID)") == [b"* 2 FETCH (UID 2)"]
    assert await ask(client, "NOOP") == [b"* 1 EXPUNGE"]


async def test_new_letters_come_with_what_was_asked_of_them(world: World, inbox: Box, client: Client) -> None:
    await ask(client, "NOTIFY SET (selected (MessageNew (FLAGS BODY[HEADER.FIELDS (SUBJECT)]) MessageExpunge))")
    await world.deliver(inbox)
    assert await client.until(b"* 2 FETCH") == [
        b"* 2 EXISTS", b"* 0 RECENT",
        b"* 2 FETCH (UID 2 FLAGS () BODY[HEADER.FIELDS (SUBJECT)] {22}\r\nSubject: Resultats\r\n\r\n)",
    ]  # fmt: skip
    # It was not read by being told of, nor is it told of again.
    assert await client.ask("SEARCH SEEN") == [b"* SEARCH", b"OK Done"]


async def test_names_and_subscriptions(client: Client, other: Client) -> None:
    await ask(client, "NOTIFY SET (subtree a (MailboxName SubscriptionChange)) (personal (MailboxName))")
    await ask(other, "CREATE a")
    assert await client.line() == b'* LIST (\\HasNoChildren \\Subscribed) "/" a'
    await ask(other, "UNSUBSCRIBE a")
    assert await client.line() == b'* LIST (\\HasNoChildren) "/" a'
    await ask(other, "SUBSCRIBE a")
    assert await client.line() == b'* LIST (\\HasNoChildren \\Subscribed) "/" a'
    await ask(other, "UNSUBSCRIBE Sent")
    await ask(other, "RENAME a &AOk-t&AOk-")
    assert await client.line() == b'* LIST (\\HasNoChildren \\Subscribed) "/" &AOk-t&AOk- ("OLDNAME" (a))'
    await ask(other, "DELETE &AOk-t&AOk-")
    assert await client.line() == b'* LIST (\\NonExistent) "/" &AOk-t&AOk-'


async def test_a_subscription_that_ends_is_told_to_who_watches_subscribed_mailboxes(
    client: Client, other: Client
) -> None:
    await ask(client, "NOTIFY SET (subscribed (SubscriptionChange MessageNew MessageExpunge))")
    await ask(other, "UNSUBSCRIBE Sent")
    assert await client.line() == b'* LIST (\\HasNoChildren \\Sent) "/" Sent'
    await other.append("Sent", LETTER)
    await other.append("Drafts", LETTER)
    assert (await client.line()).startswith(b"* STATUS Drafts ")


async def test_what_has_gathered_is_told_when_it_begins(client: Client, other: Client) -> None:
    await ask(client, "NOTIFY NONE")
    await other.append("INBOX", LETTER)
    await ask(other, "STORE 1 +FLAGS.SILENT (\\Deleted)")
    await ask(other, "EXPUNGE")
    assert await client.ask("NOOP") == [b"OK Done"]
    gathered = [b"* 1 EXPUNGE", b"* 1 EXISTS", b"* 0 RECENT"]
    assert await ask(client, "NOTIFY SET (selected NONE)") == gathered


async def test_letters_vanish_for_who_knows_qresync(client: Client, other: Client) -> None:
    await ask(client, "ENABLE QRESYNC")
    await ask(client, f"NOTIFY SET (selected ({OF_MESSAGES}))")
    await ask(other, "STORE 1 +FLAGS (\\Deleted)")
    assert (await client.line()).startswith(b"* 1 FETCH (UID 1 FLAGS (\\Deleted) MODSEQ (")
    await ask(other, "EXPUNGE")
    assert [await client.line() for _ in range(3)] == [b"* VANISHED 1", b"* 0 EXISTS", b"* 0 RECENT"]


async def test_notes(client: Client, other: Client) -> None:
    await ask(client, "NOTIFY SET (inboxes (MailboxMetadataChange)) (personal (ServerMetadataChange))")
    await ask(other, 'SETMETADATA Sent (/shared/comment "x")')
    await ask(other, 'SETMETADATA INBOX (/shared/comment "x" /private/a "x")')
    assert await client.line() == b"* METADATA INBOX /private/a /shared/comment"
    await ask(other, "SETMETADATA INBOX (/private/a NIL)")
    assert await client.line() == b"* METADATA INBOX /private/a"
    await ask(other, 'SETMETADATA "" (/private/vendor/x "y")')
    assert await client.line() == b'* METADATA "" /private/vendor/x'


async def test_news_come_within_idle_too(world: World, inbox: Box, client: Client, other: Client) -> None:
    await ask(client, f"NOTIFY SET (selected-delayed ({OF_MESSAGES})) (personal ({OF_MESSAGES}))")
    client.send(b"i IDLE\r\n")
    assert await client.line() == b"+ Idling"
    await other.append("Sent", LETTER)
    assert (await client.line()).startswith(b"* STATUS Sent (MESSAGES 1 ")
    await world.deliver(inbox)
    assert await client.line() == b"* 2 EXISTS"
    client.send(b"DONE\r\n")
    assert (await client.until(b"i "))[-1] == b"i OK Done"


async def test_without_a_selected_mailbox(world: World, other: Client) -> None:
    client = await world.session()
    await ask(client, "NOTIFY SET (inboxes (MessageNew MessageExpunge))")
    await other.append("INBOX", LETTER)
    assert (await client.line()).startswith(b"* STATUS INBOX (MESSAGES 2 ")
    # Its own commands go on telling what they did.
    told = await ask(client, "SELECT INBOX")
    assert b"* 2 EXISTS" in told
    await ask(client, "STORE 1 +FLAGS.SILENT (\\Deleted)")
    assert await ask(client, "EXPUNGE") == [b"* 1 EXPUNGE"]


async def test_shared_boxes_are_told_of_while_they_are_reached(
    world: World, inbox: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk = await world.box("accueil@pro.example", BoxKind.ORG)
    account = await world.account("a@pro.example", await world.box("a@pro.example"), desk)
    client, stranger = await world.session(login="a@pro.example"), await world.session()
    for session in (client, stranger):
        await ask(session, "NOTIFY SET (inboxes (MessageNew MessageExpunge))")
    await world.deliver(desk)
    assert (await client.line()).startswith(b"* STATUS Shared/accueil@pro.example/INBOX (MESSAGES 1 ")
    assert await stranger.ask("NOOP") == [b"OK Done"]
    await world.store.write(accounts.end_delegation, account.id, desk.id, "test", NOW)
    monkeypatch.setattr("mss.imap.session._ACCESS_CHECK_S", 0)
    await world.deliver(desk)
    assert await client.ask("NOOP") == [b"OK Done"]


async def test_names_in_a_box_that_is_lost_or_gained_are_told(
    world: World, inbox: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mss.imap.session._ACCESS_CHECK_S", 0)
    desk = await world.box("accueil@pro.example", BoxKind.ORG)
    account = await world.account("a@pro.example", own := await world.box("a@pro.example"))
    client = await world.session(login="a@pro.example")
    await ask(client, "NOTIFY SET (subtree Shared/accueil@pro.example/INBOX (MailboxName))")
    member = Delegation(account.id, desk.id, DelegationKind.MEMBER)
    await world.store.write(accounts.delegate, member, "test", NOW)
    await world.deliver(own)
    assert await client.line() == b'* LIST (\\HasNoChildren \\Subscribed) "/" Shared/accueil@pro.example/INBOX'
    await world.store.write(accounts.end_delegation, account.id, desk.id, "test", NOW)
    await world.deliver(own)
    assert await client.line() == b'* LIST (\\NonExistent) "/" Shared/accueil@pro.example/INBOX'


async def test_events_that_are_not_known_change_nothing(client: Client, other: Client) -> None:
    await ask(client, "NOTIFY SET (personal (MessageNew MessageExpunge))")
    answer = (await client.ask("NOTIFY SET (personal (MessageNew MessageExpunge AnnotationChange))"))[-1]
    assert answer == f"NO [BADEVENT ({' '.join(EVENTS)})] Not every event is known here".encode()
    await other.append("Sent", LETTER)
    assert (await client.line()).startswith(b"* STATUS Sent ")


@pytest.mark.parametrize(("most", "start"), [(5, b"NO [NOTIFICATIONOVERFLOW]"), (6, b"OK"), (7, b"OK")])
async def test_there_are_as_many_mailboxes_as_can_be_watched(
    imap_template: Path, tmp_path: Path, most: int, start: bytes
) -> None:
    async with running(imap_template, tmp_path / "operator", with_limits(imap_notify_mailboxes_max=most)) as world:
        await world.account(DOCTOR, await world.box(DOCTOR))
        client, other = await world.session(), await world.session()
        assert (await client.ask("NOTIFY SET (personal (MailboxName))"))[-1].startswith(start)
        if start == b"OK":
            for number in range(most - 6):
                await ask(other, f"CREATE fits{number}")
                assert await client.line() == b'* LIST (\\HasNoChildren \\Subscribed) "/" fits%d' % number
            await ask(other, "CREATE beyond")
            told = await client.until(b"* OK [NOTIFICATIONOVERFLOW]")
            assert told[-1].startswith(b"* OK [NOTIFICATIONOVERFLOW]")
            await ask(other, "CREATE later")
            assert await client.ask("NOOP") == [b"OK Done"]


async def test_who_ends_leaves_no_ear_behind(world: World, client: Client, other: Client) -> None:
    for _ in range(3):
        await ask(client, f"NOTIFY SET (selected ({OF_MESSAGES})) (personal ({OF_MESSAGES}))")
    await ask(client, "LOGOUT")
    await client.close()
    await other.ask("LOGOUT")
    await other.close()
    await world.settled()
    assert not [wake for wake in world.store._wakeups._listeners if wake[0] == "mailbox"]
