"""The webmail on a real socket with TLS, full of letters, and Chromium in front of it."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyotp
from playwright.async_api import Browser as Chromium
from playwright.async_api import BrowserContext, Page, async_playwright

from mss import pki, tls
from mss.config import TlsConfig
from mss.mail.compose import Correspondent
from mss.model.account import Box, Delegation, DelegationKind
from mss.model.address import Address
from mss.model.ins import Traits
from mss.model.party import BoxKind, Party
from mss.services import accounts, operators
from mss.web import serve
from tests.webmail.webmail_world import (
    CHILD,
    PASSWORD,
    PAUL,
    PDF,
    PNG,
    START,
    TOTP,
    WARD,
    World,
    archive,
    file,
    level_1,
    level_3,
    open_world,
    section,
)

CHROMIUM_AT = "/usr/bin/chromium"
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
PHONE = {"width": 390, "height": 844}
DESKTOP = {"width": 1280, "height": 900}


@dataclass
class Site:
    """A served webmail."""

    world: World
    url: str


@asynccontextmanager
async def served(root: Path, **changes: Any) -> AsyncIterator[Site]:
    """Serve the webmail of a store on a port of its own, with a certificate made for it."""
    authority = pki.make_authority(root / "authority", now=START)
    subject = [("C", "FR"), ("O", "ESSAI"), ("OU", "3183"), ("CN", "localhost")]
    pki.issue(root / "server", authority, subject, ["localhost", "127.0.0.1"], now=START)
    files = TlsConfig(root / "server" / "operator.pem", root / "server" / "operator.key", authority.ca_file)
    world = await open_world(root, tls=files, **changes)
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        context = tls.client_facing_context(world.config)
        server = await serve(world.app, listening, world.config.limits, tls=context)
        try:
            yield Site(world, f"https://localhost:{listening.getsockname()[1]}")
        finally:
            await server.stop()
            world.sign_in.close()
            await world.store.close()


@asynccontextmanager
async def chromium() -> AsyncIterator[Chromium]:
    """Start Chromium without any state of its own, and end it."""
    assert Path(CHROMIUM_AT).exists(), "these tests need a browser: apt-get install --no-install-recommends chromium"
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM_AT, args=list(FLAGS))
        try:
            yield browser
        finally:
            await browser.close()


async def window(browser: Chromium, size: dict[str, int], *, scripts: bool = False) -> tuple[BrowserContext, Page]:
    """Open a window; scripts are off: the webmail must not miss them."""
    context = await browser.new_context(
        viewport={"width": size["width"], "height": size["height"]},
        locale="fr-FR",
        ignore_https_errors=True,
        java_script_enabled=scripts,
    )
    context.set_default_timeout(15_000)
    return context, await context.new_page()


async def fill(world: World) -> Box:
    """Give the world a patient with a child, letters of all kinds, and a directory."""
    paul = await world.box(PAUL, "Paul DUPONT", Traits("DUPONT", "PAUL", "19790312", "M"))
    child = await world.box(CHILD, "Léa DUPONT")
    await world.account("paul", paul)
    await world.account("lea", child, second_factor=False)
    right = Delegation(world.logins["paul"].id, child.id, DelegationKind.LEGAL_REPRESENTATIVE)
    await world.store.write(accounts.delegate, right, "test", world.hands.now)
    await _letters(world, paul)
    await _directory(world)
    return paul


async def _letters(world: World, paul: Box) -> None:
    first = world.letter(
        paul,
        "Compte rendu de votre consultation du 20 novembre",
        "Bonjour Monsieur Dupont,\n\nvous trouverez ci-joint le compte rendu de votre consultation et votre ordonnance."
        "\nMerci de me dire comment vous supportez le traitement.\n\nBien cordialement,\nDr Claire Martin\n"
        "claire.martin@chu.mssante.fr",
        cc=(WARD,),
        attachments=(
            archive(level_1(), level_3(_SECTIONS)),
            file("Ordonnance du 20 novembre 2026.pdf", PDF),
            file("radio.png", PNG),
            file("tableau de suivi.xlsx", b"PK\x03\x04" + b"x" * 40_000),
        ),
    )
    await world.receive(first)
    for subject, text, values in (
        ("Résultats de biologie", "Vos résultats sont normaux.", {"extra": (("X-MSS-MES", "FIN"),)}),
        ("Fin de suivi", "Notre suivi est terminé, bonne continuation.", {"sender": _LAB}),
        ("Invitation au dépistage", "", {"html": _HTML, "sender": _SCREENING}),
    ):
        world.hands.move(minutes=7)
        await world.receive(world.letter(paul, subject, text, **values))
    world.hands.move(minutes=7)
    third = "<letter-3@chu.mssante.fr>"
    last = world.letter(paul, "[FIN]", "Merci, au revoir.", sender=_LAB, in_reply_to=third, references=(third,))
    await world.receive(last)


_LAB = Correspondent(Address.parse("labo@chu.mssante.fr"), "Laboratoire des Lices – Rennes")
_SCREENING = Correspondent(Address.parse("depistage@chu.mssante.fr"), "Centre de dépistage de Bretagne")
_HTML = (
    "<h2>Dépistage organisé</h2><p>Bonjour <b>Monsieur</b>,</p><p>vous êtes invité à faire le test.</p>"
    "<ul><li>gratuit</li><li>rapide</li></ul><img src='http://evil.test/p.png'><table><tr><td>Lundi</td><td>9 h – 12 h"
    "</td></tr></table><p><a href='https://exemple.fr/'>En savoir plus</a></p>"
)
_SECTIONS = section("Motif", "<paragraph>Douleur thoracique à l’effort.</paragraph>") + section(
    "Traitement",
    "<table><thead><tr><th>Médicament</th><th>Dose</th></tr></thead><tbody><tr><td>Bisoprolol</td><td>2,5 mg</td>"
    "</tr><tr><td>Aspirine</td><td>75 mg</td></tr></tbody></table>",
)


async def _directory(world: World) -> None:
    parties = tuple(
        Party(
            Address.parse(f"medecin{n}@chu.mssante.fr"), BoxKind.PER, name, first, "Dr", profession="Médecin",
            speciality="Cardiologie", structure="CHU de Test", postal_code="35000", town="RENNES",
        )
        for n, (first, name) in enumerate((("Claire", "MARTIN"), ("Yann", "LE GOFF"), ("Anne", "MARTINEAU")))
    )  # fmt: skip
    now = world.hands.now
    generation = await world.store.write(operators.begin_directory, now)
    await world.store.write(operators.add_parties, generation, parties, now)
    await world.store.write(operators.publish_directory, generation, now)


def next_code(world: World) -> str:
    """Return a code that was not used yet."""
    world.hands.move(seconds=30)
    return pyotp.TOTP(TOTP.text()).at(int(world.hands.now.timestamp()))


async def sign_in(site: Site, page: Page, login: str = "paul") -> None:
    """Sign in as people do."""
    await page.goto(f"{site.url}/")
    await page.get_by_label("Identifiant").fill(login)
    await page.get_by_label("Mot de passe").fill(PASSWORD)
    await page.get_by_role("button", name="Continuer").click()
    await page.get_by_label("Code à six chiffres").fill(next_code(site.world))
    await page.get_by_role("button", name="Se connecter").click()
    await page.get_by_role("heading", name="Messages", exact=True).wait_for()
