"""What holds for every page: headers, structure that screen readers need, and forms that nobody else can send."""

from __future__ import annotations

import itertools
import re
from typing import Any

import pytest

from mss.model.account import Box
from mss.model.address import Address
from mss.model.party import BoxKind, Party
from mss.services import operators
from tests.webmail.webmail_world import PASSWORD, PDF, PNG, Browser, Page, World, archive, file, level_1

pytestmark = pytest.mark.slow

SIGNED_IN = (
    "/conversations",
    "/conversations/1",
    "/letters/1/files/2/file",
    "/letters/1/documents/0",
    "/letters/1/documents/0/file",
    "/documents",
    "/documents/1",
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
    "/directory",
    "/directory?name=martin",
    "/nothing/here",
)


async def fill(world: World, paul: Box) -> None:
    """Give Paul a letter with everything on it, and the directory somebody."""
    attached = (file("scan.pdf", PDF), archive(level_1()))
    await world.receive(world.letter(paul, html="<p>Bonjour</p>", attachments=attached))
    doctor = Party(
        Address.parse("claire.martin@chu.mssante.fr"), BoxKind.PER, "MARTIN", "Claire", "Dr", profession="Médecin",
        speciality="Cardiologie", structure="CHU de Test", postal_code="35000", town="RENNES",
    )  # fmt: skip
    generation = await world.store.write(operators.begin_directory, world.hands.now)
    await world.store.write(operators.add_parties, generation, (doctor,), world.hands.now)
    await world.store.write(operators.publish_directory, generation, world.hands.now)


@pytest.fixture
async def everything(world: World, paul: Box, browser: Browser) -> Browser:
    await fill(world, paul)
    return browser


async def pages(browser: Browser) -> list[Page]:
    """Every page of somebody who is signed in, and those before."""
    found = [await browser.get(path) for path in SIGNED_IN]
    stranger = browser.world.browser()
    found.append(await stranger.get("/sign-in"))
    found.append(await stranger.press("Continuer", login="paul", password="faux"))
    found.append(await stranger.press("Continuer", login="paul", password=PASSWORD))
    found.append(await stranger.get("/sign-in/recovery-code"))
    await browser.get("/conversations/1")
    found.append(await browser.press("Envoyer", text=""))
    found.append(await browser.press("Enregistrer le brouillon", text="x", files=(("a.png", PNG),)))
    return found


async def test_every_page_is_guarded(everything: Browser) -> None:
    for page in await pages(everything):
        headers = page.response.headers
        assert "script-src" not in headers["content-security-policy"], page.path
        assert headers["content-security-policy"].startswith("default-src 'none'"), page.path
        assert headers["cache-control"] == "no-store", page.path
        assert headers["x-content-type-options"] == "nosniff", page.path


async def test_every_page_can_be_read_aloud(everything: Browser) -> None:
    for page in await pages(everything):
        _check_structure(page)


def _check_structure(page: Page) -> None:
    tree, where = page.tree, f"{page.response.request.method} {page.path}"
    assert tree.get("lang") == "fr", where
    assert page.title.count(" – ") >= 1, where
    levels = [int(one.tag[1]) for one in tree.iter("h1", "h2", "h3", "h4")]
    levels = [level for level, one in zip(levels, tree.iter("h1", "h2", "h3", "h4"), strict=True) if not _in_alert(one)]
    assert levels[0] == 1, where
    assert levels.count(1) == 1, where
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels)), (where, levels)
    ids = [one.get("id") for one in tree.iter() if isinstance(one.tag, str) and one.get("id")]
    assert len(ids) == len(set(ids)), (where, ids)
    for name in ("aria-labelledby", "aria-describedby"):
        for one in tree.xpath(f"//*[@{name}]"):
            assert set(one.get(name).split()) <= set(ids), (where, one.get(name))
    _check_fields(tree, where)
    _check_landmarks(tree, where)
    _check_messages(tree, where, set(ids))
    for one in tree.iter("button", "a"):
        assert one.text_content().strip() or one.get("aria-label"), where
    for one in tree.iter("iframe", "img"):
        assert one.get("title") or one.get("alt") is not None, where
    assert len(list(tree.iter("main"))) == 1, where
    assert tree.find_class("skip")[0].get("href") == "#main", where
    assert not tree.xpath("//*[@onclick or @style]"), where
    assert not tree.xpath("//div[@role='button'] | //a[not(@href)]"), where


def _check_landmarks(tree: Any, where: str) -> None:
    body = tree.find("body")
    assert [one.tag for one in body if one.tag in ("header", "main", "footer")] == ["header", "main", "footer"], where
    names = [one.get("aria-label") for one in tree.iter("nav")]
    assert all(names), where
    assert len(names) == len(set(names)), where
    outside = [one.tag for one in body if one.tag not in ("header", "main", "footer", "a")]
    assert outside == [], (where, "everything stands in a landmark")
    for one in tree.iter("th"):
        assert one.get("scope") in ("col", "row"), where
    for one in tree.iter("table"):
        assert one.find("caption") is not None, where


def _check_messages(tree: Any, where: str, ids: set[str]) -> None:
    """What happened is told to those who do not see it, and each problem leads to its field."""
    for one in tree.find_class("done"):
        assert one.get("role") == "status", where
    for one in tree.find_class("problems"):
        assert (one.get("role"), one.get("tabindex")) == ("alert", "-1"), where
        assert all((a.get("href") or "")[1:] in ids for a in one.iter("a")), where
        assert tree.findtext(".//title").strip().startswith("Erreur"), where
    for one in tree.xpath("//*[@aria-invalid='true']"):
        described = (one.get("aria-describedby") or "").split()
        assert described, where
        assert set(described) <= ids, where
    for one in tree.iter("a"):
        if one.get("target") == "_blank":
            assert "nouvel onglet" in one.text_content(), (where, one.get("href"))


def _in_alert(element: Any) -> bool:
    return any(one.get("role") == "alert" for one in element.iterancestors())


def _check_fields(tree: Any, where: str) -> None:
    labelled = {one.get("for") for one in tree.iter("label")}
    for one in tree.iter("input", "select", "textarea"):
        if one.get("type") != "hidden":
            assert one.get("id") in labelled, (where, one.get("name"))
    for one in tree.iter("fieldset"):
        assert one.find("legend") is not None, where


async def test_links_of_the_same_name_lead_to_the_same_place(everything: Browser) -> None:
    page = await everything.get("/conversations/1")
    places: dict[str, set[str]] = {}
    for name, href in page.links():
        places.setdefault(name, set()).add(href)
    assert {name: hrefs for name, hrefs in places.items() if len(hrefs) > 1} == {}


async def test_every_page_speaks_english_too(everything: Browser) -> None:
    everything.client.cookies.set("__Host-mss-lang", "en", domain="espace.test")
    for path in SIGNED_IN:
        page = await everything.get(path)
        assert page.tree.get("lang") == "en", path
        assert not re.search(r"\b(?:Boîte de|Se déconnecter|Retour|Télécharger|Aucun)\b", page.text), path


POSTS = (
    ("/conversations/1", "multipart/form-data"),
    ("/letters/1/files/2/file", None),
    ("/sessions", None),
    ("/sessions/password", None),
    ("/sessions/application", None),
    ("/box", None),
    ("/sign-out", None),
)


@pytest.mark.parametrize(
    ("token", "site", "origin"),
    [
        ("", "same-origin", "https://espace.test"),
        ("wrong", "same-origin", "https://espace.test"),
        ("right", "cross-site", "https://evil.test"),
        ("right", "same-site", "https://autre.espace.test"),
        ("right", "", "https://evil.test"),
        ("right", "", "null"),
    ],
)
async def test_no_other_site_can_send_a_form(everything: Browser, token: str, site: str, origin: str) -> None:
    page = await everything.get("/conversations/1")
    csrf = page.tree.xpath("//input[@name='csrf']")[0].get("value")
    fields = [("csrf", csrf if token == "right" else token), ("box", "1"), ("do", "drop"), ("session", "others")]
    # A form that was let through would show in those after it: the session, the box or the password would be another.
    for path, enctype in POSTS:
        page = await everything.send(
            "post", path, fields, headers={"Sec-Fetch-Site": site, "Origin": origin}, enctype=enctype
        )
        assert page.status == 403, path
        assert "Ce formulaire n’est plus valable" in page.text
    assert (await everything.get("/conversations")).path == "/conversations", "still signed in"


@pytest.mark.parametrize("path", [path for path, _ in POSTS])
async def test_a_get_changes_nothing(everything: Browser, path: str) -> None:
    page = await everything.get(f"{path}?do=drop&session=others&other=1")
    assert page.status in (200, 404, 405)
    assert (await everything.get("/conversations")).path == "/conversations"


async def test_signing_in_needs_a_form_of_ours(world: World, paul: Box) -> None:
    mine = world.browser()
    fields = [("csrf", "x" * 43), ("login", "paul"), ("password", PASSWORD)]
    assert (await mine.send("post", "/sign-in", fields)).status == 403
    await mine.get("/sign-in")
    assert (await mine.send("post", "/sign-in", fields)).status == 403
    assert (await mine.get("/conversations")).path == "/sign-in"


async def test_the_directory_finds_by_name_profession_and_town(everything: Browser) -> None:
    await everything.get("/directory")
    for fields in ({"name": "martin claire"}, {"town": "rennes"}, {"name": "chu", "town": "rennes"}):
        page = await everything.press("Rechercher", fields)
        assert "Dr Claire MARTIN" in page.text, fields
        assert "1 résultat" in page.text
        assert "mssante.fr" not in page.source
    page = await everything.press("Rechercher", name="personne de ce nom")
    assert "Aucun résultat" in page.text


@pytest.mark.parametrize(("length", "status"), [(100, 200), (101, 422)])
async def test_the_directory_takes_short_words(browser: Browser, length: int, status: int) -> None:
    assert (await browser.get(f"/directory?name={'x' * length}")).status == status


async def test_the_directory_shows_no_more_than_its_limit(world: World, browser: Browser) -> None:
    many = world.config.limits.search_results_max + 1
    parties = tuple(
        Party(Address.parse(f"d{n}@chu.mssante.fr"), BoxKind.PER, "MARTIN", f"Jean{n}", town="RENNES")
        for n in range(many)
    )
    generation = await world.store.write(operators.begin_directory, world.hands.now)
    await world.store.write(operators.add_parties, generation, parties, world.hands.now)
    await world.store.write(operators.publish_directory, generation, world.hands.now)
    page = await browser.get("/directory?name=martin")
    assert f"{many - 1} résultats – il y en a d’autres" in page.text
    assert len(list(page.tree.iter("h3"))) == many - 1


async def test_static_files_are_few_and_cached(world: World) -> None:
    mine = world.browser()
    for name, kind in (("app.css", "text/css"), ("frame.css", "text/css"), ("icon.svg", "image/svg+xml")):
        response = (await mine.get(f"/static/{name}")).response
        assert response.headers["content-type"].startswith(kind)
        assert "max-age" in response.headers["cache-control"]
        assert "http" not in response.text.replace("http://www.w3.org/2000/svg", ""), "nothing from other places"
    for path in ("/static/../app.py", "/static/%2e%2e/app.py", "/static/templates/base.html", "/static/"):
        assert (await mine.get(path)).status == 404


async def test_the_log_names_nobody(world: World, paul: Box, capsys: pytest.CaptureFixture[str]) -> None:
    await fill(world, paul)
    mine = world.browser()
    await mine.sign_in("paul")
    await pages(mine)
    printed = "".join(capsys.readouterr())
    assert "http.request" in printed
    for word in ("DUPONT", "paul", PASSWORD, "martin", "consultation", "279035121518989", "mssante.fr", "scan"):
        assert word not in printed, word
