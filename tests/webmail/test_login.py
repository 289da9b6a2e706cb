"""Signing in and out: password, code, recovery code, the first set-up, what locks, what is kept in cookies."""

from __future__ import annotations

import re

import pyotp
import pytest

from mss.model.account import AccountKind, Box, Delegation, DelegationKind
from mss.services import accounts
from tests.webmail.webmail_world import CHILD, PASSWORD, PASSWORD_HASH, Browser, World


async def test_the_first_page_leads_to_the_form(world: World) -> None:
    page = await world.browser().get("/")
    assert page.path == "/sign-in"
    assert "Connectez-vous à votre messagerie" in page.text


async def test_password_and_code_open_the_messages(world: World, paul: Box) -> None:
    mine = world.browser()
    page = await mine.sign_in("paul")
    assert (page.status, page.path) == (200, "/conversations")
    assert page.title == "Messages – Paul DUPONT – Espace de test"


async def test_a_login_is_found_in_any_case_and_among_spaces(world: World, paul: Box) -> None:
    page = await world.browser().sign_in("  PAUL ")
    assert page.path == "/conversations"


@pytest.mark.parametrize(("login", "password"), [("paul", "faux"), ("personne", PASSWORD), ("paul", ""), ("", "")])
async def test_what_is_wrong_is_told_without_saying_what(world: World, paul: Box, login: str, password: str) -> None:
    mine = world.browser()
    await mine.get("/sign-in")
    page = await mine.press("Continuer", login=login, password=password)
    assert page.status == 422
    assert "L’identifiant ou le mot de passe est incorrect." in page.text
    assert page.title.startswith("Erreur : ")
    assert page.tree.get_element_by_id("login").get("value") == login


async def test_too_many_failures_are_told_with_the_minutes(world: World, paul: Box) -> None:
    mine = world.browser()
    await mine.get("/sign-in")
    for _ in range(world.config.limits.login_failures_max):
        await mine.press("Continuer", login="paul", password="faux")
    page = await mine.press("Continuer", login="paul", password=PASSWORD)
    assert page.status == 429
    assert re.search(r"Réessayez dans \d+ min", page.text)


async def test_a_professional_is_told_to_use_a_mail_program(world: World, paul: Box) -> None:
    now = world.hands.now
    made = await world.store.write(
        accounts.create_account, "dr", AccountKind.PROFESSIONAL, "Dr", PASSWORD_HASH, "test", now
    )
    await world.store.write(accounts.delegate, Delegation(made.id, paul.id, DelegationKind.MEMBER), "test", now)
    mine = world.browser()
    await mine.get("/sign-in")
    page = await mine.press("Continuer", login="dr", password=PASSWORD)
    assert "Ce site est réservé aux patients" in page.text
    assert (await mine.get("/conversations")).path == "/sign-in"


async def test_an_account_without_a_box_is_told_so(world: World) -> None:
    args = ("seul", AccountKind.PATIENT, "Seul", PASSWORD_HASH, "test", world.hands.now)
    await world.store.write(accounts.create_account, *args)
    mine = world.browser()
    await mine.get("/sign-in")
    page = await mine.press("Continuer", login="seul", password=PASSWORD)
    assert "pas de boîte aux lettres" in page.text


async def test_the_password_alone_opens_nothing(world: World, paul: Box) -> None:
    mine = world.browser()
    await mine.get("/sign-in")
    await mine.press("Continuer", login="paul", password=PASSWORD)
    for path in ("/conversations", "/documents", "/accesses", "/sessions", "/directory?name=a", "/letters/1/layout"):
        assert (await mine.get(path)).path == "/sign-in/code", path


async def test_a_wrong_code_is_refused_and_a_code_works_once(world: World, paul: Box) -> None:
    mine, other = world.browser(), world.browser()
    for one in (mine, other):
        await one.get("/sign-in")
        await one.press("Continuer", login="paul", password=PASSWORD)
    assert (await mine.press("Se connecter", code="000000")).status == 422
    code = mine.code()
    assert (await mine.press("Se connecter", code=f"{code[:3]} {code[3:]}")).path == "/conversations"
    page = await other.press("Se connecter", code=code)
    assert (page.status, page.path) == (422, "/sign-in/code")
    assert "incorrect ou a déjà servi" in page.text


async def test_wrong_codes_lock_like_wrong_passwords(world: World, paul: Box) -> None:
    mine = world.browser()
    await mine.get("/sign-in")
    await mine.press("Continuer", login="paul", password=PASSWORD)
    for _ in range(world.config.limits.login_failures_max):
        await mine.press("Se connecter", code="000000")
    assert (await mine.press("Se connecter", code=mine.code())).status == 429


@pytest.mark.parametrize("typed", ["12345", "1234567", "abcdef", "", "１２３４５６", "-12345"])
async def test_a_code_is_six_digits(world: World, paul: Box, typed: str) -> None:
    mine = world.browser()
    await mine.get("/sign-in")
    await mine.press("Continuer", login="paul", password=PASSWORD)
    assert (await mine.press("Se connecter", code=typed)).status == 422


async def _set_up(world: World, login: str) -> tuple[Browser, pyotp.TOTP]:
    mine = world.browser()
    await mine.get("/sign-in")
    page = await mine.press("Continuer", login=login, password=PASSWORD)
    assert page.path == "/sign-in/set-up"
    secret = "".join(page.tree.find_class("key")[0].text_content().split())
    return mine, pyotp.TOTP(secret)


@pytest.fixture
async def new_here(world: World) -> Box:
    box = await world.box(CHILD, "Anne NOUVELLE")
    await world.account("anne", box, second_factor=False)
    return box


async def test_the_first_time_the_codes_are_set_up(world: World, new_here: Box) -> None:
    mine, totp = await _set_up(world, "anne")
    assert mine.page.tree.find_class("qr"), "a picture for the phone"
    assert "quelqu’un a pu l’apprendre" in mine.page.text, "the reason is given"
    page = await mine.press("Continuer", code=totp.at(int(world.hands.now.timestamp())))
    codes = [one.text_content() for one in page.tree.iter("code")]
    assert len(set(codes)) == 8
    assert all(re.fullmatch(r"(?:[2-9A-HJ-NP-Z]{4}-){2}[2-9A-HJ-NP-Z]{4}", code) for code in codes)
    assert (await mine.get("/conversations")).path == "/conversations"
    for path in ("/sign-in/set-up", "/sign-in/code", "/sign-in"):
        page = await mine.get(path)
        assert not any(code in page.source for code in codes), "they are shown once"


async def test_a_wrong_first_code_shows_the_same_secret_again(world: World, new_here: Box) -> None:
    mine, totp = await _set_up(world, "anne")
    page = await mine.press("Continuer", code="000000")
    assert page.status == 422
    assert "".join(page.tree.find_class("key")[0].text_content().split()) == totp.secret


async def test_a_secret_that_was_not_confirmed_is_forgotten(world: World, new_here: Box) -> None:
    _, first = await _set_up(world, "anne")
    _, second = await _set_up(world, "anne")
    assert first.secret != second.secret


async def test_the_secret_is_never_shown_again(world: World, paul: Box) -> None:
    mine = world.browser()
    await mine.get("/sign-in")
    await mine.press("Continuer", login="paul", password=PASSWORD)
    assert (await mine.get("/sign-in/set-up")).path == "/sign-in/code"


async def test_a_recovery_code_opens_once(world: World, new_here: Box) -> None:
    mine, totp = await _set_up(world, "anne")
    page = await mine.press("Continuer", code=totp.at(int(world.hands.now.timestamp())))
    code = next(page.tree.iter("code")).text_content()
    for typed, path in ((code.lower().replace("-", " "), "/conversations"), (code, "/sign-in/recovery-code")):
        other = world.browser()
        await other.get("/sign-in")
        await other.press("Continuer", login="anne", password=PASSWORD)
        await other.follow("Je n’ai pas mon téléphone")
        assert (await other.press("Se connecter", code=typed)).path == path
    assert "Ce code de secours est incorrect" in other.page.text


async def test_the_token_changes_at_every_step(world: World, paul: Box) -> None:
    mine = world.browser()
    await mine.get("/sign-in")
    await mine.press("Continuer", login="paul", password=PASSWORD)
    half = mine.client.cookies["__Host-mss"]
    await mine.press("Se connecter", code=mine.code())
    whole = mine.client.cookies["__Host-mss"]
    assert half != whole
    thief = world.browser()
    thief.client.cookies.set("__Host-mss", half, domain="espace.test")
    assert (await thief.get("/conversations")).path == "/sign-in"


async def test_cookies_are_kept_from_scripts_other_sites_and_plain_connections(world: World, paul: Box) -> None:
    mine = world.browser()
    await mine.get("/sign-in")
    await mine.press("Continuer", login="paul", password=PASSWORD)
    response = mine.page.response.history[0]
    cookie = next(one for one in response.headers.get_list("set-cookie") if one.startswith("__Host-mss="))
    attributes = {part.strip().lower() for part in cookie.split(";")[1:]}
    assert {"httponly", "secure", "samesite=lax", "path=/"} <= attributes
    assert not any(one.startswith("domain") for one in attributes)
    assert mine.client.cookies["__Host-mss"] not in str(await _everything_stored(world)), "the store has its hash only"


async def _everything_stored(world: World) -> list[accounts.WebSession]:
    return list(await world.store.read(accounts.sessions, world.logins["paul"].id, world.hands.now))


async def test_signing_out_ends_the_session_in_the_store_too(world: World, browser: Browser) -> None:
    token = browser.client.cookies["__Host-mss"]
    await browser.get("/conversations")
    page = await browser.press("Se déconnecter")
    assert (page.path, "Vous êtes déconnecté." in page.text) == ("/sign-in", True)
    browser.client.cookies.set("__Host-mss", token, domain="espace.test")
    assert (await browser.get("/conversations")).path == "/sign-in"


@pytest.mark.parametrize(("minutes", "open_still"), [(14.9, True), (15.1, False)])
async def test_a_quiet_session_ends(world: World, browser: Browser, minutes: float, open_still: bool) -> None:
    world.hands.move(minutes=minutes)
    page = await browser.get("/conversations")
    assert (page.path == "/conversations") is open_still
    if not open_still:
        assert "déconnecté après un moment sans activité" in page.text


async def test_a_busy_session_ends_after_its_whole_time(world: World, browser: Browser) -> None:
    for _ in range(47):
        world.hands.move(minutes=10)
        assert (await browser.get("/conversations")).path == "/conversations"
    world.hands.move(minutes=10)
    assert (await browser.get("/conversations")).path == "/sign-in"


async def test_a_disabled_account_is_out_at_once(world: World, browser: Browser) -> None:
    await world.store.write(accounts.set_password, "paul", PASSWORD_HASH, "test", world.hands.now)
    assert (await browser.get("/conversations")).path == "/sign-in"


async def test_sessions_are_seen_and_closed(world: World, browser: Browser) -> None:
    phone = world.browser(**{"User-Agent": "Mozilla/5.0 (iPhone; CPU iPhone OS 19_0 like Mac OS X) Safari/605"})
    await phone.sign_in("paul")
    page = await browser.get("/sessions")
    assert "Chrome – Linux Cette session" in page.text
    assert "Safari – iPhone" in page.text
    page = await browser.press("Fermer cette session")
    assert "La session a été fermée." in page.text
    assert (await phone.get("/conversations")).path == "/sign-in"
    assert (await browser.get("/conversations")).path == "/conversations"


async def test_all_other_sessions_are_closed_at_once(world: World, browser: Browser) -> None:
    others = [world.browser(), world.browser()]
    for other in others:
        await other.sign_in("paul")
    await browser.get("/sessions")
    page = await browser.press("Fermer toutes mes autres sessions")
    assert "Toutes vos autres sessions ont été fermées." in page.text
    for other in others:
        assert (await other.get("/conversations")).path == "/sign-in"


async def test_english_is_spoken_on_wish(world: World, paul: Box) -> None:
    mine = world.browser()
    await mine.get("/sign-in")
    page = await mine.follow("English")
    assert (page.path, "Sign in to your messages" in page.text) == ("/sign-in", True)
    assert page.tree.get("lang") == "en"
    assert "Connectez-vous" in (await mine.follow("Français")).text


async def test_a_browser_that_accepts_english_first_gets_it(world: World) -> None:
    page = await world.browser(**{"Accept-Language": "de, en-GB;q=0.8, fr;q=0.5"}).get("/sign-in")
    assert "Sign in to your messages" in page.text


@pytest.mark.parametrize(
    ("back", "goes_to"),
    [
        ("/documents?x=1", "/documents?x=1"),
        ("//evil.test/", "/"),
        ("/\\evil.test", "/"),
        ("https://evil.test", "/"),
        ("/a\r\nb", "/"),
    ],
)
async def test_the_language_link_stays_on_this_site(world: World, back: str, goes_to: str) -> None:
    mine = world.browser()
    response = await mine.client.get("/language/en", params={"back": back}, follow_redirects=False)
    assert response.headers["location"] == goes_to


async def test_from_the_password_on_every_page_speaks_the_accounts_language(world: World, paul: Box) -> None:
    mine = world.browser(**{"Accept-Language": "en"})
    assert (await mine.get("/sign-in")).tree.get("lang") == "en"
    await mine.press("Continue", login="paul", password=PASSWORD)
    page = await mine.press("Se connecter", code="000000")
    assert page.tree.get("lang") == "fr"
    assert "Ce code est incorrect" in page.tree.find_class("problems")[0].text_content()
    await mine.press("Se connecter", code=mine.code())
    assert (await mine.get("/nothing")).tree.get("lang") == "fr"


async def test_a_language_that_was_chosen_stays_chosen(world: World, paul: Box) -> None:
    mine = world.browser()
    await mine.get("/sign-in")
    await mine.follow("English")
    await mine.press("Continue", login="paul", password=PASSWORD)
    page = await mine.press("Sign in", code=mine.code())
    assert page.tree.get("lang") == "en"
