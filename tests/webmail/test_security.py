"""Changing the password, and moving the codes to another application."""

from __future__ import annotations

import pyotp
import pytest

from mss.model.account import Box
from tests.webmail.webmail_world import PASSWORD, Browser, World

NEW = "deux chevaux corrects"


async def _sign_in_with(world: World, password: str) -> str:
    mine = world.browser()
    await mine.get("/sign-in")
    return (await mine.press("Continuer", login="paul", password=password)).path


async def test_a_new_password_signs_out_everywhere(world: World, browser: Browser) -> None:
    other = world.browser()
    await other.sign_in("paul")
    await browser.get("/sessions/password")
    page = await browser.press("Changer mon mot de passe", password=PASSWORD, new=NEW, again=NEW)
    assert (page.path, "Votre mot de passe a été changé" in page.text) == ("/sign-in", True)
    assert (await browser.get("/conversations")).path == "/sign-in"
    assert (await other.get("/conversations")).path == "/sign-in"
    assert await _sign_in_with(world, PASSWORD) == "/sign-in"
    assert await _sign_in_with(world, NEW) == "/sign-in/code"


@pytest.mark.parametrize(
    ("fields", "field", "sentence"),
    [
        ({"password": "faux", "new": NEW, "again": NEW}, "password", "Ce n’est pas votre mot de passe actuel."),
        ({"password": PASSWORD, "new": "court", "again": "court"}, "new", "au moins 12 caractères"),
        ({"password": PASSWORD, "new": "a" * 30, "again": "a" * 30}, "new", "au moins 12 caractères"),
        ({"password": PASSWORD, "new": NEW, "again": NEW + "x"}, "again", "Les deux nouveaux mots de passe diffèrent."),
    ],
)
async def test_what_is_wrong_changes_nothing(
    world: World, browser: Browser, fields: dict[str, str | list[str]], field: str, sentence: str
) -> None:
    await browser.get("/sessions/password")
    page = await browser.press("Changer mon mot de passe", fields)
    assert page.status == 422
    assert sentence in page.text
    assert f"#{field}" in [href for _, href in page.links()]
    assert NEW not in page.source, "no password comes back in a page"
    assert await _sign_in_with(world, PASSWORD) == "/sign-in/code"


async def test_guessing_the_password_in_an_open_browser_locks(world: World, browser: Browser) -> None:
    for _ in range(world.config.limits.login_failures_max + 1):
        await browser.get("/sessions/password")
        page = await browser.press("Changer mon mot de passe", password="faux", new=NEW, again=NEW)
    assert "Trop d’essais infructueux" in page.text


async def _new_application(browser: Browser) -> pyotp.TOTP:
    page = await browser.get("/sessions/application")
    return pyotp.TOTP("".join(page.tree.find_class("key")[0].text_content().split()))


async def test_another_application_takes_the_place_of_the_old_one(world: World, paul: Box, browser: Browser) -> None:
    other = world.browser()
    await other.sign_in("paul")
    totp = await _new_application(browser)
    page = await browser.press("Changer", password=PASSWORD, code=totp.at(int(world.hands.now.timestamp())))
    assert "Notez vos codes de secours" in page.text
    assert len(list(page.tree.iter("code"))) == 8
    assert (await browser.get("/conversations")).path == "/conversations", "this browser stays signed in"
    assert (await other.get("/conversations")).path == "/sign-in"
    again = world.browser()
    await again.get("/sign-in")
    await again.press("Continuer", login="paul", password=PASSWORD)
    assert (await again.press("Se connecter", code=again.code())).status == 422, "the old application"
    assert (await again.press("Se connecter", code=totp.at(int(world.hands.now.timestamp())))).path == "/conversations"


@pytest.mark.parametrize("wrong", ["password", "code"])
async def test_the_old_application_holds_until_both_are_right(world: World, browser: Browser, wrong: str) -> None:
    totp = await _new_application(browser)
    fields: dict[str, str | list[str]] = {"password": PASSWORD, "code": totp.at(int(world.hands.now.timestamp()))}
    page = await browser.press("Changer", fields | {wrong: "000000"})
    assert page.status == 422
    assert "".join(page.tree.find_class("key")[0].text_content().split()) == totp.secret, "the same picture again"
    assert (await world.browser().sign_in("paul")).path == "/conversations"


async def test_a_secret_of_ones_own_making_is_not_taken(world: World, browser: Browser) -> None:
    await _new_application(browser)
    page = await browser.press("Changer", password=PASSWORD, code="000000", secret="A")
    assert (page.status, page.path) == (200, "/sessions/application")
    assert (await world.browser().sign_in("paul")).path == "/conversations"
