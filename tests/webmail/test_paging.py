"""Nothing is listed without an end: conversations, letters, documents and accesses come in pages."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from mss.model.account import Box
from mss.model.audit import AuditEvent
from mss.model.document import Author, Document, DocumentEntry, DocumentFormat, FiledBy
from mss.services import records
from mss.store import Uow
from mss.webmail import conversations, documents
from tests.webmail.webmail_world import PDF, Browser, World, file


async def _thread_of(world: World, paul: Box, count: int, **values: Any) -> None:
    """Let a conversation of so many letters come in, a second apart."""
    first = world.letter(paul, text="Lettre n° 0.", **values)
    await world.receive(first)
    for number in range(1, count):
        world.hands.move(seconds=1)
        reply = world.letter(paul, "Re: Votre consultation", f"Lettre n° {number}.", **values)
        await world.receive(replace(reply, references=(first.message_id,)))


async def test_a_long_conversation_shows_its_newest_letters_first(
    world: World, paul: Box, browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mss.services.records.thread.__defaults__", (0, 3))
    await _thread_of(world, paul, 7)
    page = await browser.get("/conversations/1")
    shown = [one.text_content().strip() for one in page.tree.find_class("text")]
    assert shown == ["Lettre n° 4.", "Lettre n° 5.", "Lettre n° 6."]
    assert "Afficher les plus récents" not in page.text
    page = await browser.get("/conversations")
    assert "4 messages non lus" in page.text, "what was not shown is not read"
    await browser.get("/conversations/1")
    page = await browser.follow("Afficher les 4 messages plus anciens")
    shown = [one.text_content().strip() for one in page.tree.find_class("text")]
    assert shown == ["Lettre n° 1.", "Lettre n° 2.", "Lettre n° 3."]
    page = await browser.follow("Afficher le message plus ancien")
    assert [one.text_content().strip() for one in page.tree.find_class("text")] == ["Lettre n° 0."]
    assert "plus ancien" not in page.tree.get_element_by_id("main").text_content()
    assert "non lu" not in (await browser.get("/conversations")).text
    await browser.get("/conversations/1?skip=3")
    page = await browser.follow("Afficher les messages les plus récents")
    assert "Lettre n° 6." in page.text


async def test_a_conversation_of_just_a_page_has_no_other(world: World, paul: Box, browser: Browser) -> None:
    await _thread_of(world, paul, 3)
    assert "plus ancien" not in (await browser.get("/conversations/1")).text
    page = await browser.get("/conversations/1?skip=99")
    assert page.status == 200
    assert not page.tree.find_class("letter")
    assert (await browser.get("/conversations/1?skip=-1")).status == 404
    assert (await browser.get(f"/conversations/1?skip={'9' * 18}")).status == 200


async def test_a_page_holds_no_more_than_fits_into_memory(
    world: World, paul: Box, browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(records, "LETTERS_SHOWN_OCTETS", 250_000)
    await _thread_of(world, paul, 4, attachments=(file("scan.pdf", PDF + b"%" * 80_000),))
    page = await browser.get("/conversations/1")
    assert len(page.tree.find_class("letter")) == 2
    monkeypatch.setattr(records, "LETTERS_SHOWN_OCTETS", 1)
    page = await browser.follow("Afficher les 2 messages plus anciens")
    assert len(page.tree.find_class("letter")) == 1, "one letter is always shown"
    assert "Afficher le message plus ancien" in page.text


async def test_an_answer_goes_to_the_conversation_wherever_it_is_opened(
    world: World, paul: Box, browser: Browser
) -> None:
    await _thread_of(world, paul, 3)
    await browser.get("/conversations/1?skip=2")
    page = await browser.press("Envoyer", text="Merci.")
    assert "Votre message a été envoyé." in page.text
    assert page.tree.find_class("letter")[-1].text_content().count("Merci.") == 1


def _file(uow: Uow, box: Box, count: int, now: Any) -> None:
    for number in range(count):
        entry = DocumentEntry(f"1.2.{number}", DocumentFormat.PDF, f"Document {number:03}", authors=(Author("Dr A"),))
        category = "BIOLOGIE" if number % 2 else "CPT_REND"
        document = Document(0, box.id, entry, "e", "l", 1, 9, now, FiledBy.LETTER, category, folder=f"D{number % 3}")
        uow.dossiers.file(document)


async def test_documents_come_in_pages_of_one_category_too(world: World, paul: Box, browser: Browser) -> None:
    count = 2 * documents.PER_PAGE + 2
    await world.store.write(_file, paul, count, world.hands.now)
    page = await browser.get("/documents")
    assert f"{count} documents" in page.text
    assert page.source.count('href="/documents/') == documents.PER_PAGE
    assert f"Document {count - 1:03}" in page.text
    await browser.follow("Documents plus anciens")
    page = await browser.follow("Documents plus anciens")
    assert page.source.count('href="/documents/') == 2
    assert "Document 000" in page.text
    page = await browser.get("/documents?category=BIOLOGIE")
    assert f"{count // 2} documents" in page.text
    page = await browser.follow("Documents plus anciens")
    assert page.source.count('href="/documents/') == 1
    assert "Document 001" in page.text
    await browser.follow("Documents plus récents")
    assert browser.page.response.url.query == b"category=BIOLOGIE&page=1"


def _work(uow: Uow, box_id: int, count: int, now: Any) -> None:
    for number in range(count):
        uow.journal.write(AuditEvent("system:test", "box.state", f"box:{number}", subject_box_id=box_id), now)


async def test_accesses_come_in_pages_of_what_others_did_too(world: World, paul: Box, browser: Browser) -> None:
    await world.store.write(_work, paul.id, documents.PER_PAGE, world.hands.now)
    page = await browser.get("/accesses")
    assert len(page.tree.xpath("//tbody/tr")) == documents.PER_PAGE
    page = await browser.follow("Opérations plus anciennes")
    assert page.tree.xpath("//tbody/tr")
    page = await browser.get("/accesses?by=others&page=2")
    assert "Vous" not in [one.text_content() for one in page.tree.xpath("//tbody//td[2]")]
    assert page.link("Opérations plus récentes") == "/accesses?by=others&page=1"
    page = await browser.get("/accesses?page=50")
    assert "Il n’y a plus d’opération." in page.text


@pytest.mark.parametrize("path", ["/documents", "/accesses", "/conversations"])
@pytest.mark.parametrize(("page", "status"), [("0", 200), ("5000", 200), ("999999999", 200), ("x", 404), ("-1", 404)])
async def test_odd_page_numbers_are_no_fault(browser: Browser, path: str, page: str, status: int) -> None:
    assert (await browser.get(f"{path}?page={page}")).status == status


async def test_only_unread_conversations_or_those_with_a_draft(world: World, paul: Box, browser: Browser) -> None:
    for number in range(3):
        world.hands.move(seconds=1)
        await world.receive(world.letter(paul, f"Sujet {number}"))
    await browser.get("/conversations/1")
    await browser.press("Enregistrer le brouillon", text="à finir")
    await browser.get("/conversations")

    def shown() -> list[str]:
        return [one.text_content().strip() for one in browser.page.tree.xpath("//main//h2")]

    assert shown() == ["Sujet 2", "Sujet 1", "Sujet 0"]
    await browser.follow("Non lus seulement")
    assert shown() == ["Sujet 2", "Sujet 1"]
    await browser.follow("Avec un brouillon")
    assert shown() == ["Sujet 0"]
    await browser.get("/conversations?show=nonsense")
    assert len(shown()) == 3
    for number in (2, 3):
        await browser.get(f"/conversations/{number}")
    assert "Vous avez tout lu." in (await browser.get("/conversations?show=unread")).text
    await browser.get("/conversations/1")
    await browser.press("Supprimer le brouillon")
    assert "Vous n’avez aucun brouillon." in (await browser.get("/conversations?show=drafts")).text


async def test_pages_keep_what_is_shown(world: World, paul: Box, browser: Browser) -> None:
    for number in range(conversations.PER_PAGE + 1):
        await world.receive(world.letter(paul, f"Sujet {number}"))
    page = await browser.get("/conversations?show=unread")
    assert page.link("Conversations plus anciennes") == "/conversations?show=unread&page=2"
