"""Promise 9: whatever page shows something of a patient, somebody finds in the journal who opened it."""

from __future__ import annotations

import asyncio
import re
from dataclasses import replace

import pytest

from mss.model.account import Box, DelegationKind
from mss.services.accesses import Look, Sight
from mss.webmail import app, looking
from mss.webmail.looking import Noted
from tests.webmail.webmail_world import PDF, PNG, Browser, Hands, World, archive, file, level_1, level_3, section

# Pages that show nothing of a patient but the frame, or what the account has of its own.
OWN = {"/directory", "/sessions", "/sessions/password", "/sessions/application", "/box", "/mailbox"}
VALUES = {"conversation": "1", "letter": "1", "part": "2", "index": "0", "document": "1"}
# Of each page that shows something, the journal's word and target.
TRACES = {
    "/conversations": ("conversations.list", "box:1"),
    "/conversations/{conversation}": ("conversation.read", "conversation:1"),
    "/letters/{letter}/layout": ("conversation.read", "conversation:1"),
    "/letters/{letter}/files/{part}": ("attachment.read", "letter:1"),
    "/letters/{letter}/files/{part}/download": ("attachment.read", "letter:1"),
    "/letters/{letter}/files/{part}/file": ("attachment.read", "letter:1"),
    "/letters/{letter}/documents/{index}": ("attachment.read", "letter:1"),
    "/letters/{letter}/documents/{index}/file": ("attachment.read", "letter:1"),
    "/letters/{letter}/documents/{index}/page": ("attachment.read", "letter:1"),
    "/letters/{letter}/documents/{index}/original": ("attachment.read", "letter:1"),
    "/letters/{letter}/documents/{index}/pdf": ("attachment.read", "letter:1"),
    "/documents": ("documents.list", "box:1"),
    "/documents/{document}": ("document.read", "document:1"),
    "/documents/{document}/page": ("document.read", "document:1"),
    "/documents/{document}/content": ("document.read", "document:1"),
    "/documents/{document}/original": ("document.read", "document:1"),
    "/accesses": ("accesses.read", "box:1"),
    "/conversations/new": ("conversations.list", "box:1"),
    "/rights": ("rights.read", "box:1"),
    "/delegations": ("delegations.read", "box:1"),
}
GETS = sorted({path for path, methods, _ in app._PAGES if "GET" in methods} - OWN)


@pytest.fixture
async def full(world: World, paul: Box, browser: Browser) -> Browser:
    """Paul's browser; his box holds a letter with everything on it. The looks of signing in are a minute old."""
    attached = (file("scan.pdf", PDF), archive(level_3(section("Motif", "Toux.")), level_1()))
    await world.receive(world.letter(paul, html="<p>Bonjour</p>", attachments=attached))
    world.hands.move(minutes=2)
    return browser


async def looks(world: World, since: int = 0) -> list[tuple[str, str, str]]:
    """Return (actor, word, target) of the looks in the journal, oldest first."""
    found = await world.store.read(lambda uow: uow.journal.newest(1000))
    sights = {sight.value for sight in Sight}
    events = [one.event for one in reversed(found) if one.event.action in sights]
    return [(one.actor, one.action, one.target) for one in events][since:]


def test_every_page_is_told_of() -> None:
    assert set(GETS) == set(TRACES)


@pytest.mark.parametrize("path", GETS)
async def test_every_access_to_a_patients_data_is_in_the_journal(world: World, full: Browser, path: str) -> None:
    before = len(await looks(world))
    address = re.sub(r"\{(\w+)\}", lambda match: VALUES[match.group(1)], path)
    if "/pdf" in path or path == "/documents/{document}/content":
        address = address.replace("documents/0", "documents/1")
    page = await full.get(address)
    assert page.status == 200, page.text
    me = f"account:{world.logins['paul'].id}"
    assert (me, *TRACES[path]) in await looks(world, before)


async def test_and_the_patient_can_read_who_saw_what(world: World, paul: Box, full: Browser) -> None:
    await world.account("aline", paul, kind=DelegationKind.CAREGIVER)
    renamed = replace(world.logins["aline"])
    hers = world.browser()
    await hers.sign_in("aline")
    await hers.get("/conversations/1")
    await hers.get("/documents/1")
    await full.get("/conversations")
    page = await full.get("/accesses")
    assert f"{renamed.display_name}, pour cette boîte" in page.text
    assert "Messages ouverts" in page.text
    assert "Document ouvert – Compte rendu structuré" in page.text
    assert "Vous" in page.text
    page = await full.follow("Seulement ce que d’autres ont fait")
    rows = [one.text_content() for one in page.tree.xpath("//tbody//td[2]")]
    assert rows
    assert "Vous" not in rows


async def test_the_same_look_within_a_minute_is_one_access(world: World, full: Browser) -> None:
    before = len(await looks(world))
    await full.get("/documents/1")
    await full.get("/documents/1/page")
    await full.get("/documents/1/original")
    assert len(await looks(world, before)) == 1
    world.hands.move(seconds=59)
    await full.get("/documents/1")
    assert len(await looks(world, before)) == 1
    world.hands.move(seconds=1)
    await full.get("/documents/1")
    assert len(await looks(world, before)) == 2


async def test_another_session_is_another_access(world: World, full: Browser) -> None:
    other = world.browser()
    await other.sign_in("paul")
    before = len(await looks(world))
    await full.get("/conversations/1")
    await other.get("/conversations/1")
    assert [look[1:] for look in await looks(world, before)] == [("conversation.read", "conversation:1")] * 2


async def test_reading_again_is_written_down_again(world: World, full: Browser) -> None:
    before = len(await looks(world))
    for _ in range(3):
        await full.get("/conversations/1")
        world.hands.move(minutes=1)
    assert [look[1] for look in await looks(world, before)] == ["conversation.read"] * 3


async def test_a_page_fetched_ahead_is_an_access(world: World, full: Browser) -> None:
    before = len(await looks(world))
    await full.get("/conversations/1", **{"Sec-Purpose": "prefetch"})
    assert [look[1] for look in await looks(world, before)] == ["conversation.read"]


@pytest.mark.parametrize("path", ["/conversations/99", "/letters/99/layout", "/letters/1/files/9", "/documents/99"])
async def test_what_is_not_there_leaves_no_trace(world: World, full: Browser, path: str) -> None:
    before = len(await looks(world))
    assert (await full.get(path)).status == 404
    assert await looks(world, before) == []


async def test_nothing_is_shown_that_cannot_be_written_down(
    world: World, full: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_args: object) -> None:
        raise OSError("no room")

    monkeypatch.setattr("mss.services.accesses.note", fails)
    page = await full.get("/documents/1")
    assert page.status >= 500
    assert "Compte rendu structuré" not in page.text
    monkeypatch.undo()
    before = len(await looks(world))
    assert (await full.get("/documents/1")).status == 200
    assert len(await looks(world, before)) == 1, "what failed is not remembered as written"


async def test_looks_at_once_are_each_written_down_before_they_are_answered(world: World, full: Browser) -> None:
    before = len(await looks(world))
    pages = await asyncio.gather(*(full.client.get("/documents/1") for _ in range(3)))
    assert {page.status_code for page in pages} == {200}
    assert 1 <= len(await looks(world, before)) <= 3


def test_the_minute_is_measured_from_the_first_look() -> None:
    hands = Hands()
    noted = Noted(hands)
    key = ("token", 1, Look(Sight.DOCUMENT, 1))
    assert not noted.holds(key)
    noted.add(key)
    hands.move(seconds=59)
    noted.add(key)
    assert noted.holds(key)
    assert not noted.holds(("other", 1, Look(Sight.DOCUMENT, 1)))
    assert not noted.holds(("token", 2, Look(Sight.DOCUMENT, 1)))
    assert not noted.holds(("token", 1, Look(Sight.DOCUMENT, 2)))
    hands.move(seconds=1)
    assert not noted.holds(key)


@pytest.mark.parametrize(("over", "kept"), [(-1, True), (0, True), (1, False)])
def test_it_remembers_a_limited_number(over: int, kept: bool) -> None:
    noted = Noted(Hands())
    first = ("token", 1, Look(Sight.DOCUMENT, 0))
    noted.add(first)
    for number in range(1, looking.REMEMBERED_MAX + over):
        noted.add(("token", 1, Look(Sight.DOCUMENT, number)))
    assert noted.holds(first) is kept


async def test_sending_shows_the_conversation_and_says_so(world: World, full: Browser) -> None:
    await full.get("/conversations/1")
    world.hands.move(minutes=5)
    before = len(await looks(world))
    await full.press("Enregistrer le brouillon", text="x", files=(("a.png", PNG),))
    assert ("conversation.read", "conversation:1") in [look[1:] for look in await looks(world, before)]
