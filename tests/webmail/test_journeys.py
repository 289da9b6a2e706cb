"""Chromium in front of a served webmail: the whole way without scripts, by keyboard alone, on a phone and at a desk."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser as Chromium
from playwright.async_api import FilePayload, Page, expect
from playwright.async_api import TimeoutError as PageTimeout

from mss.config import PolicyConfig
from mss.web import serve
from tests.webmail.webmail_journey import (
    DESKTOP,
    PHONE,
    Site,
    chromium,
    fill,
    next_code,
    served,
    sign_in,
    window,
)
from tests.webmail.webmail_world import PASSWORD, PNG, copy_of, open_world

pytestmark = [pytest.mark.journey, pytest.mark.slow]

PAGES = (
    "/conversations",
    "/conversations/1",
    "/conversations/2",
    "/conversations/3",
    "/conversations/4",
    "/letters/1/documents/1",
    "/letters/1/files/3/file",
    "/letters/1/documents/0/file",
    "/documents",
    "/documents/1",
    "/directory?name=martin",
    "/accesses",
    "/accesses?by=others",
    "/rights",
    "/rights?name=martin",
    "/delegations",
    "/mailbox",
    "/conversations/new",
    "/sessions",
    "/sessions/password",
    "/sessions/application",
    "/nothing",
)


@pytest.fixture
async def site(template: Path, tmp_path: Path) -> AsyncIterator[Site]:
    async with served(copy_of(template, tmp_path / "operator")) as running:
        await fill(running.world)
        yield running


@pytest.fixture
async def browser() -> AsyncIterator[Chromium]:
    async with chromium() as running:
        yield running


async def test_the_whole_way_without_scripts(site: Site, browser: Chromium) -> None:
    _, page = await window(browser, PHONE)
    await sign_in(site, page)
    await page.get_by_role("link", name="Compte rendu de votre consultation").click()
    await page.get_by_label("Votre message").fill("Bonjour docteur, tout va bien.")
    photo: FilePayload = {"name": "photo.png", "mimeType": "image/png", "buffer": PNG}
    await page.get_by_label("Ajouter des fichiers").set_input_files(photo)
    await page.get_by_role("button", name="Enregistrer le brouillon").click()
    await expect(page.get_by_role("status")).to_have_text("Votre brouillon a été enregistré, avec ses fichiers.")
    await page.get_by_role("button", name="Envoyer").click()
    await expect(page.get_by_role("status")).to_have_text("Votre message a été envoyé.")
    await expect(page.get_by_role("article").last).to_contain_text("Bonjour docteur, tout va bien.")
    await page.get_by_role("link", name="Documents", exact=True).click()
    await page.get_by_role("link", name="Compte rendu structuré").click()
    inside = page.frame_locator("iframe").get_by_role("heading", name="Traitement")
    await expect(inside).to_be_visible()
    await page.get_by_role("button", name="Se déconnecter").click()
    await expect(page.get_by_role("status")).to_have_text("Vous êtes déconnecté.")
    await page.go_back()
    await expect(page.get_by_role("button", name="Continuer")).to_be_visible()


async def _tab_to(page: Page, name: str, tabs_max: int = 60) -> None:
    """Press Tab until the element of this name has the focus, and see that it shows."""
    for _ in range(tabs_max):
        await page.keyboard.press("Tab")
        focused: dict[str, Any] = await page.evaluate(_FOCUSED)
        assert focused["shows"], f"the focus does not show on {focused['name']}"
        if focused["name"].startswith(name):
            return
    raise AssertionError(f"the keyboard does not reach “{name}”")


_FOCUSED = """() => {
  const one = document.activeElement, style = getComputedStyle(one), box = one.getBoundingClientRect();
  const label = one.labels && one.labels.length ? one.labels[0].innerText : one.innerText;
  return {name: (label || one.getAttribute('aria-label') || one.tagName).replace(/\\s+/g, ' ').trim(),
          shows: one === document.body || one.tagName === 'IFRAME'
                 || (style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 2 && box.width > 0)};
}"""


async def _signed_in_by_keyboard(site: Site, page: Page) -> None:
    """Sign in without a mouse; the first password is wrong."""
    await page.goto(f"{site.url}/")
    await _tab_to(page, "Aller au contenu")
    await page.keyboard.press("Enter")
    await _tab_to(page, "Identifiant")
    await page.keyboard.type("paul")
    await _tab_to(page, "Mot de passe")
    await page.keyboard.type("pas le bon")
    await _enter(page)
    await expect(page.get_by_role("alert")).to_be_focused()
    await _tab_to(page, "Mot de passe")
    await page.keyboard.type(PASSWORD)
    await _enter(page)
    await _tab_to(page, "Code à six chiffres")
    await page.keyboard.type(next_code(site.world))
    await _enter(page)


async def test_by_keyboard_alone(site: Site, browser: Chromium) -> None:
    _, page = await window(browser, DESKTOP, scripts=True)
    await _signed_in_by_keyboard(site, page)
    await _tab_to(page, "Compte rendu de votre consultation")
    await _enter(page)
    await _tab_to(page, "Service de cardiologie")
    await page.keyboard.press("Space")
    await _tab_to(page, "Votre message")
    await page.keyboard.type("Écrit sans souris.")
    await _tab_to(page, "Envoyer")
    await _enter(page)
    await expect(page.get_by_role("status")).to_have_text("Votre message a été envoyé.")
    await expect(page.get_by_role("article").last).to_contain_text("Écrit sans souris.")
    await expect(page.get_by_role("article").last).not_to_contain_text("Service de cardiologie")
    await _tab_to(page, "Se déconnecter")
    await _enter(page)
    await expect(page.get_by_role("heading", name="Connectez-vous")).to_be_visible()


_CHOOSER_TRIES = 5
_CHOOSER_PATIENCE_MS = 5_000


async def _attach(page: Page, *files: FilePayload) -> None:
    """Open the file chooser with a key and choose. The browser tells us of choosers only some time after it was asked
    to; one that it opened before is heard of by nobody."""
    await page.wait_for_load_state("networkidle")
    for _ in range(_CHOOSER_TRIES):
        await _tab_to(page, "Ajouter des fichiers")
        with suppress(PageTimeout):
            async with page.expect_file_chooser(timeout=_CHOOSER_PATIENCE_MS) as chooser:
                await page.keyboard.press("Space")
            await (await chooser.value).set_files(files)
            return
    raise AssertionError("the key opens no file chooser")


async def test_draft_files_and_filing_by_keyboard_alone(site: Site, browser: Chromium) -> None:
    _, page = await window(browser, DESKTOP, scripts=True)
    await _signed_in_by_keyboard(site, page)
    await _tab_to(page, "Compte rendu de votre consultation")
    await _enter(page)
    await _tab_to(page, "Votre message")
    await page.keyboard.type("Voici la photo.")
    await _attach(
        page,
        {"name": "photo.png", "mimeType": "image/png", "buffer": PNG},
        {"name": "virus.exe", "mimeType": "application/octet-stream", "buffer": b"MZ\x90\0"},
    )
    await _tab_to(page, "Enregistrer le brouillon")
    await _enter(page)
    await expect(page.get_by_role("alert")).to_be_focused()
    await _tab_to(page, "« virus.exe")
    await page.keyboard.press("Enter")
    await expect(page).to_have_url(f"{site.url}/conversations/1#files")
    await _tab_to(page, "Enregistrer le brouillon")
    await _enter(page)
    await expect(page.get_by_role("status")).to_have_text("Votre brouillon a été enregistré, avec ses fichiers.")
    await _attach(page, {"name": "seconde.png", "mimeType": "image/png", "buffer": PNG + b"\0"})
    await _tab_to(page, "Enregistrer le brouillon")
    await _enter(page)
    await _tab_to(page, "Retirer photo.png")
    await _enter(page)
    await expect(page.get_by_role("status")).to_have_text("Le fichier a été retiré de votre brouillon.")
    await _tab_to(page, "Envoyer")
    await _enter(page)
    await expect(page.get_by_role("article").last).to_contain_text("seconde.png")
    await expect(page.get_by_role("article").last).not_to_contain_text("photo.png")
    await _tab_to(page, "Classer dans mes documents radio.png")
    await _enter(page)
    await _tab_to(page, "Titre")
    await page.keyboard.press("ControlOrMeta+a")
    await page.keyboard.type("Ma radio")
    await _tab_to(page, "Catégorie")
    await page.keyboard.type("Ima")
    await _tab_to(page, "Dossier")
    await page.keyboard.type("Cœur")
    await _enter(page)
    await expect(page.get_by_role("status")).to_have_text("Le document a été ajouté à vos documents.")
    await expect(page.get_by_role("heading", name="Ma radio")).to_be_visible()
    await expect(page.get_by_role("main")).to_contain_text("Imagerie")
    await _tab_to(page, "Qui a vu quoi")
    await _enter(page)
    await _tab_to(page, "Seulement ce que d’autres ont fait")
    await _enter(page)
    await _tab_to(page, "Se déconnecter")
    await _enter(page)
    await expect(page.get_by_role("status")).to_have_text("Vous êtes déconnecté.")


async def test_rights_and_an_invitation_by_keyboard_alone(site: Site, browser: Chromium) -> None:
    _, page = await window(browser, DESKTOP, scripts=True)
    await _signed_in_by_keyboard(site, page)
    await _tab_to(page, "Droits")
    await _enter(page)
    await _tab_to(page, "Professionnel")
    await page.keyboard.type("Dr Claire")
    await _tab_to(page, "Ce que ce professionnel peut faire")
    await page.keyboard.type("Bloquer")
    await _tab_to(page, "Définir")
    await _enter(page)
    await expect(page.get_by_role("status")).to_have_text("C’est fait. Vous pouvez le retirer à tout moment.")
    await _tab_to(page, "En cas d’urgence, les documents masqués")
    await page.keyboard.press("Space")
    await _tab_to(page, "Enregistrer ces choix")
    await _enter(page)
    await expect(page.get_by_role("status")).to_have_text("Vos choix sont enregistrés.")
    await expect(page.get_by_label("En cas d’urgence, les documents masqués")).to_be_checked()
    await _tab_to(page, "Retirer Dr Claire")
    await _enter(page)
    await expect(page.get_by_role("main")).to_contain_text("Vous n’avez encore nommé personne.")
    await _tab_to(page, "Aidants")
    await _enter(page)
    await _tab_to(page, "Nom de la personne")
    await page.keyboard.type("Aline")
    await _enter(page)
    await expect(page.get_by_role("status")).to_contain_text("Donnez ce code à Aline")


async def test_a_conversation_is_begun_with_a_contact(template: Path, tmp_path: Path, browser: Chromium) -> None:
    """Profile `contact`: whoever wrote and did not end the exchange may be written to anew; nobody else is offered."""
    folder = copy_of(template, tmp_path / "operator")
    async with served(folder, policy=PolicyConfig(profile="contact", test_identities=True)) as site:
        await fill(site.world)
        _, page = await window(browser, PHONE)
        await sign_in(site, page)
        await page.get_by_role("link", name="Nouveau message").click()
        main = page.get_by_role("main")
        await expect(main).to_contain_text("Dr Claire MARTIN")
        # The laboratory said [FIN]; and nobody's address is shown.
        await expect(main).not_to_contain_text("Laboratoire des Lices")
        assert "chu.mssante.fr" not in await page.content()
        await page.get_by_label("Dr Claire MARTIN").check()
        await page.get_by_label("Texte", exact=True).fill("Bonjour docteur, une question.")
        await page.get_by_role("button", name="Envoyer").click()
        # What is missing is said, and nothing of what was typed or chosen is lost.
        await expect(main).to_contain_text("Dites en quelques mots de quoi il s’agit.")
        await expect(page.get_by_label("Dr Claire MARTIN")).to_be_checked()
        await expect(page.get_by_label("Texte", exact=True)).to_have_value("Bonjour docteur, une question.")
        await page.get_by_label("Objet", exact=True).fill("Mon traitement")
        await page.get_by_role("button", name="Envoyer").click()
        await expect(page.get_by_role("status")).to_have_text("Votre message a été envoyé.")
        await expect(main).to_contain_text("Mon traitement")
        # It can be gone on with before there is an answer.
        await page.goto(f"{site.url}/conversations")
        await page.get_by_role("link", name="Mon traitement").click()
        await page.get_by_role("textbox", name="Votre message").fill("Et encore ceci.")
        await page.get_by_role("button", name="Envoyer").click()
        await expect(main).to_contain_text("Et encore ceci.")


async def _enter(page: Page) -> None:
    """Press Enter on something that leads to another page."""
    async with page.expect_navigation():
        await page.keyboard.press("Enter")


# A link inside a sentence is as high as its line (WCAG 2.5.8); a box to tick is as large as its label's line.
_TOO_SMALL = """() => [...document.querySelectorAll('a, button, input:not([type=hidden]), select, textarea, summary')]
  .filter(one => one.offsetParent && !one.closest('.skip, .text, p:not([class]), .problems, .reason'))
  .map(one => [one.innerText || one.id, (one.closest('.check') || one).getBoundingClientRect()])
  .filter(([name, box]) => box.width < 24 || box.height < 44)
  .map(([name, box]) => `${name}: ${box.width}x${box.height}`)"""
_TORN = """() => [...document.querySelectorAll('td, th, dd, h1, h2, .mark, button')]
  .filter(one => one.offsetParent && one.getBoundingClientRect().width < 60 && one.innerText.trim().length > 8)
  .map(one => one.innerText)"""
_WIDER = "() => document.documentElement.scrollWidth - document.documentElement.clientWidth"


@pytest.mark.parametrize("width", [320, 390, 1280])
async def test_every_page_fits_its_window_and_fingers(site: Site, browser: Chromium, width: int) -> None:
    context, page = await window(browser, {"width": width, "height": 844}, scripts=True)
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    await sign_in(site, page)
    for path in PAGES:
        await page.goto(f"{site.url}{path}")
        assert await page.evaluate(_WIDER) <= 0, path
        assert await page.evaluate(_TOO_SMALL) == [], path
        assert await page.evaluate(_TORN) == [], path
    assert [one for one in complaints if "404" not in one] == [], "the browser complains, of the policy for instance"
    await context.close()


async def test_text_can_be_made_twice_as_large(site: Site, browser: Chromium) -> None:
    _, page = await window(browser, {"width": 640, "height": 844}, scripts=True)
    await sign_in(site, page)
    for path in PAGES:
        await page.goto(f"{site.url}{path}")
        await page.evaluate("() => { document.documentElement.style.fontSize = '200%'; }")
        assert await page.evaluate(_WIDER) <= 0, path


# -- the server itself -----------------------------------------------------------------------------------------------


def _connect(site: Site) -> ssl.SSLSocket:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    host, _, port = site.url.removeprefix("https://").partition(":")
    return context.wrap_socket(socket.create_connection((host, int(port)), 10), server_hostname=host)


async def test_garbage_gets_a_refusal_and_others_notice_nothing(site: Site) -> None:
    def talk(octets: bytes) -> bytes:
        with _connect(site) as connection:
            connection.sendall(octets)
            return connection.recv(1000)

    for octets in (b"\x16\x03\x01 nonsense\r\n\r\n", b"GET / HTTP/x\r\n\r\n", b"GET " + b"x" * 40_000):
        answer = await asyncio.to_thread(talk, octets)
        assert answer.startswith(b"HTTP/1.1 400") or answer == b""
    answer = await asyncio.to_thread(talk, b"GET /sign-in HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200")
    assert b"server:" not in answer.lower()


async def test_a_connection_that_asks_for_nothing_is_dropped(template: Path, tmp_path: Path) -> None:
    world = await open_world(copy_of(template, tmp_path / "operator"))
    limits = replace(world.config.limits, http_head_timeout_s=0, http_connections_per_source_max=3)
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        server = await serve(world.app, listening, limits)
        address = listening.getsockname()
        reader, writer = await asyncio.open_connection(*address)
        assert await asyncio.wait_for(reader.read(), 5) == b""
        writer.close()
        await server.stop()
    world.sign_in.close()
    await world.store.close()


async def test_a_crowd_from_one_source_is_kept_out(template: Path, tmp_path: Path) -> None:
    world = await open_world(copy_of(template, tmp_path / "operator"))
    limits = replace(world.config.limits, http_connections_per_source_max=3)
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        server = await serve(world.app, listening, limits)
        address = listening.getsockname()
        streams = [await asyncio.open_connection(*address) for _ in range(4)]
        request = b"GET /sign-in HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        answers = []
        for reader, writer in streams:
            try:
                writer.write(request)
                answers.append((await asyncio.wait_for(reader.read(), 5))[:12])
            except ConnectionError:
                answers.append(b"")
            writer.close()
        assert sorted(answers) == [b"", *[b"HTTP/1.1 200"] * 3]
        await server.stop()
    world.sign_in.close()
    await world.store.close()
